/**
 * The feeder: brings inputs to the machines of runs, and carries out the effects that they return.
 *
 * Owns: how runs begin and end, which effect goes to whom, timers. Does not own: the rules (machine.ts), durability (turn.ts), which runs are
 * in memory (memory.ts), requests from outside (service.ts), nor what becomes of an effect that concerns calls (calls.ts), code in pods
 * (hosting.ts), the state store (operations.ts) or other runs (family.ts).
 *
 * R1  Nothing leaves before what it depends on is durable: all effects go through the turn.
 */
import type { Registry } from "../application/registry.ts";
import { createExpressionRun } from "../expression/machine.ts";
import type { AcceptedRun, Journal } from "../journal/port.ts";
import type { Clock } from "../lib/clock.ts";
import { type Failure, LockstepError } from "../lib/errors.ts";
import type { RunId, RunIds } from "../lib/ids.ts";
import type { Command, JournalRecord, RunResult, RunStatus } from "../protocol/run.ts";
import type { Preloads } from "../scheduler/preloads.ts";
import type { Scheduler } from "../scheduler/service.ts";
import type { StateService } from "../state/service.ts";
import { RunCalls } from "./calls.ts";
import { createDirectRun, type Driver } from "./direct.ts";
import { childHead, RunFamily } from "./family.ts";
import { RunHosting } from "./hosting.ts";
import type { CoordinatorHosts } from "./hosts.ts";
import { childFailure, createLive, type Feed, isSuspended, type Live, statusOfLive } from "./live.ts";
import { type RunInput, step } from "./machine.ts";
import type { RunMemory } from "./memory.ts";
import { StateOperations } from "./operations.ts";
import { eventOf, recoveryHead } from "./recoveries.ts";
import { resolveCommand } from "./resolve-command.ts";
import { divergenceOf } from "./restart.ts";
import type { RunEffect } from "./run-effects.ts";
import { apply } from "./run-records.ts";
import { createRun, isCoded, isQueued } from "./run-state.ts";
import { Timers } from "./timers.ts";
import type { Turn } from "./turn.ts";
import type { Waiters } from "./waiters.ts";

export interface FeederParts {
  journal: Journal;
  clock: Clock;
  turn: Turn;
  state: StateService;
  registry: Registry;
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
  #memory!: RunMemory;
  #calls!: RunCalls;
  #operations!: StateOperations;
  #family!: RunFamily;
  #hosting!: RunHosting;

  constructor(parts: FeederParts) {
    this.#parts = parts;
    this.#turn = parts.turn;
    const fire = (run: RunId, seq: number): void => {
      // Timers of runs that have finished or left memory find nothing to do.
      const live = this.#memory.get(run);
      if (live !== undefined) this.feed(live, { t: "timer", seq });
    };
    this.#timers = new Timers(parts.clock, fire, (run, seq) => this.#memory.get(run)?.state.pending.has(seq) === true);
  }

  connect(memory: RunMemory, scheduler: Scheduler, hosts: CoordinatorHosts): void {
    const feed: Feed = (live, input) => this.feed(live, input);
    this.#memory = memory;
    this.#calls = new RunCalls(this.#parts, scheduler, feed);
    this.#operations = new StateOperations(this.#parts.state, memory, feed);
    this.#family = new RunFamily(this.#parts, memory, feed, this.readFailed);
    this.#hosting = new RunHosting(this.#parts, hosts, this.readFailed);
  }

  get calls(): RunCalls {
    return this.#calls;
  }

  get operations(): StateOperations {
    return this.#operations;
  }

  get hosting(): RunHosting {
    return this.#hosting;
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
    if (head.kind === "recovery") this.#hosting.host(live);
    else this.#hosting.hostNew(live);
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
      if (pending.t === "call" && isQueued(pending)) this.#turn.after(() => this.#calls.enqueue(live, pending));
      else if (pending.t === "state") this.#turn.after(() => this.#operations.execute(live, pending.seq, pending.op));
      else if (pending.t === "sleep") this.#timers.arm(live.head.id, pending.seq, pending.dueAt);
      else if (pending.t === "signal" && pending.dueAt !== undefined) this.#timers.arm(live.head.id, pending.seq, pending.dueAt);
    }
    if (live.driver !== undefined) this.#redrive(live, live.driver, records);
    else await this.#hosting.hostRead(live, records);
    if (live.state.watching) this.#operations.watch(live.head.id);
    await this.#family.ask(live);
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
    if (live.state.watching) this.#operations.watch(live.head.id);
    for (const effect of effects) {
      if (effect.t === "record") this.#record(live, effect.record, index++);
      else this.#carryOut(live, effect);
    }
  }

  /** Feeds what the run's driver wants next. */
  drive(live: Live, commands: readonly Command[]): void {
    if (commands.length > 0)
      this.feed(live, { t: "commands", commands: commands.map((command) => resolveCommand(this.#parts, live.head, command)) });
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
        return this.#turn.after(() => this.#calls.enqueue(live, effect.call));
      case "withdraw":
        return this.#calls.withdraw(live, effect.seq, effect.reason);
      case "let-end":
        return this.#calls.letEnd(live, effect.seq);
      case "arm":
        return this.#timers.arm(live.head.id, effect.seq, effect.dueAt);
      case "start-child":
        return this.accept(childHead(live, effect, this.#parts.registry, this.#parts.clock.now()));
      case "cancel-child":
        return this.#family.cancelChild(effect.child, effect.reason);
      case "state":
        // In the commit of its record, so that a write costs no second one.
        return this.#turn.early(() => this.#operations.execute(live, effect.seq, effect.op));
      case "give-up":
        return this.#operations.giveUp(live, effect.seq);
      case "start-recovery":
        return this.#startRecovery(live, effect);
      case "rehost":
        return this.#hosting.host(live);
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

  /** Tells whoever decides the run's commands of an outcome. */
  #deliver(live: Live, record: JournalRecord, index: number): void {
    if (live.driver === undefined) this.#hosting.deliver(live, record, index);
    else if (record.t === "done") this.drive(live, live.driver.resolve(record.seq, record));
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

  #startRecovery(live: Live, effect: RunEffect & { t: "start-recovery" }): void {
    // The code has ended; whatever it still tries has no meaning any more.
    if (effect.seq === 0) this.#turn.after(() => this.#hosting.unhost(live));
    this.accept(recoveryHead(live, effect, this.#parts.registry, this.#parts.clock.now()));
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
    this.#operations.unwatch(head.id);
    this.#family.tellParent(head, failure === undefined ? { value: value ?? "" } : { failure: childFailure(head, failure) });
    this.#turn.after(() => {
      if (live.driver === undefined) this.#hosting.unhost(live);
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
