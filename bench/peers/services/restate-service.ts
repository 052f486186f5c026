/** The process with the code that Restate invokes: each case as steps inside one handler, and as calls between services. */
import * as restate from "@restatedev/restate-sdk";
import { double, FAN, increment, sum } from "../work.ts";

/** So many are in flight at once inside one run: the best of 10 to 1,000 here; the SDK is far slower with a thousand. */
const BATCH = 100;

const range = (length: number): number[] => Array.from({ length }, (_, i) => i);

const batches = async (calls: number, start: (i: number) => restate.RestatePromise<number>): Promise<number> => {
  let total = 0;
  for (let from = 0; from < calls; from += BATCH) {
    total += sum(await restate.RestatePromise.all(range(Math.min(BATCH, calls - from)).map((i) => start(from + i))));
  }
  return total;
};

const functions = restate.service({
  name: "functions",
  handlers: {
    increment: async (_ctx: restate.Context, x: number): Promise<number> => increment(x),
    double: async (_ctx: restate.Context, x: number): Promise<number> => double(x),
  },
});

const steps = restate.service({
  name: "steps",
  handlers: {
    one_call: async (ctx: restate.Context, x: number): Promise<number> => ctx.run("increment", () => increment(x)),
    chain_2: async (ctx: restate.Context, x: number): Promise<number> => {
      const value = await ctx.run("increment", () => increment(x));
      return ctx.run("double", () => double(value));
    },
    chain_10: async (ctx: restate.Context, x: number): Promise<number> => {
      let value = x;
      for (let i = 0; i < 5; i++) {
        const given = value;
        const more = await ctx.run("increment", () => increment(given));
        value = await ctx.run("double", () => double(more));
      }
      return value;
    },
    fan_32: async (ctx: restate.Context, x: number): Promise<number> =>
      sum(await restate.RestatePromise.all(range(FAN).map((i) => ctx.run("increment", () => increment(x + i))))),
    inside_1000: (ctx: restate.Context, calls: number): Promise<number> => batches(calls, (i) => ctx.run("increment", () => increment(i))),
  },
});

const callers = restate.service({
  name: "callers",
  handlers: {
    chain_2: async (ctx: restate.Context, x: number): Promise<number> => {
      const called = ctx.serviceClient(functions);
      return called.double(await called.increment(x));
    },
    chain_10: async (ctx: restate.Context, x: number): Promise<number> => {
      const called = ctx.serviceClient(functions);
      let value = x;
      for (let i = 0; i < 5; i++) value = await called.double(await called.increment(value));
      return value;
    },
    fan_32: async (ctx: restate.Context, x: number): Promise<number> => {
      const called = ctx.serviceClient(functions);
      return sum(await restate.RestatePromise.all(range(FAN).map((i) => called.increment(x + i))));
    },
    inside_1000: (ctx: restate.Context, calls: number): Promise<number> => {
      const called = ctx.serviceClient(functions);
      return batches(calls, (i) => called.increment(i));
    },
  },
});

process.once("disconnect", () => process.exit(1));
const port = Number(process.argv[2]);
await restate.serve({ services: [functions, steps, callers], port });
process.send?.({ ready: true });
