import { beforeEach, describe, expect, test } from "vitest";
import type { Failure } from "../lib/errors.ts";
import type { Decision, Resolution } from "../protocol/recovery.ts";
import type { JournalRecord, RunKind } from "../protocol/run.ts";
import type { ResolvedCommand, RunInput } from "./machine.ts";
import { step } from "./machine.ts";
import { MAX_RECOVERIES, MAX_TRIES, refusalOf } from "./recovery-machine.ts";
import type { RunEffect } from "./run-effects.ts";
import { apply } from "./run-records.ts";
import { callOf, createRun, type RunState, statusOf, suspensionOf } from "./run-state.ts";

const NO: Failure = { code: "TERMINAL", message: "no", terminal: true };
const BROKEN: Failure = { code: "FUNCTION_FAILED", message: "recovery is broken" };

/** A run whose functions can all be compensated. */
class Driven {
  readonly run: RunState;
  readonly records: JournalRecord[] = [];
  now = 1_000;
  #ids = 0;

  constructor(kind: RunKind = "coordinator") {
    this.run = createRun({ id: "run_00000000001", kind, name: "booking", version: "v1", priority: 0 });
  }

  feed(input: RunInput): RunEffect[] {
    const effects: RunEffect[] = [];
    step(this.run, input, this.now, effects);
    for (const effect of effects) if (effect.t === "record") this.records.push(structuredClone(effect.record));
    return effects;
  }

  commands(...commands: ResolvedCommand[]): RunEffect[] {
    return this.feed({ t: "commands", commands });
  }

  call(...seqs: number[]): RunEffect[] {
    return this.commands(...seqs.map((seq) => ({ t: "call" as const, seq, fn: `f${seq}`, input: `${seq}`, undoable: true })));
  }

  succeed(seq: number, value = `"out ${seq}"`): RunEffect[] {
    return this.feed({ t: "succeeded", seq, attempt: callOf(this.run, seq)?.attempt ?? 0, value });
  }

  /** Calls that are completed, in this order. */
  complete(...seqs: number[]): void {
    this.call(...seqs);
    for (const seq of seqs) this.succeed(seq);
  }

  /** The call fails for good: into recovery, if its function has one. */
  fail(seq: number, { recovery, failure = NO }: { recovery?: string; failure?: Failure } = {}): RunEffect[] {
    const attempt = callOf(this.run, seq)?.attempt ?? 0;
    const input: RunInput = { t: "failed", seq, attempt, failure, policy: { attempts: 1 } };
    return this.feed(recovery === undefined ? input : { ...input, recovery });
  }

  die(seq: number): RunEffect[] {
    return this.fail(seq, { failure: { code: "FUNCTION_FAILED", message: `${seq} failed` } });
  }

  /** What recovery decides of the call, or of the coordinator for 0. */
  recovered(seq: number, decision: Decision): RunEffect[] {
    const recovering = seq === 0 ? this.run.recovering : callOf(this.run, seq)?.recovering;
    return this.feed({ t: "recovered", seq, recovery: recovering?.recovery ?? "", decision, next: "" });
  }

  /** The recovery itself fails. */
  broken(seq: number): RunEffect[] {
    const recovering = seq === 0 ? this.run.recovering : callOf(this.run, seq)?.recovering;
    return this.feed({ t: "recovered", seq, recovery: recovering?.recovery ?? "", failure: BROKEN, next: `run_next${++this.#ids}` });
  }

  resolve(resolution: Resolution): RunEffect[] {
    return this.feed({ t: "resolve", resolution, by: "alice" });
  }

  /** The coordinator throws, and has a recovery. */
  throws(failure: Failure): RunEffect[] {
    return this.commands({ t: "finish", failure, recovery: "run_recovery" });
  }

  /** The last outcome of call `seq`. */
  outcomeOf(seq: number): (JournalRecord & { t: "done" }) | undefined {
    return this.records.findLast((record) => record.t === "done" && record.seq === seq) as (JournalRecord & { t: "done" }) | undefined;
  }

  /** Lets all compensations succeed; returns what they undid, in order. */
  undoAll(): number[] {
    const undone: number[] = [];
    for (;;) {
      const call = [...this.run.pending.values()].find(({ seq }) => seq < 0);
      if (call === undefined) return undone;
      undone.push(-call.seq);
      this.succeed(call.seq, "");
    }
  }

  /** What a control plane that was restarted knows. */
  replayed(): RunState {
    const run = createRun({ id: this.run.id, kind: this.run.kind, name: "booking", version: "v1", priority: 0 });
    for (const record of this.records) apply(run, record);
    return run;
  }
}

const kinds = (effects: RunEffect[]): string[] => effects.map((effect) => (effect.t === "record" ? `record ${effect.record.t}` : effect.t));

const enqueued = (effects: RunEffect[]): number[] => effects.flatMap((effect) => (effect.t === "enqueue" ? [effect.call.seq] : []));

const finished = (effects: RunEffect[]) => effects.find((effect) => effect.t === "finished");

const delivered = (effects: RunEffect[]): JournalRecord[] => effects.flatMap((effect) => (effect.t === "deliver" ? [effect.record] : []));

const caused = (seq: number): Failure => ({ ...NO, call: { function: `f${seq}`, seq } });

let driven: Driven;
beforeEach(() => {
  driven = new Driven();
});

describe("what a person says of a dead letter", () => {
  beforeEach(() => {
    driven.call(1, 2);
    driven.die(1);
    driven.die(2);
  });

  test("retry gives it fresh attempts, and leaves the other one to a decision of its own", () => {
    const effects = driven.resolve({ action: "retry", call: 1 });
    expect(kinds(effects)).toEqual(["record recovered", "enqueue"]);
    expect(driven.records.at(-1)).toMatchObject({ t: "recovered", seq: 1, fn: "f1", decision: { t: "retry" }, by: "alice" });
    expect(callOf(driven.run, 1)).toMatchObject({ attempt: 2, firstAttempt: 2, dead: undefined, input: "1" });
    expect(statusOf(driven.run, false)).toBe("suspended");
    expect(kinds(driven.resolve({ action: "retry", call: 2 }))).toContain("resumed");
  });

  test("retry with another input forgets how far the call had come with the first", () => {
    driven = new Driven();
    driven.call(1);
    driven.feed({ t: "progress", seq: 1, attempt: 1, value: "0.5" });
    driven.die(1);
    driven.resolve({ action: "retry" });
    expect(callOf(driven.run, 1)).toMatchObject({ progress: "0.5" });
    driven.die(1);
    driven.resolve({ action: "retry", value: '"other"' });
    expect(callOf(driven.run, 1)).toMatchObject({ input: '"other"', progress: undefined });
  });

  test("a value is its result, and the run goes on", () => {
    expect(delivered(driven.resolve({ action: "value", call: 2, value: "7" }))).toMatchObject([{ t: "done", seq: 2, value: "7" }]);
    expect(kinds(driven.resolve({ action: "value", call: 1 }))).toEqual(["resumed", "record recovered", "record done", "deliver"]);
  });

  test("a failure tells the coordinator why, and which call it was", () => {
    const [record] = delivered(driven.resolve({ action: "fail", call: 1, reason: "fraud" }));
    expect(record).toMatchObject({ failure: { code: "FUNCTION_FAILED", message: "fraud: 1 failed", call: { function: "f1", seq: 1 } } });
  });

  test("is said of all of them when it names none", () => {
    const effects = driven.resolve({ action: "retry" });
    expect(enqueued(effects)).toEqual([1, 2]);
    expect(kinds(effects)[0]).toBe("resumed");
    expect(statusOf(driven.run, false)).toBe("running");
  });

  test("changes nothing for a call that waits for nobody's decision", () => {
    expect(refusalOf(driven.run, { action: "retry", call: 3 })).toBe("CALL_NOT_FOUND");
    expect(refusalOf(driven.run, { action: "retry", call: 0 })).toBe("CALL_NOT_FOUND");
    expect(driven.resolve({ action: "value", call: 3 })).toEqual([]);
    expect(driven.resolve({ action: "fail", call: 0 })).toEqual([]);
    driven.resolve({ action: "value" });
    expect(refusalOf(driven.run, { action: "retry" })).toBe("RUN_NOT_SUSPENDED");
    expect(driven.resolve({ action: "value" })).toEqual([]);
  });
});

describe("what a person says of a halted run", () => {
  beforeEach(() => {
    driven.call(1);
    driven.die(1);
    driven.feed({ t: "halt", failure: { code: "REPLAY_DIVERGED", message: "it went another way" } });
  });

  test("is said of the run, unless it names a dead letter", () => {
    expect(driven.resolve({ action: "value", call: 1, value: "7" }).map(({ t }) => t)).not.toContain("finished");
    expect(driven.outcomeOf(1)).toMatchObject({ value: "7" });
    expect(statusOf(driven.run, false)).toBe("suspended");
    expect(suspensionOf(driven.run)).toMatchObject({ code: "REPLAY_DIVERGED" });
  });

  test("a value or a failure ends it, with what it still waits for taken back", () => {
    expect(finished(driven.resolve({ action: "value", value: "7" }))).toMatchObject({ status: "completed", value: "7" });
    const other = new Driven();
    other.commands({ t: "sleep", seq: 1, ms: 1_000 });
    other.feed({ t: "halt", failure: BROKEN });
    const effects = other.resolve({ action: "fail", reason: "give up" });
    expect(kinds(effects)).toEqual(["resumed", "record recovered", "disarm", "finished"]);
    expect(finished(effects)).toMatchObject({ status: "failed", failure: { message: "give up: recovery is broken" } });
  });

  test("retry lets the code and its dead letters go on", () => {
    expect(kinds(driven.resolve({ action: "retry" }))).toEqual(["record resume", "resumed", "enqueue"]);
    expect(driven.run).toMatchObject({ halted: undefined, dead: 0 });
  });
});

describe("a recovery", () => {
  test("is started with the failure, the call and how many went before", () => {
    driven.call(1);
    const effects = driven.fail(1, { recovery: "run_r1" });
    expect(kinds(effects)).toEqual(["record recover", "start-recovery"]);
    const failure = { ...NO, call: { function: "f1", seq: 1 }, attempts: 1 };
    const call = { seq: 1, function: "f1", input: "1", attempts: 1 };
    expect(effects[1]).toEqual({ t: "start-recovery", seq: 1, recovery: "run_r1", input: { failure, recoveries: 0, call } });
    driven.recovered(1, { t: "retry", afterMs: 500, input: '"more"' });
    expect(callOf(driven.run, 1)).toMatchObject({ attempt: 2, notBefore: 1_500, input: '"more"' });
    const again = driven.fail(1, { recovery: "run_r2" }).find((effect) => effect.t === "start-recovery");
    expect(again?.input).toMatchObject({ recoveries: 1, call: { input: '"more"', attempts: 2 } });
  });

  test("that fails is started again under a new id, and the third time a person is asked with both failures", () => {
    driven.call(1);
    driven.fail(1, { recovery: "run_r1" });
    for (let tries = 1; tries < MAX_TRIES; tries++) {
      driven.now += 100;
      expect(kinds(driven.broken(1))).toEqual(["record recover", "start-recovery"]);
    }
    expect(callOf(driven.run, 1)).toMatchObject({ recovering: { recovery: "run_next2", tries: MAX_TRIES }, failedAt: 1_000 });
    expect(kinds(driven.broken(1))).toEqual(["record suspend", "suspended"]);
    expect(suspensionOf(driven.run)).toMatchObject({
      code: "RECOVERY_FAILED",
      message: 'the recovery of "f1" failed 3 times: recovery is broken',
      cause: { code: "TERMINAL", message: "no" },
      call: { function: "f1", seq: 1 },
      details: { recovery: BROKEN },
    });
    expect(enqueued(driven.resolve({ action: "retry" }))).toEqual([1]);
  });

  test("begins to count anew for another failure", () => {
    driven.call(1);
    driven.fail(1, { recovery: "run_r1" });
    driven.broken(1);
    driven.recovered(1, { t: "retry" });
    driven.now = 9_000;
    driven.fail(1, { recovery: "run_r2" });
    expect(callOf(driven.run, 1)).toMatchObject({ recovering: { tries: 1 }, failedAt: 9_000 });
  });

  test("of a coordinator that fails three times leaves the coordinator to a person", () => {
    driven.throws(NO);
    for (let tries = 0; tries < MAX_TRIES; tries++) driven.broken(0);
    expect(suspensionOf(driven.run)?.message).toBe('the recovery of "booking" failed 3 times: recovery is broken');
    expect(finished(driven.resolve({ action: "value", value: "1" }))).toMatchObject({ status: "completed", value: "1" });
  });

  test("that was followed by another one decides nothing any more", () => {
    driven.call(1);
    driven.fail(1, { recovery: "run_r1" });
    driven.broken(1);
    const before = structuredClone(driven.run);
    expect(driven.feed({ t: "recovered", seq: 1, recovery: "run_r1", decision: { t: "resume", value: "1" }, next: "" })).toEqual([]);
    expect(driven.run).toEqual(before);
  });

  test("escalates with its own words, the failure as their cause, and the call", () => {
    driven.call(1);
    driven.fail(1, { recovery: "run_r1" });
    driven.recovered(1, { t: "escalate", message: "was it paid?" });
    expect(suspensionOf(driven.run)).toMatchObject({
      code: "ESCALATED",
      message: "was it paid?",
      cause: { message: "no" },
      call: { function: "f1", seq: 1 },
    });
    driven.resolve({ action: "fail", reason: "it was not" });
    expect(driven.outcomeOf(1)).toMatchObject({ failure: { code: "ESCALATED", message: "it was not: was it paid?" } });
  });

  test("of one call happens ten times, and then a person is asked", () => {
    driven.call(1);
    for (let i = 0; i < MAX_RECOVERIES; i++) {
      driven.fail(1, { recovery: `run_r${i}` });
      driven.recovered(1, { t: "retry" });
    }
    expect(kinds(driven.fail(1, { recovery: "run_last" }))).toEqual(["record suspend", "suspended"]);
    expect(suspensionOf(driven.run)).toMatchObject({ code: "ESCALATED", message: "recovered 10 times, and it still fails: no" });
  });

  test("of one coordinator happens ten times, and then a person is asked", () => {
    driven.call(1);
    for (let i = 0; i < MAX_RECOVERIES; i++) {
      driven.fail(1);
      driven.throws(caused(1));
      expect(kinds(driven.recovered(0, { t: "retry" }))).toContain("rehost");
    }
    driven.fail(1);
    expect(kinds(driven.throws(caused(1)))).not.toContain("start-recovery");
    expect(suspensionOf(driven.run)?.message).toBe("recovered 10 times, and it still fails: no");
    expect(driven.run.recovering).toBeUndefined();
  });
});

describe("while a recovery is under way", () => {
  test("a cancellation of the run cancels it, and what it decides is of no interest", () => {
    driven.call(1);
    driven.fail(1, { recovery: "run_r1" });
    const effects = driven.feed({ t: "cancel", reason: "enough", force: false });
    expect(effects[0]).toEqual({ t: "cancel-child", child: "run_r1", reason: "enough" });
    expect(kinds(effects)).toEqual(["cancel-child", "record cancel", "deliver"]);
    expect(driven.feed({ t: "recovered", seq: 1, recovery: "run_r1", decision: { t: "retry" }, next: "" })).toEqual([]);
  });

  test("a cancellation ends a run whose code has ended", () => {
    driven.throws(NO);
    expect(kinds(driven.feed({ t: "cancel", reason: "enough", force: false }))).toEqual(["cancel-child", "record cancel", "finished"]);
    expect(driven.run.finished).toBe("cancelled");
  });

  test("a withdrawn call is done, and its recovery is cancelled", () => {
    driven.call(1);
    driven.fail(1, { recovery: "run_r1" });
    const effects = driven.commands({ t: "withdraw", seq: 2, target: 1 });
    expect(kinds(effects)).toEqual(["record withdraw", "cancel-child", "record done", "deliver"]);
    expect(driven.outcomeOf(1)).toMatchObject({ failure: { code: "CALL_CANCELLED" } });
  });

  test("a call that was withdrawn from its recovery can be made again", () => {
    driven.call(1);
    driven.fail(1, { recovery: "run_r1" });
    driven.commands({ t: "withdraw", seq: 2, target: 1 });
    driven.throws(caused(1));
    driven.recovered(0, { t: "retry" });
    expect(callOf(driven.run, 1)).toMatchObject({ recovering: undefined, attempt: 2 });
  });

  test("what is left of the coordinator's code commands nothing, halts nothing and ends nothing", () => {
    driven.throws(NO);
    const before = structuredClone(driven.run);
    expect(driven.call(5)).toEqual([]);
    expect(driven.commands({ t: "finish", value: "1" }, { t: "compensate", seq: 6 })).toEqual([]);
    expect(driven.feed({ t: "halt", failure: BROKEN })).toEqual([]);
    expect(driven.run).toEqual(before);
  });

  test("what had halted the code counts no more when it comes to its end all the same", () => {
    driven.feed({ t: "halt", failure: BROKEN });
    driven.throws(NO);
    expect(driven.run.halted).toBeUndefined();
    expect(statusOf(driven.run, false)).toBe("running");
  });
});

describe("a coordinator that is tried again", () => {
  test("has its failed call made again, and its code started anew", () => {
    driven.call(1);
    driven.fail(1);
    driven.throws(caused(1));
    const effects = driven.recovered(0, { t: "retry", afterMs: 250, input: "9" });
    expect(kinds(effects)).toEqual(["record recovered", "record reopen", "enqueue", "rehost"]);
    expect(callOf(driven.run, 1)).toMatchObject({ attempt: 2, input: "9", notBefore: 1_250 });
    expect(driven.replayed()).toEqual(driven.run);
  });

  test("after parallel failures has one call after the other made again", () => {
    driven.call(1, 2, 3);
    driven.fail(1);
    driven.throws(caused(1));
    driven.fail(2);
    driven.succeed(3);
    driven.recovered(0, { t: "retry" });
    // Its code, started anew, now sees the other failure first.
    driven.throws(caused(2));
    expect(enqueued(driven.recovered(0, { t: "retry" }))).toEqual([2]);
    expect([...driven.run.pending.keys()].sort()).toEqual([1, 2]);
    expect(driven.run).toMatchObject({ ended: undefined, recovering: undefined });
    expect(driven.replayed()).toEqual(driven.run);
  });

  test("is left to a person when no call failed it", () => {
    driven.complete(1);
    driven.throws({ code: "COORDINATOR_FAILED", message: "a defect" });
    driven.recovered(0, { t: "retry" });
    expect(suspensionOf(driven.run)?.message).toBe(`"booking" can't be tried again from its failure, as no call failed it: a defect`);
  });

  test("is left to a person when it has asked for something after the failure", () => {
    driven.call(1);
    driven.fail(1);
    driven.commands({ t: "sleep", seq: 2, ms: 10 });
    driven.throws(caused(1));
    driven.recovered(0, { t: "retry" });
    expect(suspensionOf(driven.run)?.message).toContain("as it went on after the call that failed it: no");
    // Saying it again is no help; a value is.
    expect(kinds(driven.resolve({ action: "retry" }))).toContain("suspended");
    expect(finished(driven.resolve({ action: "value", value: "1" }))).toBeDefined();
  });

  test("is left to a person when what it has done is being compensated", () => {
    driven.complete(1);
    driven.call(2, 3);
    driven.fail(2, { recovery: "run_r2" });
    driven.recovered(2, { t: "compensate" });
    driven.fail(3);
    driven.throws(caused(3));
    driven.recovered(0, { t: "retry" });
    expect(suspensionOf(driven.run)?.message).toContain("as what it has done is being compensated");
    expect(driven.undoAll()).toEqual([1]);
    expect(enqueued(driven.resolve({ action: "retry" }))).toEqual([3]);
  });

  test("makes a call again that had failed after a compensation", () => {
    driven.complete(1);
    driven.call(2);
    driven.fail(2, { recovery: "run_r2" });
    driven.recovered(2, { t: "compensate" });
    driven.undoAll();
    expect(driven.outcomeOf(2)).toMatchObject({ failure: { message: "no" } });
    driven.throws(caused(2));
    expect(enqueued(driven.recovered(0, { t: "retry" }))).toEqual([2]);
    expect(callOf(driven.run, 2)).toMatchObject({ compensating: undefined });
  });
});

describe("a compensation", () => {
  test("undoes the last call to complete first, with its input and output, one after the other", () => {
    driven.call(1, 2, 3);
    for (const seq of [2, 3, 1]) driven.succeed(seq);
    const effects = driven.commands({ t: "compensate", seq: 4 });
    expect(enqueued(effects)).toEqual([-1]);
    expect(callOf(driven.run, -1)).toMatchObject({ fn: "f1", input: "1", undo: '"out 1"' });
    expect(driven.undoAll()).toEqual([1, 3, 2]);
    expect(JSON.parse(driven.outcomeOf(4)?.value ?? "")).toEqual([1, 3, 2].map((seq) => ({ seq, function: `f${seq}` })));
  });

  test("waits for what is under way: what then completes is undone too, what fails is not tried again", () => {
    driven.complete(1);
    driven.call(2, 3);
    const effects = driven.commands({ t: "compensate", seq: 4 });
    expect(effects.filter(({ t }) => t === "let-end")).toMatchObject([{ seq: 2 }, { seq: 3 }]);
    expect(kinds(driven.feed({ t: "failed", seq: 2, attempt: 1, failure: BROKEN, policy: { attempts: 9 } }))).toEqual([
      "record done",
      "deliver",
    ]);
    driven.succeed(3);
    expect(driven.undoAll()).toEqual([3, 1]);
  });

  test("ends at once what waits for a person or a recovery", () => {
    driven.complete(1);
    driven.call(2, 3);
    driven.die(2);
    driven.fail(3, { recovery: "run_r3" });
    const effects = driven.commands({ t: "compensate", seq: 4 });
    expect(effects.filter(({ t }) => t === "cancel-child")).toMatchObject([{ child: "run_r3" }]);
    expect(delivered(effects)).toMatchObject([
      { seq: 2, failure: { message: "2 failed" } },
      { seq: 3, failure: { message: "no" } },
    ]);
    expect(driven.run.dead).toBe(0);
    expect(driven.undoAll()).toEqual([1]);
  });

  test("refuses calls until it is done, and none when there is nothing to undo", () => {
    driven.complete(1);
    const effects = driven.commands({ t: "compensate", seq: 2 });
    expect(enqueued(effects)).toEqual([-1]);
    expect(delivered(driven.call(3))).toMatchObject([{ seq: 3, failure: { code: "CALL_CANCELLED", call: { function: "f3", seq: 3 } } }]);
    driven.undoAll();
    expect(enqueued(driven.call(4))).toEqual([4]);
    const empty = new Driven();
    expect(
      enqueued(empty.commands({ t: "compensate", seq: 1 }, { t: "call", seq: 2, fn: "f2", input: "" })),
      "a compensation of nothing is over before the next command",
    ).toEqual([2]);
  });

  test("that fails is tried again, then left to a person, and each answer is carried out", () => {
    driven.complete(1, 2);
    driven.commands({ t: "compensate", seq: 3 });
    driven.die(-2);
    expect(suspensionOf(driven.run)).toMatchObject({ call: { function: "f2", seq: -2 } });
    expect(enqueued(driven.resolve({ action: "retry", call: -2 }))).toEqual([-2]);
    driven.die(-2);
    expect(enqueued(driven.resolve({ action: "value" }))).toEqual([-1]);
    driven.die(-1);
    const effects = driven.resolve({ action: "fail", reason: "it is gone" });
    expect(finished(effects)).toMatchObject({
      status: "failed",
      failure: { code: "COMPENSATION_FAILED", message: `the compensation of call 1 of "f1" was given up: it is gone: -1 failed` },
    });
  });

  test("goes to its end when the call that asked for it is withdrawn", () => {
    driven.complete(1, 2);
    driven.call(3);
    driven.fail(3, { recovery: "run_r3" });
    driven.recovered(3, { t: "compensate" });
    driven.commands({ t: "withdraw", seq: 4, target: 3 });
    expect(driven.outcomeOf(3)).toMatchObject({ failure: { code: "CALL_CANCELLED" } });
    expect(driven.undoAll()).toEqual([2, 1]);
    expect(driven.run.undoing).toBeUndefined();
  });

  test("is nothing that the coordinator could withdraw", () => {
    driven.complete(1);
    driven.commands({ t: "compensate", seq: 2 });
    expect(kinds(driven.commands({ t: "withdraw", seq: 3, target: -1 }))).toEqual(["record withdraw"]);
    expect(driven.undoAll()).toEqual([1]);
  });

  test.each([
    ["returns", { value: "7" }, { status: "completed", value: "7" }],
    ["throws", { failure: BROKEN }, { status: "failed", failure: BROKEN }],
  ])("is waited for by a run whose coordinator %s meanwhile, also after a crash", (_how, end, outcome) => {
    driven.complete(1, 2);
    driven.call(3);
    driven.fail(3, { recovery: "run_r3" });
    driven.recovered(3, { t: "compensate" });
    expect(kinds(driven.commands({ t: "finish", ...end }))).toEqual(["record ended"]);
    expect(statusOf(driven.run, false)).toBe("running");
    expect(driven.replayed()).toEqual(driven.run);
    expect(driven.commands({ t: "finish", value: "again" })).toEqual([]);
    driven.succeed(-2);
    expect(driven.run.finished).toBeUndefined();
    expect(finished(driven.succeed(-1))).toMatchObject(outcome);
  });

  test("of a coordinator that has failed goes on in spite of a cancellation, unless that is forced", () => {
    driven.complete(1, 2);
    driven.throws(NO);
    driven.recovered(0, { t: "compensate" });
    expect(driven.feed({ t: "cancel", reason: "enough", force: false })).toEqual([]);
    driven.succeed(-2);
    const effects = driven.feed({ t: "cancel", reason: "enough", force: true });
    expect(kinds(effects)).toEqual(["withdraw", "record cancel", "finished"]);
    expect(driven.run.finished).toBe("cancelled");
  });

  test("of a coordinator that has failed and waits for a person ends with a cancellation", () => {
    driven.complete(1);
    driven.throws(NO);
    driven.recovered(0, { t: "compensate" });
    driven.die(-1);
    expect(finished(driven.feed({ t: "cancel", reason: "enough", force: false }))).toMatchObject({ status: "cancelled" });
  });

  test("that a cancellation cuts off is taken up where it stood when the code compensates while it cleans up", () => {
    driven.complete(1, 2, 3);
    driven.commands({ t: "compensate", seq: 4 });
    driven.succeed(-3, "");
    expect(kinds(driven.feed({ t: "cancel", reason: "enough", force: false }))).toEqual(["withdraw", "record cancel", "deliver"]);
    driven.commands({ t: "compensate", seq: 5 });
    expect(callOf(driven.run, -2)?.attempt, "the attempt that was cut off must not count for the new one").toBe(2);
    expect(driven.undoAll()).toEqual([2, 1]);
    expect(driven.replayed()).toEqual(driven.run);
  });

  test("of a single function's run has nothing to undo: the call fails", () => {
    driven = new Driven("function");
    driven.call(1);
    driven.fail(1, { recovery: "run_r1" });
    expect(kinds(driven.recovered(1, { t: "compensate" }))).toEqual(["record recovered", "record done", "deliver"]);
  });
});
