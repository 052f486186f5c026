/** Compared pods on real processes: one that lies, pods that die, and a control plane that is killed in between. */
import type { Client } from "lockstep/client";
import { afterEach, expect, test } from "vitest";
import type { PodView } from "../src/protocol/control-plane.ts";
import type { FaultView } from "../src/protocol/faults.ts";
import { eventually } from "./support/eventually.ts";
import { type PlatformProcess, startPlatformProcess } from "./support/platform-process.ts";
import { isAlive, signal } from "./support/processes.ts";
import { createSandbox, type Sandbox } from "./support/sandbox.ts";

const WITHIN_MS = 60_000;

const sandboxes: Sandbox[] = [];

afterEach(async () => {
  for (const sandbox of sandboxes.splice(0)) await sandbox.dispose();
});

const begin = async (): Promise<{ sandbox: Sandbox; platform: PlatformProcess; client: Client }> => {
  const sandbox = createSandbox();
  sandboxes.push(sandbox);
  const platform = await startPlatformProcess(sandbox);
  await platform.deploy("test/apps/compared");
  return { sandbox, platform, client: platform.client };
};

const call = async <Output>(client: Client, name: string, input: unknown): Promise<Output> => {
  const run = await client.startFunction<Output>(name, input);
  return (await run.result({ timeoutMs: WITHIN_MS })) as Output;
};

const podsOf = async (client: Client, role: string): Promise<PodView[]> => (await client.pods()).filter((pod) => pod.role === role);

const bothOf = (client: Client, role: string): Promise<PodView[]> =>
  eventually(`${role} has two pods that work`, async () => {
    const pods = (await podsOf(client, role)).filter(({ state }) => state === "ready");
    return pods.length === 2 ? pods : undefined;
  });

const repaired = (client: Client, pod: string): Promise<FaultView> =>
  eventually(`the fault of ${pod} is repaired`, async () => {
    const fault = (await client.faults()).find((one) => one.pod === pod);
    return fault?.repairedAt === undefined ? undefined : fault;
  });

test("a pod that lies under load changes no answer, is named, ended and replaced", async () => {
  const { client } = await begin();
  expect(await call(client, "sum", { a: 1, b: 2 })).toEqual({ total: 3 });
  const [liar] = await bothOf(client, "sum");
  const load = Array.from({ length: 60 }, (_, i) => call(client, "sum", { a: i, b: i, ...(i === 20 ? { corrupt: liar!.pid } : {}) }));
  expect(await Promise.all(load)).toEqual(Array.from({ length: 60 }, (_, i) => ({ total: 2 * i })));
  const fault = await repaired(client, liar!.id);
  expect(fault).toMatchObject({ type: "I", what: "lie", function: "sum", pod: liar!.id });
  expect(fault.detail).toMatch(/^its outcome of call run_\w+\/1 is not that of pod-\d+ and pod-\d+; it differs at value\.total$/);
  expect((await client.faults()).filter(({ what }) => what === "lie")).toHaveLength(1);
  await eventually("the liar's process has ended", async () => (isAlive(liar!.pid) ? undefined : true));
  expect((await bothOf(client, "sum")).map(({ id }) => id)).not.toContain(liar!.id);
  const run = await client.start("chain", 10);
  expect(await run.result({ timeoutMs: WITHIN_MS })).toBe(55);
});

test("a pod that is killed in the middle of a call costs it no attempt: another one executes in its place", async () => {
  const { client } = await begin();
  await call(client, "slow", 0);
  const [victim] = await bothOf(client, "slow");
  const result = call(client, "slow", 1_500);
  await eventually("the call executes", async () =>
    (await podsOf(client, "slow")).every(({ inFlight }) => inFlight === 1) ? true : undefined,
  );
  signal(victim!.pid, "SIGKILL");
  expect(await result).toBe(1);
  expect(await repaired(client, victim!.id)).toMatchObject({ type: "I", what: "crash", calls: 1 });
});

test("a call that kills all its pods fails after a few of them", async () => {
  const { client } = await begin();
  await expect(call(client, "fatal", null)).rejects.toMatchObject({ code: "POD_LOST" });
  expect(await call(client, "sum", { a: 1, b: 1 })).toEqual({ total: 2 });
});

test("calls that are under way when the control plane is killed are answered once, by its next life", async () => {
  const { sandbox, platform, client } = await begin();
  await call(client, "slow", 0);
  const runs = await Promise.all(Array.from({ length: 30 }, (_, i) => client.startFunction<number>("slow", 500, { key: `slow-${i}` })));
  const chain = await client.start<number>("chain", 40);
  await eventually("they execute", async () => ((await podsOf(client, "slow")).some(({ inFlight }) => inFlight > 0) ? true : undefined));
  await platform.kill();
  const again = await startPlatformProcess(sandbox);
  const results = await Promise.all(runs.map(({ id }) => again.client.run<number>(id).result({ timeoutMs: WITHIN_MS })));
  expect(results.every((attempt) => attempt! >= 1)).toBe(true);
  expect(await again.client.run<number>(chain.id).result({ timeoutMs: WITHIN_MS })).toBe(820);
  expect((await again.client.faults()).filter(({ what }) => what === "lie")).toEqual([]);
});
