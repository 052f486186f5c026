/**
 * Virtual time for a whole platform in this process.
 *
 * Owns: the time, all timers, and the knowledge whether anything is still under way. Does not own: what the timers do.
 *
 * T1  Time moves only by `advance` and `next`, from one timer to the next: what happens at one instant has all happened before the next.
 * T2  Turns of the event loop are real ones, with all microtasks between two callbacks, so code that awaits behaves as it does in production.
 * T3  A life that has ended does nothing any more: neither its timers nor its turns run.
 */
import type { Clock } from "../lib/clock.ts";
import { Heap } from "../lib/heap.ts";

// Taken now, so that a test which replaces the global timers doesn't stop this clock.
const { setImmediate, setTimeout, clearTimeout } = globalThis;

export interface TimelineOptions {
  /** What `now` says first, in Unix milliseconds. */
  startMs: number;
  /** How long, in real milliseconds, user code that is under way is waited for before time moves on without it. */
  patienceMs: number;
  /** The earliest time at which something happens that no timer stands for, such as a run that only the journal knows. */
  horizon(): Promise<number | undefined>;
}

/** One life of a platform: everything that it set is dropped when the life ends. */
export interface Life {
  readonly clock: Clock;
  readonly ended: boolean;
  end(): void;
}

interface Timer {
  callback: () => void;
  live: boolean;
}

/** `idle`: no timer is left but upkeep, which has found nothing to do for a while. */
export type Moved = "moved" | "reached" | "idle";

// Upkeep runs true to time for so long after anything happened; it must exceed the times after which upkeep acts (eviction, idle pods).
const QUIET_MS = 75_000;
// Upkeep is true to time again for so long before something is due, so that it can prepare for it.
const LEAD_MS = 3_000;
const LIMIT = 100_000;

export class Timeline {
  readonly #options: TimelineOptions;
  #now: number;
  readonly #timers = new Heap<Timer>();
  #upkeep = new Heap<Timer>();
  #pending = 0;
  #quietSince: number;
  /** Counts whatever was more than upkeep: as long as it stays the same, so does everything else. */
  happenings = 0;
  readonly #working = new Map<object, number>();
  #wake = () => {};
  #queue: Promise<unknown> = Promise.resolve();
  #defect: { error: unknown } | undefined;

  constructor(options: TimelineOptions) {
    this.#options = options;
    this.#now = options.startMs;
    this.#quietSince = options.startMs;
  }

  get now(): number {
    return this.#now;
  }

  /** Whether user code is under way, also such as was not waited for any longer. */
  get isWorking(): boolean {
    return this.#working.size > 0;
  }

  life(): Life {
    const life = {
      ended: false,
      end: () => {
        life.ended = true;
        this.#working.clear();
        this.#wake();
      },
      clock: {
        now: () => this.#now,
        after: (delayMs: number, callback: () => void, kind?: "upkeep") =>
          this.#after(delayMs, () => !life.ended && callback(), kind === "upkeep" ? this.#upkeep : this.#timers),
        endOfTurn: (callback: () => void) => this.later(() => !life.ended && callback()),
      } satisfies Clock,
    };
    return life;
  }

  /** Runs the callback in a turn of its own, which `settle` waits for. */
  later(callback: () => void): void {
    this.#pending++;
    this.#happens();
    setImmediate(() => {
      this.#pending--;
      this.#happens();
      this.#guard(callback);
    });
  }

  /** Marks that user code is under way, until the returned function is called. */
  work(): () => void {
    const token = {};
    this.#working.set(token, performance.now() + this.#options.patienceMs);
    return () => {
      if (this.#working.delete(token)) this.#wake();
    };
  }

  /** Waits for `task` as something that is under way: time doesn't move before it has settled. */
  async hold<T>(task: Promise<T>): Promise<T> {
    this.#pending++;
    try {
      return await task;
    } finally {
      this.#pending--;
      this.#happens();
    }
  }

  /** Lets everything happen that can happen now, without moving time. Rejects with what the platform's own code threw. */
  settle(): Promise<void> {
    return this.#alone(() => this.#settle());
  }

  advance(ms: number): Promise<void> {
    if (!(ms >= 0)) throw new RangeError(`time can be moved by a number of milliseconds of at least 0, not ${ms}`);
    return this.#alone(async () => {
      const end = this.#now + ms;
      await this.#settle();
      while ((await this.#step(end, false)) === "moved");
      this.#now = Math.max(this.#now, end);
      await this.#settle();
    });
  }

  /** Moves to the next timer at or before `end` and lets everything happen that follows from it. */
  next(end: number): Promise<Moved> {
    return this.#alone(() => this.#step(end, true));
  }

  /** Waits for `task`, moving time on as far as it needs and no further. */
  async drive<T>(task: Promise<T>): Promise<T> {
    let isSettled = false;
    const settled = (): void => {
      isSettled = true;
    };
    task.then(settled, settled);
    for (;;) {
      await this.settle();
      if (isSettled) return task;
      if ((await this.next(Number.POSITIVE_INFINITY)) !== "moved") throw new Error("nothing is left that could answer the question");
    }
  }

  /** Reports a defect of the platform under test: the test's next wait rejects with it. */
  fail(error: unknown): void {
    this.#defect ??= { error };
    this.#wake();
  }

  // Two tests' promises may ask for time to move at once: each gets its turn.
  #alone<T>(task: () => Promise<T>): Promise<T> {
    const turn = this.#queue.then(task, task);
    this.#queue = turn.catch(() => {});
    return turn;
  }

  #after(delayMs: number, callback: () => void, heap: Heap<Timer>): () => void {
    const timer: Timer = { callback, live: true };
    heap.push(this.#now + Math.max(0, delayMs), timer);
    return () => {
      timer.live = false;
    };
  }

  async #settle(): Promise<void> {
    for (;;) {
      await this.#drain();
      const patienceMs = this.#patience();
      if (patienceMs <= 0) return;
      await this.#progress(patienceMs);
    }
  }

  // Two turns without work: code under test may use one of its own between two of ours.
  async #drain(): Promise<void> {
    for (let quiet = 0, turns = 0; quiet < 2; turns++) {
      await new Promise<void>((resolve) => setImmediate(resolve));
      this.#rethrow();
      quiet = this.#pending === 0 ? quiet + 1 : 0;
      if (turns === LIMIT) throw new Error("the platform never comes to rest: something happens again and again at one instant");
    }
  }

  #patience(): number {
    let last = Number.NEGATIVE_INFINITY;
    for (const until of this.#working.values()) last = Math.max(last, until);
    return last - performance.now();
  }

  #progress(patienceMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timeout = setTimeout(resolve, patienceMs);
      this.#wake = () => {
        clearTimeout(timeout);
        resolve();
      };
    });
  }

  async #step(end: number, stopWhenIdle: boolean): Promise<Moved> {
    prune(this.#timers);
    prune(this.#upkeep);
    if (this.#isQuiet) {
      const due = Math.min(this.#timers.firstKey ?? Number.POSITIVE_INFINITY, (await this.#options.horizon()) ?? Number.POSITIVE_INFINITY);
      if (stopWhenIdle && due === Number.POSITIVE_INFINITY) return "idle";
      if (due !== Number.POSITIVE_INFINITY || Number.isFinite(end)) this.#passOver(Math.min(due, end) - LEAD_MS);
    }
    const heap = this.#firstHeap();
    if (heap.firstKey === undefined || heap.firstKey > end) return "reached";
    this.#fire(heap);
    await this.#settle();
    return "moved";
  }

  get #isQuiet(): boolean {
    if (this.#firstHeap().firstKey === undefined) return true;
    return this.#now - this.#quietSince >= QUIET_MS && this.#firstHeap() === this.#upkeep;
  }

  #firstHeap(): Heap<Timer> {
    return (this.#upkeep.firstKey ?? Number.POSITIVE_INFINITY) < (this.#timers.firstKey ?? Number.POSITIVE_INFINITY)
      ? this.#upkeep
      : this.#timers;
  }

  #fire(heap: Heap<Timer>): void {
    this.#now = Math.max(this.#now, heap.firstKey as number);
    if (heap === this.#timers) this.#happens();
    const timer = heap.pop() as Timer;
    timer.live = false;
    this.#guard(timer.callback);
  }

  // Upkeep keeps its phase, as if it had slept with the machine.
  #passOver(target: number): void {
    const ms = target - this.#now;
    if (ms <= 0) return;
    const moved = new Heap<Timer>();
    for (let at = this.#upkeep.firstKey; at !== undefined; at = this.#upkeep.firstKey) moved.push(at + ms, this.#upkeep.pop() as Timer);
    this.#upkeep = moved;
    this.#now = target;
  }

  #happens(): void {
    this.happenings++;
    this.#quietSince = this.#now;
    this.#wake();
  }

  #guard(callback: () => void): void {
    try {
      callback();
    } catch (error) {
      this.fail(error);
    }
  }

  #rethrow(): void {
    const defect = this.#defect;
    this.#defect = undefined;
    if (defect !== undefined) throw defect.error;
  }
}

const prune = (heap: Heap<Timer>): void => {
  while (heap.first?.live === false) heap.pop();
};
