/**
 * The feeder: brings inputs to the machines of runs, and carries out the effects that they return.
 *
 * Owns: the translation of effects into records, dispatch, timers, children and deliveries. Does not own: the rules (machine.ts),
 * durability (turn.ts), which runs are in memory (memory.ts), or requests from outside (service.ts).
 *
 * R1  Nothing leaves before what it depends on is durable: all effects go through the turn.
 * R2  A coordinator is (re)started only with a history that holds all its records; later records follow in order, each once.
 */
import type { Registry } from "../application/registry.ts";
import { createExpressionRun } from "../expression/machine.ts";
import type { Invocations } from "../invocation/service.ts";
import type { AcceptedRun, Journal } from "../journal/port.ts";
import type { Clock } from "../lib/clock.ts";
import { type Failure, LockstepError } from "../lib/errors.ts";
import type { RunId, RunIds } from "../lib/ids.ts";
import type { Json } from "../lib/json.ts";
import { hashText, seeded } from "../lib/random.ts";
import type { Monitor } from "../monitor/service.ts";
import type { CallMetrics, Command, JournalRecord, RunResult, RunStatus } from "../protocol/run.ts";
import type { Space, Staleness, StateOp } from "../protocol/state.ts";
import type { Entry } from "../queue/machine.ts";
import type { Preloads } from "../scheduler/preloads.ts";
import type { Scheduler } from "../scheduler/service.ts";
import type { StateService } from "../state/service.ts";
import { createDirectRun, type Driver } from "./direct.ts";
import type { CoordinatorHosts } from "./hosts.ts";
import { childFailure, createLive, isSuspended, type Live, statusOfLive } from "./live.ts";
import { type ResolvedCommand, type RunInput, step } from "./machine.ts";
import type { RunMemory } from "./memory.ts";
import { commandDenial } from "./permissions.ts";
import { aboutOf, decisionOf, eventOf, recoveryHead } from "./recoveries.ts";
import { divergenceOf } from "./restart.ts";
import type { RunEffect } from "./run-effects.ts";
import { apply, callOf, createRun, hasEnded, isCoded, isQueued, type PendingCall, type Recovering } from "./run-state.ts";
import { Timers } from "./timers.ts";
import type { Turn } from "./turn.ts";
import type { Waiters } from "./waiters.ts";

export interface FeederParts {
  journal: Journal;
  clock: Clock;
  turn: Turn;
  state: StateService;
  invocations: Pick<Invocations, "settle" | "abandon">;
  registry: Registry;
  monitor: Monitor;
  ids: RunIds;
  waiters: Waiters;
  /** Gets warm pods ready for what coordinators will probably call. */
  preloads?: Pick<Preloads, "begins" | "called"> | undefined;
  /** Where pods find a version's bundle. */
  pathOf(version: string): string;
  defaultTimeoutMs: number;
  maxPayloadBytes: number;
}

export interface RunCounters {
  accepted: number;
  completed: number;
  failed: number;
  cancelled: number;
  callsCompleted: number;
  callsFailed: number;
  retried: number;
  refused: number;
}

export class RunFeeder {
  readonly counters: RunCounters = {
    accepted: 0,
    completed: 0,
    failed: 0,
    cancelled: 0,
    callsCompleted: 0,
    callsFailed: 0,
    retried: 0,
    refused: 0,
  };
  readonly #parts: FeederParts;
  readonly #turn: Turn;
  readonly #timers: Timers;
  readonly #state: StateService;
  /** Runs in memory that want to know when what they have read becomes stale. */
  readonly #watching = new Set<RunId>();
  #memory!: RunMemory;
  #scheduler!: Scheduler;
  #hosts!: CoordinatorHosts;

  constructor(parts: FeederParts) {
    this.#parts = parts;
    this.#turn = parts.turn;
    this.#state = parts.state;
    const fire = (run: RunId, seq: number): void => {
      // Timers of runs that have finished or left memory find nothing to do.
      const live = this.#memory.get(run);
      if (live !== undefined) this.feed(live, { t: "timer", seq });
    };
    this.#timers = new Timers(parts.clock, fire, (run, seq) => this.#memory.get(run)?.state.pending.has(seq) === true);
  }

  connect(memory: RunMemory, scheduler: Scheduler, hosts: CoordinatorHosts): void {
    this.#memory = memory;
    this.#scheduler = scheduler;
    this.#hosts = hosts;
  }

  stop(): void {
    this.#timers.stop();
  }

  checkTimers(): void {
    this.#timers.check();
  }

  // ---------------------------------------------------------------- runs come and go

  accept(head: AcceptedRun): void {
    const live = createLive(head, createRun(head), this.driverOf(head), this.#parts.clock.now());
    // Asked before anything is recorded: a run that cannot even begin must not be accepted.
    const commands = live.driver?.start() ?? [];
    this.#memory.add(live);
    this.counters.accepted++;
    this.#turn.accept(head);
    this.#turn.event({ type: "run.accepted", run: head.id, kind: head.kind, name: head.name });
    if (live.driver !== undefined) return this.drive(live, commands);
    // What a recovery is about is in another run's journal, which must be on the disk first.
    if (head.kind === "recovery") return this.host(live);
    this.#parts.preloads?.begins(head.name, head.version);
    live.hosting = "loading";
    this.#turn.early(() => this.#send(live, []));
  }

  /** Accepts a run whose journal has a beginning already, both in one commit, and sets it going from there. */
  async restart(head: AcceptedRun, records: JournalRecord[]): Promise<void> {
    // Asked before anything is recorded, as in `accept`.
    const difference = divergenceOf(this.driverOf(head), records);
    if (difference !== undefined) throw new LockstepError("REPLAY_DIVERGED", `"${head.name}" can't be restarted from there: ${difference}`);
    const live = createLive(head, createRun(head), this.driverOf(head), this.#parts.clock.now());
    this.counters.accepted++;
    this.#turn.accept(head);
    this.#turn.event({ type: "run.accepted", run: head.id, kind: head.kind, name: head.name });
    for (const [index, record] of records.entries()) {
      apply(live.state, record);
      this.#turn.append(head.id, index, record, true);
    }
    await this.revive(live, records);
  }

  /** Puts a run that was read from the journal back to work. */
  async revive(live: Live, records: JournalRecord[]): Promise<void> {
    this.#memory.add(live);
    for (const pending of live.state.pending.values()) {
      if (pending.t === "call" && isQueued(pending)) this.#turn.after(() => this.enqueue(live, pending));
      else if (pending.t === "state") this.#turn.after(() => this.operate(live, pending.seq, pending.op));
      else if (pending.t === "sleep") this.#timers.arm(live.head.id, pending.seq, pending.dueAt);
      else if (pending.t === "signal" && pending.dueAt !== undefined) this.#timers.arm(live.head.id, pending.seq, pending.dueAt);
    }
    if (live.driver !== undefined) this.#redrive(live, live.driver, records);
    else if (mayBeHosted(live)) {
      // What happens while it is read what a recovery is about is held back, and not lost.
      live.hosting = "loading";
      const about = await aboutOf(this.#parts.journal, live.head);
      if (live.hosting === "loading") this.#begin(live, records, about);
    }
    if (live.state.watching) this.#watching.add(live.head.id);
    await this.#askChildren(live);
    await this.#askRecoveries(live);
    await this.#askParent(live);
  }

  driverOf(head: AcceptedRun): Driver | undefined {
    if (isCoded(head.kind)) return undefined;
    if (head.kind === "function") return createDirectRun(head.name, head.input);
    const { registry, maxPayloadBytes } = this.#parts;
    const isDeterministic = (fn: string): boolean => registry.spec(fn, head.version)?.deterministic ?? false;
    return createExpressionRun(head.name, head.input, isDeterministic, undefined, maxPayloadBytes);
  }

  /** Changes the run's head row. */
  store(live: Live, status: RunStatus, isLive: boolean, wakeAt?: number): void {
    live.stored = { status, live: isLive };
    this.#turn.change({ id: live.head.id, status, live: isLive, ...(wakeAt === undefined ? {} : { wakeAt }) });
  }

  // ---------------------------------------------------------------- inputs and effects

  feed(live: Live, input: RunInput): void {
    const effects: RunEffect[] = [];
    live.touchedAt = this.#parts.clock.now();
    const first = live.state.next;
    step(live.state, input, live.touchedAt, effects);
    // What has happened to a run that had left memory makes it one that recovery must find again.
    if (!live.stored.live && live.state.finished === undefined && live.state.next > first) this.store(live, statusOfLive(live), true);
    // A dead letter that was cancelled suspends its run no longer.
    if (live.stored.status === "suspended" && live.stored.live && !isSuspended(live) && live.state.finished === undefined) {
      this.store(live, "running", true);
    }
    let index = first;
    if (live.state.watching) this.#watching.add(live.head.id);
    for (const effect of effects) {
      if (effect.t === "record") this.#record(live, effect.record, index++);
      else this.#carryOut(live, effect);
    }
  }

  /** Feeds what the run's driver wants next. */
  drive(live: Live, commands: readonly Command[]): void {
    if (commands.length > 0) this.feed(live, { t: "commands", commands: commands.map((command) => this.#lookUp(live, command)) });
  }

  #record(live: Live, record: JournalRecord, index: number): void {
    this.#turn.append(live.head.id, index, record, !LAZY.has(record.t));
    if (record.t === "call" || record.t === "done") return;
    if (record.t === "attempt") this.counters.retried++;
    const event = eventOf(live, record);
    if (event !== undefined) this.#turn.event(event);
  }

  #carryOut(live: Live, effect: RunEffect): void {
    switch (effect.t) {
      case "enqueue":
        return this.#turn.after(() => this.enqueue(live, effect.call));
      case "withdraw":
        return this.#withdraw(live, effect.seq, effect.reason);
      case "let-end":
        return this.#letEnd(live, effect.seq);
      case "arm":
        return this.#timers.arm(live.head.id, effect.seq, effect.dueAt);
      case "start-child":
        return this.#startChild(live, effect);
      case "cancel-child":
        return this.#cancelChild(effect.child, effect.reason);
      case "state":
        // In the commit of its record, so that a write costs no second one.
        return this.#turn.early(() => this.operate(live, effect.seq, effect.op));
      case "give-up":
        return this.#giveUp(live, effect.seq);
      case "start-recovery":
        return this.#startRecovery(live, effect);
      case "rehost":
        return this.host(live);
      case "deliver":
        return this.#deliver(live, effect.record, effect.index);
      case "suspended":
        return this.#suspended(live, effect.failure);
      case "resumed":
        this.store(live, "running", true);
        return this.#turn.event({ type: "run.resumed", run: live.head.id, name: live.head.name });
      case "finished":
        return this.#finished(live, effect);
      default:
        // "record" was written before; a disarmed timer fires and finds nothing to do.
        return;
    }
  }

  /**
   * Adds what only the platform knows to a command: versions, children's ids, or why it cannot be. Its own fields are taken one by one: a pod
   * may send others beside them, such as those that are added here.
   */
  #lookUp(live: Live, command: Command): ResolvedCommand {
    switch (command.t) {
      case "finish":
        return this.#lookUpEnd(live, command);
      case "call":
        return this.#lookUpCall(live, command);
      case "child":
        return this.#lookUpChild(live, command);
      case "state": {
        const refusal = commandDenial(this.#parts.registry, live.head, command);
        const { t, seq, op } = command;
        return refusal === undefined ? { t, seq, op } : { t, seq, op, refusal };
      }
      default:
        return command;
    }
  }

  #lookUpCall(live: Live, command: Command & { t: "call" }): ResolvedCommand {
    const { registry } = this.#parts;
    const { t, seq, fn, input, options } = command;
    const resolved: ResolvedCommand & { t: "call" } = { t, seq, fn, input };
    if (options !== undefined) resolved.options = options;
    const refusal = commandDenial(registry, live.head, command);
    if (refusal !== undefined) return { ...resolved, refusal };
    const home = registry.homeOfFunction(fn, live.head.version);
    if (home === undefined) {
      const isCoordinator = registry.homeOfCoordinator(fn, live.head.version) !== undefined;
      const message = `no deployed application defines function "${fn}"${isCoordinator ? ": it is a coordinator, for ctx.run and ctx.start" : ""}`;
      return { ...resolved, refusal: { code: "UNKNOWN_FUNCTION", message, terminal: true, call: { function: fn, seq } } };
    }
    resolved.version = home.version;
    if (registry.spec(fn, home.version)?.compensates) resolved.undoable = true;
    return resolved;
  }

  #lookUpChild(live: Live, command: Command & { t: "child" }): ResolvedCommand {
    const { registry, ids, clock } = this.#parts;
    const { t, seq, coordinator, input, detached } = command;
    const resolved = { t, seq, coordinator, input, detached };
    const refusal = commandDenial(registry, live.head, command);
    if (refusal !== undefined) return { ...resolved, refusal };
    const home = registry.homeOfCoordinator(coordinator, live.head.version);
    if (home !== undefined) return { ...resolved, child: ids.next(clock.now()) };
    const isFunction = registry.homeOfFunction(coordinator, live.head.version) !== undefined;
    const message = `no deployed application defines coordinator "${coordinator}"${isFunction ? ": it is a function, for ctx.call" : ""}`;
    return { ...resolved, refusal: { code: "UNKNOWN_COORDINATOR", message, terminal: true } };
  }

  /** A coordinator that has thrown, and knows what to do then, is given the id of its recovery. */
  #lookUpEnd(live: Live, { t, value, failure, cancelled }: Command & { t: "finish" }): ResolvedCommand {
    const { registry, ids, clock } = this.#parts;
    const { kind, name, version } = live.head;
    const end: ResolvedCommand & { t: "finish" } = failure === undefined ? { t, value: value ?? "" } : { t, failure };
    if (cancelled) end.cancelled = true;
    if (failure === undefined || kind !== "coordinator" || !registry.coordinatorSpec(name, version)?.recovers) return end;
    return { ...end, recovery: ids.next(clock.now()) };
  }

  // ---------------------------------------------------------------- calls

  /** Executes an attempt once more that met a conflict in the state store: it is the same attempt, and has used up nothing. */
  repeat(live: Live, call: PendingCall): void {
    live.conflicts ??= new Map();
    const conflicts = (live.conflicts.get(call.seq) ?? 0) + 1;
    live.conflicts.set(call.seq, conflicts);
    this.enqueue(live, call, this.#parts.clock.now() + conflictPauseMs(`${live.head.id}/${call.seq}`, conflicts));
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

  #withdraw(live: Live, seq: number, reason: string): void {
    const entry = live.entries.get(seq);
    if (entry === undefined) return;
    live.entries.delete(seq);
    this.#turn.after(() => this.#scheduler.withdraw(entry, reason));
  }

  /** Feeds the failure of an attempt, with what its function and its run's coordinator say of failures. */
  fail(
    live: Live,
    { seq, attempt, fn, version }: Entry,
    failure: Failure,
    measured: { metrics?: CallMetrics; certificate?: string },
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
    this.feed(live, { t: "failed", seq, attempt, failure, policy, ...measured, ...recovery });
  }

  /** A call that no attempt executes is given up; one that does is awaited. */
  #letEnd(live: Live, seq: number): void {
    this.#turn.after(() => {
      const entry = live.entries.get(seq);
      const call = callOf(live.state, seq);
      if (call === undefined || !isQueued(call) || entry?.state === "leased") return;
      if (entry !== undefined) {
        live.entries.delete(seq);
        this.#scheduler.withdraw(entry, "its run is compensated");
      }
      const failure: Failure = { code: "CALL_CANCELLED", message: "its run is compensated before it began", terminal: true };
      this.feed(live, { t: "failed", seq, attempt: call.attempt, failure, policy: undefined });
    });
  }

  // ---------------------------------------------------------------- the state store

  operate(live: Live, seq: number, op: StateOp): void {
    if (live.state.pending.get(seq)?.t !== "state" || live.operations?.has(seq)) return;
    const { application, id: run, name } = live.head;
    const giveUp = this.#state.execute({ space: application, run, seq, function: name }, op, (outcome) => {
      live.operations?.delete(seq);
      this.feed(live, { t: "stated", seq, ...outcome });
    });
    live.operations ??= new Map();
    live.operations.set(seq, giveUp);
  }

  /** A write that is held up must not come after what its run does next, and a reader that waits would be left waiting. */
  #giveUp(live: Live, seq: number): void {
    live.operations?.get(seq)?.();
    live.operations?.delete(seq);
  }

  /** Tells the runs in memory that have read the key and asked to be told. */
  toldStale(space: Space, key: string, stale: Staleness): void {
    for (const id of this.#watching) {
      const live = this.#memory.get(id);
      if (live === undefined || live.state.finished !== undefined) this.#watching.delete(id);
      else if (live.head.application === space) this.feed(live, { t: "stale", key, stale });
    }
  }

  // ---------------------------------------------------------------- recoveries

  #startRecovery(live: Live, effect: RunEffect & { t: "start-recovery" }): void {
    // The code has ended; whatever it still tries has no meaning any more.
    if (effect.seq === 0) this.#turn.after(() => this.unhost(live));
    this.accept(recoveryHead(live, effect, this.#parts.registry, this.#parts.clock.now()));
  }

  /** The recovery of one of its calls may have ended while this run was away, or never have begun to execute. */
  async #askRecoveries(live: Live): Promise<void> {
    const open: [number, Recovering][] = [];
    for (const pending of live.state.pending.values()) {
      if (pending.t === "call" && pending.recovering !== undefined) open.push([pending.seq, pending.recovering]);
    }
    if (live.state.recovering !== undefined) open.push([0, live.state.recovering]);
    for (const [seq, { recovery }] of open) {
      if (this.#memory.get(recovery) !== undefined) continue;
      const stored = await this.#parts.journal.load(recovery);
      if (stored?.finishedAt !== undefined) this.feed(live, this.#recovered(seq, stored, stored));
    }
  }

  #recovered(seq: number, recovery: AcceptedRun, outcome: { value?: Json; failure?: Failure }): RunInput {
    const next = this.#parts.ids.next(this.#parts.clock.now());
    return { t: "recovered", seq, recovery: recovery.id, next, ...decisionOf(outcome) };
  }

  // ---------------------------------------------------------------- children

  #startChild(parent: Live, effect: RunEffect & { t: "start-child" }): void {
    const home = this.#parts.registry.homeOfCoordinator(effect.coordinator, parent.head.version);
    const head: AcceptedRun = {
      id: effect.child,
      kind: "coordinator",
      name: effect.coordinator,
      application: home?.application ?? parent.head.application,
      version: home?.version ?? parent.head.version,
      input: effect.input,
      acceptedAt: this.#parts.clock.now(),
      priority: parent.head.priority,
      parent: parent.head.id,
    };
    if (!effect.detached) head.parentSeq = effect.seq;
    this.accept(head);
  }

  // In the commit of what cancels it when it is in memory, so that no crash comes between; else it asks its parent when it comes back.
  #cancelChild(child: RunId, reason: string): void {
    const input: RunInput = { t: "cancel", reason, force: false };
    const live = this.#memory.get(child);
    if (live === undefined) this.#feedLater(child, input);
    else this.feed(live, input);
  }

  #tellParent(child: AcceptedRun, outcome: { value?: Json; failure?: Failure }): void {
    if (child.parent === undefined || child.parentSeq === undefined) return;
    const seq = child.parentSeq;
    const input: RunInput = child.kind === "recovery" ? this.#recovered(seq, child, outcome) : { t: "child", seq, ...outcome };
    const parent = this.#memory.get(child.parent);
    // A parent in memory learns of it in the same commit; one that was evicted looks its children up when it comes back.
    if (parent === undefined) this.#feedLater(child.parent, input);
    else this.feed(parent, input);
  }

  // It counts as live from this commit on: when the control plane dies before the run was fed, recovery finds it, and it asks by itself.
  #feedLater(run: RunId, input: RunInput): void {
    this.#turn.wake(run);
    this.#turn.after(() => {
      void this.#memory.find(run).then((live) => {
        if (live !== undefined) this.feed(live, input);
      }, this.readFailed);
    });
  }

  /** A child may have finished while this run was away, in a commit of its own. */
  async #askChildren(live: Live): Promise<void> {
    for (const pending of [...live.state.pending.values()]) {
      if (pending.t !== "child" || this.#memory.get(pending.child) !== undefined) continue;
      const child = await this.#parts.journal.load(pending.child);
      if (child?.finishedAt === undefined) continue;
      const outcome = child.failure === undefined ? { value: child.value ?? "" } : { failure: childFailure(child, child.failure) };
      this.feed(live, { t: "child", seq: pending.seq, ...outcome });
    }
  }

  /** The order to cancel this run may have been lost with the control plane that was to carry it out. */
  async #askParent(live: Live): Promise<void> {
    const { parent: id, parentSeq } = live.head;
    if (id === undefined || parentSeq === undefined || live.state.cancelled !== undefined) return;
    const parent = this.#memory.get(id);
    const stored = parent === undefined ? await this.#parts.journal.load(id) : undefined;
    const isAwaited = parent === undefined ? stored !== undefined && stored.finishedAt === undefined : awaits(parent, live.head);
    if (!isAwaited) this.feed(live, { t: "cancel", reason: "nothing awaits it any more", force: false });
  }

  // ---------------------------------------------------------------- drivers and hosts

  #deliver(live: Live, record: JournalRecord, index: number): void {
    if (live.driver !== undefined) {
      if (record.t === "done") this.drive(live, live.driver.resolve(record.seq, record));
      return;
    }
    // The coordinator's code may already work on what is being committed: its commands wait for that, and its steps for a permission.
    this.#turn.early(() => {
      if (live.hosting === "hosted") this.#hosts.deliver(live.head.id, record);
      else if (live.hosting === "loading") live.held.push({ index, record });
    });
  }

  /** Lets a step execute, which is code with effects of its own: not before all that it can depend on is durable. */
  permit(live: Live, seq: number): void {
    live.steps.add(seq);
    this.#turn.after(() => this.#hosts.permit(live.head.id, seq));
  }

  /** Starts the code of a run that goes on after a suspension, if it has one and it is in no pod. */
  rehost(live: Live): void {
    if (live.driver === undefined && live.hosting === "none" && live.state.finished === undefined && mayBeHosted(live)) this.host(live);
  }

  /** Starts a coordinator's code in a pod again, from the journal. */
  host(live: Live): void {
    live.hosting = "loading";
    live.held = [];
    // The history must hold all records made so far, also those whose commit is still to come (R2).
    const { journal } = this.#parts;
    void this.#turn
      .durable()
      .then(() => Promise.all([journal.records(live.head.id), aboutOf(journal, live.head)]))
      .then(([history, about]) => {
        if (live.hosting === "loading" && live.state.finished === undefined) this.#begin(live, history, about);
      }, this.readFailed);
  }

  #begin(live: Live, history: JournalRecord[], about?: JournalRecord[]): void {
    live.hosting = "loading";
    this.#turn.after(() => this.#send(live, history, about));
  }

  #send(live: Live, history: JournalRecord[], about?: JournalRecord[]): void {
    if (live.hosting !== "loading" || live.state.finished !== undefined) return;
    const { id, name, input, acceptedAt, application, version } = live.head;
    live.hosting = "hosted";
    this.#hosts.begin(
      { application, version, path: this.#parts.pathOf(version) },
      { t: "begin", run: id, name, input, acceptedAt, history, ...(about === undefined ? {} : { about }) },
      live.company,
    );
    for (const { index, record } of live.held) if (index >= history.length) this.#hosts.deliver(id, record);
    live.held = [];
  }

  unhost(live: Live): void {
    live.hosting = "none";
    live.held = [];
    this.#hosts.evict(live.head.id, true);
  }

  #redrive(live: Live, driver: Driver, records: readonly JournalRecord[]): void {
    const known = new Set<number>();
    for (const record of records) if (record.t === "call") known.add(record.seq);
    const commands = driver.start();
    for (const record of records) if (record.t === "done" && record.seq > 0) commands.push(...driver.resolve(record.seq, record));
    this.drive(
      live,
      commands.filter((command) => command.t === "finish" || !known.has(command.seq)),
    );
  }

  // ---------------------------------------------------------------- ends

  #suspended(live: Live, failure: Failure): void {
    const { id, name } = live.head;
    this.store(live, "suspended", true);
    this.#turn.event({ type: "run.suspended", run: id, name, failure });
    this.#turn.after(() => this.#parts.waiters.answer({ id, status: "suspended", failure }));
  }

  #finished(live: Live, { status, value, failure }: RunEffect & { t: "finished" }): void {
    const { head } = live;
    const finishedAt = this.#parts.clock.now();
    const result: RunResult = { id: head.id, status };
    if (value !== undefined) result.value = value;
    if (failure !== undefined) result.failure = failure;
    this.#turn.change({ ...result, live: false, finishedAt });
    const durationMs = finishedAt - head.acceptedAt;
    this.#turn.event({
      type: "run.finished",
      run: head.id,
      name: head.name,
      status,
      durationMs,
      ...(failure === undefined ? {} : { failure }),
    });
    this.counters[status]++;
    this.#watching.delete(head.id);
    this.#tellParent(head, failure === undefined ? { value: value ?? "" } : { failure: childFailure(head, failure) });
    this.#turn.after(() => {
      if (live.driver === undefined) this.unhost(live);
      this.#memory.remove(head.id);
      this.#parts.waiters.answer(result);
    });
  }

  /** Reads fail only when the journal does; then memory can't be trusted to follow the disk any more, as after a failed commit. */
  readonly readFailed = (error: unknown): void => {
    this.#turn.after(() => {
      throw error;
    });
  };
}

/**
 * Records that may reach the disk later than what follows from them: a replay makes the call or the operation again under the same number,
 * and nothing depends on the last steps of progress.
 */
const LAZY: ReadonlySet<JournalRecord["t"]> = new Set(["call", "state", "progress"]);

/** Whether the run has code that could go on. */
const mayBeHosted = ({ state }: Live): boolean => state.halted === undefined && !hasEnded(state);

/** Whether the parent still waits for this child, or recovery, of its. */
const awaits = ({ state }: Live, { id, kind, parentSeq = 0 }: AcceptedRun): boolean => {
  if (kind !== "recovery") return state.pending.has(parentSeq);
  const recovering = parentSeq === 0 ? state.recovering : callOf(state, parentSeq)?.recovering;
  return recovering?.recovery === id;
};

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
