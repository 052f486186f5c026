import { describe, expect, test } from "vitest";
import type { FunctionSpec } from "../protocol/application.ts";
import type { RunKind } from "../protocol/run.ts";
import type { Entry } from "../queue/machine.ts";
import { RunCalls } from "./calls.ts";
import { createLive, type Live } from "./live.ts";
import { type RunInput, step } from "./machine.ts";
import type { RunEffect } from "./run-effects.ts";
import { callOf, createRun, type PendingCall } from "./run-state.ts";

const FAILURE = { code: "FUNCTION_FAILED", message: "no" };

const setUp = ({ kind = "coordinator" as RunKind, spec = {} as Partial<FunctionSpec>, recovers = false } = {}) => {
  const head = { id: "run_00000000001", kind, name: "booking", application: "shop", version: "v1", input: "", acceptedAt: 1, priority: 4 };
  const live: Live = createLive(head, createRun(head), undefined, 1);
  const effects: (() => void)[] = [];
  const enqueued: Entry[] = [];
  const withdrawn: string[] = [];
  const fed: RunInput[] = [];
  const calls = new RunCalls(
    {
      registry: {
        spec: () => ({ name: "pay", ...spec }),
        coordinatorSpec: (name) => ({ name, recovers }),
      },
      ids: { next: () => "run_recovery" },
      clock: { now: () => 1_000 },
      turn: { after: (effect) => effects.push(effect) },
      defaultTimeoutMs: 60_000,
    },
    { enqueue: (entry) => enqueued.push(entry), withdraw: (entry, reason) => withdrawn.push(`${entry.seq}: ${reason}`) },
    (_, input) => fed.push(input),
  );
  /** A call that the machine has decided. */
  const decide = (seq: number): PendingCall => {
    const made: RunEffect[] = [];
    step(live.state, { t: "commands", commands: [{ t: "call", seq, fn: "pay", input: "5", version: "v1" }] }, 1_000, made);
    return callOf(live.state, seq)!;
  };
  const commit = (): void => {
    for (const effect of effects.splice(0)) effect();
  };
  return { live, calls, decide, commit, enqueued, withdrawn, fed };
};

describe("a call that was decided", () => {
  test("goes into its layer once, with what its function and its run say", () => {
    const { live, calls, decide, enqueued } = setUp({ spec: { timeoutMs: 500 } });
    const call = decide(1);
    calls.enqueue(live, call);
    calls.enqueue(live, call);
    expect(enqueued).toMatchObject([{ run: live.head.id, seq: 1, attempt: 1, fn: "pay", timeoutMs: 500, priority: 4, solo: false }]);
    expect(live.entries.get(1)).toBe(enqueued[0]);
  });

  test("doesn't go there any more when it was withdrawn before the commit", () => {
    const { live, calls, decide, enqueued } = setUp();
    const call = decide(1);
    live.state.pending.delete(1);
    calls.enqueue(live, call);
    expect(enqueued).toEqual([]);
  });

  test("executes alone after its pod has died twice", () => {
    const { live, calls, decide, enqueued } = setUp();
    const call = decide(1);
    call.losses = 2;
    calls.enqueue(live, call);
    expect(enqueued).toMatchObject([{ solo: true }]);
  });
});

describe("an attempt that met conflicts", () => {
  test("waits longer each time, and no longer than 100 ms", () => {
    const { live, calls, decide, enqueued } = setUp();
    const call = decide(1);
    for (let i = 0; i < 12; i++) {
      live.entries.clear();
      calls.repeat(live, call);
    }
    const pauses = enqueued.map(({ notBefore }) => notBefore - 1_000);
    expect(pauses[0]).toBeLessThanOrEqual(2);
    for (const [i, pause] of pauses.entries()) {
      const full = Math.min(100, 2 * 2 ** i);
      expect(pause).toBeGreaterThanOrEqual(full / 2);
      expect(pause).toBeLessThanOrEqual(full);
    }
    expect(new Set(enqueued.map(({ attempt }) => attempt))).toEqual(new Set([1]));
  });
});

describe("a call that nobody wants any more", () => {
  test("leaves its layer once the withdrawal is durable", () => {
    const { live, calls, decide, commit, withdrawn } = setUp();
    calls.enqueue(live, decide(1));
    calls.withdraw(live, 1, "its run has finished");
    expect([withdrawn, live.entries.size]).toEqual([[], 0]);
    commit();
    expect(withdrawn).toEqual(["1: its run has finished"]);
  });

  test("is given up for a compensation only when no attempt executes it", () => {
    const { live, calls, decide, commit, withdrawn, fed } = setUp();
    calls.enqueue(live, decide(1));
    calls.enqueue(live, decide(2));
    live.entries.get(2)!.state = "leased";
    calls.letEnd(live, 1);
    calls.letEnd(live, 2);
    commit();
    expect(withdrawn).toEqual(["1: its run is compensated"]);
    expect(fed).toMatchObject([{ t: "failed", seq: 1, failure: { code: "CALL_CANCELLED" } }]);
  });
});

describe("a failure", () => {
  const fail = (given: Parameters<typeof setUp>[0]): RunInput | undefined => {
    const { live, calls, decide, fed } = setUp(given);
    calls.enqueue(live, decide(1));
    calls.fail(live, live.entries.get(1)!, FAILURE, {});
    return fed[0];
  };

  test("is judged by what its function says", () => {
    expect(fail({ spec: { retry: { attempts: 2 } } })).toMatchObject({ t: "failed", seq: 1, attempt: 1, policy: { attempts: 2 } });
    expect(fail({})).not.toHaveProperty("recovery");
  });

  test("reaches a coordinator that recovers, rather than wait for a person", () => {
    expect(fail({ recovers: true })).toMatchObject({ policy: { onExhausted: "fail" } });
    expect(fail({ recovers: true, spec: { retry: { onExhausted: "suspend" } } })).toMatchObject({ policy: { onExhausted: "suspend" } });
  });

  test("is recovered by its function, but for one that a recovery has called", () => {
    expect(fail({ spec: { recovers: true } })).toMatchObject({ recovery: "run_recovery" });
    expect(fail({ spec: { recovers: true }, kind: "recovery" })).not.toHaveProperty("recovery");
  });
});
