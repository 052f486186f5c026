import fc from "fast-check";
import { expect, test } from "vitest";
import type { Failure } from "../lib/errors.ts";
import type { JournalRecord, RetryPolicy, RunKind } from "../protocol/run.ts";
import type { ResolvedCommand, RunInput } from "./machine.ts";
import { step } from "./machine.ts";
import type { RunEffect } from "./run-effects.ts";
import type { Pending, RunState } from "./run-state.ts";
import { apply, createRun, statusOf } from "./run-state.ts";

const head = (kind: RunKind) => ({ id: "run_00000000001", kind, name: "booking", version: "v1", priority: 0 });

// ---------------------------------------------------------------- what may happen

/** Few numbers, names and attempts, so that inputs meet what is pending as often as what is not. */
const seq = fc.oneof({ weight: 8, arbitrary: fc.integer({ min: 1, max: 12 }) }, { weight: 1, arbitrary: fc.constantFrom(0, 1_000_000) });
const attempt = fc.integer({ min: 0, max: 7 });
const json = fc.constantFrom("", "1", '"a"', "null");
const signalName = fc.constantFrom("go", "stop");
const ms = fc.integer({ min: -1, max: 40 });
const failure: fc.Arbitrary<Failure> = fc.record(
  {
    code: fc.constantFrom("FUNCTION_FAILED", "POD_LOST", "OUT_OF_MEMORY", "CALL_TIMEOUT"),
    message: fc.constant("no"),
    terminal: fc.constantFrom(false, false, true),
  },
  { requiredKeys: ["code", "message"] },
);
const outcome = fc.oneof(
  json.map((value) => ({ value })),
  failure.map((failed) => ({ failure: failed })),
);
const policy: fc.Arbitrary<RetryPolicy> = fc.record(
  {
    attempts: fc.constantFrom(1, 1, 2, 3),
    onExhausted: fc.constantFrom("suspend" as const, "fail" as const),
    nonRetryable: fc.constantFrom(["CALL_TIMEOUT"], []),
    backoff: fc.record({ initialMs: fc.nat(20) }),
  },
  { requiredKeys: [] },
);
const childOf = (of: number): string => `run_${String(of).padStart(11, "0")}`;
const refusal = fc.oneof({ weight: 7, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: failure });

const numbered: fc.Arbitrary<ResolvedCommand> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      t: fc.constant("call" as const),
      seq,
      fn: fc.constant("pay"),
      input: json,
      version: fc.constant("v2"),
      refusal,
    }),
  },
  { weight: 2, arbitrary: fc.record({ t: fc.constant("sleep" as const), seq, ms }) },
  {
    weight: 2,
    arbitrary: fc.record({ t: fc.constant("signal" as const), seq, name: signalName, timeoutMs: fc.option(ms, { nil: undefined }) }),
  },
  { weight: 1, arbitrary: fc.tuple(seq, outcome).map(([of, result]) => ({ t: "step" as const, seq: of, name: "s", ...result })) },
  { weight: 1, arbitrary: fc.record({ t: fc.constant("stepping" as const), seq }) },
  {
    weight: 2,
    arbitrary: fc
      .record({
        t: fc.constant("child" as const),
        seq,
        coordinator: fc.constant("ship"),
        input: json,
        detached: fc.boolean(),
        refusal,
      })
      .map((command) => ({ ...command, child: childOf(command.seq) })),
  },
  { weight: 2, arbitrary: fc.record({ t: fc.constant("withdraw" as const), seq, target: seq }) },
);

const finishing = fc.oneof(
  outcome.map((result): ResolvedCommand => ({ t: "finish", ...result })),
  fc.constant<ResolvedCommand>({ t: "finish", cancelled: true, failure: { code: "RUN_CANCELLED", message: "enough" } }),
);

const often = <T>(weight: number, arbitrary: fc.Arbitrary<T>) => ({ weight, arbitrary });

const input: fc.Arbitrary<RunInput> = fc.oneof(
  often(32, fc.record({ t: fc.constant("commands" as const), commands: fc.array(numbered, { minLength: 1, maxLength: 4 }) })),
  often(6, fc.record({ t: fc.constant("succeeded" as const), seq, attempt, value: json })),
  often(40, fc.record({ t: fc.constant("failed" as const), seq, attempt, failure, policy })),
  often(8, fc.record({ t: fc.constant("timer" as const), seq })),
  often(
    3,
    fc.tuple(seq, outcome).map(([of, result]) => ({ t: "child" as const, seq: of, ...result })),
  ),
  often(6, fc.record({ t: fc.constant("signal" as const), name: signalName, value: json })),
  often(
    2,
    fc.record({ t: fc.constant("cancel" as const), reason: fc.constant("enough"), force: fc.constantFrom(true, false, false, false) }),
  ),
  often(1, fc.record({ t: fc.constant("halt" as const), failure })),
  often(4, fc.constant({ t: "resume" as const })),
  often(
    1,
    finishing.map((command) => ({ t: "commands" as const, commands: [command] })),
  ),
);

/** An input, how much time passes before it, and whether its numbers are set right for something that is pending (most of them would miss). */
const event = fc.record({
  input,
  elapsedMs: fc.integer({ min: -5, max: 30 }),
  aimed: fc.constantFrom(true, true, true, false),
  pick: fc.nat(),
});
const story = fc.record({
  kind: fc.constantFrom<RunKind[]>("coordinator", "coordinator", "coordinator", "expression", "function"),
  events: fc.array(event, { minLength: 1, maxLength: 60, size: "max" }),
});
type Event = typeof event extends fc.Arbitrary<infer Value> ? Value : never;

const KINDS: Partial<Record<RunInput["t"], Pending["t"][]>> = {
  timer: ["sleep", "signal"],
  child: ["child"],
  succeeded: ["call"],
  failed: ["call"],
};

/** Points an outcome at something that is pending, with the attempt that is under way, and gives new numbers to commands. */
const aim = (run: RunState, { input: given, aimed, pick }: Event): RunInput => {
  if (!aimed) return given;
  const pending = [...run.pending.values()];
  if (given.t === "commands")
    return { t: "commands", commands: given.commands.map((command, i) => renumber(run, command, i, pending, pick)) };
  if (!("seq" in given)) return given;
  const targets = pending.filter(({ t }) => KINDS[given.t]?.includes(t));
  const target = targets[pick % Math.max(1, targets.length)];
  if (target === undefined) return given;
  return "attempt" in given && target.t === "call" ? { ...given, seq: target.seq, attempt: target.attempt } : { ...given, seq: target.seq };
};

const renumber = (run: RunState, command: ResolvedCommand, at: number, pending: Pending[], pick: number): ResolvedCommand => {
  if (command.t === "finish") return command;
  const of = Math.max(run.known.upTo, ...run.known.beyond) + 1 + at;
  if (command.t === "child") return { ...command, seq: of, child: childOf(of) };
  if (command.t === "withdraw") return { ...command, seq: of, target: pending[pick % Math.max(1, pending.length)]?.seq ?? command.target };
  return { ...command, seq: of };
};

// ---------------------------------------------------------------- the service's bookkeeping

/** What the effects of a run have set in motion: the queued attempts, the timers and the children that will wake it. */
class Bookkeeping {
  readonly calls = new Map<number, number>();
  readonly timers = new Map<number, number>();
  readonly children = new Set<string>();
  finished = 0;
  readonly #lastAttempt = new Map<number, number>();

  /** What the input has used up: an attempt that ended, a timer that fired. */
  consume(given: RunInput): void {
    if (given.t === "timer") this.timers.delete(given.seq);
    else if (given.t === "child") this.children.delete(childOf(given.seq));
    else if ((given.t === "succeeded" || given.t === "failed") && this.calls.get(given.seq) === given.attempt) this.calls.delete(given.seq);
  }

  take(effect: RunEffect): void {
    switch (effect.t) {
      case "enqueue":
        expect(this.calls.has(effect.call.seq), "a call is enqueued twice").toBe(false);
        expect(this.#lastAttempt.get(effect.call.seq) ?? 0, "an attempt is not fenced from the one before").toBeLessThan(
          effect.call.attempt,
        );
        this.#lastAttempt.set(effect.call.seq, effect.call.attempt);
        this.calls.set(effect.call.seq, effect.call.attempt);
        return;
      case "withdraw":
        return void this.calls.delete(effect.seq);
      case "arm":
        return void this.timers.set(effect.seq, effect.dueAt);
      case "disarm":
        expect(this.timers.delete(effect.seq), "a timer is disarmed that is not armed").toBe(true);
        return;
      case "start-child":
        if (!effect.detached) this.children.add(effect.child);
        return;
      case "cancel-child":
        expect(this.children.delete(effect.child), "a child is cancelled that was not started").toBe(true);
        return;
      case "finished":
        this.finished++;
        return;
      default:
        return;
    }
  }
}

/** What the state says must be in motion. */
const expected = (run: RunState) => {
  const pending = [...run.pending.values()];
  return {
    calls: new Map(pending.flatMap((p): [number, number][] => (p.t === "call" && p.dead === undefined ? [[p.seq, p.attempt]] : []))),
    timers: new Map(
      pending.flatMap((p): [number, number][] =>
        (p.t === "sleep" || p.t === "signal") && p.dueAt !== undefined ? [[p.seq, p.dueAt]] : [],
      ),
    ),
    dead: pending.filter((p) => p.t === "call" && p.dead !== undefined).length,
    children: new Set(pending.flatMap((p) => (p.t === "child" ? [p.child] : []))),
  };
};

/** Plays a story and gives each step to `check`. */
const play = ({ kind, events }: { kind: RunKind; events: Event[] }, check: (played: Played) => void): void => {
  const run = createRun(head(kind));
  const records: JournalRecord[] = [];
  let now = 1_000;
  for (const each of events) {
    now += each.elapsedMs;
    const given = aim(run, each);
    const before = structuredClone(run);
    const effects: RunEffect[] = [];
    step(run, given, now, effects);
    for (const effect of effects) if (effect.t === "record") records.push(structuredClone(effect.record));
    check({ run, before, given, effects, records, kind });
  }
};
interface Played {
  run: RunState;
  before: RunState;
  given: RunInput;
  effects: RunEffect[];
  records: JournalRecord[];
  kind: RunKind;
}

const assertStories = (check: () => (played: Played) => void): void => {
  fc.assert(
    fc.property(story, (told) => play(told, check())),
    { numRuns: 200 },
  );
};

// ---------------------------------------------------------------- the invariants

test("I1: replaying the records gives the same state", () => {
  assertStories(() => ({ run, records, kind }) => {
    const replayed = createRun(head(kind));
    for (const record of records) apply(replayed, record);
    if (run.finished !== undefined) {
      // The end is kept in the run's head row, not in its journal.
      apply(replayed, { t: "finish", at: 0, status: run.finished });
    }
    expect(replayed).toEqual(run);
  });
});

test("I1: a record is delivered at its place among the records, and a signal's value or an outcome only when it is recorded", () => {
  assertStories(() => ({ effects, records }) => {
    for (const effect of effects) {
      if (effect.t !== "deliver") continue;
      expect(records[effect.index]).toEqual(effect.record);
      expect(["done", "cancel"]).toContain(effect.record.t);
    }
    const recorded = effects.flatMap((effect) => (effect.t === "record" && effect.record.t === "done" ? [effect.record] : []));
    expect(effects.flatMap((effect) => (effect.t === "deliver" && effect.record.t === "done" ? [effect.record] : []))).toEqual(recorded);
  });
});

test("I2: a command is recorded once and has one outcome at most, which comes after it", () => {
  assertStories(() => ({ records }) => {
    const made = new Set<number>();
    const done = new Set<number>();
    for (const record of records) {
      if (record.t === "done") {
        expect(made.has(record.seq) && !done.has(record.seq), `an outcome of ${record.seq} too many`).toBe(true);
        done.add(record.seq);
      } else if ("seq" in record && record.t !== "attempt" && record.t !== "suspend") {
        expect(made.has(record.seq), `command ${record.seq} is recorded twice`).toBe(false);
        made.add(record.seq);
      }
    }
  });
});

test("I2: an outcome of another attempt, of an unknown command or of one that is done changes nothing", () => {
  assertStories(() => ({ before, given, effects, run }) => {
    if (given.t !== "succeeded" && given.t !== "failed") return;
    const call = before.pending.get(given.seq);
    if (call?.t === "call" && call.attempt === given.attempt && call.dead === undefined) return expect(effects.length).toBeGreaterThan(0);
    expect(effects).toEqual([]);
    expect(run).toEqual(before);
  });
});

test("I3: after its end nothing changes any more", () => {
  assertStories(() => ({ before, run, effects }) => {
    if (before.finished === undefined) return;
    expect(effects).toEqual([]);
    expect(run).toEqual(before);
  });
});

test("I4: every pending command has what will wake it, and nothing else is in motion", () => {
  assertStories(() => {
    const book = new Bookkeeping();
    return ({ run, before, given, effects }) => {
      book.consume(given);
      for (const effect of effects) book.take(effect);
      const { calls, timers, children, dead } = expected(run);
      expect(book.calls).toEqual(calls);
      expect(book.timers).toEqual(timers);
      expect(book.children).toEqual(children);
      expect(run.dead).toBe(dead);
      expect(book.finished).toBe(run.finished === undefined ? 0 : 1);
      if (before.finished === undefined && run.finished === undefined)
        expect(statusOf(run, false) === "suspended").toBe(dead > 0 || run.halted !== undefined);
    };
  });
});

test("signals of one name reach those who wait for it in the order in which they came, each once", () => {
  assertStories(() => ({ records }) => {
    const nameOf = new Map<number, string>();
    const sent = new Map<string, string[]>();
    const got = new Map<string, string[]>();
    const add = (to: Map<string, string[]>, name: string, value: string) => to.set(name, [...(to.get(name) ?? []), value]);
    for (const record of records) {
      if (record.t === "signal") nameOf.set(record.seq, record.name);
      else if (record.t === "signalled") add(sent, record.name, record.value);
      else if (record.t === "done" && record.value !== undefined && nameOf.has(record.seq)) add(got, nameOf.get(record.seq)!, record.value);
    }
    for (const [name, values] of got) expect(values).toEqual(sent.get(name)!.slice(0, values.length));
  });
});

test("a run ends in bounded time when its calls fail for ever: attempts are limited, and so are deaths of pods", () => {
  fc.assert(
    fc.property(fc.array(failure, { minLength: 40, maxLength: 40 }), policy, (failures, retry) => {
      const run = createRun(head("function"));
      step(run, { t: "commands", commands: [{ t: "call", seq: 1, fn: "pay", input: "" }] }, 0, []);
      const attempts: number[] = [];
      for (const each of failures) {
        const call = run.pending.get(1);
        if (call?.t !== "call" || call.dead !== undefined) break;
        attempts.push(call.attempt);
        step(run, { t: "failed", seq: 1, attempt: call.attempt, failure: each, policy: retry }, 0, []);
      }
      expect(attempts).toEqual(attempts.map((_, i) => i + 1));
      expect(attempts.length).toBeLessThanOrEqual(4 + 5);
    }),
  );
});
