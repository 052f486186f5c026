import { describe, expect, test } from "vitest";
import type { Failure } from "../lib/errors.ts";
import type { CallOptions, JournalRecord, RetryPolicy, RunKind } from "../protocol/run.ts";
import type { ResolvedCommand, RunInput } from "./machine.ts";
import { backoffMs, MAX_LOSSES, step } from "./machine.ts";
import type { RunEffect } from "./run-effects.ts";
import { apply } from "./run-records.ts";
import type { PendingCall, RunState } from "./run-state.ts";
import { createRun, nextTimer, statusOf, suspensionOf } from "./run-state.ts";

const HEAD = { id: "run_00000000001", kind: "coordinator" as RunKind, name: "booking", version: "v1", priority: 0 };
const NO_JITTER: RetryPolicy = { backoff: { jitter: 0 } };
const FAILED: Failure = { code: "FUNCTION_FAILED", message: "no", cause: { code: "ECONNRESET", message: "no", name: "SocketError" } };
const LOST: Failure = { code: "POD_LOST", message: "pod-1 died" };

/** A run with a clock and a list of all its records. */
class Driven {
  readonly run: RunState;
  readonly records: JournalRecord[] = [];
  now = 1_000;

  constructor(kind: RunKind = "coordinator") {
    this.run = createRun({ ...HEAD, kind });
  }

  feed(input: RunInput): RunEffect[] {
    const effects: RunEffect[] = [];
    step(this.run, input, this.now, effects);
    for (const effect of effects) if (effect.t === "record") this.records.push(effect.record);
    return effects;
  }

  commands(...commands: ResolvedCommand[]): RunEffect[] {
    return this.feed({ t: "commands", commands });
  }

  call(seq: number, options?: CallOptions): RunEffect[] {
    return this.commands({ t: "call", seq, fn: "pay", input: "1", ...(options === undefined ? {} : { options }) });
  }

  fail(seq: number, attempt: number, failure: Failure, policy?: RetryPolicy): RunEffect[] {
    return this.feed({ t: "failed", seq, attempt, failure, policy });
  }

  pendingCall(seq: number): PendingCall {
    return this.run.pending.get(seq) as PendingCall;
  }
}

const kinds = (effects: RunEffect[]): string[] => effects.map((effect) => (effect.t === "record" ? `record ${effect.record.t}` : effect.t));

const delivered = (effects: RunEffect[]): JournalRecord[] => effects.flatMap((effect) => (effect.t === "deliver" ? [effect.record] : []));

describe("certificates", () => {
  test("stay with the outcome that they certify, be it a value or a failure", () => {
    const driven = new Driven();
    driven.call(1);
    driven.call(2);
    driven.call(3);
    driven.feed({ t: "succeeded", seq: 1, attempt: 1, value: "1", certificate: "{1}" });
    driven.feed({ t: "failed", seq: 2, attempt: 1, failure: { ...FAILED, terminal: true }, policy: undefined, certificate: "{2}" });
    driven.feed({ t: "succeeded", seq: 3, attempt: 1, value: "1" });
    const done = driven.records.flatMap((record) => (record.t === "done" ? [[record.seq, record.certificate]] : []));
    expect(done).toEqual([
      [1, "{1}"],
      [2, "{2}"],
      [3, undefined],
    ]);
  });
});

describe("commands", () => {
  test("a call is recorded with the version that it was resolved to, and enqueued", () => {
    const driven = new Driven();
    const effects = driven.commands({ t: "call", seq: 1, fn: "pay", input: "1", version: "v9", options: { priority: 3 } });
    expect(kinds(effects)).toEqual(["record call", "enqueue"]);
    expect(driven.records).toEqual([{ t: "call", seq: 1, at: 1_000, fn: "pay", version: "v9", input: "1", options: { priority: 3 } }]);
    expect(effects[1]).toEqual({ t: "enqueue", call: driven.pendingCall(1) });
    expect(driven.pendingCall(1)).toMatchObject({ attempt: 1, losses: 0, notBefore: 0, dead: undefined });
  });

  test("a call that cannot be made is done at once, with the reason", () => {
    const driven = new Driven();
    const refusal: Failure = { code: "UNKNOWN_FUNCTION", message: "no function" };
    const effects = driven.commands({ t: "call", seq: 1, fn: "pay", input: "1", refusal });
    expect(kinds(effects)).toEqual(["record call", "record done", "deliver"]);
    expect(delivered(effects)).toEqual([{ t: "done", seq: 1, at: 1_000, failure: refusal }]);
    expect(driven.run.pending.size).toBe(0);
  });

  test("a sleep arms a timer, and a negative one is due at once", () => {
    const driven = new Driven();
    const effects = driven.commands({ t: "sleep", seq: 1, ms: 500 }, { t: "sleep", seq: 2, ms: -5 });
    expect(effects.filter((effect) => effect.t === "arm")).toEqual([
      { t: "arm", seq: 1, dueAt: 1_500 },
      { t: "arm", seq: 2, dueAt: 1_000 },
    ]);
    expect(nextTimer(driven.run)).toBe(1_000);
  });

  test("a step is done as soon as it is recorded, with its value or its failure", () => {
    const driven = new Driven();
    const failure: Failure = { code: "STEP_FAILED", message: "no" };
    const effects = driven.commands({ t: "step", seq: 1, name: "a", value: "7" }, { t: "step", seq: 2, name: "b", failure });
    expect(kinds(effects)).toEqual(["record step", "record done", "deliver", "record step", "record done", "deliver"]);
    expect(delivered(effects)).toEqual([
      { t: "done", seq: 1, at: 1_000, value: "7" },
      { t: "done", seq: 2, at: 1_000, failure },
    ]);
  });

  test("that a step has begun changes nothing", () => {
    const driven = new Driven();
    expect(driven.commands({ t: "stepping", seq: 1 })).toEqual([]);
    expect(driven.run).toEqual(createRun(HEAD));
  });

  test("a step that took its time is recorded after later commands", () => {
    const driven = new Driven();
    driven.commands({ t: "stepping", seq: 1 }, { t: "call", seq: 2, fn: "pay", input: "" });
    expect(kinds(driven.commands({ t: "step", seq: 1, name: "slow", value: "" }))).toEqual(["record step", "record done", "deliver"]);
  });

  test.each<ResolvedCommand>([
    { t: "call", seq: 1, fn: "pay", input: "1" },
    { t: "sleep", seq: 1, ms: 5 },
    { t: "step", seq: 1, name: "a", value: "1" },
    { t: "signal", seq: 1, name: "go" },
    { t: "child", seq: 1, coordinator: "c", input: "", detached: true, child: "run_00000000002" },
    { t: "withdraw", seq: 1, target: 9 },
  ])("a $t that is made again is known, also when it is done", (command) => {
    const driven = new Driven();
    driven.commands(command);
    expect(driven.commands(command)).toEqual([]);
    driven.feed({ t: "succeeded", seq: 1, attempt: 1, value: "1" });
    driven.now += 5;
    driven.feed({ t: "timer", seq: 1 });
    driven.feed({ t: "signal", name: "go", value: "" });
    expect(driven.run.pending.size).toBe(0);
    expect(driven.commands(command)).toEqual([]);
  });
});

describe("the outcome of a call", () => {
  test("is recorded with attempt and measurements, and delivered at its place in the journal", () => {
    const driven = new Driven();
    driven.call(1);
    const metrics = { durationMs: 1, cpuMs: 1, queueMs: 0, memoryMb: 50, coldStart: true, pod: "pod-1" };
    const effects = driven.feed({ t: "succeeded", seq: 1, attempt: 1, value: "42", metrics });
    const record = { t: "done", seq: 1, at: 1_000, attempt: 1, value: "42", metrics };
    expect(effects).toEqual([
      { t: "record", record },
      { t: "deliver", record, index: 1 },
    ]);
    expect(driven.run.pending.size).toBe(0);
  });

  test("counts once: of another attempt, of an unknown call or a second time it changes nothing", () => {
    const driven = new Driven();
    driven.call(1);
    driven.commands({ t: "sleep", seq: 2, ms: 5 });
    const inputs: RunInput[] = [
      { t: "succeeded", seq: 1, attempt: 2, value: "" },
      { t: "succeeded", seq: 1, attempt: 0, value: "" },
      { t: "succeeded", seq: 2, attempt: 1, value: "" },
      { t: "succeeded", seq: 9, attempt: 1, value: "" },
      { t: "failed", seq: 1, attempt: 2, failure: FAILED, policy: undefined },
      { t: "child", seq: 1, value: "" },
      { t: "timer", seq: 1 },
    ];
    for (const input of inputs) expect(driven.feed(input), JSON.stringify(input)).toEqual([]);
    driven.feed({ t: "succeeded", seq: 1, attempt: 1, value: "first" });
    expect(driven.feed({ t: "succeeded", seq: 1, attempt: 1, value: "second" })).toEqual([]);
    expect(driven.fail(1, 1, FAILED)).toEqual([]);
  });
});

describe("a failure", () => {
  test("is tried again after a pause that grows, until the attempts are used up", () => {
    const driven = new Driven();
    driven.call(1);
    const policy: RetryPolicy = { attempts: 4, backoff: { initialMs: 100, factor: 3, maxMs: 500, jitter: 0 } };
    for (const [attempt, pause] of [
      [1, 100],
      [2, 300],
      [3, 500],
    ] as const) {
      const effects = driven.fail(1, attempt, FAILED, policy);
      expect(kinds(effects)).toEqual(["record attempt", "enqueue"]);
      expect(driven.records.at(-1)).toMatchObject({ t: "attempt", seq: 1, attempt, retryAt: 1_000 + pause });
      expect(driven.pendingCall(1)).toMatchObject({ attempt: attempt + 1, notBefore: 1_000 + pause });
    }
    expect(kinds(driven.fail(1, 4, FAILED, policy))).toEqual(["record suspend", "suspended"]);
  });

  test("names the call and how often it was attempted", () => {
    const driven = new Driven();
    driven.call(1);
    driven.fail(1, 1, FAILED, NO_JITTER);
    driven.fail(1, 2, { code: "MINE", message: "no", terminal: true });
    expect(driven.records.at(-1)).toMatchObject({ t: "done", failure: { code: "MINE", call: { function: "pay", seq: 1 }, attempts: 2 } });
  });

  test("that is terminal is not tried again", () => {
    const driven = new Driven();
    driven.call(1);
    expect(kinds(driven.fail(1, 1, { ...FAILED, terminal: true }))).toEqual(["record done", "deliver"]);
  });

  test.each(["FUNCTION_FAILED", "ECONNRESET", "SocketError"])("that the policy calls not retryable by %s is not tried again", (name) => {
    const driven = new Driven();
    driven.call(1);
    const effects = driven.fail(1, 1, FAILED, { nonRetryable: ["Other", name] });
    expect(delivered(effects)).toMatchObject([{ t: "done", failure: { code: "FUNCTION_FAILED", terminal: true } }]);
  });

  test("under a policy of which user code made nonsense is tried again as if there were none", () => {
    const driven = new Driven();
    driven.call(1);
    const nonsense = { nonRetryable: "FUNCTION_FAILED", backoff: null } as unknown as RetryPolicy;
    expect(kinds(driven.fail(1, 1, { code: "FUNCTION_FAILED", message: "no" }, nonsense))).toEqual(["record attempt", "enqueue"]);
  });

  test("after the last attempt is the coordinator's when the policy says so", () => {
    const driven = new Driven();
    driven.call(1);
    const effects = driven.fail(1, 1, FAILED, { attempts: 1, onExhausted: "fail" });
    expect(delivered(effects)).toMatchObject([{ t: "done", seq: 1, attempt: 1, failure: { code: "FUNCTION_FAILED", attempts: 1 } }]);
  });

  test("follows the options of the call before the policy of the function", () => {
    const driven = new Driven();
    driven.call(1, { retry: { attempts: 1 } });
    const effects = driven.fail(1, 1, FAILED, { attempts: 9, onExhausted: "fail" });
    expect(kinds(effects)).toEqual(["record done", "deliver"]);
  });

  test("after the last attempt makes the call a dead letter, whose later outcomes count no more", () => {
    const driven = new Driven();
    driven.call(1);
    driven.fail(1, 1, FAILED, { attempts: 1 });
    expect(driven.run.dead).toBe(1);
    expect(statusOf(driven.run, false)).toBe("suspended");
    expect(suspensionOf(driven.run)).toMatchObject({ code: "FUNCTION_FAILED" });
    expect(driven.feed({ t: "succeeded", seq: 1, attempt: 1, value: "" })).toEqual([]);
    expect(driven.fail(1, 1, FAILED)).toEqual([]);
  });
});

describe("the death of its pod", () => {
  test("does not use up the attempts of the function", () => {
    const driven = new Driven();
    driven.call(1);
    driven.fail(1, 1, LOST, { ...NO_JITTER, attempts: 2 });
    driven.fail(1, 2, { code: "OUT_OF_MEMORY", message: "no" }, { ...NO_JITTER, attempts: 2 });
    expect(kinds(driven.fail(1, 3, FAILED, { ...NO_JITTER, attempts: 2 }))).toEqual(["record attempt", "enqueue"]);
    expect(driven.records.at(-1)).toMatchObject({ retryAt: 1_100 });
    expect(kinds(driven.fail(1, 4, FAILED, { ...NO_JITTER, attempts: 2 }))).toEqual(["record suspend", "suspended"]);
  });

  test("lets the call go on at once at first, then slower, and in the end makes it a dead letter", () => {
    const driven = new Driven();
    driven.call(1);
    const pauses: number[] = [];
    for (let attempt = 1; attempt < MAX_LOSSES; attempt++) {
      driven.fail(1, attempt, LOST, { attempts: 1 });
      pauses.push(driven.pendingCall(1).notBefore - driven.now);
    }
    expect(pauses).toEqual([0, 0, 100, 200]);
    expect(driven.pendingCall(1).losses).toBe(4);
    expect(kinds(driven.fail(1, MAX_LOSSES, LOST, { attempts: 1 }))).toEqual(["record suspend", "suspended"]);
  });

  test("is the coordinator's affair in the end when the policy says so", () => {
    const driven = new Driven();
    driven.call(1);
    for (let attempt = 1; attempt < MAX_LOSSES; attempt++) driven.fail(1, attempt, LOST, { onExhausted: "fail" });
    expect(delivered(driven.fail(1, MAX_LOSSES, LOST, { onExhausted: "fail" }))).toMatchObject([{ failure: { code: "POD_LOST" } }]);
  });
});

describe("the pause before the next attempt", () => {
  test("is the same for the same attempt, and differs between calls", () => {
    const pause = (seq: number, made: number) => backoffMs(HEAD.id, seq, made, {});
    expect(pause(1, 1)).toBe(pause(1, 1));
    expect(new Set(Array.from({ length: 20 }, (_, seq) => pause(seq, 1))).size).toBeGreaterThan(5);
  });

  test("lies between the full pause and that less its jitter, and under its maximum", () => {
    for (let made = 1; made < 40; made++) {
      const full = Math.min(30_000, 100 * 2 ** (made - 1));
      const pause = backoffMs(HEAD.id, 7, made, {});
      expect(pause).toBeLessThanOrEqual(full);
      expect(pause).toBeGreaterThanOrEqual(Math.floor(full * 0.8));
    }
  });

  test("is a number also after thousands of attempts, and never negative", () => {
    expect(backoffMs(HEAD.id, 1, 5_000, {})).toBeLessThanOrEqual(30_000);
    expect(backoffMs(HEAD.id, 1, 5_000, { backoff: { initialMs: 0 } })).toBe(0);
    for (let seq = 0; seq < 50; seq++) expect(backoffMs(HEAD.id, seq, 1, { backoff: { jitter: 5 } })).toBeGreaterThanOrEqual(0);
  });
});

describe("a timer", () => {
  test("ends a sleep, once", () => {
    const driven = new Driven();
    driven.commands({ t: "sleep", seq: 1, ms: 500 });
    driven.now = 1_500;
    expect(delivered(driven.feed({ t: "timer", seq: 1 }))).toEqual([{ t: "done", seq: 1, at: 1_500, value: "" }]);
    expect(driven.feed({ t: "timer", seq: 1 })).toEqual([]);
  });

  test("that comes before its time is armed again", () => {
    const driven = new Driven();
    driven.commands({ t: "sleep", seq: 1, ms: 500 }, { t: "signal", seq: 2, name: "go", timeoutMs: 600 });
    driven.now = 1_499;
    expect(driven.feed({ t: "timer", seq: 1 })).toEqual([{ t: "arm", seq: 1, dueAt: 1_500 }]);
    expect(driven.feed({ t: "timer", seq: 2 })).toEqual([{ t: "arm", seq: 2, dueAt: 1_600 }]);
  });

  test("of something else changes nothing", () => {
    const driven = new Driven();
    driven.call(1);
    driven.commands({ t: "signal", seq: 2, name: "go" });
    for (const seq of [1, 2, 3]) expect(driven.feed({ t: "timer", seq })).toEqual([]);
  });
});

describe("a signal", () => {
  test("that comes early waits for whoever asks for it, in the order of arrival", () => {
    const driven = new Driven();
    for (const value of ["1", "2", "3"]) expect(kinds(driven.feed({ t: "signal", name: "go", value }))).toEqual(["record signalled"]);
    driven.feed({ t: "signal", name: "other", value: "9" });
    const effects = driven.commands({ t: "signal", seq: 1, name: "go" }, { t: "signal", seq: 2, name: "go", timeoutMs: 50 });
    expect(delivered(effects).map((record) => (record as { value: string }).value)).toEqual(["1", "2"]);
    expect(effects.some((effect) => effect.t === "arm")).toBe(false);
    expect([...driven.run.signals].map(([name, values]) => [name, values.map(({ value }) => value)])).toEqual([
      ["go", ["3"]],
      ["other", ["9"]],
    ]);
  });

  test("goes to those who wait in the order in which they asked, each value once", () => {
    const driven = new Driven();
    driven.commands({ t: "signal", seq: 1, name: "go" }, { t: "signal", seq: 2, name: "go", timeoutMs: 50 });
    expect(delivered(driven.feed({ t: "signal", name: "go", value: "a" }))).toMatchObject([{ seq: 1, value: "a" }]);
    const effects = driven.feed({ t: "signal", name: "go", value: "b" });
    expect(kinds(effects)).toEqual(["record signalled", "disarm", "record done", "deliver"]);
    expect(delivered(effects)).toMatchObject([{ seq: 2, value: "b" }]);
    expect(driven.run.signals.size).toBe(0);
  });

  test("without a value is a value too", () => {
    const driven = new Driven();
    driven.feed({ t: "signal", name: "go", value: "" });
    expect(delivered(driven.commands({ t: "signal", seq: 1, name: "go" }))).toMatchObject([{ value: "" }]);
    expect(driven.run.signals.size).toBe(0);
  });

  test("that does not come in time fails those who wait, in the order of their times, and stays for the next", () => {
    const driven = new Driven();
    driven.commands({ t: "signal", seq: 1, name: "go", timeoutMs: 20 }, { t: "signal", seq: 2, name: "go", timeoutMs: 10 });
    driven.now = 1_010;
    expect(delivered(driven.feed({ t: "timer", seq: 2 }))).toMatchObject([{ seq: 2, failure: { code: "SIGNAL_TIMEOUT" } }]);
    driven.now = 1_020;
    expect(delivered(driven.feed({ t: "timer", seq: 1 }))).toMatchObject([{ seq: 1, failure: { code: "SIGNAL_TIMEOUT" } }]);
    driven.feed({ t: "signal", name: "go", value: "late" });
    expect(delivered(driven.commands({ t: "signal", seq: 3, name: "go" }))).toMatchObject([{ seq: 3, value: "late" }]);
  });
});

describe("a child", () => {
  const child = (seq: number, detached: boolean): ResolvedCommand => ({
    t: "child",
    seq,
    coordinator: "ship",
    input: "1",
    detached,
    child: `run_0000000000${seq}`,
  });

  test("is started, and its end is the outcome", () => {
    const driven = new Driven();
    const started = { t: "start-child", seq: 2, child: "run_00000000002", coordinator: "ship", input: "1", detached: false };
    expect(driven.commands(child(2, false)).at(-1)).toEqual(started);
    expect(statusOf(driven.run, false)).toBe("waiting");
    expect(delivered(driven.feed({ t: "child", seq: 2, value: "7" }))).toEqual([{ t: "done", seq: 2, at: 1_000, value: "7" }]);
    expect(driven.feed({ t: "child", seq: 2, value: "8" })).toEqual([]);
  });

  test("that failed fails the command", () => {
    const driven = new Driven();
    driven.commands(child(2, false));
    expect(delivered(driven.feed({ t: "child", seq: 2, failure: FAILED }))).toEqual([{ t: "done", seq: 2, at: 1_000, failure: FAILED }]);
  });

  test("that is detached is done when it is started, with its id; its end is its own affair", () => {
    const driven = new Driven();
    const effects = driven.commands(child(2, true));
    expect(kinds(effects)).toEqual(["record child", "start-child", "record done", "deliver"]);
    expect(delivered(effects)).toMatchObject([{ value: '"run_00000000002"' }]);
    expect(driven.feed({ t: "child", seq: 2, value: "7" })).toEqual([]);
    expect(driven.commands({ t: "finish", value: "" }).map((effect) => effect.t)).toEqual(["finished"]);
  });

  test("of which nothing is known is refused and not started", () => {
    const driven = new Driven();
    const effects = driven.commands({ ...child(2, true), refusal: { code: "UNKNOWN_COORDINATOR", message: "no" } });
    expect(kinds(effects)).toEqual(["record child", "record done", "deliver"]);
    expect(delivered(effects)).toMatchObject([{ failure: { code: "UNKNOWN_COORDINATOR" } }]);
  });
});

describe("withdrawing", () => {
  const started = (): Driven => {
    const driven = new Driven();
    driven.commands(
      { t: "call", seq: 1, fn: "pay", input: "" },
      { t: "sleep", seq: 2, ms: 5 },
      { t: "signal", seq: 3, name: "go", timeoutMs: 9 },
      { t: "signal", seq: 4, name: "go" },
      { t: "child", seq: 5, coordinator: "ship", input: "", detached: false, child: "run_00000000005" },
    );
    return driven;
  };

  test.each([
    [1, ["withdraw"]],
    [2, ["disarm"]],
    [3, ["disarm"]],
    [4, []],
    [5, ["cancel-child"]],
  ])("command %i releases what would have woken it, and is its outcome", (target, released) => {
    const driven = started();
    const effects = driven.commands({ t: "withdraw", seq: 6, target });
    expect(kinds(effects)).toEqual(["record withdraw", ...released, "record done", "deliver"]);
    expect(delivered(effects)).toMatchObject([{ seq: target, failure: { code: "CALL_CANCELLED", terminal: true } }]);
    expect(driven.run.pending.has(target)).toBe(false);
    for (const input of [
      { t: "succeeded", seq: target, attempt: 1, value: "" },
      { t: "child", seq: target, value: "" },
      { t: "timer", seq: target },
    ] as const)
      expect(driven.feed(input)).toEqual([]);
  });

  test("what is done or unknown only leaves its record", () => {
    const driven = started();
    driven.feed({ t: "succeeded", seq: 1, attempt: 1, value: "" });
    expect(kinds(driven.commands({ t: "withdraw", seq: 6, target: 1 }))).toEqual(["record withdraw"]);
    expect(kinds(driven.commands({ t: "withdraw", seq: 7, target: 99 }))).toEqual(["record withdraw"]);
  });

  test("a dead letter ends the suspension", () => {
    const driven = started();
    driven.fail(1, 1, FAILED, { attempts: 1 });
    expect(statusOf(driven.run, false)).toBe("suspended");
    driven.commands({ t: "withdraw", seq: 6, target: 1 });
    expect([driven.run.dead, statusOf(driven.run, false)]).toEqual([0, "waiting"]);
  });

  test("a signal that has come takes none that another one waits for", () => {
    const driven = started();
    driven.commands({ t: "withdraw", seq: 6, target: 3 });
    expect(delivered(driven.feed({ t: "signal", name: "go", value: "1" }))).toMatchObject([{ seq: 4, value: "1" }]);
  });
});

describe("cancelling", () => {
  const busy = (kind: RunKind): Driven => {
    const driven = new Driven(kind);
    driven.commands({ t: "call", seq: 1, fn: "pay", input: "" }, { t: "sleep", seq: 2, ms: 5 });
    return driven;
  };

  test("a coordinator releases what it waits for and tells it, so that it can clean up and end", () => {
    const driven = busy("coordinator");
    const effects = driven.feed({ t: "cancel", reason: "enough", force: false });
    expect(kinds(effects)).toEqual(["withdraw", "disarm", "record cancel", "deliver"]);
    expect(effects.at(-1)).toEqual({ t: "deliver", record: { t: "cancel", at: 1_000, reason: "enough" }, index: 2 });
    expect(driven.run.pending.size).toBe(0);
    expect(driven.feed({ t: "succeeded", seq: 1, attempt: 1, value: "" })).toEqual([]);
    expect(kinds(driven.call(3))).toEqual(["record call", "enqueue"]);
    driven.feed({ t: "succeeded", seq: 3, attempt: 1, value: "" });
    const failure: Failure = { code: "RUN_CANCELLED", message: "enough" };
    expect(driven.commands({ t: "finish", cancelled: true, failure })).toEqual([{ t: "finished", status: "cancelled", failure }]);
  });

  test("a coordinator a second time changes nothing", () => {
    const driven = busy("coordinator");
    driven.feed({ t: "cancel", reason: "enough", force: false });
    driven.call(3);
    expect(driven.feed({ t: "cancel", reason: "again", force: false })).toEqual([]);
    expect(driven.run.cancelled).toBe("enough");
  });

  test.each<[string, RunKind, boolean]>([
    ["a function", "function", false],
    ["an expression", "expression", false],
    ["a coordinator by force", "coordinator", true],
  ])("%s ends it at once", (_, kind, force) => {
    const driven = busy(kind);
    const effects = driven.feed({ t: "cancel", reason: "enough", force });
    expect(kinds(effects)).toEqual(["withdraw", "disarm", "record cancel", "finished"]);
    expect(effects.at(-1)).toEqual({ t: "finished", status: "cancelled", failure: { code: "RUN_CANCELLED", message: "enough" } });
  });

  test("by force ends a coordinator that does not end by itself after the first time", () => {
    const driven = busy("coordinator");
    driven.feed({ t: "cancel", reason: "enough", force: false });
    driven.call(3);
    expect(kinds(driven.feed({ t: "cancel", reason: "now", force: true }))).toEqual(["withdraw", "record cancel", "finished"]);
  });

  test("a coordinator that cannot go on ends it at once: there is nobody to clean up", () => {
    const driven = busy("coordinator");
    driven.feed({ t: "halt", failure: { code: "REPLAY_DIVERGED", message: "no" } });
    expect(kinds(driven.feed({ t: "cancel", reason: "enough", force: false })).at(-1)).toBe("finished");
  });

  test("takes the dead letters with it", () => {
    const driven = busy("coordinator");
    driven.fail(1, 1, FAILED, { attempts: 1 });
    driven.feed({ t: "cancel", reason: "enough", force: false });
    expect([driven.run.dead, statusOf(driven.run, true), suspensionOf(driven.run)]).toEqual([0, "running", undefined]);
  });
});

describe("suspending and resuming", () => {
  test("a halted run is suspended with the reason, though it has no dead letter", () => {
    const driven = new Driven();
    const failure: Failure = { code: "REPLAY_DIVERGED", message: "no" };
    const effects = driven.feed({ t: "halt", failure });
    expect(kinds(effects)).toEqual(["record suspend", "suspended"]);
    expect([statusOf(driven.run, false), suspensionOf(driven.run)]).toEqual(["suspended", failure]);
    expect(kinds(driven.feed({ t: "resume" }))).toEqual(["record resume", "resumed"]);
    expect([statusOf(driven.run, true), suspensionOf(driven.run)]).toEqual(["running", undefined]);
  });

  test("calls that were under way when their run was halted still have one outcome", () => {
    const driven = new Driven();
    driven.call(1);
    driven.feed({ t: "halt", failure: FAILED });
    expect(delivered(driven.feed({ t: "succeeded", seq: 1, attempt: 1, value: "1" }))).toHaveLength(1);
  });

  test("resuming enqueues the dead letters with all their attempts, and no other call", () => {
    const driven = new Driven();
    for (const seq of [1, 2, 3]) driven.call(seq);
    const policy = { ...NO_JITTER, attempts: 2 };
    for (const seq of [1, 3]) for (const attempt of [1, 2]) driven.fail(seq, attempt, FAILED, policy);
    expect(driven.run.dead).toBe(2);
    driven.now = 5_000;
    const effects = driven.feed({ t: "resume" });
    expect(kinds(effects)).toEqual(["record resume", "resumed", "enqueue", "enqueue"]);
    expect(effects.slice(2)).toEqual([1, 3].map((seq) => ({ t: "enqueue", call: driven.pendingCall(seq) })));
    expect(driven.pendingCall(1)).toMatchObject({ attempt: 3, firstAttempt: 3, losses: 0, notBefore: 0, dead: undefined });
    expect(driven.run.dead).toBe(0);
    expect(driven.feed({ t: "succeeded", seq: 1, attempt: 2, value: "stale" })).toEqual([]);
    expect(kinds(driven.fail(1, 3, FAILED, policy))).toEqual(["record attempt", "enqueue"]);
    expect(driven.records.at(-1)).toMatchObject({ retryAt: 5_100, failure: { attempts: 3 } });
    expect(kinds(driven.fail(1, 4, FAILED, policy))).toEqual(["record suspend", "suspended"]);
  });

  test("resuming gives the deaths of pods a fresh budget too", () => {
    const driven = new Driven();
    driven.call(1);
    for (let attempt = 1; attempt <= MAX_LOSSES; attempt++) driven.fail(1, attempt, LOST);
    expect(driven.run.dead).toBe(1);
    driven.feed({ t: "resume" });
    expect(kinds(driven.fail(1, MAX_LOSSES + 1, LOST))).toEqual(["record attempt", "enqueue"]);
    expect(driven.pendingCall(1)).toMatchObject({ losses: 1, notBefore: 1_000 });
  });
});

describe("finishing", () => {
  const full = (): Driven => {
    const driven = new Driven();
    driven.commands(
      { t: "call", seq: 1, fn: "pay", input: "" },
      { t: "sleep", seq: 2, ms: 5 },
      { t: "signal", seq: 3, name: "go", timeoutMs: 9 },
      { t: "signal", seq: 4, name: "go" },
      { t: "child", seq: 5, coordinator: "ship", input: "", detached: false, child: "run_00000000005" },
      { t: "call", seq: 6, fn: "pay", input: "" },
    );
    driven.fail(6, 1, FAILED, { attempts: 1 });
    return driven;
  };

  test("releases everything that is still under way", () => {
    const driven = full();
    const effects = driven.commands({ t: "finish", value: "7" });
    expect(effects).toEqual([
      { t: "withdraw", seq: 1, reason: "its run has finished" },
      { t: "disarm", seq: 2 },
      { t: "disarm", seq: 3 },
      { t: "cancel-child", child: "run_00000000005", reason: "its run has finished" },
      { t: "withdraw", seq: 6, reason: "its run has finished" },
      { t: "finished", status: "completed", value: "7" },
    ]);
    expect([driven.run.pending.size, driven.run.dead, statusOf(driven.run, true)]).toEqual([0, 0, "completed"]);
    expect([nextTimer(driven.run), suspensionOf(driven.run)]).toEqual([undefined, undefined]);
  });

  test("with a failure fails the run, and without a value completes it with none", () => {
    expect(full().commands({ t: "finish", failure: FAILED }).at(-1)).toEqual({ t: "finished", status: "failed", failure: FAILED });
    expect(full().commands({ t: "finish" }).at(-1)).toEqual({ t: "finished", status: "completed", value: "" });
  });

  test("is the end: the commands behind it and all later inputs change nothing", () => {
    const driven = full();
    driven.commands({ t: "finish", value: "7" }, { t: "call", seq: 7, fn: "pay", input: "" }, { t: "finish", value: "8" });
    const after = structuredClone(driven.run);
    const inputs: RunInput[] = [
      { t: "commands", commands: [{ t: "sleep", seq: 8, ms: 1 }] },
      { t: "succeeded", seq: 1, attempt: 1, value: "" },
      { t: "failed", seq: 1, attempt: 1, failure: FAILED, policy: undefined },
      { t: "timer", seq: 2 },
      { t: "child", seq: 5, value: "" },
      { t: "signal", name: "go", value: "" },
      { t: "cancel", reason: "late", force: true },
      { t: "halt", failure: FAILED },
      { t: "resume" },
    ];
    for (const input of inputs) expect(driven.feed(input), input.t).toEqual([]);
    expect(driven.run).toEqual(after);
  });
});

test("a run stands as its commands do", () => {
  const driven = new Driven();
  expect(statusOf(driven.run, true)).toBe("running");
  driven.commands({ t: "sleep", seq: 1, ms: 5 }, { t: "signal", seq: 2, name: "go" });
  expect([statusOf(driven.run, false), statusOf(driven.run, true)]).toEqual(["waiting", "running"]);
  driven.call(3);
  expect(statusOf(driven.run, false)).toBe("running");
  expect(nextTimer(driven.run)).toBe(1_005);
});

test("records of what was withdrawn meanwhile, or never known, are passed over in a replay", () => {
  const run = createRun(HEAD);
  const records: JournalRecord[] = [
    { t: "done", seq: 1, at: 1, value: "" },
    { t: "attempt", seq: 1, attempt: 1, at: 1, failure: FAILED, retryAt: 1 },
    { t: "suspend", seq: 1, attempt: 1, at: 1, failure: FAILED },
  ];
  for (const record of records) apply(run, record);
  expect(run).toEqual({ ...createRun(HEAD), next: 3 });
});
