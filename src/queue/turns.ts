/**
 * Entries of one priority whose keys take turns: the first key hands out its oldest entry and goes to the end of the row, as in a round of
 * people of whom each asks one question. Within a key, the order is that of arrival.
 */
import { Deque } from "../lib/deque.ts";
import type { Json } from "../lib/json.ts";

const LEAST_COMPACTED = 64;

interface Turn {
  readonly key: string;
  readonly queue: Deque<Waiting>;
}

interface Waiting {
  readonly input: Json;
  readonly state: string;
  readonly waitingSince: number;
}

export class Turns<T extends Waiting> {
  readonly #path: readonly string[];
  readonly #row = new Deque<Turn>();
  readonly #turns = new Map<string, Turn>();
  /** All entries in the order of their arrival, also some that have left: who has waited the longest is asked often. */
  #arrivals: T[] = [];
  #oldest = 0;
  #compactAt = LEAST_COMPACTED;

  /** @param path the field of the input whose values take turns, such as `customer.id` */
  constructor(path: string) {
    this.#path = path.split(".");
  }

  get first(): T | undefined {
    return this.#row.first?.queue.first as T | undefined;
  }

  push(entry: T): void {
    const key = keyOf(entry.input, this.#path);
    let turn = this.#turns.get(key);
    if (turn === undefined) {
      turn = { key, queue: new Deque() };
      this.#turns.set(key, turn);
      this.#row.push(turn);
    }
    turn.queue.push(entry);
    this.#arrivals.push(entry);
    if (this.#arrivals.length >= this.#compactAt) this.#compact();
  }

  /** Takes the first entry out. One that waits no longer was withdrawn: dropping it is not its key's turn. */
  shift(): void {
    const turn = this.#row.first;
    if (turn === undefined) return;
    const had = turn.queue.shift()?.state === "waiting";
    if (turn.queue.size > 0 && !had) return;
    this.#row.shift();
    if (turn.queue.size > 0) this.#row.push(turn);
    else this.#turns.delete(turn.key);
  }

  /** Since when the entry that has waited the longest waits. */
  get since(): number | undefined {
    while (this.#oldest < this.#arrivals.length && this.#arrivals[this.#oldest]!.state !== "waiting") this.#oldest++;
    return this.#arrivals[this.#oldest]?.waitingSince;
  }

  // Without it one call that waits long would keep all that came and went since, with their inputs.
  #compact(): void {
    this.#arrivals = this.#arrivals.filter(({ state }) => state === "waiting");
    this.#oldest = 0;
    this.#compactAt = Math.max(LEAST_COMPACTED, 2 * this.#arrivals.length);
  }
}

/** Parsing holds up all that the platform does: inputs that are larger than this share one turn. */
const MAX_PARSED = 64 * 1024;
const MAX_KEY = 256;

/** What takes turns: the value at `path` as JSON text. Inputs that have none there, or one that is no plain value, share one turn. */
export const keyOf = (input: Json, path: readonly string[]): string => {
  if (input === "" || input.length > MAX_PARSED) return "";
  let value: unknown;
  try {
    value = JSON.parse(input);
  } catch {
    // What the function makes of such an input is its own affair.
    return "";
  }
  for (const name of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return "";
    value = (value as Record<string, unknown>)[name];
  }
  if (typeof value === "object") return "";
  return JSON.stringify(value).slice(0, MAX_KEY);
};
