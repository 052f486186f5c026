/** Services, scaling and what the reconciler does, on a whole platform in memory. */
import { afterEach, describe, expect, test } from "vitest";
import type { Definition } from "../application/definitions.ts";
import { fn } from "../application/definitions.ts";
import type { PlatformLimits } from "../limits.ts";
import type { ServiceVersionView } from "../protocol/cluster.ts";
import type { EventBody } from "../protocol/events.ts";
import type { TestPlatform } from "./test-platform.ts";
import { createTestPlatform } from "./test-platform.ts";

let t: TestPlatform;
afterEach(() => t.stop());

const begin = async (application: Definition[], limits: Partial<PlatformLimits> = {}): Promise<void> => {
  t = await createTestPlatform({ application, limits: { slotsPerPod: 4, ...limits } });
};

const version = (name = "pay"): ServiceVersionView => t.controlPlane.cluster.service(name).versions[0] as ServiceVersionView;
const podsOf = (role = "pay"): number => t.controlPlane.pods().filter((pod) => pod.role === role && pod.state !== "draining").length;
const decisions = async (): Promise<(EventBody & { type: "scale.decided" })[]> =>
  (await t.events()).filter((event) => event.type === "scale.decided");
const conditions = (name?: string): string[] => version(name).conditions.map(({ type }) => type);

/** Starts so many calls and moves on until all have ended. */
const burst = async (count: number, name = "pay"): Promise<void> => {
  const runs = await Promise.all(Array.from({ length: count }, () => t.controlPlane.start({ kind: "function", name, input: "1" })));
  for (let i = 0; i < 600 && t.controlPlane.counters().runsLive > 0; i++) await t.advance(100);
  const results = await Promise.all(runs.map(({ id }) => t.controlPlane.result(id, 0)));
  expect(results.every(({ status }) => status === "completed")).toBe(true);
};

describe("scaling", () => {
  test("a call without a pod gets one at once, and the function has none again after the cool-down", async () => {
    await begin([fn("pay", (n: number) => n)]);
    expect([podsOf(), version().desired]).toEqual([0, 0]);
    expect(await t.call("pay", 1)).toBe(1);
    expect([podsOf(), version().desired, conditions()]).toEqual([1, 1, ["Ready"]]);
    await t.advance(65_000);
    expect([podsOf(), version().desired]).toEqual([0, 0]);
    const told = await decisions();
    expect(told.map(({ from, pods }) => [from, pods])).toEqual([
      [0, 1],
      [1, 0],
    ]);
    expect(told[0]?.reason).toContain("activation");
    expect(told[1]?.reason).toContain("no traffic");
  });

  test("a burst gets pods, within the maximum, and gives them back", async () => {
    await begin([fn("pay", (n: number) => n, { scale: { max: 3, coolDownMs: 5_000 } })]);
    t.delay("pay", 500);
    await burst(400);
    const most = Math.max(...(await decisions()).map(({ pods }) => pods));
    expect(most).toBe(3);
    await t.advance(40_000);
    expect([podsOf(), version().desired]).toEqual([0, 0]);
  });

  test("a thousand calls to a cold function start a sensible number of pods", async () => {
    await begin([fn("pay", (n: number) => n)], { slotsPerPod: 64, maxPodsPerFunction: 100, maxPods: 200 });
    t.delay("pay", 50);
    await burst(1_000);
    expect((await t.events()).filter(({ type }) => type === "pod.started").length).toBeLessThan(25);
  });

  test("the minimum is there without calls, after a crash of the control plane too", async () => {
    await begin([fn("pay", (n: number) => n, { scale: { min: 2 } })]);
    await t.advance(1_000);
    expect([podsOf(), version().desired, conditions()]).toEqual([2, 2, ["Ready"]]);
    await t.advance(200_000);
    expect(podsOf()).toBe(2);
    await t.crash();
    await t.advance(1_000);
    expect([podsOf(), version().desired, conditions()]).toEqual([2, 2, ["Ready"]]);
  });

  test("what was decided last is there again after a crash", async () => {
    await begin([fn("pay", (n: number) => n, { scale: { max: 3 } })]);
    t.delay("pay", 500);
    const start = () => t.controlPlane.start({ kind: "function", name: "pay", input: "1" });
    await Promise.all(Array.from({ length: 200 }, start));
    await t.advance(1_000);
    const { desired } = version();
    expect(desired).toBeGreaterThan(1);
    await t.crash();
    expect(version()).toMatchObject({ desired, reason: "restored" });
    await t.advance(50);
    expect(podsOf()).toBe(desired);
  });

  test("a pod that is lost is replaced, without a call that waits for it", async () => {
    await begin([fn("pay", (n: number) => n, { scale: { min: 2 } })]);
    await t.advance(1_000);
    await t.killPod("pay");
    await t.advance(200);
    expect([podsOf(), conditions()]).toEqual([2, ["Ready"]]);
  });

  test("no pod that executes is ended for being too many", async () => {
    await begin([fn("pay", (n: number) => n, { scale: { max: 4, coolDownMs: 1_000 }, timeoutMs: 600_000 })]);
    t.delay("pay", 100_000);
    const runs = await Promise.all(Array.from({ length: 16 }, () => t.controlPlane.start({ kind: "function", name: "pay", input: "1" })));
    await t.advance(2_000);
    const service = { name: "pay", function: "pay", replicas: 1 };
    await t.controlPlane.cluster.putService(service);
    await t.advance(120_000);
    for (const { id } of runs) expect((await t.controlPlane.result(id, 0)).status).toBe("completed");
    expect((await t.events()).filter(({ type }) => type === "call.retrying")).toEqual([]);
    expect(podsOf()).toBe(1);
  });
});

describe("trouble", () => {
  test("a crash loop is backed off and told with its reason, and over with the first answer", async () => {
    // No warm pod fits: each start is one of its own.
    await begin([fn("pay", (n: number) => n, { scale: { min: 1 }, memoryMb: 64 })], { warmPods: 0 });
    await t.advance(1_000);
    t.failStarts(1_000);
    await t.killPod("pay");
    await t.advance(30_000);
    const starts = (await t.events()).filter((event) => event.type === "pod.lost" && event.function === "pay").length;
    expect(starts).toBeGreaterThan(5);
    expect(starts).toBeLessThan(30);
    expect(conditions()).toContain("CrashLoop");
    expect(version().conditions.find(({ type }) => type === "CrashLoop")?.reason).toContain("failed-to-start");
    t.failStarts(0);
    await t.advance(6_000);
    expect(await t.call("pay", 1)).toBe(1);
    expect(conditions()).toEqual(["Ready"]);
    await t.advance(1_000);
    const told = (await t.events()).filter((event) => event.type === "service.condition");
    expect(told.map((event) => event.type === "service.condition" && [event.condition, event.holds])).toEqual([
      ["CrashLoop", true],
      ["CrashLoop", false],
    ]);
  });

  test("more pods than the machine may have are a condition, and end nobody's pods", async () => {
    await begin([fn("pay", (n: number) => n), fn("ship", (n: number) => n, { scale: { min: 2 } })], { maxPods: 5, warmPods: 0 });
    await t.advance(1_000);
    await t.controlPlane.cluster.createService({ name: "pay", function: "pay", replicas: 10 });
    await t.advance(20_000);
    expect([podsOf(), podsOf("ship"), version().desired]).toEqual([3, 2, 10]);
    expect(conditions()).toEqual(["InsufficientPods"]);
    expect((await t.events()).filter((event) => event.type === "pod.stopped" && event.function !== "inspection")).toEqual([]);
    await t.controlPlane.cluster.putService({ name: "pay", function: "pay", replicas: 2 });
    await t.advance(1_000);
    expect([podsOf(), conditions()]).toEqual([2, ["Ready"]]);
  });

  test("more memory than there is too", async () => {
    await begin([fn("pay", (n: number) => n, { memoryMb: 400 })], { maxPodMemoryMb: 1_000, warmPods: 0 });
    await t.controlPlane.cluster.createService({ name: "pay", function: "pay", replicas: 3 });
    await t.advance(1_000);
    expect([podsOf(), conditions()]).toEqual([2, ["InsufficientMemory"]]);
  });

  test("a call gets a pod although others' minimum has taken all the room", async () => {
    await begin([fn("pay", (n: number) => n), fn("ship", (n: number) => n, { scale: { min: 3 } })], { maxPods: 3, warmPods: 0 });
    await t.advance(1_000);
    expect(await t.call("pay", 1)).toBe(1);
    expect([podsOf(), podsOf("ship"), conditions("ship")]).toEqual([1, 2, ["InsufficientPods"]]);
  });
});

describe("services", () => {
  test("every function has one by default, and a spec of one's own takes its place until it is deleted", async () => {
    await begin([fn("pay", (n: number) => n, { scale: { max: 2 }, memoryMb: 64 })]);
    const { cluster } = t.controlPlane;
    expect(cluster.services()).toMatchObject([
      {
        spec: { name: "pay", function: "pay", scale: { min: 0, max: 2, policy: "predictive" }, memoryMb: 64 },
        default: true,
        resourceVersion: 0,
      },
    ]);
    const made = await cluster.createService({ name: "money", function: "pay", replicas: 2 });
    expect(cluster.services().map(({ spec }) => spec.name)).toEqual(["money"]);
    expect(() => cluster.service("pay")).toThrow('behind service "money"');
    await expect(cluster.createService({ name: "other", function: "pay" })).rejects.toMatchObject({ code: "SERVICE_EXISTS" });
    await expect(cluster.putService({ name: "money", function: "pay", replicas: 1 }, 0)).rejects.toMatchObject({
      code: "PRECONDITION_FAILED",
    });
    await cluster.putService({ name: "money", function: "pay", replicas: 1 }, made.resourceVersion);
    await t.advance(1_000);
    expect([podsOf(), cluster.pods().find(({ service }) => service === "money")?.ready]).toEqual([1, true]);
    await t.crash();
    expect(t.controlPlane.cluster.service("money").spec.replicas).toBe(1);
    await t.controlPlane.cluster.deleteService("money");
    expect(t.controlPlane.cluster.service("pay").default).toBe(true);
    await t.advance(65_000);
    expect(podsOf()).toBe(0);
  });

  test("pods are replaced when what they are made by changes, and none is missing meanwhile", async () => {
    await begin([fn("pay", (n: number) => n)]);
    const { cluster } = t.controlPlane;
    await cluster.createService({ name: "pay", function: "pay", replicas: 2 });
    await t.advance(1_000);
    const before = cluster.pods().filter(({ service }) => service === "pay");
    await cluster.putService({ name: "pay", function: "pay", replicas: 2, memoryMb: 77 });
    await t.advance(1_000);
    const after = cluster.pods().filter(({ service }) => service === "pay");
    expect(after.map(({ memoryMb }) => memoryMb)).toEqual([77, 77]);
    expect(after.some(({ id }) => before.some((pod) => pod.id === id))).toBe(false);
  });

  test("a pod executes as many calls at a time as its service's concurrency says", async () => {
    let now = 0;
    let most = 0;
    await begin([
      fn("pay", async (n: number, ctx) => {
        most = Math.max(most, ++now);
        await new Promise<void>((resolve) => setImmediate(resolve));
        now--;
        return n + ctx.attempt;
      }),
    ]);
    await t.controlPlane.cluster.createService({ name: "pay", function: "pay", replicas: 1, concurrency: 1 });
    await burst(5);
    expect(most).toBe(1);
  });

  test.each([
    [{ name: "pay", function: "nobody" }, "UNKNOWN_FUNCTION"],
    [{ name: "ship", function: "pay" }, "SERVICE_EXISTS"],
    [{ name: "pay", function: "pay", replicas: 0 }, "BAD_REQUEST"],
    [{ name: "pay", function: "pay", replicas: 1, scale: { min: 1 } }, "BAD_REQUEST"],
    [{ name: "pay", function: "pay", scale: { min: 3, max: 2 } }, "BAD_REQUEST"],
    [{ name: "pay", function: "pay", scale: { policy: "magic" } }, "BAD_REQUEST"],
    [{ name: "pay", function: "pay", environment: { "A=B": "1" } }, "BAD_REQUEST"],
    [{ name: "pay", function: "pay", version: "0123456789abcdef" }, "UNKNOWN_FUNCTION"],
    [{ name: "1", function: "pay" }, "BAD_REQUEST"],
    [{ name: "pay", function: "pay", colour: "red" }, "BAD_REQUEST"],
  ])("a spec like %j is refused", async (spec, code) => {
    await begin([fn("pay", (n: number) => n), fn("ship", (n: number) => n)]);
    await expect(t.controlPlane.cluster.createService(spec as never)).rejects.toMatchObject({ code });
  });

  test("a version that is not current gets pods for its calls, and none besides", async () => {
    await begin([fn("pay", (n: number) => n, { scale: { min: 2, coolDownMs: 1_000 } })]);
    await t.advance(1_000);
    await t.deploy([fn("pay", (n: number) => -n, { scale: { min: 1, coolDownMs: 1_000 } })]);
    await t.advance(30_000);
    const { versions } = t.controlPlane.cluster.service("pay");
    expect(versions.map(({ current, desired }) => [current, desired])).toEqual([[true, 1]]);
    expect(podsOf()).toBe(1);
  });

  test("a pod more can be asked for, and a pod be ended", async () => {
    await begin([fn("pay", (n: number) => n, { scale: { max: 2, min: 1 } })]);
    await t.advance(1_000);
    const { cluster } = t.controlPlane;
    const { id } = cluster.createPod("pay");
    await t.advance(100);
    expect([podsOf(), cluster.pod(id).service, version().desired]).toEqual([2, "pay", 2]);
    expect(() => cluster.createPod("pay")).toThrow("as many as it may");
    cluster.deletePod(id);
    await t.advance(300);
    expect(() => cluster.pod(id)).toThrow("there is no pod");
    expect(podsOf()).toBe(2);
    expect(() => cluster.deletePod("pod-999")).toThrow("there is no pod");
  });
});
