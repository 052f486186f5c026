/** Faults of the platform itself, on the whole platform in memory. */
import { fn } from "lockstep";
import { createTestPlatform } from "lockstep/testing";
import { describe, expect, test } from "vitest";

const slow = fn("slow", async (x: number) => x + 1);
const plain = fn("plain", (x: number) => x * 2);

const faultsOf = async (t: Awaited<ReturnType<typeof createTestPlatform>>) =>
  (await t.events()).filter((event) => event.type === "fault.detected" || event.type === "fault.repaired");

describe("kill -9 of a pod under load", () => {
  test("is a fault I that is repaired when the first lost call is dispatched again, and loses nothing", async () => {
    await using t = await createTestPlatform({ application: [slow] });
    t.delay(slow, 500);
    const runs = await Promise.all(Array.from({ length: 10 }, (_, i) => t.start(slow, i)));
    await t.advance(100);
    const pod = await t.killPod(slow);
    for (const [i, run] of runs.entries()) expect(await run.result()).toBe(i + 1);
    const [detected, repaired] = await faultsOf(t);
    expect(detected).toMatchObject({ type: "fault.detected", kind: "I", what: "crash", pod, function: "slow", calls: 10, detectionMs: 0 });
    expect(repaired).toMatchObject({ type: "fault.repaired", fault: "fault-1", pod });
    expect(repaired?.type === "fault.repaired" && repaired.repairMs).toBeLessThan(100);
    expect(t.controlPlane.faults(10)).toMatchObject([
      { id: "fault-1", did: expect.stringMatching(/dispatched again to pod-\d+: 10 calls/) },
    ]);
  });
});

test("a pod that hangs is found after a second of silence and replaced", async () => {
  await using t = await createTestPlatform({ application: [slow, plain] });
  t.delay(slow, 20_000);
  const run = await t.start(slow, 1);
  await t.advance(6_000);
  await t.hangPod(slow);
  t.mend(slow);
  expect(await run.result()).toBe(2);
  const [detected] = await faultsOf(t);
  expect(detected).toMatchObject({ what: "hang", calls: 1 });
  expect(detected?.type === "fault.detected" && detected.detectionMs).toBeGreaterThan(900);
  expect(detected?.type === "fault.detected" && detected.detectionMs).toBeLessThan(1_000);
});

test("pods that do not start are one fault for each function that waits, repaired when one does", async () => {
  await using t = await createTestPlatform({ application: [plain], limits: { warmPods: 0, maxWarmPods: 0 } });
  t.failStarts(4);
  expect(await t.call(plain, 2)).toBe(4);
  const told = await faultsOf(t);
  expect(told.filter(({ type }) => type === "fault.detected").length).toBeGreaterThan(0);
  for (const fault of t.controlPlane.faults(10))
    expect(fault).toMatchObject({ what: "failed-to-start", did: expect.stringMatching(/has started$/) });
});

test("a crash of the control plane is a fault IV at the next start, and a stop in order is none", async () => {
  await using t = await createTestPlatform({ application: [slow] });
  t.delay(slow, 5_000);
  const run = await t.start(slow, 1);
  await t.crash({ downMs: 3_000 });
  expect(await run.result()).toBe(2);
  expect(await faultsOf(t)).toMatchObject([
    { type: "fault.detected", kind: "IV", what: "control-plane-down", calls: 1 },
    { type: "fault.repaired", kind: "IV", did: "journal replayed, 1 run recovered" },
  ]);
});

test("a drill is refused by a platform that was not started for them", async () => {
  await using t = await createTestPlatform({ application: [plain] });
  expect(() => t.controlPlane.drill({ kind: "pod" })).toThrowError(expect.objectContaining({ code: "DRILLS_DISABLED" }));
});
