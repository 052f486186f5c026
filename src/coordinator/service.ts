/**
 * The run service: what may be asked of runs, and what pods report of them.
 *
 * Owns: admission, idempotency keys, waiting for results, the auditor. Does not own: what follows for a run (feeder.ts, machine.ts), which
 * runs are in memory (memory.ts), durability (turn.ts), names (Registry, asked by the control plane).
 */
import type { PodExit } from "../cluster/port.ts";
import type { StoredRun } from "../journal/port.ts";
import { type Failure, failureOf, LockstepError } from "../lib/errors.ts";
import { type RunId, RunIds } from "../lib/ids.ts";
import type { Json } from "../lib/json.ts";
import type { Resolution } from "../protocol/recovery.ts";
import type { CallCertificate, CallMetrics, Command, LogLine, RunKind, RunResult, RunStatus } from "../protocol/run.ts";
import type { Space, Staleness } from "../protocol/state.ts";
import type { Entry } from "../queue/machine.ts";
import { lostFailure } from "../scheduler/exit.ts";
import type { Outcome, Scheduler } from "../scheduler/service.ts";
import { type FeederParts, type RunCounters, RunFeeder } from "./feeder.ts";
import type { CoordinatorHosts, HostEvents } from "./hosts.ts";
import { absolve, createLive, describePending, isSuspended, type Live, resultOfLive, statusOfLive } from "./live.ts";
import { RunMemory } from "./memory.ts";
import { refusalOf } from "./recovery-machine.ts";
import { cutBefore, restartedRecord } from "./restart.ts";
import { apply, callOf, createRun, hasEnded, isQueued, type PendingCall, type RunState, signalsOf, suspensionOf } from "./run-state.ts";
import { Waiters } from "./waiters.ts";

export interface RunServiceOptions {
  defaultTimeoutMs: number;
  /** Runs that may be under way; above it new ones are refused with OVERLOADED. */
  maxLiveRuns: number;
  /** Calls that may wait in layers before new runs are refused. */
  maxWaitingCalls: number;
  /** A run that only waits leaves memory after this time. */
  evictAfterMs: number;
}

/** A run to be accepted: its target is known to exist. */
export interface NewRun {
  kind: RunKind;
  name: string;
  input: Json;
  application: string;
  version: string;
  key?: string;
  priority?: number;
}

const MAX_SOLO_LOSSES = 5;
const RETRY_AFTER_MS = 1_000;
/** A call that was decided longer ago than this and is in no layer was forgotten. */
const SETTLED_MS = 1_000;
/** Signals that one run may have waiting: they are in memory with it. */
const MAX_SIGNALS = 10_000;
/** The longest that a coordinator may have nothing to wait for and yet not say what comes next. */
const SILENCE_MS = 15_000;

export class RunService implements HostEvents {
  readonly #parts: FeederParts;
  readonly #options: RunServiceOptions;
  readonly #waiters: Waiters;
  readonly #feeder: RunFeeder;
  readonly #memory: RunMemory;
  /** Starts with an idempotency key that are under way: the next with the same key follows when their run is on disk. */
  readonly #starting = new Map<string, Promise<unknown>>();
  #scheduler!: Scheduler;
  #hosts!: CoordinatorHosts;

  constructor(parts: Omit<FeederParts, "ids" | "waiters" | "defaultTimeoutMs">, options: RunServiceOptions) {
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
  }

  /** Connects the parts that in turn report to this service. */
  connect(scheduler: Scheduler, hosts: CoordinatorHosts): void {
    this.#scheduler = scheduler;
    this.#hosts = hosts;
    this.#feeder.connect(this.#memory, scheduler, hosts);
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
    const { key, kind, name } = request;
    if (key === undefined) return this.#accept(request);
    const starting = keyOf(kind, name, key);
    const earlier = this.#starting.get(starting) ?? Promise.resolve();
    const start = () => this.#startOnce(request, key);
    const mine = earlier.then(start, start);
    this.#starting.set(starting, mine);
    return mine.finally(() => this.#starting.get(starting) === mine && this.#starting.delete(starting));
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
    await this.#tell(id, (live) => this.#feeder.feed(live, { t: "cancel", reason, force }));
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
  async restart(of: StoredRun, home: { application: string; version: string }, from?: number): Promise<{ id: RunId; reused: number }> {
    const { clock, ids, turn, journal, registry } = this.#parts;
    await turn.durable();
    const records = await journal.records(of.id);
    const cut = from === undefined ? undefined : cutBefore(records, from, (fn) => registry.homeOfFunction(fn, home.version)?.version);
    if (from !== undefined && cut === undefined) {
      throw new LockstepError("CALL_NOT_FOUND", `run ${of.id} has no call ${from}`, { details: { call: from } });
    }
    this.#admit();
    const acceptedAt = clock.now();
    const { kind, name, input, priority } = of;
    const head = { ...home, id: ids.next(acceptedAt), kind, name, input, priority, acceptedAt };
    const first = restartedRecord({ run: of.id, acceptedAt: of.acceptedAt }, records[0], cut, acceptedAt);
    await this.#feeder.restart(head, [first, ...(cut?.records ?? [])]);
    await turn.durable();
    return { id: head.id, reused: cut?.reused ?? 0 };
  }

  /** Accepts a run in this turn, with whatever else the turn commits, and without admission. */
  trigger(request: NewRun): RunId {
    const acceptedAt = this.#parts.clock.now();
    const id = this.#parts.ids.next(acceptedAt);
    this.#feeder.accept({ ...request, id, acceptedAt, priority: request.priority ?? 0 });
    return id;
  }

  /** @throws {LockstepError} OVERLOADED when no more is taken from outside */
  admit(): void {
    this.#admit();
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

  // ---------------------------------------------------------------- what pods report

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
      this.counters.callsCompleted++;
      const read = settlement.reads === undefined ? {} : { reads: settlement.reads };
      this.#feeder.feed(live, { t: "succeeded", seq, attempt, value: value ?? "", ...measured, ...read });
    } else {
      const { failure } = settlement;
      monitor.observe(entry, { ...outcome, failure });
      this.counters.callsFailed++;
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

  commands(id: RunId, commands: readonly Command[]): void {
    const live = this.#memory.get(id);
    if (live === undefined) return;
    absolve(live);
    for (const command of commands) {
      if (command.t === "stepping") this.#feeder.hosting.permit(live, command.seq);
      else if (command.t === "step") live.steps.delete(command.seq);
    }
    const { monitor } = this.#parts;
    const judged = commands.some(isFailedEnd)
      ? commands.map((command) =>
          isFailedEnd(command) ? { ...command, failure: monitor.judgedRun(live.head.name, command.failure) } : command,
        )
      : commands;
    this.#feeder.drive(live, judged);
  }

  waits(id: RunId, at: number): void {
    this.#memory.waits(id, at);
  }

  diverged(id: RunId, failure: Failure): void {
    const live = this.#memory.get(id);
    if (live === undefined) return;
    this.#feeder.hosting.unhost(live);
    this.#feeder.feed(live, { t: "halt", failure });
  }

  lines(id: RunId, lines: LogLine[]): void {
    const live = this.#memory.get(id);
    if (live !== undefined) this.#parts.turn.log({ run: id, seq: 0, attempt: 1, function: live.head.name, lines });
  }

  /** The pods of these runs' coordinators are gone: they start again elsewhere, from their journals. */
  lost(runs: readonly RunId[], exit: PodExit, culprit: RunId | undefined): void {
    for (const id of runs) {
      const live = this.#memory.get(id);
      if (live === undefined) continue;
      live.hosting = "none";
      live.steps.clear();
      live.hostLosses++;
      if (runs.length === 1) live.soloLosses++;
      // One death may be anybody's bad luck. From the second on its company is halved, until the culprit is alone.
      if (live.hostLosses > 1) live.company = Math.max(1, Math.floor(runs.length / 2));
      const failure = lostHostFailure(live, exit, culprit);
      if (failure === undefined) this.#feeder.hosting.host(live);
      else this.#feeder.feed(live, { t: "halt", failure });
    }
  }

  refused(runs: readonly RunId[], cause: Failure): void {
    for (const id of runs) {
      const live = this.#memory.get(id);
      if (live === undefined) continue;
      live.hosting = "none";
      this.#feeder.feed(live, { t: "halt", failure: { code: "POD_FAILED_TO_START", message: "the application does not load", cause } });
    }
  }

  // ---------------------------------------------------------------- the auditor

  /** Checks that every run in memory has what will wake it (P3), and mends what has not. Returns how many it mended. */
  audit(): { checked: number; repaired: number } {
    let repaired = 0;
    for (const live of this.#memory.values()) if (this.#repair(live)) repaired++;
    return { checked: this.#memory.size, repaired };
  }

  #repair(live: Live): boolean {
    const { state } = live;
    if (state.finished !== undefined || state.halted !== undefined) return false;
    // What its recovery decides is awaited, and that is a run that is looked after itself.
    if (state.recovering !== undefined) return false;
    // What was decided just now is carried out with the coming commit, however long that takes: nothing may begin before it (T1).
    if (this.#parts.clock.now() - live.touchedAt < SETTLED_MS || live.touchedAt >= this.#parts.turn.settledAt) return false;
    let repaired = false;
    for (const pending of state.pending.values()) {
      if (pending.t === "call" && isQueued(pending) && !live.entries.has(pending.seq)) this.#feeder.calls.enqueue(live, pending);
      else if (pending.t === "state" && !live.operations?.has(pending.seq)) this.#feeder.operations.execute(live, pending.seq, pending.op);
      else continue;
      repaired = true;
    }
    if (live.driver !== undefined || isSuspended(live) || hasEnded(state)) return repaired;
    if (live.hosting === "none" || (live.hosting === "hosted" && !this.#hosts.isHosted(live.head.id))) {
      this.#feeder.hosting.host(live);
      return true;
    }
    if (this.#isSilent(live)) return this.#rehost(live);
    if (this.#quietMs(live) > SILENCE_MS) absolve(live);
    return repaired;
  }

  /** A coordinator that waits for nothing of ours and says nothing: a message was lost, or it awaits a promise that is not of its `ctx`. */
  #isSilent(live: Live): boolean {
    return live.hosting === "hosted" && live.state.pending.size === 0 && live.steps.size === 0 && this.#quietMs(live) > SILENCE_MS;
  }

  /** For how long nothing has happened to the run while it had a pod: one that is long in coming is no silence of the coordinator's. */
  #quietMs({ head, touchedAt }: Live): number {
    return Math.min(this.#parts.clock.now() - touchedAt, this.#hosts.connectedMs(head.id));
  }

  #rehost(live: Live): boolean {
    this.#feeder.hosting.unhost(live);
    live.touchedAt = this.#parts.clock.now();
    if (++live.soloLosses < MAX_SOLO_LOSSES) {
      this.#feeder.hosting.host(live);
      return true;
    }
    const message = `coordinator "${live.head.name}" waits for something that is not durable: it may await only what its ctx returns`;
    this.#feeder.feed(live, { t: "halt", failure: { code: "COORDINATOR_STUCK", message } });
    return true;
  }

  // ---------------------------------------------------------------- helpers

  #admit(): void {
    const runs = this.#memory.size;
    const calls = this.#scheduler.depth;
    if (runs < this.#options.maxLiveRuns && calls < this.#options.maxWaitingCalls) return;
    this.counters.refused++;
    throw new LockstepError("OVERLOADED", `${runs} runs are under way and ${calls} calls wait`, {
      details: { retryAfterMs: RETRY_AFTER_MS },
    });
  }

  async #accept(request: NewRun): Promise<{ id: RunId; existing: boolean }> {
    this.#admit();
    const { clock, ids, turn } = this.#parts;
    const acceptedAt = clock.now();
    const id = ids.next(acceptedAt);
    this.#feeder.accept({ ...request, id, acceptedAt, priority: request.priority ?? 0 });
    return new Promise((resolve) => turn.after(() => resolve({ id, existing: false })));
  }

  async #startOnce(request: NewRun, key: string): Promise<{ id: RunId; existing: boolean }> {
    const earlier = await this.#parts.journal.findByKey(request.kind, request.name, key);
    if (earlier === undefined) return this.#accept(request);
    if (earlier.input === request.input) return { id: earlier.id, existing: true };
    const message = `key "${key}" started ${earlier.id} with another input`;
    throw new LockstepError("IDEMPOTENCY_CONFLICT", message, { details: { run: earlier.id } });
  }

  /** Does `change` to a run that must exist and be unfinished, and makes it durable. @throws {LockstepError} UNKNOWN_RUN, RUN_FINISHED */
  async #tell(id: RunId, change: (live: Live) => void): Promise<void> {
    for (;;) {
      const live = await this.#memory.find(id);
      if (live === undefined || live.state.finished !== undefined) return this.#refuseFinished(id, live);
      // Its eviction may have become durable while it was looked up: then what is held here is no longer the run.
      if (this.#memory.get(id) !== live) continue;
      change(live);
      return this.#parts.turn.durable();
    }
  }

  async #refuseFinished(id: RunId, live: Live | undefined): Promise<never> {
    const status = live?.state.finished ?? (await this.#parts.journal.load(id))?.status;
    if (status === undefined) throw unknownRun(id);
    throw new LockstepError("RUN_FINISHED", `run ${id} is ${status}`);
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

/** Why a coordinator whose pod is gone is not started again; `undefined` when it is. */
const lostHostFailure = ({ head, hostLosses, soloLosses }: Live, exit: PodExit, culprit: RunId | undefined): Failure | undefined => {
  if (head.id === culprit) return { code: "COORDINATOR_STUCK", message: `coordinator "${head.name}" never yielded` };
  if (soloLosses < MAX_SOLO_LOSSES) return undefined;
  const message = `the pod of coordinator "${head.name}" died ${hostLosses} times without progress, ${soloLosses} times with no other in it`;
  return { code: "COORDINATOR_CRASHED", message, cause: lostFailure("its pod", exit) };
};

/** The call that waits for this attempt's outcome. */
const wantedCall = (state: RunState, { seq, attempt }: Entry): PendingCall | undefined => {
  const call = callOf(state, seq);
  return call !== undefined && call.attempt === attempt && isQueued(call) ? call : undefined;
};

/** A coordinator has failed by itself: its recovery, and people, want to know of what kind the fault is. */
const isFailedEnd = (command: Command): command is Command & { t: "finish"; failure: Failure } =>
  command.t === "finish" && command.failure !== undefined && command.cancelled !== true;

const keyOf = (kind: RunKind, name: string, key: string): string => `${kind}/${name}/${key}`;

const unknownRun = (id: RunId): LockstepError => new LockstepError("UNKNOWN_RUN", `there is no run "${id}"`, { details: { run: id } });
