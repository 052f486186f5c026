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

// Ids are written and read for every row of the journal: tables and 30-bit halves make each a tenth of a microsecond cheaper or more.
const PAIRS = Array.from({ length: 1024 }, (_, value) => `${ALPHABET[value >>> 5]}${ALPHABET[value & 31]}`);
const HALF = 2 ** 30;
const NO_DIGIT = 255;
const VALUES = new Uint8Array(128).fill(NO_DIGIT);
for (const [value, character] of [...ALPHABET].entries()) VALUES[character.charCodeAt(0)] = value;

export const runIdOf = (ordinal: number): RunId => {
  const high = Math.floor(ordinal / HALF);
  const low = ordinal % HALF;
  return `${PREFIX}${ALPHABET[high >>> 20]}${PAIRS[(high >>> 10) & 1023]}${PAIRS[high & 1023]}${PAIRS[low >>> 20]}${PAIRS[(low >>> 10) & 1023]}${PAIRS[low & 1023]}`;
};

/** The number behind an id; `undefined` when the text is no run id. */
export const ordinalOf = (id: RunId): number | undefined => {
  if (id.length !== PREFIX.length + LENGTH || !id.startsWith(PREFIX)) return undefined;
  let ordinal = 0;
  for (let i = PREFIX.length; i < id.length; i++) {
    const value = VALUES[id.charCodeAt(i)] ?? NO_DIGIT;
    if (value === NO_DIGIT) return undefined;
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
