/**
 * The run service: brings everything that happens to runs to their machines, and carries out what follows.
 *
 * Owns: the runs in memory, their timers and waiters. Does not own: the rules (machine.ts), durability (turn.ts, Journal), dispatch
 * (Scheduler), the pods that execute coordinators (CoordinatorHosts), HTTP.
 *
 * R1  A run is in memory at most once; one that only waits may be evicted, and whatever concerns it brings it back first.
 * R2  Nothing leaves before what it depends on is durable: all effects go through the turn.
 * R3  A coordinator is (re)started only with a history that holds all its records; later records follow in order, each once.
 */

import type { Registry } from "../application/registry.ts";
import type { PodExit } from "../cluster/port.ts";
import { createExpressionRun } from "../expression/machine.ts";
import type { AcceptedRun, Journal, StoredRun } from "../journal/port.ts";
import type { Clock } from "../lib/clock.ts";
import { type Failure, LockstepError } from "../lib/errors.ts";
import { Heap } from "../lib/heap.ts";
import { type RunId, RunIds } from "../lib/ids.ts";
import type { Json } from "../lib/json.ts";
import { getOrMake } from "../lib/map.ts";
import type { Command, JournalRecord, LogLine, RunKind, RunResult, RunStatus } from "../protocol/run.ts";
import type { Entry } from "../queue/machine.ts";
import { lostFailure } from "../scheduler/exit.ts";
import type { Outcome, Scheduler } from "../scheduler/service.ts";
import { createDirectRun, type Driver } from "./direct.ts";
import type { CoordinatorHosts, HostEvents } from "./hosts.ts";
import {
  apply,
  createRun,
  nextTimer,
  type PendingCall,
  type ResolvedCommand,
  type RunEffect,
  type RunInput,
  type RunState,
  statusOf,
  step,
  suspensionOf,
} from "./machine.ts";
import type { Turn } from "./turn.ts";

export interface RunServiceOptions {
  defaultTimeoutMs: number;
  /** Runs that may be under way; above it new ones are refused with OVERLOADED. */
  maxLiveRuns: number;
  /** Calls that may wait in layers before new runs are refused. */
  maxWaitingCalls: number;
  /** A run that only waits leaves memory after this time. */
  evictAfterMs: number;
}

/** A run in memory. */
interface Live {
  readonly head: AcceptedRun;
  readonly state: RunState;
  readonly entries: Map<number, Entry>;
  driver: Driver | undefined;
  /** `loading`: its history is being read, and `held` keeps what must follow it. */
  hosting: "none" | "loading" | "hosted";
  held: { index: number; record: JournalRecord }[];
  /** Consecutive times that its host died while it made no progress. */
  hostLosses: number;
  /** Steps that execute in its pod now: they would be lost with an eviction. */
  readonly steps: Set<number>;
  stored: { status: RunStatus; live: boolean };
  touchedAt: number;
}

type Waiter = (result: RunResult) => void;

const MAX_HOST_LOSSES = 5;
const SWEEP_MS = 1_000;

export class RunService implements HostEvents {
  readonly #journal: Journal;
  readonly #clock: Clock;
  readonly #turn: Turn;
  readonly #registry: Registry;
  readonly #pathOf: (version: string) => string;
  readonly #options: RunServiceOptions;
  readonly #ids: RunIds;
  readonly #live = new Map<RunId, Live>();
  readonly #loading = new Map<RunId, Promise<Live | undefined>>();
  readonly #keys = new Map<string, AcceptedRun>();
  readonly #waiters = new Map<RunId, Set<Waiter>>();
  readonly #timers = new Heap<{ run: RunId; seq: number }>();
  #scheduler!: Scheduler;
  #hosts!: CoordinatorHosts;
  #timerAt = Number.POSITIVE_INFINITY;
  #cancelTimer = () => {};
  #cancelSweep = () => {};
  readonly counters = { accepted: 0, completed: 0, failed: 0, cancelled: 0, callsCompleted: 0, callsFailed: 0, retried: 0, refused: 0 };

  constructor(
    journal: Journal,
    clock: Clock,
    turn: Turn,
    registry: Registry,
    pathOf: (version: string) => string,
    options: RunServiceOptions,
  ) {
    this.#journal = journal;
    this.#clock = clock;
    this.#turn = turn;
    this.#registry = registry;
    this.#pathOf = pathOf;
    this.#options = options;
    this.#ids = new RunIds(journal.lastOrdinal);
  }

  /** Connects the parts that in turn report to this service. */
  connect(scheduler: Scheduler, hosts: CoordinatorHosts): void {
    this.#scheduler = scheduler;
    this.#hosts = hosts;
  }

  /** Brings back every run that was under way. Returns how many. */
  async recover(): Promise<number> {
    const ids = await this.#journal.live();
    for (const id of ids) await this.#load(id);
    this.#sweep();
    return ids.length;
  }

  stop(): void {
    this.#cancelSweep();
    this.#cancelTimer();
  }

  get size(): number {
    return this.#live.size;
  }

  // ---------------------------------------------------------------- commands

  /** @throws {LockstepError} OVERLOADED, UNKNOWN_*, IDEMPOTENCY_CONFLICT, JOURNAL_UNAVAILABLE */
  async start(request: {
    kind: RunKind;
    name: string;
    input: Json;
    application: string;
    version: string;
    key?: string;
    priority?: number;
  }): Promise<{ id: RunId; existing: boolean }> {
    if (request.key !== undefined) {
      const earlier = await this.#findByKey(request.kind, request.name, request.key);
      if (earlier !== undefined) return this.#sameAs(earlier, request.input);
    }
    this.#admit();
    const now = this.#clock.now();
    const head: AcceptedRun = {
      id: this.#ids.next(now),
      kind: request.kind,
      name: request.name,
      application: request.application,
      version: request.version,
      input: request.input,
      acceptedAt: now,
      priority: request.priority ?? 0,
    };
    if (request.key !== undefined) head.key = request.key;
    this.#accept(head);
    return new Promise((resolve) => this.#turn.after(() => resolve({ id: head.id, existing: false })));
  }

  /** Waits up to `waitMs` for the run to finish or suspend. */
  async result(id: RunId, waitMs: number): Promise<RunResult> {
    let live = this.#live.get(id);
    if (live?.state.finished !== undefined) {
      await this.#turn.durable();
      live = undefined;
    }
    if (live === undefined) {
      const stored = await this.#journal.load(id);
      if (stored === undefined) throw unknownRun(id);
      if (stored.finishedAt !== undefined || stored.status === "suspended" || waitMs === 0)
        return resultOfStored(stored, await this.#suspension(stored));
    } else if (waitMs === 0 || this.#isSuspended(live)) {
      return this.#resultOfLive(live);
    }
    return this.#wait(id, waitMs);
  }

  async signal(id: RunId, name: string, value: Json): Promise<void> {
    const live = await this.#get(id);
    this.#feed(live, { t: "signal", name, value });
    await this.#turn.durable();
  }

  async cancel(id: RunId, reason: string, force: boolean): Promise<void> {
    const live = await this.#get(id);
    this.#feed(live, { t: "cancel", reason, force });
    await this.#turn.durable();
  }

  /** @throws {LockstepError} RUN_NOT_SUSPENDED */
  async resume(id: RunId): Promise<void> {
    const live = await this.#get(id);
    if (!this.#isSuspended(live)) throw new LockstepError("RUN_NOT_SUSPENDED", `run ${id} is ${this.#statusOf(live)}`);
    this.#feed(live, { t: "resume" });
    live.hostLosses = 0;
    if (live.head.kind === "coordinator" && live.hosting === "none") this.#host(live);
    await this.#turn.durable();
  }

  /** How a run in memory stands; `undefined` when it isn't there. */
  peek(id: RunId): { status: RunStatus; waitingFor: string[]; suspension: Failure | undefined } | undefined {
    const live = this.#live.get(id);
    if (live === undefined) return undefined;
    return { status: this.#statusOf(live), waitingFor: describePending(live.state), suspension: suspensionOf(live.state) };
  }

  deadLetters(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const { state } of this.#live.values()) {
      if (state.dead === 0) continue;
      for (const p of state.pending.values()) if (p.t === "call" && p.dead !== undefined) counts.set(p.fn, (counts.get(p.fn) ?? 0) + 1);
    }
    return counts;
  }

  // ---------------------------------------------------------------- what pods report

  settled(entry: Entry, outcome: Outcome): void {
    const live = this.#live.get(entry.run);
    if (live === undefined) return;
    if (live.entries.get(entry.seq) === entry) live.entries.delete(entry.seq);
    const { seq, attempt } = entry;
    if (outcome.lines.length > 0) this.#turn.log({ run: entry.run, seq, attempt, function: entry.fn, lines: outcome.lines });
    const metrics = outcome.metrics === undefined ? {} : { metrics: outcome.metrics };
    if (outcome.failure === undefined) {
      this.counters.callsCompleted++;
      this.#feed(live, { t: "succeeded", seq, attempt, value: outcome.value ?? "", ...metrics });
    } else {
      this.counters.callsFailed++;
      const policy = this.#registry.spec(entry.fn, entry.version)?.retry;
      this.#feed(live, { t: "failed", seq, attempt, failure: outcome.failure, policy, ...metrics });
    }
  }

  commands(id: RunId, commands: readonly Command[]): void {
    const live = this.#live.get(id);
    if (live === undefined) return;
    live.hostLosses = 0;
    for (const command of commands) {
      if (command.t === "stepping") live.steps.add(command.seq);
      else if (command.t === "step") live.steps.delete(command.seq);
    }
    this.#feed(live, { t: "commands", commands: commands.map((command) => this.#lookUp(live, command)) });
  }

  diverged(id: RunId, failure: Failure): void {
    const live = this.#live.get(id);
    if (live === undefined) return;
    this.#unhost(live, true);
    this.#feed(live, { t: "halt", failure });
  }

  lines(id: RunId, lines: LogLine[]): void {
    const live = this.#live.get(id);
    if (live !== undefined) this.#turn.log({ run: id, seq: 0, attempt: 1, function: live.head.name, lines });
  }

  /** The pods of these runs' coordinators are gone: they start again elsewhere, from their journals. */
  lost(runs: readonly RunId[], exit: PodExit, culprit: RunId | undefined): void {
    for (const id of runs) {
      const live = this.#live.get(id);
      if (live === undefined) continue;
      live.hosting = "none";
      live.steps.clear();
      live.hostLosses++;
      if (id === culprit) {
        this.#feed(live, { t: "halt", failure: { code: "COORDINATOR_STUCK", message: `coordinator "${live.head.name}" never yielded` } });
      } else if (live.hostLosses >= MAX_HOST_LOSSES) {
        const cause = lostFailure("its pod", exit);
        const message = `the pod of coordinator "${live.head.name}" died ${live.hostLosses} times without progress`;
        this.#feed(live, { t: "halt", failure: { code: "COORDINATOR_CRASHED", message, cause } });
      } else this.#host(live);
    }
  }

  refused(runs: readonly RunId[], cause: Failure): void {
    for (const id of runs) {
      const live = this.#live.get(id);
      if (live === undefined) continue;
      live.hosting = "none";
      this.#feed(live, { t: "halt", failure: { code: "POD_FAILED_TO_START", message: "the application does not load", cause } });
    }
  }

  // ---------------------------------------------------------------- accepting

  #admit(): void {
    const full = this.#live.size >= this.#options.maxLiveRuns || this.#scheduler.depth >= this.#options.maxWaitingCalls;
    if (!full) return;
    this.counters.refused++;
    throw new LockstepError("OVERLOADED", `${this.#live.size} runs and ${this.#scheduler.depth} calls are waiting`, {
      details: { retryAfterMs: 1_000 },
    });
  }

  async #findByKey(kind: RunKind, name: string, key: string): Promise<AcceptedRun | undefined> {
    const stored = await this.#journal.findByKey(kind, name, key);
    // Looked up last: another start with this key may have been accepted while the journal was asked.
    return stored ?? this.#keys.get(keyOf(kind, name, key));
  }

  async #sameAs(earlier: AcceptedRun, input: Json): Promise<{ id: RunId; existing: boolean }> {
    if (earlier.input !== input) {
      throw new LockstepError("IDEMPOTENCY_CONFLICT", `key "${earlier.key}" started ${earlier.id} with another input`, {
        details: { run: earlier.id },
      });
    }
    // The first start may still be on its way to the disk.
    await this.#turn.durable();
    return { id: earlier.id, existing: true };
  }

  #accept(head: AcceptedRun): Live {
    const live = this.#remember(head, createRun(head));
    this.counters.accepted++;
    this.#turn.accept(head);
    this.#turn.event({ type: "run.accepted", run: head.id, kind: head.kind, name: head.name });
    if (head.key !== undefined) this.#reserve(head, head.key);
    if (head.kind === "coordinator") this.#begin(live, []);
    else this.#drive(live, live.driver!.start());
    return live;
  }

  // Two starts with one key may arrive before the first is on disk; the second must find it.
  #reserve(head: AcceptedRun, key: string): void {
    const name = keyOf(head.kind, head.name, key);
    this.#keys.set(name, head);
    this.#turn.after(() => this.#keys.delete(name));
  }

  #remember(head: AcceptedRun, state: RunState): Live {
    const live: Live = {
      head,
      state,
      entries: new Map(),
      driver: head.kind === "coordinator" ? undefined : this.#driverOf(head),
      hosting: "none",
      held: [],
      hostLosses: 0,
      steps: new Set(),
      stored: { status: "running", live: true },
      touchedAt: this.#clock.now(),
    };
    this.#live.set(head.id, live);
    return live;
  }

  #driverOf(head: AcceptedRun): Driver {
    if (head.kind === "function") return createDirectRun(head.name, head.input);
    return createExpressionRun(head.name, head.input, (fn) => this.#registry.spec(fn, head.version)?.deterministic ?? false);
  }

  // ---------------------------------------------------------------- feeding the machine

  #feed(live: Live, input: RunInput): void {
    const effects: RunEffect[] = [];
    live.touchedAt = this.#clock.now();
    const before = live.state.next;
    step(live.state, input, live.touchedAt, effects);
    if (!live.stored.live && live.state.finished === undefined && live.state.next > before) this.#store(live, this.#statusOf(live), true);
    this.#carryOut(live, effects, before);
  }

  #drive(live: Live, commands: readonly Command[]): void {
    if (commands.length > 0) this.#feed(live, { t: "commands", commands: commands.map((command) => this.#lookUp(live, command)) });
  }

  #carryOut(live: Live, effects: readonly RunEffect[], firstIndex: number): void {
    let index = firstIndex;
    for (const effect of effects) {
      switch (effect.t) {
        case "record":
          // Only a call that was scheduled may reach the disk later than its dispatch: replay makes it again under the same key.
          this.#turn.append(live.head.id, index++, effect.record, effect.record.t !== "call");
          this.#publishRecord(live, effect.record);
          break;
        case "enqueue": {
          const { call } = effect;
          this.#turn.after(() => this.#enqueue(live, call));
          break;
        }
        case "withdraw":
          this.#withdraw(live, effect.seq, effect.reason);
          break;
        case "arm":
          this.#arm(live.head.id, effect.seq, effect.dueAt);
          break;
        case "disarm":
          break;
        case "start-child":
          this.#startChild(live, effect);
          break;
        case "cancel-child":
          this.#cancelChild(effect.child, effect.reason);
          break;
        case "deliver":
          this.#deliver(live, effect.record, effect.index);
          break;
        case "suspended":
          this.#suspended(live, effect.failure);
          break;
        case "resumed":
          this.#store(live, "running", true);
          this.#turn.event({ type: "run.resumed", run: live.head.id, name: live.head.name });
          break;
        case "finished":
          this.#finished(live, effect);
          break;
      }
    }
  }

  #publishRecord(live: Live, record: JournalRecord): void {
    if (record.t !== "attempt") return;
    this.counters.retried++;
    const { seq, attempt, retryAt, failure } = record;
    const fn = failure.call?.function ?? "";
    this.#turn.event({ type: "call.retrying", run: live.head.id, seq, function: fn, attempt, retryAt, failure });
  }

  /** Adds what only the platform knows to a command: versions, children's ids, or why it cannot be. */
  #lookUp(live: Live, command: Command): ResolvedCommand {
    if (command.t === "call") {
      const home = this.#registry.homeOfFunction(command.fn, live.head.version);
      if (home !== undefined) return { ...command, version: home.version };
      const message = `no deployed application defines function "${command.fn}"`;
      return {
        ...command,
        refusal: { code: "UNKNOWN_FUNCTION", message, terminal: true, call: { function: command.fn, seq: command.seq } },
      };
    }
    if (command.t !== "child") return command;
    if (this.#registry.homeOfCoordinator(command.coordinator, live.head.version) !== undefined) {
      return { ...command, child: this.#ids.next(this.#clock.now()) };
    }
    const message = `no deployed application defines coordinator "${command.coordinator}"`;
    return { ...command, refusal: { code: "UNKNOWN_COORDINATOR", message, terminal: true } };
  }

  #enqueue(live: Live, call: PendingCall): void {
    const { state } = live;
    // Between the decision and the commit the call may have been withdrawn, or its run have finished.
    if (state.pending.get(call.seq) !== call || call.dead !== undefined || live.entries.has(call.seq)) return;
    const spec = this.#registry.spec(call.fn, call.version);
    const entry: Entry = {
      run: live.head.id,
      seq: call.seq,
      attempt: call.attempt,
      fn: call.fn,
      version: call.version,
      input: call.input,
      priority: call.options?.priority ?? state.priority,
      timeoutMs: call.options?.timeoutMs ?? spec?.timeoutMs ?? this.#options.defaultTimeoutMs,
      solo: call.losses >= 2,
      notBefore: call.notBefore,
      state: "waiting",
      waitingSince: 0,
      lease: 0,
      pod: "",
      leasedAt: 0,
    };
    live.entries.set(call.seq, entry);
    this.#scheduler.enqueue(entry);
  }

  #withdraw(live: Live, seq: number, reason: string): void {
    const entry = live.entries.get(seq);
    if (entry === undefined) return;
    live.entries.delete(seq);
    this.#turn.after(() => this.#scheduler.withdraw(entry, reason));
  }

  // ---------------------------------------------------------------- children

  #startChild(parent: Live, effect: RunEffect & { t: "start-child" }): void {
    const home = this.#registry.homeOfCoordinator(effect.coordinator, parent.head.version)!;
    const head: AcceptedRun = {
      id: effect.child,
      kind: "coordinator",
      name: effect.coordinator,
      application: home.application,
      version: home.version,
      input: effect.input,
      acceptedAt: this.#clock.now(),
      priority: parent.head.priority,
      parent: parent.head.id,
    };
    if (!effect.detached) head.parentSeq = effect.seq;
    this.#accept(head);
  }

  #cancelChild(child: RunId, reason: string): void {
    this.#turn.after(() => {
      void this.#find(child).then((live) => {
        if (live !== undefined) this.#feed(live, { t: "cancel", reason, force: false });
      }, this.#readFailed);
    });
  }

  #tellParent(child: AcceptedRun, outcome: { value?: Json; failure?: Failure }): void {
    if (child.parent === undefined || child.parentSeq === undefined) return;
    const seq = child.parentSeq;
    const input: RunInput = { t: "child", seq, ...outcome };
    const parent = this.#live.get(child.parent);
    // A parent in memory learns of it in the same commit; one that was evicted looks its children up when it comes back.
    if (parent !== undefined) return this.#feed(parent, input);
    const { parent: id } = child;
    this.#turn.after(() => void this.#find(id).then((live) => live && this.#feed(live, input), this.#readFailed));
  }

  // ---------------------------------------------------------------- drivers and hosts

  #deliver(live: Live, record: JournalRecord, index: number): void {
    if (live.driver !== undefined) {
      if (record.t === "done") this.#drive(live, live.driver.resolve(record.seq, record));
      return;
    }
    this.#turn.after(() => {
      if (live.hosting === "hosted") this.#hosts.deliver(live.head.id, record);
      else if (live.hosting === "loading") live.held.push({ index, record });
    });
  }

  /** Starts the coordinator's code in a pod, from the journal. */
  #host(live: Live): void {
    live.hosting = "loading";
    live.held = [];
    // The history must hold all records made so far, also those whose commit is still to come (R3).
    void this.#turn
      .durable()
      .then(() => this.#journal.records(live.head.id))
      .then((history) => {
        if (live.hosting !== "loading" || live.state.finished !== undefined) return;
        this.#begin(live, history);
      }, this.#readFailed);
  }

  #begin(live: Live, history: JournalRecord[]): void {
    live.hosting = "loading";
    this.#turn.after(() => {
      if (live.hosting !== "loading" || live.state.finished !== undefined) return;
      const { id, name, input, acceptedAt, application, version } = live.head;
      live.hosting = "hosted";
      this.#hosts.begin({ application, version, path: this.#pathOf(version) }, { t: "begin", run: id, name, input, acceptedAt, history });
      for (const { index, record } of live.held) if (index >= history.length) this.#hosts.deliver(id, record);
      live.held = [];
    });
  }

  #unhost(live: Live, tellPod: boolean): void {
    live.hosting = "none";
    live.held = [];
    this.#hosts.evict(live.head.id, tellPod);
  }

  // ---------------------------------------------------------------- ends

  #suspended(live: Live, failure: Failure): void {
    this.#store(live, "suspended", true);
    this.#turn.event({ type: "run.suspended", run: live.head.id, name: live.head.name, failure });
    this.#turn.after(() => this.#answer(live.head.id, { id: live.head.id, status: "suspended", failure }));
  }

  #finished(live: Live, effect: RunEffect & { t: "finished" }): void {
    const { head } = live;
    const { status, value, failure } = effect;
    const finishedAt = this.#clock.now();
    const result: RunResult = { id: head.id, status };
    if (value !== undefined) result.value = value;
    if (failure !== undefined) result.failure = failure;
    this.#turn.change({ ...result, live: false, finishedAt });
    this.#turn.event({
      type: "run.finished",
      run: head.id,
      name: head.name,
      status,
      durationMs: finishedAt - head.acceptedAt,
      ...(failure === undefined ? {} : { failure }),
    });
    this.counters[status]++;
    this.#tellParent(head, failure === undefined ? { value: value ?? "" } : { failure: childFailure(head, failure) });
    this.#turn.after(() => {
      if (live.driver === undefined) this.#unhost(live, true);
      this.#live.delete(head.id);
      this.#answer(head.id, result);
    });
  }

  #answer(id: RunId, result: RunResult): void {
    const waiters = this.#waiters.get(id);
    if (waiters === undefined) return;
    this.#waiters.delete(id);
    for (const waiter of waiters) waiter(result);
  }

  #wait(id: RunId, waitMs: number): Promise<RunResult> {
    return new Promise((resolve, reject) => {
      const waiters = getOrMake(this.#waiters, id, () => new Set<Waiter>());
      const cancel = this.#clock.after(waitMs, () => {
        waiters.delete(answer);
        if (waiters.size === 0) this.#waiters.delete(id);
        this.result(id, 0).then(resolve, reject);
      });
      const answer: Waiter = (result) => {
        cancel();
        resolve(result);
      };
      waiters.add(answer);
    });
  }

  #store(live: Live, status: RunStatus, isLive: boolean, wakeAt?: number): void {
    live.stored = { status, live: isLive };
    this.#turn.change({ id: live.head.id, status, live: isLive, ...(wakeAt === undefined ? {} : { wakeAt }) });
  }

  // ---------------------------------------------------------------- memory

  /** A run that must exist and be unfinished. @throws {LockstepError} UNKNOWN_RUN, RUN_FINISHED */
  async #get(id: RunId): Promise<Live> {
    const live = await this.#find(id);
    if (live !== undefined && live.state.finished === undefined) return live;
    const stored = live === undefined ? await this.#journal.load(id) : undefined;
    if (live === undefined && stored === undefined) throw unknownRun(id);
    throw new LockstepError("RUN_FINISHED", `run ${id} is ${live?.state.finished ?? stored?.status}`);
  }

  async #find(id: RunId): Promise<Live | undefined> {
    return this.#live.get(id) ?? (await this.#load(id));
  }

  #load(id: RunId): Promise<Live | undefined> {
    const under = this.#loading.get(id);
    if (under !== undefined) return under;
    const loading = this.#bringBack(id).finally(() => this.#loading.delete(id));
    this.#loading.set(id, loading);
    return loading;
  }

  async #bringBack(id: RunId): Promise<Live | undefined> {
    const stored = await this.#journal.load(id);
    if (stored === undefined || stored.finishedAt !== undefined) return undefined;
    const records = await this.#journal.records(id);
    const present = this.#live.get(id);
    if (present !== undefined) return present;
    const state = createRun(stored);
    for (const record of records) apply(state, record);
    const live = this.#remember(stored, state);
    live.stored = { status: stored.status, live: stored.live };
    this.#rearm(live);
    await this.#redrive(live, records);
    await this.#askChildren(live);
    return live;
  }

  #rearm(live: Live): void {
    for (const pending of live.state.pending.values()) {
      if (pending.t === "call" && pending.dead === undefined) this.#turn.after(() => this.#enqueue(live, pending));
      else if ((pending.t === "sleep" || pending.t === "signal") && pending.dueAt !== undefined) {
        this.#arm(live.head.id, pending.seq, pending.dueAt);
      }
    }
  }

  async #redrive(live: Live, records: readonly JournalRecord[]): Promise<void> {
    if (live.driver === undefined) {
      if (live.state.halted === undefined) this.#begin(live, [...records]);
      return;
    }
    const known = new Set<number>();
    for (const record of records) if (record.t === "call") known.add(record.seq);
    const commands = live.driver.start();
    for (const record of records) if (record.t === "done") commands.push(...live.driver.resolve(record.seq, record));
    this.#drive(
      live,
      commands.filter((command) => command.t === "finish" || !known.has(command.seq)),
    );
  }

  /** A child may have finished while this run was away, in a commit of its own. */
  async #askChildren(live: Live): Promise<void> {
    for (const pending of [...live.state.pending.values()]) {
      if (pending.t !== "child" || this.#live.has(pending.child)) continue;
      const child = await this.#journal.load(pending.child);
      if (child?.finishedAt === undefined) continue;
      const outcome = child.failure === undefined ? { value: child.value ?? "" } : { failure: childFailure(child, child.failure) };
      this.#feed(live, { t: "child", seq: pending.seq, ...outcome });
    }
  }

  #sweep(): void {
    const now = this.#clock.now();
    for (const live of this.#live.values()) {
      if (now - live.touchedAt > this.#options.evictAfterMs) this.#evict(live, now);
    }
    void this.#journal.dueBy(now + SWEEP_MS, 1_000).then(async (due) => {
      for (const { id } of due) await this.#find(id);
    }, this.#readFailed);
    this.#cancelSweep = this.#clock.after(SWEEP_MS, () => this.#sweep(), "upkeep");
  }

  #evict(live: Live, now: number): void {
    const status = this.#statusOf(live);
    if (status !== "waiting" && status !== "suspended") return;
    if (live.entries.size > 0 || live.steps.size > 0 || live.hosting === "loading" || this.#waiters.has(live.head.id)) return;
    const wakeAt = nextTimer(live.state);
    if (wakeAt !== undefined && wakeAt < now + 2 * SWEEP_MS) return;
    this.#store(live, status, false, wakeAt);
    this.#turn.after(() => {
      // Something may have happened to it while its eviction was on its way to the disk.
      if (live.stored.live || live.state.finished !== undefined) return;
      this.#live.delete(live.head.id);
      if (live.driver === undefined) this.#unhost(live, true);
    });
  }

  // ---------------------------------------------------------------- timers

  #arm(run: RunId, seq: number, dueAt: number): void {
    this.#timers.push(dueAt, { run, seq });
    this.#setTimer();
  }

  #setTimer(): void {
    const first = this.#timers.firstKey;
    if (first === undefined || first >= this.#timerAt) return;
    this.#cancelTimer();
    this.#timerAt = first;
    this.#cancelTimer = this.#clock.after(first - this.#clock.now(), () => this.#fire());
  }

  #fire(): void {
    const now = this.#clock.now();
    this.#timerAt = Number.POSITIVE_INFINITY;
    for (let due = this.#timers.firstKey; due !== undefined && due <= now; due = this.#timers.firstKey) {
      const { run, seq } = this.#timers.pop()!;
      // Timers of runs that finished, were evicted, or disarmed them, find nothing to do: the machine checks.
      const live = this.#live.get(run);
      if (live !== undefined) this.#feed(live, { t: "timer", seq });
    }
    this.#setTimer();
  }

  // ---------------------------------------------------------------- the auditor

  /** Checks that every run in memory has what will wake it (P3), and mends what has not. Returns how many it mended. */
  audit(): { checked: number; repaired: number } {
    let repaired = 0;
    for (const live of this.#live.values()) if (!this.#hasWakeUp(live)) repaired++;
    return { checked: this.#live.size, repaired };
  }

  #hasWakeUp(live: Live): boolean {
    const { state } = live;
    if (state.finished !== undefined || state.halted !== undefined) return true;
    let sound = true;
    for (const pending of state.pending.values()) {
      if (pending.t !== "call" || pending.dead !== undefined || live.entries.has(pending.seq)) continue;
      // A call that was just decided is enqueued with the coming commit; one that is older was forgotten.
      if (this.#clock.now() - live.touchedAt < SWEEP_MS) continue;
      this.#enqueue(live, pending);
      sound = false;
    }
    if (live.driver === undefined && live.hosting === "hosted" && !this.#hosts.isHosted(live.head.id)) {
      this.#host(live);
      sound = false;
    }
    if (live.driver === undefined && live.hosting === "none" && !this.#isSuspended(live)) {
      this.#host(live);
      sound = false;
    }
    return sound;
  }

  // ---------------------------------------------------------------- views

  #isSuspended(live: Live): boolean {
    return live.state.dead > 0 || live.state.halted !== undefined;
  }

  #statusOf(live: Live): RunStatus {
    return statusOf(live.state, live.hosting === "loading");
  }

  #resultOfLive(live: Live): RunResult {
    const failure = suspensionOf(live.state);
    const status = this.#statusOf(live);
    return failure === undefined ? { id: live.head.id, status } : { id: live.head.id, status, failure };
  }

  async #suspension(stored: StoredRun): Promise<Failure | undefined> {
    if (stored.status !== "suspended") return undefined;
    const state = createRun(stored);
    for (const record of await this.#journal.records(stored.id)) apply(state, record);
    return suspensionOf(state);
  }

  /** Reads fail only when the journal does, which the next commit reports too; until then the run stays where it is. */
  readonly #readFailed = (error: unknown): void => {
    this.#turn.after(() => {
      throw error;
    });
  };
}

const keyOf = (kind: RunKind, name: string, key: string): string => `${kind}/${name}/${key}`;

const unknownRun = (id: RunId): LockstepError => new LockstepError("UNKNOWN_RUN", `there is no run "${id}"`, { details: { run: id } });

const childFailure = (child: AcceptedRun, failure: Failure): Failure => ({
  ...failure,
  message: `child "${child.name}" (${child.id}): ${failure.message}`,
});

const resultOfStored = (stored: StoredRun, suspension: Failure | undefined): RunResult => {
  const result: RunResult = { id: stored.id, status: stored.status };
  if (stored.value !== undefined) result.value = stored.value;
  const failure = stored.failure ?? suspension;
  if (failure !== undefined) result.failure = failure;
  return result;
};

const describePending = (state: RunState): string[] => {
  const described: string[] = [];
  for (const pending of state.pending.values()) {
    if (described.length >= 20) return [...described, `and ${state.pending.size - 20} more`];
    if (pending.t === "call") described.push(`call ${pending.seq} of ${pending.fn}${pending.dead === undefined ? "" : " (dead letter)"}`);
    else if (pending.t === "sleep") described.push(`sleep until ${new Date(pending.dueAt).toISOString()}`);
    else if (pending.t === "signal") described.push(`signal "${pending.name}"`);
    else described.push(`child ${pending.child} of ${pending.coordinator}`);
  }
  return described;
};
