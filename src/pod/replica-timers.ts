import type { TimerName } from "../consensus/effects.ts";

interface Timer {
  dueAt: number;
  handle: NodeJS.Timeout | undefined;
  firesAt: number;
}

/**
 * The timers of a replica. The one for progress is armed anew with each request, so that arming it later than it runs already moves only a
 * number: the process's timer looks at it when it fires.
 */
export class ReplicaTimers {
  readonly #timers = new Map<TimerName, Timer>();
  readonly #fire: (timer: TimerName) => void;

  constructor(fire: (timer: TimerName) => void) {
    this.#fire = fire;
  }

  set(name: TimerName, afterMs: number | undefined): void {
    const timer = this.#timers.get(name) ?? { dueAt: 0, handle: undefined, firesAt: 0 };
    this.#timers.set(name, timer);
    timer.dueAt = afterMs === undefined ? Number.POSITIVE_INFINITY : performance.now() + afterMs;
    if (afterMs !== undefined && (timer.handle === undefined || timer.firesAt > timer.dueAt)) this.#arm(name, timer);
  }

  stop(): void {
    for (const { handle } of this.#timers.values()) clearTimeout(handle);
    this.#timers.clear();
  }

  #arm(name: TimerName, timer: Timer): void {
    clearTimeout(timer.handle);
    timer.firesAt = timer.dueAt;
    timer.handle = setTimeout(() => this.#look(name, timer), Math.max(0, timer.dueAt - performance.now()));
  }

  #look(name: TimerName, timer: Timer): void {
    timer.handle = undefined;
    if (timer.dueAt === Number.POSITIVE_INFINITY) return;
    // Node may be a fraction of a millisecond early.
    if (timer.dueAt - performance.now() > 1) return this.#arm(name, timer);
    timer.dueAt = Number.POSITIVE_INFINITY;
    this.#fire(name);
  }
}
