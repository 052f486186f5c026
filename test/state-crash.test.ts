/** State under kill -9: what was counted is counted once, whatever dies when. */
import { ClientError } from "lockstep/client";
import { afterAll, beforeAll, expect, test } from "vitest";
import { hashText, seeded } from "../src/lib/random.ts";
import type { PlatformProcess } from "./support/platform-process.ts";
import { startPlatformProcess } from "./support/platform-process.ts";
import { isAlive } from "./support/processes.ts";
import { createSandbox, type Sandbox } from "./support/sandbox.ts";

const CALLERS = 64;
const COUNTERS = 10;
const EACH = 10;
/** Something dies after so many increments have been answered, and again after as many more. */
const KILL_EVERY = 50;

let sandbox: Sandbox;
beforeAll(() => {
  sandbox = createSandbox();
});
afterAll(() => sandbox.dispose());

test("64 callers incrementing 10 counters come to exact sums, with pods and the control plane killed in between", async () => {
  const seed = hashText(process.env.LOCKSTEP_SEED ?? String(process.pid));
  const random = seeded(seed);
  let platform = await startPlatformProcess(sandbox);
  await platform.deploy("test/apps/counters");
  const { client } = platform;

  const deaths = { pods: 0, controlPlanes: 0 };
  let killing: Promise<void> = Promise.resolve();
  const kill = async (): Promise<void> => {
    if (deaths.pods + deaths.controlPlanes > 0 && random.below(3) === 0) {
      await platform.kill();
      deaths.controlPlanes++;
      platform = await restart(platform);
      return;
    }
    // A pod that is only just being made has no process yet, and 0 would be this test's own group.
    const pids = (await client.pods()).filter(({ role, pid }) => role === "increment" && pid > 0).map(({ pid }) => pid);
    const pid = pids[random.below(Math.max(1, pids.length))];
    if (pid === undefined || !isAlive(pid)) return;
    process.kill(pid, "SIGKILL");
    deaths.pods++;
  };
  const restart = ({ port }: PlatformProcess): Promise<PlatformProcess> => startPlatformProcess(sandbox, { port });

  const wanted = new Array<number>(COUNTERS).fill(0);
  const plans = Array.from({ length: CALLERS }, () => Array.from({ length: EACH }, () => random.below(COUNTERS)));
  for (const counter of plans.flat()) wanted[counter]!++;
  let answered = 0;
  // With a key, it is the same call when it is made again after the control plane has died.
  const increment = async (counter: number, key: string): Promise<number> => {
    for (;;) {
      try {
        return await client.call<number>("increment", counter, { key });
      } catch (error) {
        if (!(error instanceof ClientError) || error.code !== "NOT_CONNECTED") throw error;
        await killing;
      }
    }
  };
  const caller = async (plan: readonly number[], name: number): Promise<void> => {
    for (const [i, counter] of plan.entries()) {
      expect(await increment(counter, `${name}/${i}`)).toBeGreaterThan(0);
      if (++answered % KILL_EVERY === 0) killing = killing.then(kill);
    }
  };
  await Promise.all(plans.map(caller));
  await killing;

  const entries = await client.state.list<number>("counters", { prefix: "counters/" });
  const sums = Array.from({ length: COUNTERS }, (_, i) => entries.find(({ key }) => key === `counters/${i}`)?.value ?? 0);
  const told = `seed ${process.env.LOCKSTEP_SEED ?? process.pid}, killed: ${JSON.stringify(deaths)}`;
  expect(sums, told).toEqual(wanted);
  expect(deaths.pods, told).toBeGreaterThan(0);
  expect(await client.state.stale("counters"), told).toEqual([]);
  await platform.stop();
});
