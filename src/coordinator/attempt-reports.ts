/**
 * What pods report of attempts: outcomes and progress.
 *
 * Owns: whether an outcome still counts (P2), and that it is settled before anything follows from it. Does not own: what attempts have changed
 * (invocations), verdicts (monitor), what follows (feeder.ts), leases (scheduler).
 */
import type { Invocations } from "../invocation/service.ts";
import type { Json } from "../lib/json.ts";
import type { Monitor } from "../monitor/service.ts";
import type { CallCertificate, CallMetrics } from "../protocol/run.ts";
import type { Entry } from "../queue/machine.ts";
import type { Outcome } from "../scheduler/service.ts";
import type { RunFeeder } from "./feeder.ts";
import type { RunMemory } from "./memory.ts";
import { callOf, isQueued, type PendingCall, type RunState } from "./run-state.ts";
import type { Turn } from "./turn.ts";

export interface AttemptReportParts {
  monitor: Pick<Monitor, "judged" | "observe">;
  invocations: Pick<Invocations, "settle" | "abandon">;
  turn: Pick<Turn, "log">;
}

export class AttemptReports {
  readonly #parts: AttemptReportParts;
  readonly #feeder: Pick<RunFeeder, "feed" | "calls" | "counters">;
  readonly #memory: Pick<RunMemory, "get" | "values">;

  constructor(
    parts: AttemptReportParts,
    feeder: Pick<RunFeeder, "feed" | "calls" | "counters">,
    memory: Pick<RunMemory, "get" | "values">,
  ) {
    this.#parts = parts;
    this.#feeder = feeder;
    this.#memory = memory;
  }

  settled(entry: Entry, outcome: Outcome): void {
    const { monitor, invocations } = this.#parts;
    const live = this.#memory.get(entry.run);
    const { seq, attempt, fn } = entry;
    if (live?.entries.get(seq) === entry) live.entries.delete(seq);
    const call = live === undefined ? undefined : wantedCall(live.state, entry);
    if (live === undefined || call === undefined) {
      // Its run has ended, or the call was withdrawn, while the outcome was on its way: nothing of it may count (P2).
      invocations.abandon(entry);
      if (live !== undefined) monitor.judged(entry, outcome);
      return;
    }
    const settlement = invocations.settle(entry, outcome);
    if (settlement.t === "conflict") {
      if (outcome.lines.length > 0) this.#parts.turn.log({ run: entry.run, seq, attempt, function: fn, lines: outcome.lines });
      return this.#feeder.calls.repeat(live, call);
    }
    live.conflicts?.delete(seq);
    const { value, metrics, certificate } = outcome;
    const measured: { metrics?: CallMetrics; certificate?: CallCertificate } = metrics === undefined ? {} : { metrics };
    if (certificate !== undefined) measured.certificate = certificate;
    if (settlement.t === "committed") {
      monitor.observe(entry, outcome);
      this.#feeder.counters.callsCompleted++;
      const read = settlement.reads === undefined ? {} : { reads: settlement.reads };
      this.#feeder.feed(live, { t: "succeeded", seq, attempt, value: value ?? "", ...measured, ...read });
    } else {
      const { failure } = settlement;
      monitor.observe(entry, { ...outcome, failure });
      this.#feeder.counters.callsFailed++;
      this.#feeder.calls.fail(live, entry, failure, measured);
    }
  }

  /** Attempts of a function's version that are under way, or will be: `run/seq/attempt`. */
  pendingOf(fn: string, version?: string): string[] {
    const found: string[] = [];
    for (const { head, entries } of this.#memory.values()) {
      for (const entry of entries.values()) {
        if (entry.fn === fn && (version === undefined || entry.version === version)) found.push(`${head.id}/${entry.seq}/${entry.attempt}`);
      }
    }
    return found;
  }

  /** How often in a row the call's attempts have met a conflict in the state store. */
  conflictsOf({ run, seq }: Entry): number {
    return this.#memory.get(run)?.conflicts?.get(seq) ?? 0;
  }

  /** How far an attempt says that it has come. The scheduler sees to it that it doesn't come too often. */
  progress({ run, seq, attempt }: Entry, value: Json): void {
    const live = this.#memory.get(run);
    if (live !== undefined) this.#feeder.feed(live, { t: "progress", seq, attempt, value });
  }
}

/** The call that waits for this attempt's outcome. */
const wantedCall = (state: RunState, { seq, attempt }: Entry): PendingCall | undefined => {
  const call = callOf(state, seq);
  return call !== undefined && call.attempt === attempt && isQueued(call) ? call : undefined;
};
