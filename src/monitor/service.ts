/**
 * The monitor: judges every execution when it has ended, records what it logged and how it went, and watches the alerts' bounds.
 *
 * Owns: verdicts, execution reports, alerts. Does not own: what follows from a verdict (the run machine), how lines are stored (journal).
 *
 * M1  An attempt that failed has its verdict before the run machine sees its failure.
 * M2  One that succeeded without a word leaves nothing here: its measurements are in its `done` record.
 */
import type { Registry } from "../application/registry.ts";
import type { Turn } from "../coordinator/turn.ts";
import type { Clock } from "../lib/clock.ts";
import type { Failure } from "../lib/errors.ts";
import type { Verdict } from "../lib/verdict.ts";
import type { CallLog } from "../protocol/control-plane.ts";
import type { ExecutionReport } from "../protocol/run.ts";
import type { Entry } from "../queue/machine.ts";
import type { Outcome } from "../scheduler/service.ts";
import { type AlertEvent, Alerts } from "./alerts.ts";
import { diagnose, type Execution } from "./diagnose.ts";

export interface MonitorParts {
  turn: Turn;
  clock: Clock;
  registry: Registry;
  /** What a pod's heap may take when its function says nothing. */
  podMemoryMb: number;
}

/** The answer took its time to come: the first line may have been written before what its time and duration say. */
const startOf = (leasedAt: number, latest: number, firstLineAt = latest): number => Math.max(leasedAt, Math.min(latest, firstLineAt));

const SWEEP_MS = 1_000;
const MESSAGE_LIMIT = 500;

export class Monitor {
  readonly #parts: MonitorParts;
  readonly #alerts = new Alerts();
  #configured = -1;
  #stopSweep: (() => void) | undefined;

  constructor(parts: MonitorParts) {
    this.#parts = parts;
  }

  /** Judges an execution that has ended and records it. Gives its outcome, the failure with its verdict. */
  judged(entry: Entry, outcome: Outcome): Outcome {
    const { failure } = outcome;
    if (failure === undefined) {
      this.observe(entry, outcome);
      return outcome;
    }
    const judged: Outcome = { ...outcome, failure: { ...failure, verdict: this.verdict(entry, { ...outcome, failure }) } };
    this.observe(entry, judged);
    return judged;
  }

  /** What is to be made of an attempt that failed. */
  verdict(entry: Entry, outcome: Outcome & { failure: Failure }): Verdict {
    const { failure, metrics, lines } = outcome;
    const memoryMb = this.#parts.registry.spec(entry.fn, entry.version)?.memoryMb ?? this.#parts.podMemoryMb;
    const execution: Execution = { function: entry.fn, failure, lines, timeoutMs: entry.timeoutMs, memoryMb };
    return diagnose(metrics === undefined ? execution : { ...execution, metrics });
  }

  /** The failure of a coordinator, with its verdict. */
  judgedRun(name: string, failure: Failure): Failure {
    return { ...failure, verdict: diagnose({ function: name, failure, lines: [] }) };
  }

  /** Records an execution that has ended; of one that failed, with its verdict. */
  observe(entry: Entry, outcome: Outcome): void {
    const { registry } = this.#parts;
    if (outcome.failure !== undefined || outcome.lines.length > 0) this.#report(entry, outcome);
    if (registry.revision !== this.#configured) this.#configure();
    if (!this.#alerts.isEmpty) this.#watch(entry, outcome);
  }

  stop(): void {
    this.#stopSweep?.();
    this.#stopSweep = undefined;
  }

  #report({ run, seq, attempt, fn, leasedAt }: Entry, { failure, metrics, lines }: Outcome): void {
    const endedAt = this.#parts.clock.now();
    const startedAt =
      metrics === undefined ? leasedAt || endedAt : startOf(leasedAt, endedAt - Math.ceil(metrics.durationMs), lines[0]?.at);
    const report: ExecutionReport = { startedAt, endedAt, outcome: failure === undefined ? "ok" : "fault" };
    if (metrics !== undefined) report.metrics = metrics;
    if (failure?.verdict !== undefined) report.verdict = failure.verdict;
    if (failure !== undefined) report.message = failure.message.slice(0, MESSAGE_LIMIT);
    const log: CallLog = { run, seq, attempt, function: fn, lines, report };
    this.#parts.turn.log(log);
  }

  #watch({ fn, leasedAt }: Entry, { failure, metrics }: Outcome): void {
    const at = this.#parts.clock.now();
    const durationMs = metrics?.durationMs ?? (leasedAt > 0 ? at - leasedAt : 0);
    this.#publish(this.#alerts.observe(fn, { at, durationMs, memoryMb: metrics?.memoryMb ?? 0, failed: failure !== undefined }));
  }

  /** The bounds are those of the current versions. */
  #configure(): void {
    const { registry } = this.#parts;
    this.#configured = registry.revision;
    this.#publish(this.#alerts.configure(registry.current().flatMap(({ manifest }) => manifest.alerts ?? [])));
  }

  #publish(events: readonly AlertEvent[]): void {
    for (const event of events) this.#parts.turn.event(event);
    if (this.#stopSweep === undefined && this.#alerts.isRaised) this.#sweepLater();
  }

  // Only while something is raised: an alert whose function executes no more has to end as well.
  #sweepLater(): void {
    const { clock } = this.#parts;
    this.#stopSweep = clock.after(
      SWEEP_MS,
      () => {
        this.#stopSweep = undefined;
        if (this.#parts.registry.revision !== this.#configured) this.#configure();
        this.#publish(this.#alerts.sweep(clock.now()));
      },
      "upkeep",
    );
  }
}
