/**
 * The calls of runs in memory: when each goes into its layer, again or out of it, and with which policy its failures are judged.
 *
 * Owns: the entries of runs (`Live.entries`), pauses between conflicts. Does not own: whether a call is made, tried again or given up
 * (machine.ts), layers and leases (scheduler), what attempts have changed (invocations).
 */
import type { Registry } from "../application/registry.ts";
import type { Clock } from "../lib/clock.ts";
import type { Failure } from "../lib/errors.ts";
import type { RunIds } from "../lib/ids.ts";
import { hashText, seeded } from "../lib/random.ts";
import type { CallCertificate, CallMetrics } from "../protocol/run.ts";
import type { Entry } from "../queue/machine.ts";
import type { Preloads } from "../scheduler/preloads.ts";
import type { Scheduler } from "../scheduler/service.ts";
import type { Feed, Live } from "./live.ts";
import { callOf, isQueued, type PendingCall } from "./run-state.ts";
import type { Turn } from "./turn.ts";

export interface CallParts {
  registry: Pick<Registry, "spec" | "coordinatorSpec">;
  ids: Pick<RunIds, "next">;
  clock: Pick<Clock, "now">;
  turn: Pick<Turn, "after">;
  preloads?: Pick<Preloads, "called"> | undefined;
  defaultTimeoutMs: number;
}

export class RunCalls {
  readonly #parts: CallParts;
  readonly #scheduler: Pick<Scheduler, "enqueue" | "withdraw">;
  readonly #feed: Feed;

  constructor(parts: CallParts, scheduler: Pick<Scheduler, "enqueue" | "withdraw">, feed: Feed) {
    this.#parts = parts;
    this.#scheduler = scheduler;
    this.#feed = feed;
  }

  /** Puts a decided call into its layer; not to be dispatched before `notBefore` (Unix ms), whatever the call says. */
  enqueue(live: Live, call: PendingCall, notBefore = 0): void {
    // Between the decision and the commit the call may have been withdrawn, or its run have finished.
    if (live.state.pending.get(call.seq) !== call || !isQueued(call) || live.entries.has(call.seq)) return;
    if (live.driver === undefined) this.#parts.preloads?.called(live.head.name, call.fn);
    const spec = this.#parts.registry.spec(call.fn, call.version);
    const plain: Entry = {
      run: live.head.id,
      seq: call.seq,
      attempt: call.attempt,
      fn: call.fn,
      version: call.version,
      input: call.input,
      priority: call.options?.priority ?? live.state.priority,
      timeoutMs: call.options?.timeoutMs ?? spec?.timeoutMs ?? this.#parts.defaultTimeoutMs,
      // After two deaths of its pod the call is a suspect: it executes alone, so that it takes no other with it.
      solo: call.losses >= 2,
      notBefore: Math.max(call.notBefore, notBefore),
      state: "waiting",
      waitingSince: 0,
      lease: 0,
      pod: "",
      leasedAt: 0,
    };
    const entry = call.undo === undefined && call.progress === undefined ? plain : resumed(plain, call);
    live.entries.set(call.seq, entry);
    this.#scheduler.enqueue(entry);
  }

  /** Executes an attempt once more that met a conflict in the state store: it is the same attempt, and has used up nothing. */
  repeat(live: Live, call: PendingCall): void {
    live.conflicts ??= new Map();
    const conflicts = (live.conflicts.get(call.seq) ?? 0) + 1;
    live.conflicts.set(call.seq, conflicts);
    this.enqueue(live, call, this.#parts.clock.now() + conflictPauseMs(`${live.head.id}/${call.seq}`, conflicts));
  }

  /** Takes a call out of its layer, or tells the attempt that executes to stop. */
  withdraw(live: Live, seq: number, reason: string): void {
    const entry = live.entries.get(seq);
    if (entry === undefined) return;
    live.entries.delete(seq);
    this.#parts.turn.after(() => this.#scheduler.withdraw(entry, reason));
  }

  /** A call that no attempt executes is given up; one that does is awaited. */
  letEnd(live: Live, seq: number): void {
    this.#parts.turn.after(() => {
      const entry = live.entries.get(seq);
      const call = callOf(live.state, seq);
      if (call === undefined || !isQueued(call) || entry?.state === "leased") return;
      if (entry !== undefined) {
        live.entries.delete(seq);
        this.#scheduler.withdraw(entry, "its run is compensated");
      }
      const failure: Failure = { code: "CALL_CANCELLED", message: "its run is compensated before it began", terminal: true };
      this.#feed(live, { t: "failed", seq, attempt: call.attempt, failure, policy: undefined });
    });
  }

  /** Feeds the failure of an attempt, with what its function and its run's coordinator say of failures. */
  fail(
    live: Live,
    { seq, attempt, fn, version }: Entry,
    failure: Failure,
    measured: { metrics?: CallMetrics; certificate?: CallCertificate },
  ): void {
    const { registry, ids, clock } = this.#parts;
    const { kind, name } = live.head;
    const spec = registry.spec(fn, version);
    // Whoever recovers must learn of failures: what is out of attempts does not wait for a person then.
    const isRecovery = kind === "recovery";
    const recovers = isRecovery || (kind === "coordinator" && registry.coordinatorSpec(name, live.head.version)?.recovers === true);
    const policy = recovers ? { onExhausted: "fail" as const, ...spec?.retry } : spec?.retry;
    // What a recovery calls is not recovered in turn: a function that is called by its own recovery would be for ever.
    const recovery = spec?.recovers && !isRecovery ? { recovery: ids.next(clock.now()) } : {};
    this.#feed(live, { t: "failed", seq, attempt, failure, policy, ...measured, ...recovery });
  }
}

/** With what only few calls have: what is to be compensated, and how far an earlier attempt has come. */
const resumed = (entry: Entry, { undo, progress }: PendingCall): Entry => ({
  ...entry,
  ...(undo === undefined ? {} : { undo }),
  ...(progress === undefined ? {} : { progress }),
});

const FIRST_PAUSE_MS = 2;
const LONGEST_PAUSE_MS = 100;

/** Doubles with each conflict in a row, and takes up to half off, so that those who met do not meet again. */
const conflictPauseMs = (call: string, conflicts: number): number => {
  const full = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (conflicts - 1));
  return Math.round(full * (1 - seeded(hashText(`${call}/${conflicts}`)).next() / 2));
};
