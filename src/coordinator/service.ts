/**
 * The run service: what may be asked of runs.
 *
 * Owns: results and who waits for them, what people and programs ask of a run under way, which parts work together. Does not own: how runs
 * begin (admission.ts), what pods report (attempt-reports.ts, host-reports.ts), what follows for a run (feeder.ts, machine.ts), which runs are
 * in memory (memory.ts), durability (turn.ts).
 */
import type { StoredRun } from "../journal/port.ts";
import { type Failure, failureOf, LockstepError } from "../lib/errors.ts";
import { type RunId, RunIds } from "../lib/ids.ts";
import type { Json } from "../lib/json.ts";
import type { Resolution } from "../protocol/recovery.ts";
import type { RunResult, RunStatus } from "../protocol/run.ts";
import type { Space, Staleness } from "../protocol/state.ts";
import type { Scheduler } from "../scheduler/service.ts";
import { Admission, type AdmissionLimits, type NewRun } from "./admission.ts";
import { type AttemptReportParts, AttemptReports } from "./attempt-reports.ts";
import { Auditor } from "./auditor.ts";
import { type FeederParts, type RunCounters, RunFeeder } from "./feeder.ts";
import { type HostReportParts, HostReports } from "./host-reports.ts";
import type { CoordinatorHosts } from "./hosts.ts";
import { absolve, createLive, describePending, isSuspended, type Live, resultOfLive, statusOfLive } from "./live.ts";
import { RunMemory } from "./memory.ts";
import { refusalOf } from "./recovery-machine.ts";
import { apply } from "./run-records.ts";
import { createRun, signalsOf, suspensionOf } from "./run-state.ts";
import { Waiters } from "./waiters.ts";

export type RunServiceParts = Omit<FeederParts, "ids" | "waiters" | "defaultTimeoutMs"> & AttemptReportParts & HostReportParts;

export interface RunServiceOptions extends AdmissionLimits {
  defaultTimeoutMs: number;
  /** A run that only waits leaves memory after this time. */
  evictAfterMs: number;
}

/** Signals that one run may have waiting: they are in memory with it. */
const MAX_SIGNALS = 10_000;

export class RunService {
  /** What pods report of attempts. */
  readonly attempts: AttemptReports;
  /** What the pods of coordinators report. */
  readonly hostReports: HostReports;
  readonly #parts: FeederParts;
  readonly #options: RunServiceOptions;
  readonly #waiters: Waiters;
  readonly #feeder: RunFeeder;
  readonly #memory: RunMemory;
  #admission!: Admission;
  #auditor!: Auditor;
  #hosts!: CoordinatorHosts;

  constructor(parts: RunServiceParts, options: RunServiceOptions) {
    this.#options = options;
    this.#waiters = new Waiters(parts.clock);
    const { defaultTimeoutMs } = options;
    this.#parts = { ...parts, ids: new RunIds(parts.journal.lastOrdinal), waiters: this.#waiters, defaultTimeoutMs };
    this.#feeder = new RunFeeder(this.#parts);
    this.#memory = new RunMemory(parts.journal, parts.clock, options.evictAfterMs, {
      revive: async (stored, state, records) => {
        const live = createLive(stored, state, this.#feeder.driverOf(stored), parts.clock.now());
        live.stored = { status: stored.status, live: stored.live };
        await this.#feeder.revive(live, records);
        return live;
      },
      retire: (live, wakeAt, durable) => this.#retire(live, wakeAt, durable),
      ask: (live) => this.#hosts.ask(live.head.id, live.state.next),
      isAwaited: (run) => this.#waiters.has(run),
      failed: this.#feeder.readFailed,
      swept: () => this.#feeder.checkTimers(),
      abandon: (run, error) => {
        const failure = failureOf(error, "INTERNAL");
        parts.turn.change({ id: run, status: "suspended", live: false });
        parts.turn.event({ type: "run.suspended", run, name: "", failure });
      },
    });
    this.attempts = new AttemptReports(parts, this.#feeder, this.#memory);
    this.hostReports = new HostReports(parts, this.#feeder, this.#memory);
  }

  /** Connects the parts that in turn report to this service. */
  connect(scheduler: Scheduler, hosts: CoordinatorHosts): void {
    this.#hosts = hosts;
    this.#feeder.connect(this.#memory, scheduler, hosts);
    this.#admission = new Admission(this.#parts, this.#options, this.#feeder, this.#memory, scheduler);
    const { clock, turn } = this.#parts;
    this.#auditor = new Auditor({ clock, turn, memory: this.#memory, feeder: this.#feeder, hosts });
  }

  /** What to do when the journal could not be read: the platform stops, as after a commit that failed. */
  get readFailed(): (error: unknown) => void {
    return this.#feeder.readFailed;
  }

  /** Brings back every run that was under way. Returns how many. */
  recover(): Promise<number> {
    return this.#memory.recover();
  }

  stop(): void {
    this.#memory.stop();
    this.#feeder.stop();
    this.#hosts.stop();
  }

  get size(): number {
    return this.#memory.size;
  }

  get counters(): RunCounters {
    return this.#feeder.counters;
  }

  // ---------------------------------------------------------------- commands

  /** Resolves once the run is on disk (P1). @throws {LockstepError} OVERLOADED, IDEMPOTENCY_CONFLICT */
  start(request: NewRun): Promise<{ id: RunId; existing: boolean }> {
    return this.#admission.start(request);
  }

  /** Waits up to `waitMs` for the run to finish or suspend. @throws {LockstepError} UNKNOWN_RUN */
  async result(id: RunId, waitMs: number): Promise<RunResult> {
    let live = this.#memory.get(id);
    if (live?.state.finished !== undefined) {
      // Its end is decided, and on its way to the disk.
      await this.#parts.turn.durable();
      live = undefined;
    }
    if (live === undefined) {
      const stored = await this.#parts.journal.load(id);
      if (stored === undefined) throw unknownRun(id);
      if (stored.finishedAt !== undefined || stored.status === "suspended" || waitMs === 0) return this.#resultOfStored(stored);
    } else if (waitMs === 0 || isSuspended(live)) return resultOfLive(live);
    return (await this.#waiters.wait(id, waitMs)) ?? this.result(id, 0);
  }

  async signal(id: RunId, name: string, value: Json): Promise<void> {
    await this.#tell(id, (live) => {
      if (signalsOf(live.state) >= MAX_SIGNALS)
        throw new LockstepError("OVERLOADED", `run ${id} has ${MAX_SIGNALS} signals that nobody took`);
      this.#feeder.feed(live, { t: "signal", name, value });
    });
  }

  async cancel(id: RunId, reason: string, force: boolean): Promise<void> {
    // Whoever has lost the first answer asks again.
    await this.#tell(id, (live) => this.#feeder.feed(live, { t: "cancel", reason, force }), "cancelled");
  }

  /** @throws {LockstepError} RUN_NOT_SUSPENDED */
  async resume(id: RunId): Promise<void> {
    await this.#tell(id, (live) => {
      if (!isSuspended(live)) throw new LockstepError("RUN_NOT_SUSPENDED", `run ${id} is ${statusOfLive(live)}`);
      this.#feeder.feed(live, { t: "resume" });
      absolve(live);
      this.#feeder.hosting.rehost(live);
    });
  }

  /** @throws {LockstepError} RUN_NOT_SUSPENDED, CALL_NOT_FOUND */
  async resolve(id: RunId, resolution: Resolution, by: string): Promise<void> {
    await this.#tell(id, (live) => {
      const refusal = refusalOf(live.state, resolution);
      if (refusal === "RUN_NOT_SUSPENDED") throw new LockstepError(refusal, `run ${id} is ${statusOfLive(live)}`);
      if (refusal === "CALL_NOT_FOUND") {
        throw new LockstepError(refusal, `call ${resolution.call} of run ${id} waits for nobody's decision`, {
          details: { call: resolution.call },
        });
      }
      this.#feeder.feed(live, { t: "resolve", resolution, by });
      absolve(live);
      this.#feeder.hosting.rehost(live);
    });
  }

  /**
   * Accepts a run of the same target and input as `of`, which goes on from what that one did before command `from`; without `from`, from
   * nothing. Resolves once it is on disk.
   * @throws {LockstepError} CALL_NOT_FOUND, OVERLOADED, REPLAY_DIVERGED
   */
  restart(of: StoredRun, home: { application: string; version: string }, from?: number): Promise<{ id: RunId; reused: number }> {
    return this.#admission.restart(of, home, from);
  }

  /** Accepts a run in this turn, with whatever else the turn commits, and without admission. */
  trigger(request: NewRun): RunId {
    return this.#admission.trigger(request);
  }

  /** @throws {LockstepError} OVERLOADED when no more is taken from outside */
  admit(): void {
    this.#admission.admit();
  }

  /** The parent of a run that is in memory. */
  parentOf(id: RunId): RunId | undefined {
    return this.#memory.get(id)?.head.parent;
  }

  /** A value of the state store has become stale. */
  toldStale(space: Space, key: string, stale: Staleness): void {
    this.#feeder.operations.toldStale(space, key, stale);
  }

  /** How a run in memory stands; `undefined` when it isn't there. */
  peek(id: RunId): { status: RunStatus; waitingFor: string[]; suspension: Failure | undefined } | undefined {
    const live = this.#memory.get(id);
    if (live === undefined) return undefined;
    return { status: statusOfLive(live), waitingFor: describePending(live.state), suspension: suspensionOf(live.state) };
  }

  /** Dead letters of the runs in memory, by function. */
  deadLetters(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const { state } of this.#memory.values()) {
      if (state.dead === 0) continue;
      for (const pending of state.pending.values()) {
        if (pending.t === "call" && pending.dead !== undefined) counts.set(pending.fn, (counts.get(pending.fn) ?? 0) + 1);
      }
    }
    return counts;
  }

  /** Checks that every run in memory has what will wake it (P3), and mends what has not. Returns how many it mended. */
  audit(): { checked: number; repaired: number } {
    return this.#auditor.audit();
  }

  // ---------------------------------------------------------------- helpers

  /**
   * Does `change` to a run that must exist and be unfinished, and makes it durable.
   * @param wanted how a run may have ended, so that nothing is left to do
   * @throws {LockstepError} UNKNOWN_RUN, RUN_FINISHED
   */
  async #tell(id: RunId, change: (live: Live) => void, wanted?: RunStatus): Promise<void> {
    for (;;) {
      const live = await this.#memory.find(id);
      if (live === undefined || live.state.finished !== undefined) {
        const status = await this.#statusOfFinished(id, live);
        if (status !== wanted) throw new LockstepError("RUN_FINISHED", `run ${id} is ${status}`);
        return this.#parts.turn.durable();
      }
      // Its eviction may have become durable while it was looked up: then what is held here is no longer the run.
      if (this.#memory.get(id) !== live) continue;
      change(live);
      return this.#parts.turn.durable();
    }
  }

  async #statusOfFinished(id: RunId, live: Live | undefined): Promise<RunStatus> {
    const status = live?.state.finished ?? (await this.#parts.journal.load(id))?.status;
    if (status === undefined) throw unknownRun(id);
    return status;
  }

  #retire(live: Live, wakeAt: number | undefined, durable: () => void): void {
    this.#feeder.store(live, statusOfLive(live), false, wakeAt);
    this.#parts.turn.after(() => {
      // Something may have happened to it while its eviction was on its way to the disk.
      if (live.stored.live || live.state.finished !== undefined) return;
      durable();
      if (live.driver === undefined) this.#feeder.hosting.unhost(live);
    });
  }

  async #resultOfStored(stored: StoredRun): Promise<RunResult> {
    const result: RunResult = { id: stored.id, status: stored.status };
    if (stored.value !== undefined) result.value = stored.value;
    const failure = stored.failure ?? (stored.status === "suspended" ? await this.#suspensionOf(stored) : undefined);
    if (failure !== undefined) result.failure = failure;
    return result;
  }

  async #suspensionOf(stored: StoredRun): Promise<Failure | undefined> {
    const state = createRun(stored);
    for (const record of await this.#parts.journal.records(stored.id)) apply(state, record);
    return suspensionOf(state);
  }
}

const unknownRun = (id: RunId): LockstepError => new LockstepError("UNKNOWN_RUN", `there is no run "${id}"`, { details: { run: id } });
