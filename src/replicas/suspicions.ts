/**
 * Whom to believe when replicas accuse each other (pure).
 *
 * Owns: what has been said, by whom, of those who sit in the seats now. Does not own: what follows from an accusation (machine.ts).
 *
 * U1  What f + 1 replicas say, a correct one says. What fewer say may be slander.
 * U2  A leader that is only late is given up after several views in a short time: on a busy machine, correct leaders are late too.
 * U3  What a leader that equivocates does to most replicas is only that it is late: few of them see both proposals, and one of them can't
 *     prove it to the others. So f + 1 replicas that speak of one view are enough when one of them has seen two proposals. One liar among
 *     them can at worst have a leader replaced that was late.
 */
import type { Evidence } from "../consensus/effects.ts";
import type { ReplicaIndex } from "../consensus/membership.ts";
import { getOrMake } from "../lib/map.ts";
import type { Accusation } from "./machine.ts";

const ACCUSATIONS: Readonly<Record<Evidence["kind"], Accusation>> = {
  equivocation: "equivocation",
  "wrong-checkpoint": "lie",
  "invalid-view-change": "lie",
  "invalid-new-view": "lie",
  "bad-proposal": "lie",
  "bad-page": "lie",
  "silent-leader": "silence",
  "slow-leader": "slow",
};

const STRIKES = 3;
const STRIKES_MS = 60_000;
/** Accusations of one replica that are remembered. By replica: one that makes up thousands must not have those of the others forgotten. */
const MOST_SAID = 64;

const IS_OF_VIEW = /\/.+\//;

export interface Conviction {
  about: ReplicaIndex;
  accusation: Accusation;
  detail: string;
  /** Only one of those who say it may be correct, and have seen no more than that the leader was late (U3). */
  isDoubtful?: boolean;
}

export class Suspicions {
  readonly #needed: number;
  readonly #accusers = new Map<string, Set<ReplicaIndex>>();
  /** What each has said, the oldest first: keys of `#accusers`. */
  readonly #said = new Map<ReplicaIndex, Set<string>>();
  /** By view: what the first replica said that has seen two proposals. */
  readonly #seen = new Map<string, string>();
  readonly #strikes = new Map<ReplicaIndex, { view: number; at: number }[]>();

  constructor(faults: number) {
    this.#needed = faults + 1;
  }

  /** What one replica says of another; returned once, with the word that makes it certain. */
  heard(from: ReplicaIndex, { about, kind, view, detail }: Evidence, now: number): Conviction | undefined {
    if (from === about) return undefined;
    const accusation = ACCUSATIONS[kind];
    const isLate = accusation === "silence" || accusation === "slow";
    // Each view is its own accusation of lateness; a lie is one whenever it was told.
    const { accusers, isNew } = this.#accuse(from, isLate ? `${about}/${accusation}/${view}` : `${about}/${accusation}`);
    const isSaid = isNew && accusers.size === this.#needed;
    const told = isLate || accusation === "equivocation" ? this.#ofView(from, about, view, isLate ? undefined : detail) : undefined;
    if (isSaid && (!isLate || this.#strike(about, view, now))) return { about, accusation, detail };
    return told === undefined ? undefined : { about, accusation: "equivocation", detail: told, isDoubtful: true };
  }

  /** What was seen of two proposals, once f + 1 replicas have spoken of the view. */
  #ofView(from: ReplicaIndex, about: ReplicaIndex, view: number, seen: string | undefined): string | undefined {
    const key = `${about}/view/${view}`;
    const { accusers, isNew } = this.#accuse(from, key);
    const known = this.#seen.get(key);
    if (known === undefined && seen !== undefined) this.#seen.set(key, seen);
    const isEnough = accusers.size === this.#needed ? isNew || known === undefined : accusers.size > this.#needed && known === undefined;
    return isEnough ? this.#seen.get(key) : undefined;
  }

  /** The seat has another replica: what was said of the one before it is void. */
  forget(about: ReplicaIndex): void {
    for (const key of this.#accusers.keys()) if (key.startsWith(`${about}/`)) this.#accusers.delete(key);
    for (const said of this.#said.values()) for (const key of said) if (key.startsWith(`${about}/`)) said.delete(key);
    this.#said.delete(about);
    for (const key of this.#seen.keys()) if (key.startsWith(`${about}/`)) this.#seen.delete(key);
    for (const accusers of this.#accusers.values()) accusers.delete(about);
    this.#strikes.delete(about);
  }

  /** The next epoch: what was said of views was said of others, which had the same numbers. */
  begin(): void {
    for (const key of this.#accusers.keys()) if (IS_OF_VIEW.test(key)) this.#accusers.delete(key);
    for (const said of this.#said.values()) for (const key of said) if (IS_OF_VIEW.test(key)) said.delete(key);
    this.#seen.clear();
  }

  #accuse(from: ReplicaIndex, key: string): { accusers: ReadonlySet<ReplicaIndex>; isNew: boolean } {
    const accusers = getOrMake(this.#accusers, key, () => new Set<ReplicaIndex>());
    const isNew = !accusers.has(from);
    accusers.add(from);
    const said = getOrMake(this.#said, from, () => new Set<string>());
    said.add(key);
    if (said.size > MOST_SAID) this.#withdraw(from, said);
    return { accusers, isNew };
  }

  /** The oldest that it has said. */
  #withdraw(from: ReplicaIndex, said: Set<string>): void {
    const key = said.values().next().value!;
    said.delete(key);
    const accusers = this.#accusers.get(key);
    accusers?.delete(from);
    if (accusers?.size !== 0) return;
    this.#accusers.delete(key);
    this.#seen.delete(key);
  }

  #strike(about: ReplicaIndex, view: number, now: number): boolean {
    const recent = (this.#strikes.get(about) ?? []).filter(({ at }) => now - at < STRIKES_MS);
    // One that makes its own word forgotten and says it again makes no other view of it.
    if (recent.some((strike) => strike.view === view)) return false;
    recent.push({ view, at: now });
    this.#strikes.set(about, recent.length >= STRIKES ? [] : recent);
    return recent.length >= STRIKES;
  }
}
