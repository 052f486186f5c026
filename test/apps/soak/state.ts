/** What keeps state: counters, accounts between which amounts move, and values whose writer fails. */
import type { CallError } from "lockstep";
import { coordinator, fn, TerminalError } from "lockstep";
import { leave, pause, type Stamp, type Work } from "./work.ts";

const retry = { attempts: 8, backoff: { initialMs: 10 } };

/** Counts, and returns the number that it has given to itself. Every eighth fails after its write, and must have written nothing. */
export const increment = fn(
  "increment",
  async ({ effects, n, ms, counter }: Work & { counter: number }, ctx): Promise<Stamp> => {
    const key = `counters/${counter}`;
    const { value = 0 } = await ctx.state.get<number>(key, { stale: "allow" });
    // So that others come between.
    if (ms > 0) await pause(ms);
    await ctx.state.set(key, value + 1);
    if (ctx.attempt === 1 && n % 8 === 0) throw new Error("after the write");
    return { token: leave(effects, ctx.key, ctx.attempt), n: value + 1 };
  },
  { retry },
);

/** Counts in functions at the same time, and once itself. */
export const tally = coordinator("tally", async (ctx, { counters, ...work }: Work & { counters: number[] }) => {
  const stamps = await Promise.all(counters.map((counter, i) => ctx.call(increment, { ...work, n: work.n + i, counter })));
  const own = await ctx.state.update<number>("tallies/own", (value = 0) => value + 1);
  return { stamps, own };
});

interface Move {
  from: number;
  to: number;
  amount: number;
}

export const transfer = fn(
  "transfer",
  async ({ effects, n, from, to, amount }: Work & Move, ctx): Promise<Stamp> => {
    const { value: source = 0 } = await ctx.state.get<number>(`accounts/${from}`, { stale: "allow" });
    await ctx.state.set(`accounts/${from}`, source - amount);
    const { value: target = 0 } = await ctx.state.get<number>(`accounts/${to}`, { stale: "allow" });
    await ctx.state.set(`accounts/${to}`, target + amount);
    if (ctx.attempt === 1 && n % 8 === 0) throw new Error("after both writes");
    return { token: leave(effects, ctx.key, ctx.attempt), n };
  },
  { retry },
);

/** What all accounts hold together: 0, whatever is under way. */
export const total = fn(
  "total",
  async (_: unknown, ctx) => {
    const accounts = await ctx.state.list<number>("accounts/");
    return accounts.reduce((sum, { value = 0 }) => sum + value, 0);
  },
  { retry },
);

export const bank = coordinator("bank", async (ctx, { moves, ...work }: Work & { moves: Move[] }) => {
  const moved = Promise.all(moves.map((move, i) => ctx.call(transfer, { ...work, ...move, n: work.n + i })));
  const during = await ctx.call(total, {});
  return { during, stamps: await moved, after: await ctx.call(total, {}) };
});

/** Writes, and fails for good in every attempt. */
export const spoil = fn(
  "spoil",
  async ({ id }: { id: string }, ctx) => {
    await ctx.state.set(`doubts/${id}`, "spoilt");
    throw new TerminalError("after the write", { code: "SPOILT" });
  },
  { retry, writes: ["doubts/{id}"] },
);

export const look = fn(
  "look",
  async ({ id, stale }: { id: string; stale: "refuse" | "wait" }, ctx) =>
    ctx.state.get<string>(`doubts/${id}`, { stale }).then(({ value }) => value, codeOf),
  { retry },
);

const codeOf = (error: CallError): string => error.code;

/** Each value that becomes stale is told here, once. */
export const doubted = fn(
  "doubted",
  async ({ key }: { key: string }, ctx) => {
    await ctx.state.update<number>(`told/${key.slice("doubts/".length)}`, (value = 0) => value + 1);
  },
  { on: { stale: "doubts/*" } },
);

/** A value whose writer fails is refused, shown to who asks for it nevertheless, and trusted again once it is mended. */
export const doubtful = coordinator("doubtful", async (ctx, { n }: Work) => {
  const id = ctx.runId;
  const key = `doubts/${id}`;
  await ctx.state.set(key, "right");
  const spoilt = await ctx.call(spoil, { id }).catch(codeOf);
  const told: string[] = [];
  const refused = await ctx.call(look, { id, stale: "refuse" });
  const own = await ctx.state.get(key).then(() => "shown", codeOf);
  const { value: allowed, freshness } = await ctx.state.get<string>(key, { stale: "allow" });
  if (freshness.stale) told.push(freshness.function);
  const waiting = ctx.call(look, { id, stale: "wait" });
  if (n % 2 === 0) await ctx.state.refresh(key);
  else await ctx.state.set(key, "mended");
  return { spoilt, refused, own, allowed, told, waited: await waiting, after: await ctx.call(look, { id, stale: "refuse" }) };
});
