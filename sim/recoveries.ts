/** The part of the simulated application that keeps state, fails for good, recovers and compensates. */
import type { CoordinatorContext, FunctionContext } from "../src/index.ts";
import { CallError, coordinator, fn, TerminalError } from "../src/index.ts";
import type { Failure } from "../src/lib/errors.ts";
import type { Random } from "../src/lib/random.ts";
import type { JournalRecord } from "../src/protocol/run.ts";

/** How a function that fails for good is recovered. */
const MENDS = ["retry", "resume", "call", "fail", "escalate", "broken"] as const;
type Mend = (typeof MENDS)[number];

export type RecoveryOp =
  | { op: "count" | "tally"; counter: string }
  | { op: "perhaps"; counter: string; ms: number }
  | { op: "relentless"; label: string; places: number; failures: number }
  | { op: "write"; label: string; failures: number }
  | { op: "mend"; label: string; mend: Mend }
  /** Books this many places one by one and others at the same time, and fails meanwhile or then. */
  | { op: "saga" | "fallback" | "hasty"; places: number; together: number; meanwhile: boolean }
  | { op: "stubborn"; label: string; failures: number[] }
  | { op: "giveBack"; before: number; after: number };

export const COUNTERS = ["counters/a", "counters/b"];
export const BOOKED = "counters/booked";

interface Trip {
  places: number;
  together: number;
  meanwhile: boolean;
}

/** Records what an execution returns, and returns it with its number. */
type Note = (key: string, label: string) => string;

const increment = (ctx: { state: FunctionContext["state"] }, key: string, by: number): Promise<unknown> =>
  ctx.state.update<number>(key, (count) => (count ?? 0) + by);

// Pods die in a simulation more often than a call is tried.
const retry = { attempts: 6, backoff: { initialMs: 50, factor: 2, jitter: 0 } };
const once = { attempts: 1 };

export const createRecoveries = (note: Note) => {
  const count = fn(
    "count",
    async (counter: string, ctx) => {
      await increment(ctx, counter, 1);
      return note(ctx.key, "counted");
    },
    { retry },
  );
  const write = fn(
    "write",
    async ({ label, failures }: { label: string; failures: number }, ctx) => {
      await ctx.state.set(`written/${ctx.runId}/${label}`, label);
      if (ctx.attempt <= failures) throw new Error(`attempt ${ctx.attempt} of ${label}`);
      return label;
    },
    { retry },
  );
  const book = fn(
    "book",
    async (place: number, ctx) => {
      await ctx.state.set(bookingOf(ctx.key), place);
      await increment(ctx, BOOKED, 1);
      return note(ctx.key, `${place}`);
    },
    {
      retry,
      compensate: async (ctx, { output }) => {
        const booking = bookingOf(ctx.key);
        const { value } = await ctx.state.get<number>(booking);
        if (`${value}` !== output.replace(/#.*/, "")) throw new TerminalError(`${booking} is ${value}, not ${output}`);
        await ctx.state.delete(booking);
        await increment(ctx, BOOKED, -1);
      },
    },
  );
  const full = fn("full", (place: number): number => {
    throw new TerminalError(`place ${place} is taken`, { code: "FULL" });
  });
  const moody = fn(
    "moody",
    ({ label, failures }: { label: string; failures: number }, ctx) => {
      if (ctx.attempt <= failures) throw new Error(`attempt ${ctx.attempt} of ${label}`);
      return label;
    },
    { retry: once },
  );
  const mended = fn(
    "mended",
    ({ label, mend }: { label: string; mend: Mend }, ctx) => {
      if (mend === "retry" && ctx.attempt > 2) return label;
      throw new TerminalError(label);
    },
    {
      recover: async (ctx, { call }) => {
        if (call === undefined) throw new TypeError("the recovery of a function is told of its call");
        const { label, mend } = call.input as { label: string; mend: Mend };
        if (mend === "retry") return ctx.retry({ afterMs: 200 });
        if (mend === "resume") return ctx.resumeWith(label);
        if (mend === "call") return ctx.resumeWith(await ctx.call(moody, { label, failures: 0 }, { retry }));
        if (mend === "fail") return ctx.fail(new TerminalError("given up", { code: "GIVEN_UP" }));
        if (mend === "escalate") return ctx.escalate(label);
        throw new TypeError(label);
      },
    },
  );
  const soldOut = fn("soldOut", full.handler, { recover: (ctx) => ctx.compensate() });
  const saga = coordinator(
    "saga",
    async (ctx, { places, together, meanwhile }: Trip) => {
      await bookAll(ctx, places);
      const booked = Array.from({ length: together }, (_, i) => ctx.call(book, 100 + i));
      if (!meanwhile) await Promise.all(booked);
      await Promise.all([...booked, ctx.call(full, places)]);
    },
    { recover: (ctx) => ctx.compensate() },
  );
  const fallback = coordinator("fallback", async (ctx, { places, together, meanwhile }: Trip) => {
    await bookAll(ctx, places);
    const booked = Array.from({ length: together }, (_, i) => ctx.call(book, 100 + i));
    if (!meanwhile) await Promise.all(booked);
    else booked.push(bookAll(ctx, together).then(() => ""));
    await Promise.allSettled([...booked, ctx.call(soldOut, places)]);
    return (await ctx.call(book, 200)).length;
  });
  /** Ends while its own recovery, or that of its call, decides or compensates. */
  const hasty = coordinator("hasty", async (ctx, { places, together }: Trip) => {
    await bookAll(ctx, places);
    await Promise.all([ctx.call(soldOut, places), ctx.call(full, places), bookAll(ctx, together)]);
  });
  const touchy = fn("touchy", moody.handler, { retry: once, recover: (ctx) => ctx.compensate() });
  const relentless = coordinator(
    "relentless",
    async (ctx, { label, places, failures }: { label: string; places: number; failures: number }) => {
      await bookAll(ctx, places);
      return ctx.call(touchy, { label, failures });
    },
    { recover: (ctx) => ctx.retry() },
  );
  const stubborn = coordinator(
    "stubborn",
    async (ctx, { label, failures }: { label: string; failures: number[] }) => {
      const labels: string[] = [];
      for (const each of failures) labels.push(await ctx.call(moody, { label, failures: each }));
      return labels;
    },
    { recover: (ctx) => ctx.retry({ afterMs: 30 }) },
  );
  const giveBack = coordinator("giveBack", async (ctx, { before, after }: { before: number; after: number }) => {
    await bookAll(ctx, before);
    const first = await ctx.compensate();
    await bookAll(ctx, after);
    return [first.length, (await ctx.compensate()).length];
  });
  const bookAll = async (ctx: CoordinatorContext, places: number): Promise<void> => {
    for (let place = 0; place < places; place++) await ctx.call(book, place);
  };

  const perhaps = async (ctx: CoordinatorContext, counter: string, ms: number): Promise<string> => {
    const controller = new AbortController();
    const call = ctx.call(count, counter, { signal: controller.signal });
    await Promise.race([ctx.sleep(ms), call.catch(() => {})]);
    controller.abort();
    return call.then(
      () => "perhaps",
      (error: unknown) => (own(error).code === "CALL_CANCELLED" ? "perhaps" : "never"),
    );
  };

  const execute = async (ctx: CoordinatorContext, op: RecoveryOp): Promise<unknown> => {
    switch (op.op) {
      case "count":
        return ctx.call(count, op.counter);
      case "tally":
        await increment(ctx, op.counter, 1);
        return "tallied";
      case "perhaps":
        return perhaps(ctx, op.counter, op.ms);
      case "relentless":
        return ctx.run(relentless, { label: op.label, places: op.places, failures: op.failures });
      case "hasty":
        return ctx.run(hasty, tripOf(op)).catch((error: unknown) => own(error) && "ended");
      case "write": {
        const label = await ctx.call(write, { label: op.label, failures: op.failures });
        return (await ctx.state.get(`written/${ctx.runId}/${label}`)).value;
      }
      case "mend":
        return ctx.call(mended, { label: op.label, mend: op.mend }).catch((error: unknown) => own(error).code);
      case "saga":
        return ctx.run(saga, tripOf(op)).catch((error: unknown) => own(error) && "undone");
      case "fallback":
        return ctx.run(fallback, tripOf(op)).then(() => "other");
      case "stubborn":
        return ctx.run(stubborn, { label: op.label, failures: op.failures });
      case "giveBack":
        return ctx.run(giveBack, { before: op.before, after: op.after });
    }
  };
  return {
    definitions: { count, write, book, full, soldOut, moody, touchy, mended, saga, fallback, hasty, relentless, stubborn, giveBack },
    execute,
  };
};

const tripOf = ({ places, together, meanwhile }: Trip): Trip => ({ places, together, meanwhile });

// The key of a compensation is that of its call and what it does to it.
const bookingOf = (key: string): string => `bookings/${key.split("/").slice(0, 2).join("/")}`;

// A cancelled run rejects everything that it awaits; that must end it and not be taken for a result.
const own = (error: unknown): CallError => {
  if (error instanceof CallError && error.code !== "RUN_CANCELLED") return error;
  throw error;
};

/** What an operation returns, with the number of the execution left out. */
export const recoveredOf = (op: RecoveryOp): unknown => {
  switch (op.op) {
    case "count":
      return "counted";
    case "tally":
      return "tallied";
    case "perhaps":
      return "perhaps";
    case "hasty":
      return "ended";
    case "write":
    case "relentless":
      return op.label;
    case "mend":
      return op.mend === "fail" ? "GIVEN_UP" : op.label;
    case "saga":
      return "undone";
    case "fallback":
      return "other";
    case "stubborn":
      return op.failures.map(() => op.label);
    case "giveBack":
      return [op.before, op.after];
  }
};

const pick = <T>(random: Random, from: readonly T[]): T => from[random.below(from.length)] as T;

const KINDS = [
  "count",
  "count",
  "perhaps",
  "tally",
  "write",
  "mend",
  "mend",
  "saga",
  "fallback",
  "hasty",
  "relentless",
  "stubborn",
  "giveBack",
] as const;

export const randomRecovery = (random: Random, label: string): RecoveryOp => {
  const op = pick(random, KINDS);
  switch (op) {
    case "count":
    case "tally":
      return { op, counter: pick(random, COUNTERS) };
    case "perhaps":
      return { op, counter: pick(random, COUNTERS), ms: random.below(400) };
    case "write":
      return { op, label, failures: random.below(3) };
    case "mend":
      return { op, label, mend: pick(random, MENDS) };
    case "saga":
    case "fallback":
    case "hasty":
      return { op, places: random.below(4), together: random.below(4), meanwhile: random.next() < 0.5 };
    case "relentless":
      return { op, label, places: random.below(3), failures: random.below(4) };
    case "stubborn":
      return { op, label, failures: Array.from({ length: 1 + random.below(3) }, () => random.below(3)) };
    case "giveBack":
      return { op, before: random.below(4), after: random.below(3) };
  }
};

/** What a person says of a call that was escalated: the value that the operation is to have. `undefined` when that is no escalation. */
export const answerOf = (failure: Failure | undefined, journal: readonly JournalRecord[]): string | undefined => {
  if (failure?.code !== "ESCALATED" && failure?.code !== "RECOVERY_FAILED") return undefined;
  const call = journal.find((record) => record.t === "call" && record.seq === failure.call?.seq) as { input: string } | undefined;
  return call === undefined ? undefined : (JSON.parse(call.input) as { label: string }).label;
};
