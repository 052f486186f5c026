import { expect, test } from "vitest";
import { assertStories, type Played, type Player } from "../../test/support/run-stories.ts";
import type { JournalRecord } from "../protocol/run.ts";
import { MAX_RECOVERIES, MAX_TRIES } from "./recovery-machine.ts";
import { hasEnded, isQueued, type PendingCall, type RunState } from "./run-state.ts";

const callsOf = (run: RunState): PendingCall[] => [...run.pending.values()].filter((pending) => pending.t === "call");

/** What was done and can be undone, by the records alone. */
class Ledger {
  readonly undoable = new Set<number>();
  /** Completed calls that were not compensated, in the order of their ends. */
  done: number[] = [];
  readonly undone: number[] = [];

  take(record: JournalRecord): void {
    if (record.t === "call" && record.undoable) this.undoable.add(record.seq);
    if (record.t !== "done") return;
    if (record.seq < 0) {
      this.undone.push(-record.seq);
      this.done = this.done.filter((seq) => seq !== -record.seq);
    } else if (record.value !== undefined && this.undoable.has(record.seq)) this.done.push(record.seq);
  }
}

const withLedger = (check: (ledger: Ledger, played: Played) => void) => () => {
  const ledger = new Ledger();
  return (played: Played) => check(ledger, played);
};

test("V1: nothing is compensated that has not completed, and nothing is twice", () => {
  assertStories(
    withLedger((ledger, { made }) => {
      for (const record of made) {
        if (record.t === "undo") expect(ledger.done, `${record.seq} compensates what was not done, or not any more`).toContain(-record.seq);
        ledger.take(record);
        if (record.t === "done" && record.seq < 0) expect(record.value, "a compensation that failed counts as one").toBeDefined();
      }
      expect(new Set(ledger.undone).size).toBe(ledger.undone.length);
    }),
  );
});

test("V2: compensations go backwards, one at a time, while no other call is under way", () => {
  assertStories(
    withLedger((ledger, { run, made }) => {
      for (const record of made) {
        if (record.t === "undo") expect(-record.seq, "another call has completed later").toBe(ledger.done.at(-1));
        ledger.take(record);
      }
      const calls = callsOf(run).filter(({ compensating }) => compensating === undefined);
      if (calls.some(({ seq }) => seq < 0)) expect(calls.map(({ seq }) => seq)).toHaveLength(1);
    }),
  );
});

test("V3: while a run compensates no call of it begins, and none is tried again", () => {
  assertStories(() => ({ run, before, effects }) => {
    if (before.undoing === undefined || run.undoing === undefined) return;
    for (const effect of effects) if (effect.t === "enqueue") expect(effect.call.seq).toBeLessThan(0);
    for (const call of callsOf(run)) if (call.seq > 0) expect(call.attempt).toBe((before.pending.get(call.seq) as PendingCall).attempt);
  });
});

test("V4: a failed call is tried again, is being decided, waits for a person, or is done", () => {
  assertStories(() => ({ run, before, given, made }) => {
    for (const call of callsOf(run)) {
      const states = [isQueued(call), call.recovering !== undefined, call.dead !== undefined, call.compensating !== undefined];
      expect(states.filter(Boolean), `call ${call.seq} is in two states`).toHaveLength(1);
      if (call.compensating !== undefined)
        expect(run.undoing?.calls.has(call.seq), "nobody ends a call that waits for a compensation").toBe(true);
    }
    const call =
      given.t === "failed" ? callsOf(before).find(({ seq, attempt }) => seq === given.seq && attempt === given.attempt) : undefined;
    if (call !== undefined && isQueued(call)) expect(["attempt", "recover", "suspend", "done"]).toContain(made[0]?.t);
  });
});

test("V4: the failure of a coordinator is being decided, waits for a person, or for the compensation that it ends with", () => {
  assertStories(() => ({ run }) => {
    if (run.finished !== undefined) return;
    const ends = [run.recovering !== undefined, run.ended !== undefined && run.halted !== undefined, run.undoing?.run !== undefined];
    expect(ends.filter(Boolean)).toHaveLength(hasEnded(run) ? 1 : 0);
  });
});

test("V4: a recovery is tried at most so often, a call recovered at most so often, and after that a person is asked", () => {
  assertStories(() => {
    let people = 0;
    return ({ run, given }) => {
      if (given.t === "resolve" || given.t === "resume") people++;
      for (const { recovering, recoveries } of [run, ...callsOf(run)]) {
        if (recovering === undefined) continue;
        expect(recovering.tries).toBeLessThanOrEqual(MAX_TRIES);
        expect(recoveries).toBeLessThanOrEqual(MAX_RECOVERIES + people);
      }
    };
  });
});

test("V4: only the recovery that is awaited decides", () => {
  assertStories(() => ({ run, before, given, effects }) => {
    if (given.t !== "recovered") return;
    const recovering = given.seq === 0 ? before.recovering : callsOf(before).find(({ seq }) => seq === given.seq)?.recovering;
    if (recovering?.recovery === given.recovery) return expect(effects.length).toBeGreaterThan(0);
    expect(effects).toEqual([]);
    expect(run).toEqual(before);
  });
});

test("V4: what a person says of what waits for nobody's decision changes nothing", () => {
  assertStories(() => ({ run, before, given }) => {
    if (given.t !== "resolve") return;
    const { call } = given.resolution;
    if (before.halted !== undefined && !call) return;
    const dead = callsOf(before).filter((pending) => pending.dead !== undefined);
    if (dead.some(({ seq }) => seq === (call ?? seq))) return;
    expect(run).toEqual(before);
  });
});

test("what a person says of one dead letter leaves the others as they are", () => {
  assertStories(() => ({ run, before, given }) => {
    // With the last compensation those end that waited for it.
    if (given.t !== "resolve" || !given.resolution.call || given.resolution.call < 0 || run.finished !== undefined) return;
    const others = (of: RunState) => callsOf(of).filter(({ seq }) => seq !== given.resolution.call);
    expect(others(run)).toEqual(others(before));
    expect(run.halted).toEqual(before.halted);
  });
});

test("a compensation that was begun goes to its end, whoever has given up waiting for it", () => {
  const undo = (player: Player): void => {
    const { run } = player;
    for (let rounds = 0; run.undoing !== undefined && run.finished === undefined; rounds++) {
      expect(rounds, "the compensation never ends").toBeLessThan(100);
      const call = callsOf(run).find(({ compensating }) => compensating === undefined) as PendingCall;
      if (call.dead === undefined) player.feed({ t: "succeeded", seq: call.seq, attempt: call.attempt, value: "1" });
      else player.feed({ t: "resolve", resolution: { action: "value", call: call.seq }, by: "alice" });
    }
  };
  assertStories(
    () =>
      ({ run, before, given }) => {
        if (before.undoing === undefined || run.undoing !== undefined) return;
        if (run.finished !== undefined || given.t === "cancel") return;
        expect(run.completed, "the compensation ended half-way").toEqual([]);
      },
    undo,
  );
});
