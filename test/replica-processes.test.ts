/** Calls that end the process of whoever executes them, on real processes: they fail, certified, and nothing else does. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Client } from "lockstep/client";
import { afterEach, describe, expect, test } from "vitest";
import type { ReplicaSetView } from "../src/protocol/replica.ts";
import { eventually } from "./support/eventually.ts";
import { startPlatformProcess } from "./support/platform-process.ts";
import { childrenOf, isAlive, processesAtHome, signal } from "./support/processes.ts";
import { createSandbox, type Sandbox } from "./support/sandbox.ts";

const WITHIN_MS = 60_000;

const APPLICATION = `
import { fn } from "lockstep";

const leave = (process as unknown as { reallyExit(code: number): void }).reallyExit;
const perhaps = async ({ how }: { how?: string }) => {
  if (how === "leave") leave(7);
  if (how === "memory") for (const kept: unknown[] = []; ; ) kept.push(new Array(1_000_000).fill(kept.length));
  if (how === "loop") for (;;) {}
  if (how === "slow") await new Promise((resolve) => setTimeout(resolve, 1_500));
};

export const price = fn("price", async (input: { how?: string; value: number }) => {
  await perhaps(input);
  return input.value * 2;
}, { trust: "quorum", memoryMb: 64 });

export const sum = fn.stateful("sum", {
  initial: () => ({ total: 0 }),
  apply: async ({ total }, input: { how?: string; value: number }) => {
    await perhaps(input);
    return { state: { total: total + input.value }, value: total + input.value };
  },
}, { memoryMb: 64 });
`;

const sandboxes: Sandbox[] = [];

afterEach(async () => {
  for (const sandbox of sandboxes.splice(0)) await sandbox.dispose();
});

const begin = async () => {
  const sandbox = createSandbox();
  sandboxes.push(sandbox);
  const platform = await startPlatformProcess(sandbox);
  const directory = join(sandbox.root, "shop");
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, "index.ts"), APPLICATION);
  await platform.deploy(directory, "shop");
  return { sandbox, platform, client: platform.client };
};

/** What a call came to, and how many certificates there are of it. */
const call = async (client: Client, fn: string, how: string | undefined, value: number): Promise<unknown[]> => {
  const run = await client.startFunction<number>(fn, how === undefined ? { value } : { how, value });
  const outcome = await run.result({ timeoutMs: WITHIN_MS }).catch((error: { code?: string }) => error.code);
  return [outcome, (await client.run(run.id).certificates()).length];
};

const setOf = async (client: Client, fn: string): Promise<ReplicaSetView> =>
  (await client.replicaSets()).find((each) => each.function === fn)!;

/** The process of user code of the replica in this seat. */
const executorOf = async (client: Client, fn: string, index: number): Promise<number> => {
  const { pod } = (await setOf(client, fn)).replicas[index]!;
  const { pid } = (await client.pods()).find(({ id }) => id === pod)!;
  const [child] = childrenOf(pid);
  return child!;
};

describe.each(["price", "sum"])("a call of %s", (fn) => {
  const isSum = fn === "sum";

  test("that ends its process fails for that, certified, and costs neither other calls nor a replica", async () => {
    const { client, sandbox, platform } = await begin();
    expect(await call(client, fn, undefined, 1)).toEqual([isSum ? 1 : 2, 1]);
    const fatal = Promise.all(["leave", "memory"].map((how) => call(client, fn, how, 5)));
    const others = await Promise.all([2, 2, 2].map((value) => call(client, fn, undefined, value)));
    expect(await fatal).toEqual([
      ["POD_LOST", 1],
      ["POD_LOST", 1],
    ]);
    expect(others.map(([value]) => value).sort()).toEqual(isSum ? [3, 5, 7] : [4, 4, 4]);
    expect(await setOf(client, fn)).toMatchObject({ epoch: 1, serving: 4, state: "serving" });
    expect((await client.faults()).filter(({ replica }) => replica !== undefined)).toEqual([]);
    await platform.stop();
    expect(processesAtHome(sandbox.root)).toEqual([]);
  });

  test("whose process is killed at one replica while it executes comes to what the others say", async () => {
    const { client } = await begin();
    await call(client, fn, undefined, 1);
    const slow = call(client, fn, "slow", 4);
    const killed = await executorOf(client, fn, 1);
    signal(killed, "SIGKILL");
    expect(await slow).toEqual([isSum ? 5 : 8, 1]);
    expect(await call(client, fn, undefined, 10)).toEqual([isSum ? 15 : 20, 1]);
    await eventually("another process has its place", async () => {
      const next = await executorOf(client, fn, 1);
      return next !== undefined && next !== killed && isAlive(next);
    });
    expect(await setOf(client, fn)).toMatchObject({ epoch: 1, serving: 4, state: "serving" });
  });
});

test("a process that never returns does not outlive its replica, whoever kills that", async () => {
  const { client } = await begin();
  await call(client, "price", undefined, 1);
  const run = await client.startFunction("price", { how: "loop", value: 1 });
  const executor = await executorOf(client, "price", 2);
  const { pod } = (await setOf(client, "price")).replicas[2]!;
  signal((await client.pods()).find(({ id }) => id === pod)!.pid, "SIGKILL");
  await eventually("it is gone", async () => !isAlive(executor));
  await client.run(run.id).cancel();
});
