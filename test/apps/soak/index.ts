/**
 * The application of the soak test. Every execution of a function leaves a line in a file and returns a token of its own, so that afterwards
 * each committed result can be traced to the one execution that it came from.
 */
import type { CallError } from "lockstep";
import { coordinator, fn, TerminalError } from "lockstep";
import { leave, pause, type Stamp, type Work } from "./work.ts";

export { arrived, forwarded, soaked } from "./objects.ts";
export { fail, mend, mended, reserve, saga, sagaCancelled, sagaRecovered } from "./sagas.ts";
export { bank, doubted, doubtful, increment, look, spoil, tally, total, transfer } from "./state.ts";

export const stamp = fn("stamp", async ({ effects, n, ms }: Work, ctx): Promise<Stamp> => {
  if (ms > 0) await pause(ms);
  return { token: leave(effects, ctx.key, ctx.attempt), n: n + 1 };
});

/** Fails in its first attempt, in a third of the calls in the second as well. */
export const flaky = fn(
  "flaky",
  ({ effects, n }: Work, ctx): Stamp => {
    if (ctx.attempt < 2 + (n % 3 === 0 ? 1 : 0)) throw new Error("not yet");
    return { token: leave(effects, ctx.key, ctx.attempt), n: n + 1 };
  },
  { retry: { attempts: 6, backoff: { initialMs: 10 } } },
);

export const refuse = fn("refuse", () => {
  throw new TerminalError("never", { code: "REFUSED" });
});

export const add = fn("add", ([a, b]: [number, number]) => a + b, { deterministic: true });
export const subtract = fn("subtract", ([a, b]: [number, number]) => a - b, { deterministic: true });
export const multiply = fn("multiply", async ([a, b]: [number, number]) => {
  await pause(5);
  return a * b;
});

export const chain = coordinator("chain", async (ctx, { length, ...work }: Work & { length: number }) => {
  const stamps: Stamp[] = [];
  for (let i = 0; i < length; i++) stamps.push(await ctx.call(stamp, { ...work, n: stamps.at(-1)?.n ?? work.n }));
  return stamps;
});

export const fan = coordinator("fan", async (ctx, { width, ...work }: Work & { width: number }) =>
  Promise.all(Array.from({ length: width }, (_, i) => ctx.call(i % 4 === 3 ? flaky : stamp, { ...work, n: work.n + i }))),
);

export const signalled = coordinator("signalled", async (ctx, work: Work) => {
  const first = await ctx.call(stamp, work);
  const told = await ctx.signal<number>("go");
  return [first, await ctx.call(stamp, { ...work, n: told })];
});

export const sleeper = coordinator("sleeper", async (ctx, { sleepMs, ...work }: Work & { sleepMs: number }) => {
  const first = await ctx.call(stamp, work);
  await ctx.sleep(sleepMs);
  return [first, await ctx.call(stamp, { ...work, n: first.n })];
});

export const family = coordinator("family", async (ctx, { children, ...work }: Work & { children: number }) => {
  const detached = await ctx.start(chain, { ...work, length: 1 });
  const results = await Promise.all(
    Array.from({ length: children }, (_, i) =>
      i % 2 === 0 ? ctx.run(chain, { ...work, length: 2 }) : ctx.run(sleeper, { ...work, sleepMs: 1_500 }),
    ),
  );
  return { detached: detached.id, results };
});

/** A step inside the coordinator: whatever it drew, the call after it must have got the same. */
export const stepper = coordinator("stepper", async (ctx, work: Work) => {
  const drawn = await ctx.step("draw", async () => {
    await pause(work.ms);
    return Math.floor(Math.random() * 1_000_000);
  });
  return { drawn, stamps: [await ctx.call(stamp, { ...work, n: drawn })] };
});

/** The first of two calls wins, the other is cancelled; then code depends on chance and time, which a replay must repeat. */
export const racer = coordinator("racer", async (ctx, work: Work) => {
  const loser = new AbortController();
  const slow = ctx.call(stamp, { ...work, ms: work.ms + 40 }, { signal: loser.signal }).catch((error: CallError) => error.code);
  const quick = ctx.call(stamp, work);
  const winner = await Promise.race([slow, quick]);
  loser.abort();
  const draws = Math.floor(ctx.random() * 3);
  const stamps: Stamp[] = [];
  for (let i = 0; i < draws; i++) stamps.push(await ctx.call(stamp, { ...work, n: i, ms: ctx.now() % 7 }));
  const refused = await ctx.call(refuse, undefined).catch((error: CallError) => error.code);
  return { winner, draws, stamps, refused, id: ctx.uuid(), slow: await slow };
});

export const reverse = fn("reverse", (text: string) => [...text].reverse().join(""));

/** Payloads that are too large to stand in the records themselves. */
export const bulky = coordinator("bulky", async (ctx, { bytes }: { bytes: number }) => {
  const there = await ctx.call(reverse, "ab".repeat(bytes / 2));
  const back = await ctx.call(reverse, there);
  return { there: there.slice(0, 4), back: back.slice(0, 4), bytes: back.length };
});

/** Waits for ever, and tidies up when it is cancelled. */
export const cancelled = coordinator("cancelled", async (ctx, work: Work) => {
  try {
    await Promise.all([ctx.call(stamp, { ...work, ms: 5_000 }), ctx.signal("never")]);
  } finally {
    await ctx.call(stamp, work);
  }
});
