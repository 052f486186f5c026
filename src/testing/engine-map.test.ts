import { CallError, coordinator, fn } from "lockstep";
import { createTestPlatform, type TestPlatform } from "lockstep/testing";
import { afterEach, describe, expect, test } from "vitest";

interface Neuron {
  layer: number;
  index: number;
  inputs: number[];
}
interface Network {
  layers: number;
  width: number;
  concurrency: number;
  tolerateFailures: number;
}

const fire = fn("fire", ({ layer, index, inputs }: Neuron) => inputs.reduce((sum, input) => sum + input, 0) + layer * 100 + index, {
  retry: { attempts: 2, backoff: { initialMs: 10, jitter: 0 }, onExhausted: "fail" },
});

/** k layers of n functions: what a layer gives is what the next one takes; a neuron that failed gives 0. */
const network = coordinator("network", async (ctx, { layers, width, concurrency, tolerateFailures }: Network) => {
  let inputs = [1];
  let failed = 0;
  for (let layer = 0; layer < layers; layer++) {
    const neurons = Array.from({ length: width }, (_, index): Neuron => ({ layer, index, inputs }));
    const outcomes = await ctx.map(neurons, fire, { concurrency, tolerateFailures });
    failed += outcomes.filter(({ ok }) => !ok).length;
    inputs = outcomes.map((outcome) => (outcome.ok ? outcome.value : 0));
  }
  return { inputs, failed };
});

/** The same, in plain code. */
const expected = ({ layers, width }: Network, fails: (layer: number, index: number) => boolean) => {
  let inputs = [1];
  let failed = 0;
  for (let layer = 0; layer < layers; layer++) {
    const sum = inputs.reduce((total, input) => total + input, 0);
    inputs = Array.from({ length: width }, (_, index) => (fails(layer, index) ? 0 : sum + layer * 100 + index));
    failed += inputs.filter((_, index) => fails(layer, index)).length;
  }
  return { inputs, failed };
};

const fails = (layer: number, index: number): boolean => (layer + index) % 4 === 3;
const NETWORK: Network = { layers: 3, width: 8, concurrency: 3, tolerateFailures: 2 };

let t: TestPlatform;
afterEach(async () => {
  expect((await t.audit()).repaired).toBe(0);
  await t.stop();
});

const begin = async (): Promise<void> => {
  t = await createTestPlatform({ application: [fire, network] });
  t.fail(fire, ({ layer, index }) => (fails(layer, index) ? new Error(`${layer}/${index}`) : undefined));
};

describe("layers of functions of which some fail", () => {
  test("give what plain code gives, and never more at a time than they may", async () => {
    await begin();
    let [now, most] = [0, 0];
    t.mock(fire, async ({ layer, index, inputs }) => {
      most = Math.max(most, ++now);
      await null;
      now--;
      return inputs.reduce((sum, input) => sum + input, 0) + layer * 100 + index;
    });
    expect(await t.run(network, NETWORK)).toEqual(expected(NETWORK, fails));
    expect(most).toBeLessThanOrEqual(3);
  });

  test.each(["before", "after"] as const)("give the same when the control plane dies %s any commit", async (point) => {
    for (let commits = 1; ; commits++) {
      await begin();
      t.crashAtCommit(commits, point);
      const run = await t.start(network, NETWORK, { key: "k" });
      expect(await run.result(), `crash ${point} commit ${commits}`).toEqual(expected(NETWORK, fails));
      const calls = (await run.journal()).flatMap((record) => (record.t === "call" ? [record.seq] : []));
      expect(calls).toEqual(Array.from({ length: 24 }, (_, i) => i + 1));
      const { crashes } = t;
      await t.stop();
      if (crashes === 0) break;
    }
    await begin();
  });

  test("end the run with how many have failed when it is more than they tolerate", async () => {
    await begin();
    const run = await t.start(network, { ...NETWORK, tolerateFailures: 1 });
    await expect(run.result()).rejects.toMatchObject({
      message: expect.stringContaining("ctx.map: 2 of 8 items failed, and 1 may; the first was item 3: 0/3"),
    });
  });
});

test("without tolerance the first failure is what the coordinator catches, and no further item begins", async () => {
  const begun: number[] = [];
  const work = fn("work", (n: number) => n, { retry: { attempts: 1, onExhausted: "fail" } });
  const all = coordinator("all", async (ctx, n: number) => {
    try {
      return await ctx.map(
        Array.from({ length: n }, (_, i) => i),
        work,
        { concurrency: 1 },
      );
    } catch (error) {
      return error instanceof CallError ? error.code : error;
    }
  });
  t = await createTestPlatform({ application: [work, all] });
  t.fail(work, (n) => {
    begun.push(n);
    return n === 2 ? new Error("no") : undefined;
  });
  expect(await t.run(all, 6)).toBe("FUNCTION_FAILED");
  expect(begun).toEqual([0, 1, 2]);
});
