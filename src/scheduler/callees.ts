/**
 * Which functions a coordinator calls, as its runs have shown (pure): a bounded table of frequencies, in which what was long ago fades.
 */
const MOST_CALLERS = 500;
const MOST_CALLEES = 32;
/** At so many calls all counts of the caller are halved. */
const FADE_AT = 1_000;
/** One call in so many makes a function a likely one. */
const LIKELY = 20;

interface Caller {
  total: number;
  readonly counts: Map<string, number>;
}

export class Callees {
  readonly #callers = new Map<string, Caller>();

  note(caller: string, callee: string): void {
    let known = this.#callers.get(caller);
    if (known === undefined) {
      known = { total: 0, counts: new Map() };
      this.#callers.set(caller, known);
      // The one that was first seen longest ago makes room: that it is asked for again costs it no more than its memory.
      if (this.#callers.size > MOST_CALLERS) this.#callers.delete(this.#callers.keys().next().value as string);
    }
    const count = known.counts.get(callee);
    if (count === undefined && known.counts.size >= MOST_CALLEES) return;
    known.counts.set(callee, (count ?? 0) + 1);
    if (++known.total >= FADE_AT) fade(known);
  }

  /** Those that it calls often enough to be got ready for it, the most frequent first. */
  likely(caller: string): string[] {
    const known = this.#callers.get(caller);
    if (known === undefined) return [];
    const often = [...known.counts].filter(([, count]) => count * LIKELY >= known.total);
    return often.sort((a, b) => b[1] - a[1]).map(([callee]) => callee);
  }

  get size(): number {
    return this.#callers.size;
  }
}

const fade = (known: Caller): void => {
  known.total = 0;
  for (const [callee, count] of known.counts) {
    const rest = Math.floor(count / 2);
    if (rest === 0) known.counts.delete(callee);
    else known.counts.set(callee, rest);
    known.total += rest;
  }
};
