/**
 * Run ids: time-ordered 53-bit numbers, written as `run_` and eleven characters of Crockford's base 32, so that they sort as
 * text in the order of acceptance and index as plain integers. Layout: 40 bits of milliseconds since 2025, 13 bits of sequence.
 */
export type RunId = string;

const ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz";
const PREFIX = "run_";
const LENGTH = 11;
// 2025-01-01T00:00:00Z
const ORIGIN_MS = 1_735_689_600_000;
const PER_MS = 8192;

const VALUE = new Map([...ALPHABET].map((character, value) => [character, value]));

export const runIdOf = (ordinal: number): RunId => {
  let rest = ordinal;
  let text = "";
  for (let i = 0; i < LENGTH; i++) {
    text = ALPHABET[rest % 32] + text;
    rest = Math.floor(rest / 32);
  }
  return PREFIX + text;
};

/** The number behind an id; `undefined` when the text is no run id. */
export const ordinalOf = (id: RunId): number | undefined => {
  if (id.length !== PREFIX.length + LENGTH || !id.startsWith(PREFIX)) return undefined;
  let ordinal = 0;
  for (let i = PREFIX.length; i < id.length; i++) {
    const value = VALUE.get(id[i] as string);
    if (value === undefined) return undefined;
    ordinal = ordinal * 32 + value;
  }
  return Number.isSafeInteger(ordinal) ? ordinal : undefined;
};

/** The smallest ordinal that a run accepted at `ms` (Unix epoch) can have: the bound for listing by time. */
export const firstOrdinalAt = (ms: number): number => Math.max(0, Math.floor(ms - ORIGIN_MS)) * PER_MS;

/**
 * Issues ordinals that strictly increase, also when the wall clock steps back or a previous life of the platform was ahead of it.
 */
export class RunIds {
  #last: number;

  /** @param last the greatest ordinal ever issued (0 for none) */
  constructor(last: number) {
    this.#last = last;
  }

  next(now: number): RunId {
    this.#last = Math.max(this.#last + 1, firstOrdinalAt(now));
    return runIdOf(this.#last);
  }
}
