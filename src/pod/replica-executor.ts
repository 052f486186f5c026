/**
 * The execution of a replica's operations, seen from the process of the ordering.
 *
 * Owns: the process that executes, its end when an operation doesn't return, its new beginning, and the snapshots of the function's state. Does
 * not own: the order of operations, what becomes of outcomes.
 *
 * Nothing here waits for user code. A process that an operation keeps busy for longer than its timeout is ended, and the operation's outcome is
 * CALL_TIMEOUT. An operation with which the process has died is executed once more, alone, since its end may have had another cause; when it
 * dies again, the outcome is POD_LOST. Either way another process begins with the last snapshot and applies what was executed since. How long an
 * operation takes, and how much memory there is, are no properties that replicas share: one at the border may end differently at one of them,
 * which then is outvoted: the others' state is what counts, and it gets that at the next checkpoint, or somebody else gets its seat.
 */
import type { Digest } from "../consensus/crypto.ts";
import type { Effect } from "../consensus/effects.ts";
import type { Failure } from "../lib/errors.ts";
import { LockstepError } from "../lib/errors.ts";
import type { Json } from "../lib/json.ts";
import type { ReplicaCode } from "../protocol/replica.ts";
import type { LogLine } from "../protocol/run.ts";
import { type Busy, monotonicMs } from "./replica-marker.ts";
import { thrownOutcome } from "./replica-operation.ts";
import { ReplicaProcess } from "./replica-process.ts";
import { type Report, type RunnerOptions, type Task, timedOut } from "./replica-runner.ts";
import type { Page } from "./replica-state.ts";
import type { FromWorker, ToWorker, WorkerData } from "./replica-worker.ts";

export interface ExecutorOptions extends Omit<RunnerOptions, "serial"> {
  function: string;
  /** The bundle. */
  path: string;
  /** What the heap of the process may grow to. */
  memoryMb: number;
  /** How long the bundle may load. Default: 30 s. */
  loadTimeoutMs?: number;
  /** The replica may have state before the bundle is loaded: one that can't go on with it fails operations, and not the replica. */
  keepsState?: boolean;
}

export interface ExecutorListener {
  /** The bundle has been loaded, for the first time. */
  loaded(): void;
  executed(seq: number, outcomes: Json[]): void;
  snapshotted(seq: number, pages: Digest[]): void;
  installed(seq: number): void;
  lines(id: string, lines: LogLine[]): void;
  /** Nothing will be executed any more. */
  failed(failure: Failure | string): void;
}

type Execute = Task & { t: "execute" };
type Outstanding = Exclude<Task, { t: "overlap" }>;

/** Beyond the timeout, so that an operation that only waits is given up by its own process. */
const GRACE_MS = 100;
const LONGEST_LOOK_MS = 250;
const LOAD_TIMEOUT_MS = 30_000;
/** Beside the heap, for what is not in it: buffers, code, stacks. */
const HEADROOM_MB = 192;
/** Processes that end without one outcome in between. */
const MOST_VAIN_STARTS = 5;
/** So often an operation is executed whose process dies, before its own death is its outcome. */
const MOST_DEATHS = 2;

export class ReplicaExecutor {
  #options: ExecutorOptions;
  readonly #on: ExecutorListener;
  readonly #snapshots = new Map<number, Page[]>();
  /** Tasks without their report, in order. */
  #outstanding: Outstanding[] = [];
  /** What was executed since `#last`, for applying it again. */
  #since: Execute[] = [];
  #last: Page[] = [];
  #process: ReplicaProcess | undefined;
  #spare: ReplicaProcess | undefined;
  #turns = { count: -1, at: 0 };
  #watch: NodeJS.Timeout | undefined;
  #isStateful = false;
  #isLoaded = false;
  /** Whether the present process has loaded the bundle. */
  #isReady = false;
  #loading: NodeJS.Timeout | undefined;
  /** Processes that have died while they loaded the present bundle. */
  #deadLoads = 0;
  /** Why that is not loaded any more. */
  #unloadable: string | undefined;
  /** The first report of a process that began with a snapshot tells of that. */
  #ignored = 0;
  #vainStarts = 0;
  /** The operation that had the process when it died last, and how often that was so. */
  #suspect: { seq: number; position: number; deaths: number } | undefined;
  #isOver = false;
  #onCpu: ((cpuMs: number) => void)[] = [];
  /** How often the process had to be replaced. */
  restarts = 0;

  /** @param spare a process that has been started for this */
  constructor(options: ExecutorOptions, on: ExecutorListener, spare?: ReplicaProcess) {
    this.#options = options;
    this.#on = on;
    this.#spare = spare;
    this.#start(false);
  }

  execute({ seq, time, seed, operations }: Effect & { t: "execute" }): void {
    this.#add({ t: "execute", seq, time, seed, operations, given: [], isKnown: false });
  }

  snapshot(seq: number): void {
    this.#add({ t: "snapshot", seq });
  }

  install(seq: number, pages: string[]): void {
    this.#add({ t: "install", seq, pages });
  }

  page(seq: number, page: number): string | undefined {
    return this.#snapshots.get(seq)?.[page]?.text;
  }

  pages(seq: number): readonly Page[] | undefined {
    return this.#snapshots.get(seq);
  }

  discard(below: number): void {
    for (const seq of this.#snapshots.keys()) if (seq < below) this.#snapshots.delete(seq);
  }

  /** The CPU time that the process has used; never answered by one that is busy for ever. */
  cpu(): Promise<number> {
    return new Promise((resolve) => {
      this.#onCpu.push(resolve);
      this.#post({ t: "cpu" });
    });
  }

  /**
   * Goes on with other code and the state as it is, once all that was asked for before has been answered; without a path that is given later:
   * what comes meanwhile waits.
   */
  use(code: ReplicaCode | undefined): void {
    if (this.#isOver) return;
    void this.#drop();
    if (code === undefined) return;
    const { path, timeoutMs, memoryMb = this.#options.memoryMb } = code;
    this.#options = { ...this.#options, path, timeoutMs, memoryMb, keepsState: true };
    this.#vainStarts = 0;
    this.#deadLoads = 0;
    this.#unloadable = undefined;
    this.#start(false);
    this.#resume();
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    clearInterval(this.#watch);
    await this.#drop();
  }

  #drop(): Promise<void> | undefined {
    clearTimeout(this.#loading);
    const process = this.#process;
    this.#process = undefined;
    return process?.kill();
  }

  #add(task: Outstanding): void {
    this.#outstanding.push(task);
    this.#post(task);
    if (this.#watch === undefined) this.#look();
  }

  #post(message: ToWorker): void {
    this.#process?.send(message);
  }

  #start(serial: boolean): void {
    const { function: name, path, timeoutMs, maxPayloadBytes, maxLogBytes, memoryMb, keepsState = false } = this.#options;
    this.#isReady = false;
    this.#turns = { count: -1, at: monotonicMs() };
    const options = { timeoutMs, maxPayloadBytes, maxLogBytes, serial };
    const data: WorkerData = { t: "begin", function: name, path, options, keepsState };
    if (this.#unloadable !== undefined) data.unloadable = this.#unloadable;
    const process = this.#next(memoryMb);
    this.#process = process;
    process.begin(data, {
      message: (message) => process === this.#process && this.#take(message),
      ended: (reason) => process === this.#process && this.#died(process, reason),
    });
    const { loadTimeoutMs = LOAD_TIMEOUT_MS } = this.#options;
    this.#loading = setTimeout(() => this.#notLoaded(`it did not load within ${loadTimeoutMs} ms`, true), loadTimeoutMs);
    this.#loading.unref();
  }

  #next(memoryMb: number): ReplicaProcess {
    const spare = this.#spare;
    this.#spare = undefined;
    if (spare?.memoryMb === memoryMb) return spare;
    void spare?.kill();
    return new ReplicaProcess(memoryMb);
  }

  #take(message: FromWorker): void {
    switch (message.t) {
      case "loaded":
        this.#isStateful = message.isStateful;
        if (!this.#isLoaded) this.#on.loaded();
        this.#isLoaded = true;
        this.#isReady = true;
        clearTimeout(this.#loading);
        return;
      case "refused":
        return this.#fail(message.failure);
      case "lines":
        return this.#on.lines(message.id, message.lines);
      case "cpu":
        return this.#onCpu.shift()?.(message.cpuMs);
      default:
        return this.#report(message);
    }
  }

  #report(report: Exclude<Report, { t: "lines" }>): void {
    if (this.#ignored > 0) {
      this.#ignored--;
      return;
    }
    const [task] = this.#outstanding;
    // Nothing that was asked for: user code has sent it.
    if (task === undefined || !isReportOf(report, task)) return;
    this.#outstanding.shift();
    this.#vainStarts = 0;
    if (report.t === "executed") {
      if (this.#isStateful) this.#since.push(applied(task as Execute, report.outcomes));
      return this.#on.executed(report.seq, report.outcomes);
    }
    this.#keep(report.seq, report.pages);
    const digests = report.pages.map(({ digest }) => digest);
    if (report.t === "snapshotted") this.#on.snapshotted(report.seq, digests);
    else this.#on.installed(report.seq);
  }

  #keep(seq: number, pages: readonly { digest: string; text?: string }[]): void {
    const known = new Map(this.#last.map(({ digest, text }) => [digest, text]));
    this.#last = pages.map(({ digest, text }) => ({ digest, text: text ?? (known.get(digest) as string) }));
    this.#since = [];
    this.#snapshots.set(seq, this.#last);
  }

  /** Looks from time to time, while anything is outstanding, whether an operation keeps the thread. */
  #look(): void {
    const { timeoutMs } = this.#options;
    const everyMs = Math.max(10, Math.min(LONGEST_LOOK_MS, timeoutMs / 4));
    this.#turns.at = monotonicMs();
    this.#watch = setInterval(() => {
      if (this.#outstanding.length > 0) return this.#check();
      clearInterval(this.#watch);
      this.#watch = undefined;
    }, everyMs);
    this.#watch.unref();
  }

  #check(): void {
    const process = this.#process;
    if (process === undefined || !this.#isReady) return;
    const now = monotonicMs();
    const { turns, busy } = process.read();
    if (turns !== this.#turns.count) this.#turns = { count: turns, at: now };
    const { timeoutMs, memoryMb, function: name } = this.#options;
    const limit = timeoutMs + GRACE_MS;
    if (busy !== undefined && now - busy.sinceMs > limit) return this.#replace(busy, thrownOutcome(timedOut(name, timeoutMs)));
    // Busy, and not at the beginning of an operation: one of those that have begun goes on without end. Alone, it will be known.
    if (busy === undefined && now - this.#turns.at > limit) return this.#replace(undefined, "");
    if (process.residentMb > memoryMb + HEADROOM_MB) this.#died(process, `more than ${memoryMb} MB of memory`);
  }

  #died(process: ReplicaProcess, reason: string): void {
    if (!this.#isReady) return this.#notLoaded("its process ended", ++this.#deadLoads >= MOST_DEATHS, reason);
    const { busy } = process.read();
    const task = busy && this.#taskOf(busy);
    // Among several at a time, or while what was applied before is applied again: the next process executes them one by one.
    if (busy === undefined || task === undefined) return this.#replace(undefined, "");
    const { seq, position } = busy;
    const text = `the process that executes has ended: ${reason}`;
    this.#on.lines(task.operations[position]?.id ?? "", [{ at: task.time, level: "error", text }]);
    const deaths = this.#suspect?.seq === seq && this.#suspect.position === position ? this.#suspect.deaths + 1 : 1;
    this.#suspect = { seq, position, deaths };
    if (deaths < MOST_DEATHS) return this.#replace(undefined, "");
    this.#replace(busy, thrownOutcome(ended(this.#options.function)));
  }

  /** The bundle was inspected, and yet there is no process with it. Where there is a state, operations fail, and the state waits for other code. */
  #notLoaded(what: string, isHopeless: boolean, reason = what): void {
    const { keepsState = false } = this.#options;
    const message = `the application could not be loaded: ${what}`;
    if (!keepsState && !this.#isLoaded)
      return this.#fail({ code: "APPLICATION_INVALID", message: reason === what ? message : `${message} (${reason})` });
    // The same words at each replica.
    if (keepsState && isHopeless) this.#unloadable = message;
    this.#replace(undefined, "");
  }

  #taskOf({ seq }: Busy): Execute | undefined {
    return this.#outstanding.find((task): task is Execute => task.t === "execute" && task.seq === seq);
  }

  #replace(culprit: Busy | undefined, outcome: Json): void {
    if (this.#isOver) return;
    void this.#drop();
    this.restarts++;
    this.#onCpu = [];
    if (++this.#vainStarts > MOST_VAIN_STARTS)
      return this.#fail({ code: "POD_LOST", message: "the process that executes ended, each time" });
    if (culprit !== undefined) {
      const task = this.#taskOf(culprit);
      // What was executed before does not return any more: this replica's state can't be had again.
      if (task === undefined) return this.#fail({ code: "CALL_TIMEOUT", message: "an operation that was applied before did not return" });
      task.given.push([culprit.position, outcome]);
      this.#vainStarts = 0;
    }
    this.#start(true);
    this.#resume();
  }

  #resume(): void {
    this.#ignored = 0;
    if (this.#isStateful && this.#last.length > 0) {
      this.#ignored = 1;
      this.#post({ t: "install", seq: 0, pages: this.#last.map(({ text }) => text) });
    }
    for (const task of this.#since) this.#post(task);
    for (const task of this.#outstanding) this.#post(task);
    this.#post({ t: "overlap" });
  }

  #fail(failure: Failure | string): void {
    if (this.#isOver) return;
    void this.stop();
    this.#on.failed(failure);
  }
}

const isReportOf = (report: Exclude<Report, { t: "lines" }>, task: Outstanding): boolean => {
  if (report.seq !== task.seq) return false;
  if (report.t !== "executed") return task.t === (report.t === "snapshotted" ? "snapshot" : "install");
  return task.t === "execute" && report.outcomes.length === task.operations.length;
};

/** The same words at each replica, whatever has ended the process there: what it was is in the log. */
const ended = (name: string): LockstepError =>
  Object.assign(new LockstepError("POD_LOST", `function "${name}" ended the process that executed it, each time`), { terminal: true });

/** To be applied again: what has failed had changed nothing, whatever it would come to now. */
const applied = (task: Execute, outcomes: readonly Json[]): Execute => {
  const given = outcomes.flatMap((outcome, position): [number, Json][] => (outcome.startsWith('{"failure"') ? [[position, outcome]] : []));
  return { ...task, given, isKnown: true };
};
