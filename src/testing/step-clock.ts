import type { Clock } from "../lib/clock.ts";
import { Heap } from "../lib/heap.ts";

/** A clock that stands still until a test moves it. */
export interface StepClock extends Clock {
  /** Timers that are set and not yet fired or cancelled. */
  readonly timers: number;
  /** Ends a turn: runs the `endOfTurn` callbacks that wait now, not those that they ask for. Returns whether there were any. */
  turn(): boolean;
  /** Ends turns until no callback waits. */
  turns(): void;
  /** Moves time by `ms`: timers fire at their time and in their order, and the turn ends after each. */
  advance(ms: number): void;
  /** Moves time by `ms` while nothing happens, as when the process is stopped: timers that became due fire late, in the next `advance`. */
  pause(ms: number): void;
  /** Like `turns`, and lets promises settle in between, for code that awaits. */
  settle(): Promise<void>;
  /** Like `advance`, and lets promises settle at each instant. */
  elapse(ms: number): Promise<void>;
}

interface Timer {
  callback: () => void;
  live: boolean;
}

// Beyond this, callbacks of one instant ask for each other for ever.
const LIMIT = 100_000;

/** @param startMs what `now()` says first, in Unix milliseconds */
export const createStepClock = (startMs = 0): StepClock => {
  let now = startMs;
  let timers = 0;
  let waiting: (() => void)[] = [];
  const due = new Heap<Timer>();

  const turn = (): boolean => {
    const callbacks = waiting;
    waiting = [];
    for (const callback of callbacks) callback();
    return callbacks.length > 0;
  };

  const turns = (): void => {
    for (let i = 0; turn(); i++) if (i === LIMIT) throw new Error("the callbacks at the end of a turn ask for another turn for ever");
  };

  /** Moves to the next timer at or before `end` and fires it. */
  const fireNext = (end: number): boolean => {
    for (let timer = due.first; timer !== undefined && (due.firstKey as number) <= end; timer = due.first) {
      const at = due.firstKey as number;
      due.pop();
      if (!timer.live) continue;
      timer.live = false;
      timers--;
      now = Math.max(now, at);
      timer.callback();
      return true;
    }
    return false;
  };

  /** Fires the timers up to `end`; yields after each, so that its turn can end. */
  const instants = function* (end: number): Generator<void> {
    yield;
    for (let i = 0, at = now; fireNext(end); at = now) {
      i = at === now ? i + 1 : 0;
      if (i === LIMIT) throw new Error("timers without a delay set each other for ever");
      yield;
    }
    now = end;
  };

  const settle = async (): Promise<void> => {
    do {
      turns();
      await new Promise((resolve) => setImmediate(resolve));
    } while (waiting.length > 0);
  };

  return {
    get timers() {
      return timers;
    },
    now: () => now,
    after(delayMs, callback) {
      const timer = { callback, live: true };
      timers++;
      due.push(now + Math.max(0, delayMs), timer);
      return () => {
        if (timer.live) timers--;
        timer.live = false;
      };
    },
    endOfTurn: (callback) => void waiting.push(callback),
    turn,
    turns,
    advance(ms) {
      for (const _ of instants(now + ms)) turns();
    },
    pause(ms) {
      now += ms;
    },
    settle,
    async elapse(ms) {
      for (const _ of instants(now + ms)) await settle();
    },
  };
};
