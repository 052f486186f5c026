import type { Timers } from "./timers.ts";

/**
 * While so many calls are under way, those that come wait for others, so that one request has many: each request, and the batch that it becomes,
 * costs the replicas as much as dozens of calls in it. With fewer under way none waits, since then it is a call's own time that counts.
 */
export const MANY_UNDER_WAY = 64;
/** So many leave at once: a request has no more. */
export const FULL = 128;
/** None waits longer: short beside what a call takes while so many are under way, also where the function is slow and nothing is gained. */
export const GATHER_MS = 8;

/** When the calls that a set's client has been given leave as one request. */
export class Gathering {
  readonly #timers: Pick<Timers<"flush">, "after" | "atEndOfTurn">;
  readonly #underWay: () => number;
  readonly #flush: () => void;
  #calls = 0;
  #isHeld = false;

  /** @param underWay calls that are not certified, with those that gather */
  constructor(timers: Pick<Timers<"flush">, "after" | "atEndOfTurn">, underWay: () => number, flush: () => void) {
    this.#timers = timers;
    this.#underWay = underWay;
    this.#flush = flush;
  }

  add(calls: number): void {
    this.#calls += calls;
  }

  /** The client has the first call since it has sent the last. */
  begin(): void {
    this.#isHeld = this.#mayWait;
    if (this.#isHeld) this.#timers.after("flush", GATHER_MS, () => this.#leave());
    else this.#leaveSoon();
  }

  /** Calls have come, or others have been certified. */
  look(): void {
    if (!this.#isHeld || this.#mayWait) return;
    this.#isHeld = false;
    this.#leaveSoon();
  }

  clear(): void {
    this.#calls = 0;
    this.#isHeld = false;
  }

  get #mayWait(): boolean {
    return this.#calls < FULL && this.#underWay() - this.#calls >= MANY_UNDER_WAY;
  }

  #leaveSoon(): void {
    this.#timers.atEndOfTurn("flush", () => this.#leave());
  }

  #leave(): void {
    this.clear();
    this.#flush();
  }
}
