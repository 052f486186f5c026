import fc from "fast-check";
import { expect, test } from "vitest";
import { assertStories, childOf, failure, headOf, type Player, policy } from "../../test/support/run-stories.ts";
import type { JournalRecord } from "../protocol/run.ts";
import type { RunInput } from "./machine.ts";
import { step } from "./machine.ts";
import type { RunEffect } from "./run-effects.ts";
import { apply } from "./run-records.ts";
import type { Pending, RunState } from "./run-state.ts";
import { createRun, isCoded, isQueued, statusOf } from "./run-state.ts";

// ---------------------------------------------------------------- the service's bookkeeping

/** What the effects of a run have set in motion: attempts, timers, children, recoveries, operations and code that will wake it. */
class Bookkeeping {
  readonly calls = new Map<number, number>();
  readonly timers = new Map<number, number>();
  readonly children = new Set<string>();
  readonly recoveries = new Set<string>();
  readonly operations = new Set<number>();
  /** The code goes on, unless its recovery has begun. */
  isCoded = true;
  finished = 0;
  readonly #lastAttempt = new Map<number, number>();
  readonly #started = new Set<string>();

  /** What the input has used up: an attempt that ended, a timer that fired. */
  consume(given: RunInput): void {
    if (given.t === "timer") this.timers.delete(given.seq);
    else if (given.t === "child") this.children.delete(childOf(given.seq));
    else if (given.t === "stated") this.operations.delete(given.seq);
    else if (given.t === "recovered") this.recoveries.delete(given.recovery);
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
      case "let-end":
        return expect(this.calls.has(effect.seq), "a call is to end that is not under way").toBe(true);
      case "arm":
        return void this.timers.set(effect.seq, effect.dueAt);
      case "disarm":
        expect(this.timers.delete(effect.seq), "a timer is disarmed that is not armed").toBe(true);
        return;
      case "start-child":
        if (!effect.detached) this.children.add(effect.child);
        return;
      case "cancel-child":
        expect(
          this.children.delete(effect.child) || this.recoveries.delete(effect.child),
          "a child is cancelled that was not started",
        ).toBe(true);
        return;
      case "state":
        return void this.operations.add(effect.seq);
      case "start-recovery":
        expect(this.#started.has(effect.recovery), "a recovery is started twice").toBe(false);
        this.#started.add(effect.recovery);
        this.recoveries.add(effect.recovery);
        if (effect.seq === 0) this.isCoded = false;
        return;
      case "rehost":
        expect(this.isCoded, "code is started that goes on already").toBe(false);
        this.isCoded = true;
        return;
      case "finished":
        this.finished++;
        return;
      default:
        return;
    }
  }

  /** An operation whose command was withdrawn finds nobody who waits for it. */
  operationsOf(run: RunState): Set<number> {
    return new Set([...this.operations].filter((seq) => run.pending.has(seq)));
  }
}

/** What the state says must be in motion. */
const expected = (run: RunState) => {
  const pending = [...run.pending.values()];
  const recovering = pending.flatMap((p) => (p.t === "call" && p.recovering !== undefined ? [p.recovering.recovery] : []));
  if (run.recovering !== undefined) recovering.push(run.recovering.recovery);
  return {
    calls: new Map(pending.flatMap((p): [number, number][] => (p.t === "call" && isQueued(p) ? [[p.seq, p.attempt]] : []))),
    timers: new Map(
      pending.flatMap((p): [number, number][] =>
        (p.t === "sleep" || p.t === "signal") && p.dueAt !== undefined ? [[p.seq, p.dueAt]] : [],
      ),
    ),
    dead: pending.filter((p) => p.t === "call" && p.dead !== undefined).length,
    children: new Set(pending.flatMap((p) => (p.t === "child" ? [p.child] : []))),
    recoveries: new Set(recovering),
    operations: new Set(pending.flatMap((p) => (p.t === "state" ? [p.seq] : []))),
  };
};

// ---------------------------------------------------------------- the invariants

test("I1: replaying the records gives the same state", () => {
  assertStories(() => ({ run, records, kind }) => {
    const replayed = createRun(headOf(kind));
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
      expect(["done", "cancel", "stale"]).toContain(effect.record.t);
    }
    const recorded = effects.flatMap((effect) =>
      effect.t === "record" && effect.record.t === "done" && effect.record.seq > 0 ? [effect.record] : [],
    );
    expect(effects.flatMap((effect) => (effect.t === "deliver" && effect.record.t === "done" ? [effect.record] : []))).toEqual(recorded);
  });
});

/** Of what happens to a command that is there already. */
const OF_ONE: ReadonlySet<JournalRecord["t"]> = new Set(["done", "reopen", "attempt", "suspend", "progress", "recover", "recovered"]);

test("I2: a command is recorded once and has one outcome at most, which comes after it", () => {
  assertStories(() => ({ records }) => {
    const made = new Set<number>();
    const done = new Set<number>();
    for (const record of records) {
      if (record.t === "reopen") done.delete(record.seq);
      if (record.t === "done") {
        expect(made.has(record.seq) && !done.has(record.seq), `an outcome of ${record.seq} too many`).toBe(true);
        done.add(record.seq);
      }
      if (!("seq" in record) || OF_ONE.has(record.t)) continue;
      // A compensation that a cancellation has cut off is made again.
      expect(made.has(record.seq) && record.t !== "undo", `command ${record.seq} is recorded twice`).toBe(false);
      made.add(record.seq);
    }
  });
});

test("I2: an outcome of another attempt, of an unknown command or of one that is done changes nothing", () => {
  assertStories(() => ({ before, given, effects, run }) => {
    if (given.t !== "succeeded" && given.t !== "failed" && given.t !== "progress") return;
    const call = before.pending.get(given.seq);
    if (call?.t === "call" && call.attempt === given.attempt && isQueued(call)) return expect(effects.length).toBeGreaterThan(0);
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
    return ({ run, before, given, effects, kind }) => {
      book.consume(given);
      for (const effect of effects) book.take(effect);
      const { calls, timers, children, recoveries, operations, dead } = expected(run);
      expect(book.calls).toEqual(calls);
      expect(book.timers).toEqual(timers);
      expect(book.children).toEqual(children);
      expect(book.recoveries).toEqual(recoveries);
      expect(book.operationsOf(run)).toEqual(operations);
      expect(run.dead).toBe(dead);
      expect(book.finished).toBe(run.finished === undefined ? 0 : 1);
      if (run.finished !== undefined) return;
      if (isCoded(kind)) expect(book.isCoded, "whose code goes on has not ended").toBe(run.ended === undefined);
      if (before.finished === undefined) expect(statusOf(run, false) === "suspended").toBe(dead > 0 || run.halted !== undefined);
    };
  });
});

test("I4: whatever has happened, a run ends once all that it waits for has come", () => {
  assertStories(
    () => () => {},
    (player) => {
      for (let rounds = 0; player.run.finished === undefined; rounds++) {
        expect(rounds, "the run goes on for ever").toBeLessThan(200);
        answer(player);
      }
    },
  );
});

/** Does one thing that the state says is to come. */
const answer = (player: Player): void => {
  const { run } = player;
  if (run.recovering !== undefined) return player.feed(decided(player, 0, run.recovering.recovery));
  if (run.dead > 0 || run.halted !== undefined)
    return player.feed({ t: "resolve", resolution: { action: "value", value: "1" }, by: "alice" });
  for (const pending of run.pending.values()) {
    const given = answerTo(player, pending);
    if (given !== undefined) return player.feed(given);
  }
  // It waits for nothing: its code goes on.
  expect(run.ended, "nothing wakes a run whose code has ended").toBeUndefined();
  expect(run.undoing, "nothing carries a compensation on").toBeUndefined();
  player.feed({ t: "commands", commands: [{ t: "finish", value: "1" }] });
};

const decided = (player: Player, seq: number, recovery: string): RunInput => ({
  t: "recovered",
  seq,
  recovery,
  decision: { t: "compensate" },
  next: player.fresh(),
});

const answerTo = (player: Player, pending: Pending): RunInput | undefined => {
  const { seq } = pending;
  switch (pending.t) {
    case "child":
      return { t: "child", seq, value: "1" };
    case "state":
      return { t: "stated", seq, value: "1" };
    case "call":
      if (pending.recovering !== undefined) return decided(player, seq, pending.recovering.recovery);
      return isQueued(pending) ? { t: "succeeded", seq, attempt: pending.attempt, value: "1" } : undefined;
    default:
      if (pending.t === "signal" && pending.dueAt === undefined) return { t: "signal", name: pending.name, value: "1" };
      player.now = Math.max(player.now, pending.dueAt ?? 0);
      return { t: "timer", seq };
  }
};

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
      const run = createRun(headOf("function"));
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
