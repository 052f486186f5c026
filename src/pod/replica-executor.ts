/**
 * The execution of a replica's operations, seen from the thread of the ordering.
 *
 * Owns: the thread that executes, its end when an operation doesn't return, its new beginning, and the snapshots of the function's state. Does
 * not own: the order of operations, what becomes of outcomes.
 *
 * Nothing here waits for user code. A thread that an operation keeps busy for longer than its timeout is ended; the operation's outcome is
 * CALL_TIMEOUT then, and another thread begins with the last snapshot and applies what was executed since. How long an operation takes is no
 * property that replicas share: one at the border of its timeout may end differently at one of them, which then is outvoted: the others' state is
 * what counts, and it gets that at the next checkpoint, or somebody else gets its seat.
 */
import { Worker } from "node:worker_threads";
import type { Digest } from "../consensus/crypto.ts";
import type { Effect } from "../consensus/effects.ts";
import type { Failure } from "../lib/errors.ts";
import { LockstepError } from "../lib/errors.ts";
import type { Json } from "../lib/json.ts";
import type { LogLine } from "../protocol/run.ts";
import { type Busy, createMarks, elapsedSince, isMarked, readMarks } from "./replica-marker.ts";
import { thrownOutcome } from "./replica-operation.ts";
import { type Report, type RunnerOptions, type Task, timedOut } from "./replica-runner.ts";
import type { Page } from "./replica-state.ts";
import type { FromWorker, ToWorker, WorkerData } from "./replica-worker.ts";

export interface ExecutorOptions extends Omit<RunnerOptions, "serial"> {
  function: string;
  /** The bundle. */
  path: string;
  /** What the thread's heap may grow to. */
  memoryMb: number;
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

// The source's own ending: in tests there is no build.
const PROGRAM = new URL(import.meta.url.endsWith(".ts") ? "./replica-worker.ts" : "./replica-worker.js", import.meta.url);

/** Beyond the timeout, so that an operation that only waits is given up by its own thread. */
const GRACE_MS = 100;
const LONGEST_LOOK_MS = 250;
/** Threads that end without one outcome in between. */
const MOST_VAIN_STARTS = 5;

export class ReplicaExecutor {
  #options: ExecutorOptions;
  readonly #on: ExecutorListener;
  readonly #snapshots = new Map<number, Page[]>();
  readonly #elapsed: () => number;
  readonly #base = performance.timeOrigin;
  /** Tasks without their report, in order. */
  #outstanding: Outstanding[] = [];
  /** What was executed since `#last`, for applying it again. */
  #since: Execute[] = [];
  #last: Page[] = [];
  #worker: Worker | undefined;
  #marks = createMarks();
  #turns = { count: -1, at: 0 };
  #watch: NodeJS.Timeout | undefined;
  #isStateful = false;
  #isLoaded = false;
  /** Whether the present thread has loaded the bundle. */
  #isReady = false;
  /** The first report of a thread that began with a snapshot tells of that. */
  #ignored = 0;
  #vainStarts = 0;
  #isOver = false;
  #onCpu: ((cpuMs: number) => void)[] = [];
  /** How often the thread had to be replaced. */
  restarts = 0;

  constructor(options: ExecutorOptions, on: ExecutorListener) {
    this.#options = options;
    this.#on = on;
    this.#elapsed = elapsedSince(this.#base);
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

  /** The CPU time that the thread has used; never answered by one that is busy for ever. */
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
  use(code: Pick<ExecutorOptions, "path" | "timeoutMs"> | undefined): void {
    if (this.#isOver) return;
    const worker = this.#worker;
    this.#worker = undefined;
    void worker?.terminate();
    if (code === undefined) return;
    this.#options = { ...this.#options, path: code.path, timeoutMs: code.timeoutMs, keepsState: true };
    this.#vainStarts = 0;
    this.#start(false);
    this.#resume();
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    clearInterval(this.#watch);
    await this.#worker?.terminate();
  }

  #add(task: Outstanding): void {
    this.#outstanding.push(task);
    this.#post(task);
    if (this.#watch === undefined) this.#look();
  }

  #post(message: ToWorker): void {
    this.#worker?.postMessage(message);
  }

  #start(serial: boolean): void {
    const { function: name, path, timeoutMs, maxPayloadBytes, maxLogBytes, memoryMb, keepsState = false } = this.#options;
    this.#isReady = false;
    this.#marks = createMarks();
    this.#turns = { count: -1, at: this.#elapsed() };
    const options = { timeoutMs, maxPayloadBytes, maxLogBytes, serial };
    const data: WorkerData = { function: name, path, options, marks: this.#marks, base: this.#base, keepsState };
    const worker = new Worker(PROGRAM, { workerData: data, execArgv: [], resourceLimits: { maxOldGenerationSizeMb: memoryMb } });
    this.#worker = worker;
    let reason = "its thread ended";
    worker.on("message", (message: FromWorker) => worker === this.#worker && this.#take(message));
    worker.on("error", (error) => {
      reason = error instanceof Error ? error.message : String(error);
    });
    worker.on("exit", () => worker === this.#worker && !this.#isOver && this.#died(reason));
  }

  #take(message: FromWorker): void {
    switch (message.t) {
      case "loaded":
        this.#isStateful = message.isStateful;
        if (!this.#isLoaded) this.#on.loaded();
        this.#isLoaded = true;
        this.#isReady = true;
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
    const task = this.#outstanding.shift();
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
    this.#turns.at = this.#elapsed();
    this.#watch = setInterval(() => {
      if (this.#outstanding.length > 0) return this.#check();
      clearInterval(this.#watch);
      this.#watch = undefined;
    }, everyMs);
    this.#watch.unref();
  }

  #check(): void {
    const now = this.#elapsed();
    const { turns, busy } = readMarks(this.#marks);
    if (turns !== this.#turns.count || !this.#isReady) this.#turns = { count: turns, at: now };
    const limit = this.#options.timeoutMs + GRACE_MS;
    if (busy !== undefined && now - busy.sinceMs > limit) {
      return this.#replace(busy, thrownOutcome(timedOut(this.#options.function, this.#options.timeoutMs)));
    }
    // Busy, and not at the beginning of an operation: one of those that have begun goes on without end. Alone, it will be known.
    if (busy === undefined && now - this.#turns.at > limit) this.#replace(undefined, "");
  }

  #died(reason: string): void {
    if (!this.#isLoaded) return this.#fail({ code: "APPLICATION_INVALID", message: `the application could not be loaded: ${reason}` });
    const { busy } = readMarks(this.#marks);
    const error = new LockstepError("FUNCTION_FAILED", `function "${this.#options.function}" ended its thread: ${reason}`);
    this.#replace(busy, thrownOutcome(error));
  }

  #replace(culprit: Busy | undefined, outcome: Json): void {
    if (this.#isOver) return;
    const worker = this.#worker;
    this.#worker = undefined;
    void worker?.terminate();
    this.restarts++;
    this.#onCpu = [];
    if (++this.#vainStarts > MOST_VAIN_STARTS)
      return this.#fail({ code: "POD_LOST", message: "the thread that executes ended, each time" });
    if (culprit !== undefined) {
      const task = this.#outstanding.find((each): each is Execute => each.t === "execute" && isMarked(each.seq, culprit));
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

/** To be applied again: what has failed had changed nothing, whatever it would come to now. */
const applied = (task: Execute, outcomes: readonly Json[]): Execute => {
  const given = outcomes.flatMap((outcome, position): [number, Json][] => (outcome.startsWith('{"failure"') ? [[position, outcome]] : []));
  return { ...task, given, isKnown: true };
};
