/** Runs that fail somewhere and undo what they did. */
import { type CoordinatorContext, coordinator, fn, TerminalError } from "lockstep";
import { leave, pause, type Stamp, type Work } from "./work.ts";

const retry = { attempts: 8, backoff: { initialMs: 10 } };

export interface Saga extends Work {
  length: number;
  /** The position that fails; none when it is the length. */
  failAt: number;
}

type Reservation = Work & { kind: number };

/** Holds one more of a kind; its compensation holds one less. Both fail now and then after they have written. */
export const reserve = fn(
  "reserve",
  async ({ effects, n, ms, kind }: Reservation, ctx): Promise<Stamp> => {
    if (ms > 0) await pause(ms);
    const key = `held/${kind}`;
    const { value = 0 } = await ctx.state.get<number>(key, { stale: "allow" });
    await ctx.state.set(key, value + 1);
    if (ctx.attempt === 1 && n % 8 === 0) throw new Error("after the write");
    return { token: leave(effects, ctx.key, ctx.attempt), n };
  },
  {
    retry,
    compensate: async (ctx, { input: { kind, n } }) => {
      const key = `held/${kind}`;
      const { value = 0 } = await ctx.state.get<number>(key, { stale: "allow" });
      await ctx.state.set(key, value - 1);
      if (ctx.attempt === 1 && n % 8 === 1) throw new Error("after the compensation");
    },
  },
);

export const fail = fn("fail", () => {
  throw new TerminalError("this position fails", { code: "POSITION" });
});

/** The first two positions at the same time, the others one after the other. */
const positions = async (ctx: CoordinatorContext, { length, failAt, ...work }: Saga): Promise<number[]> => {
  const position = async (i: number): Promise<number> => {
    if (i === failAt) await ctx.call(fail, undefined);
    return (await ctx.call(reserve, { ...work, n: work.n + i, kind: (work.n + i) % 4 })).n;
  };
  const reserved = await Promise.all([position(0), position(1)]);
  for (let i = 2; i < length; i++) reserved.push(await position(i));
  return reserved;
};

export const saga = coordinator("saga", async (ctx, input: Saga) => {
  try {
    return { reserved: await positions(ctx, input), undone: [] };
  } catch {
    return { reserved: [], undone: (await ctx.compensate()).map(({ seq }) => seq) };
  }
});

export const sagaRecovered = coordinator("saga-recovered", async (ctx, input: Saga) => positions(ctx, input), {
  recover: (ctx) => ctx.compensate(),
});

export const sagaCancelled = coordinator("saga-cancelled", async (ctx, input: Saga) => {
  try {
    await positions(ctx, input);
    await ctx.signal("never");
  } finally {
    await ctx.compensate();
  }
});

/** Fails for good, unless recovery has given it another input. */
export const mend = fn(
  "mend",
  ({ effects, n, broken }: Work & { broken: boolean }, ctx): Stamp => {
    if (broken) throw new TerminalError("broken", { code: "BROKEN" });
    return { token: leave(effects, ctx.key, ctx.attempt), n };
  },
  {
    recover: async (ctx, { call }) => {
      const input = call?.input as Work;
      await ctx.sleep(input.ms);
      if (input.n % 2 === 0) return ctx.resumeWith({ n: input.n });
      return ctx.retry({ afterMs: input.ms, input: { ...input, broken: false } });
    },
  },
);

export const mended = coordinator("mended", async (ctx, work: Work) => (await ctx.call(mend, { ...work, broken: true })).n);
