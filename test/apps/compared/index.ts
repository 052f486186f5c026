/** Functions that two pods execute: one of them can be corrupted in one process, one takes its time. */
import { coordinator, fn } from "lockstep";

interface Sum {
  a: number;
  b: number;
  /** The process that is broken from then on. */
  corrupt?: number;
}

let isCorrupt = false;

export const sum = fn(
  "sum",
  ({ a, b, corrupt }: Sum) => {
    if (corrupt === process.pid) isCorrupt = true;
    return { total: isCorrupt ? a + b + 1 : a + b };
  },
  { trust: "compare" },
);

export const slow = fn(
  "slow",
  async (ms: number, ctx) => {
    await new Promise((resolve) => setTimeout(resolve, ms));
    return ctx.attempt;
  },
  { trust: "compare" },
);

export const fatal = fn("fatal", () => process.kill(process.pid, "SIGKILL"), {
  trust: "compare",
  retry: { attempts: 1, onExhausted: "fail" },
});

export const chain = coordinator("chain", async (ctx, count: number) => {
  let total = 0;
  for (let i = 1; i <= count; i++) total = (await ctx.call(sum, { a: total, b: i })).total;
  return total;
});
