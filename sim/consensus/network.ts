import type { Random } from "../../src/lib/random.ts";
import type { Net } from "./scenario.ts";
import type { Timeline } from "./timeline.ts";

/** Who may be at the end of a link: a replica's place in its set, or n + the client's number. */
export type Place = number;

/** Messages between places, with everything that can happen to them on the way. */
export class Network {
  readonly #timeline: Timeline;
  readonly #random: Random;
  readonly #net: Net;
  readonly #cuts = new Map<number, number>();
  readonly #slow = new Map<Place, number>();
  readonly #lastAt = new Map<number, number>();
  #groups: number[] | undefined;
  #loss: number;
  sent = 0;

  constructor(timeline: Timeline, random: Random, net: Net) {
    this.#timeline = timeline;
    this.#random = random;
    this.#net = net;
    this.#loss = net.loss;
  }

  send(from: Place, to: Place, arrive: () => void): void {
    this.sent++;
    if (!this.#passes(from, to)) return;
    const times = this.#random.next() < this.#net.duplicate ? 2 : 1;
    for (let i = 0; i < times; i++) this.#deliver(from, to, arrive);
  }

  #deliver(from: Place, to: Place, arrive: () => void): void {
    const { minMs, maxMs, tail, isOrdered } = this.#net;
    let delayMs = minMs + (maxMs - minMs) * this.#random.next();
    if (tail > 0 && this.#random.next() < tail) delayMs *= 10;
    delayMs += this.#slow.get(from) ?? 0;
    if (isOrdered) {
      const link = linkOf(from, to);
      const at = Math.max(this.#timeline.now + delayMs, this.#lastAt.get(link) ?? 0);
      this.#lastAt.set(link, at);
      delayMs = at - this.#timeline.now;
    }
    // What is under way when a partition begins is lost too, as it is when connections break.
    this.#timeline.after(delayMs, () => {
      if (this.#isOpen(from, to)) arrive();
    });
  }

  #passes(from: Place, to: Place): boolean {
    return this.#isOpen(from, to) && (this.#loss === 0 || this.#random.next() >= this.#loss);
  }

  #isOpen(from: Place, to: Place): boolean {
    if (this.#cuts.size > 0 && this.#cuts.has(linkOf(from, to))) return false;
    return this.#groups === undefined || groupOf(this.#groups, from) === groupOf(this.#groups, to);
  }

  cut(from: Place, to: Place): void {
    const link = linkOf(from, to);
    this.#cuts.set(link, (this.#cuts.get(link) ?? 0) + 1);
  }

  mend(from: Place, to: Place): void {
    const link = linkOf(from, to);
    const left = (this.#cuts.get(link) ?? 0) - 1;
    if (left > 0) this.#cuts.set(link, left);
    else this.#cuts.delete(link);
  }

  /** Places that are in no group are alone. */
  partition(groups: readonly Place[][] | undefined): void {
    this.#groups = undefined;
    if (groups === undefined) return;
    this.#groups = [];
    for (const [i, group] of groups.entries()) for (const place of group) this.#groups[place] = i;
  }

  slow(place: Place, delayMs: number): void {
    if (delayMs > 0) this.#slow.set(place, delayMs);
    else this.#slow.delete(place);
  }

  lose(probability: number | undefined): void {
    this.#loss = probability ?? this.#net.loss;
  }
}

const PLACES = 1_024;
const linkOf = (from: Place, to: Place): number => from * PLACES + to;
const groupOf = (groups: readonly number[], place: Place): number => groups[place] ?? -1 - place;
