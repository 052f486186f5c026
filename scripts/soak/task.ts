/** One piece of work of the soak, and what must come of it. */
import type { JournalEntry } from "lockstep/client";
import type { Random } from "../../src/lib/random.ts";
import type { RunKind } from "../../src/protocol/run.ts";
import type { Stamp, Work } from "../../test/apps/soak/work.ts";

export interface Task {
  kind: RunKind;
  name: string;
  input: unknown;
  /** How it must end. */
  status: "completed" | "cancelled" | "failed";
  /** Waits for the signal `go` with this value. */
  signal?: number;
  /** Must not finish earlier than this after it was accepted. */
  leastMs: number;
  /** What is wrong with the result of the finished run; its journal is given in full. */
  faults(value: unknown, journal: readonly JournalEntry[]): string[];
}

/** Results of the calls in a journal, in the order of the program. */
export const stampsOf = (journal: readonly JournalEntry[], fn?: string): Stamp[] => {
  const wanted = new Set(journal.flatMap((entry) => (entry.t === "call" && (fn === undefined || entry.fn === fn) ? [entry.seq] : [])));
  const done = journal.filter((entry) => entry.t === "done" && wanted.has(entry.seq) && entry.value !== undefined);
  return done.sort((a, b) => Number(a.seq) - Number(b.seq)).map((entry) => entry.value as Stamp);
};

export const same = (what: string, actual: unknown, expected: unknown): string[] => {
  const [is, should] = [JSON.stringify(actual), JSON.stringify(expected)];
  return is === should ? [] : [`${what} is ${is}, expected ${should}`];
};

export const numbers = (stamps: unknown): number[] => (stamps as Stamp[]).map(({ n }) => n);

export const upTo = (from: number, count: number): number[] => Array.from({ length: count }, (_, i) => from + i + 1);

export type Maker = (random: Random, effects: string) => Task;

export const work = (random: Random, effects: string): Work => ({
  effects,
  n: random.below(1_000),
  ms: random.below(3) === 0 ? random.below(60) : 0,
});
