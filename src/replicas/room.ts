/**
 * What a set does when there is no room for all of its pods.
 *
 * Two sets that each hold what the other one lacks would wait for ever: one that can't serve gives back what it has after a while, and asks again
 * after a pause that is another one for each set and time.
 *
 * Owns: since when there is no room, how often the set has given way. Does not own: pods, timers.
 */
import type { Clock } from "../lib/clock.ts";

/** How long a set that can't serve holds pods while there is no room for the others. */
const HOLD_MS = 2_000;
const MOST_PAUSE_MS = 5_000;

export class Room {
  readonly #set: string;
  readonly #clock: Clock;
  readonly #hash: (text: string) => string;
  /** Since when it has held some of its pods while there was no room for the others. */
  #starvedSince: number | undefined;
  /** How often it has given them back. */
  #pauses = 0;

  /** @param hash as long a text as any, in hexadecimal */
  constructor(set: string, clock: Clock, hash: (text: string) => string) {
    this.#set = set;
    this.#clock = clock;
    this.#hash = hash;
  }

  /** There is none for one more. `isNews`: for the first time. `pauseMs`: what the set has is to be given back for so long. */
  lacks(): { isNews: boolean; pauseMs?: number } {
    const now = this.#clock.now();
    const isNews = this.#starvedSince === undefined && this.#pauses === 0;
    this.#starvedSince ??= now;
    if (now - this.#starvedSince < HOLD_MS) return { isNews };
    this.#starvedSince = undefined;
    const share = Number.parseInt(this.#hash(`${this.#set}/${this.#pauses++}`).slice(0, 4), 16) / 0xffff;
    return { isNews, pauseMs: MOST_PAUSE_MS * share };
  }

  /** It is being made, one pod after the other. */
  isMade(): void {
    if (this.#starvedSince !== undefined) this.#starvedSince = this.#clock.now();
  }

  /** There was room for all. */
  suffices(): void {
    this.#starvedSince = undefined;
    this.#pauses = 0;
  }
}
