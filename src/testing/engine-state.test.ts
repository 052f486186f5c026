import { coordinator, fn } from "lockstep";
import { createTestPlatform, type TestPlatform, type TestRun } from "lockstep/testing";
import { afterEach, describe, expect, test } from "vitest";
import { hashText, type Random, seeded } from "../lib/random.ts";
import type { JournalRecord } from "../protocol/run.ts";
import type { StateEntry, StateOp } from "../protocol/state.ts";
import { explain, type Operation, type StoreTransaction, storeModel } from "./history-checker.ts";

type History = Operation<unknown, StoreTransaction>[];

/** What a caller does next: a transaction of a function, or operations of the coordinator itself. */
type Step =
  | { t: "transact"; reads: string[]; list?: string; writes: string[]; token: string }
  | { t: "increment"; key: string }
  | { t: "own"; key: string; token: string };

const REPEATED = { attempts: 100, backoff: { initialMs: 1, maxMs: 20 } };

/** One attempt in four fails after it has done everything, which must come to nothing. */
const failsNow = (key: string, attempt: number): boolean => hashText(`${key} ${attempt}`) % 4 === 0;

const transact = fn(
  "transact",
  async ({ reads, list, writes, token }: Step & { t: "transact" }, ctx): Promise<StoreTransaction> => {
    const read: [string, string | undefined][] = [];
    for (const key of reads) read.push([key, textOf((await ctx.state.get(key, { stale: "allow" })).value)]);
    const lists: [string, [string, string][]][] = [];
    if (list !== undefined) {
      const entries = await ctx.state.list(list);
      lists.push([list, entries.map(({ key, value }) => [key, textOf(value) as string])]);
    }
    for (const key of writes) await (token === "" ? ctx.state.delete(key) : ctx.state.set(key, token));
    if (failsNow(ctx.key, ctx.attempt)) throw new Error("too late");
    return { reads: read, lists, writes: writes.map((key) => [key, token === "" ? undefined : JSON.stringify(token)]) };
  },
  { retry: REPEATED },
);

const increment = fn(
  "increment",
  async (key: string, ctx): Promise<StoreTransaction> => {
    const { value: from } = await ctx.state.get<number>(key, { stale: "allow" });
    await ctx.state.set(key, (from ?? 0) + 1);
    if (failsNow(ctx.key, ctx.attempt)) throw new Error("too late");
    return { reads: [[key, textOf(from)]], writes: [[key, textOf((from ?? 0) + 1)]] };
  },
  { retry: REPEATED },
);

const textOf = (value: unknown): string | undefined => (value === undefined ? undefined : JSON.stringify(value));

const caller = coordinator("caller", async (ctx, steps: Step[]) => {
  for (const step of steps) {
    if (step.t === "transact") await ctx.call(transact, step);
    else if (step.t === "increment") await ctx.call(increment, step.key);
    else {
      await ctx.state.get(step.key, { stale: "allow" });
      await ctx.state.set(step.key, step.token);
    }
  }
});

const KEYS = ["a/1", "a/2", "b/1", "b/2"];
const COUNTERS = ["counters/1", "counters/2"];

const stepsOf = (random: Random, name: string, count: number): Step[] =>
  Array.from({ length: count }, (_, i): Step => {
    const some = (most: number): string[] => KEYS.filter(() => random.below(KEYS.length) < most);
    const kind = random.below(10);
    const key = KEYS[random.below(KEYS.length)] as string;
    if (kind < 3) return { t: "increment", key: COUNTERS[random.below(COUNTERS.length)] as string };
    if (kind < 5) return { t: "own", key, token: `${name}.${i}` };
    const token = random.below(5) === 0 ? "" : `${name}.${i}`;
    const list = random.below(3) === 0 ? { list: random.below(2) === 0 ? "a/" : "b/" } : {};
    return { t: "transact", reads: some(2), ...list, writes: some(1), token };
  });

/** What the caller's journal says of its operations. */
const historyOf = (name: string, journal: readonly JournalRecord[]): History => {
  const begun = new Map<number, { at: number; op?: StateOp; input?: string }>();
  const history: History = [];
  for (const record of journal) {
    if (record.t === "call") begun.set(record.seq, { at: record.at, input: record.input });
    else if (record.t === "state") begun.set(record.seq, { at: record.at, op: record.op });
    else if (record.t === "done") {
      const { at: begin, op, input } = begun.get(record.seq) as { at: number; op?: StateOp; input?: string };
      const output = op === undefined ? (JSON.parse(record.value as string) as StoreTransaction) : outcomeOf(op, record.value as string);
      // JSON has no `undefined`: an absent value has become null.
      history.push({ caller: name, input: op ?? input, output: restored(output), begin, end: record.at });
    }
  }
  return history;
};

const outcomeOf = (op: StateOp, value: string): StoreTransaction => {
  if (op.op === "write") return { reads: [], writes: [[op.key, op.value]] };
  const { key, value: text, version } = JSON.parse(value) as StateEntry;
  return { reads: [[key, version === 0 ? undefined : text]], writes: [] };
};

const restored = ({ reads, lists = [], writes }: StoreTransaction): StoreTransaction => ({
  reads: reads.map(([key, value]) => [key, value ?? undefined]),
  lists,
  writes: writes.map(([key, value]) => [key, value ?? undefined]),
});

let t: TestPlatform;
afterEach(async () => {
  expect((await t.audit()).repaired).toBe(0);
  await t.stop();
});

const stored = async (): Promise<Map<string, string>> => {
  const entries = await t.controlPlane.state.list("application", "", 1_000);
  return new Map(entries.map(({ key, value }) => [key, value]));
};

const SEEDS = [1, 2, 3, 4, 5, 6];

describe("callers that share keys, with pods and the control plane dying at random", () => {
  test.each(SEEDS)("see a store in which one transaction follows the other (seed %i)", async (seed) => {
    const random = seeded(seed);
    const faults = { crashes: 0.01, podDeaths: 0.001, failedStarts: 0.05, podStartMs: 20, messageDelayMs: 6, commitMs: 4 };
    t = await createTestPlatform({ application: [transact, increment, caller], seed, faults, patienceMs: 0 });
    const runs: [string, TestRun<unknown>, Step[]][] = [];
    for (let i = 0; i < 8; i++) {
      const steps = stepsOf(random, `c${i}`, 12);
      runs.push([`c${i}`, await t.start(caller, steps, { key: `c${i}` }), steps]);
    }
    for (const [, run] of runs) await run.result();
    t.calm();
    const history = (await Promise.all(runs.map(async ([name, run]) => historyOf(name, await run.journal())))).flat();
    const verdict = explain(history, storeModel);
    expect(verdict, `seed ${seed}`).toMatchObject({ ok: true });
    const last = verdict.order.reduce((state, { output }) => storeModel.apply(state, "", output) ?? state, storeModel.initial);
    expect(await stored(), `seed ${seed}`).toEqual(last);
    const steps = runs.flatMap(([, , own]) => own);
    for (const key of COUNTERS) {
      const sum = steps.filter((step) => step.t === "increment" && step.key === key).length;
      expect(last.get(key), `seed ${seed}`).toBe(String(sum));
    }
  });
});
