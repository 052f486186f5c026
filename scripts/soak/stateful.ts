/** Work that keeps state, fails on purpose, and undoes or mends it. */
import type { JournalEntry } from "lockstep/client";
import type { Random } from "../../src/lib/random.ts";
import type { Saga } from "../../test/apps/soak/sagas.ts";
import type { Stamp } from "../../test/apps/soak/work.ts";
import { type Maker, numbers, same, stampsOf, work } from "./task.ts";

const COUNTERS = 10;
const ACCOUNTS = 6;

const list = <T>(count: number, item: () => T): T[] => Array.from({ length: count }, item);

export const tally: Maker = (random, effects) => {
  const input = { ...work(random, effects), counters: list(2 + random.below(8), () => random.below(COUNTERS)) };
  return {
    kind: "coordinator",
    name: "tally",
    input,
    status: "completed",
    leastMs: 0,
    faults: (value, journal) => same("the result", (value as { stamps: Stamp[] }).stamps, stampsOf(journal)),
  };
};

export const bank: Maker = (random, effects) => {
  const move = () => ({ from: random.below(ACCOUNTS), to: random.below(ACCOUNTS), amount: 1 + random.below(50) });
  const input = { ...work(random, effects), moves: list(1 + random.below(5), move) };
  return {
    kind: "coordinator",
    name: "bank",
    input,
    status: "completed",
    leastMs: 0,
    faults: (value) => {
      const { during, after, stamps } = value as { during: number; after: number; stamps: Stamp[] };
      return [
        ...same("what all accounts hold together", [during, after], [0, 0]),
        ...same(
          "the numbers",
          numbers(stamps),
          input.moves.map((_, i) => input.n + i),
        ),
      ];
    },
  };
};

export const doubtful: Maker = (random, effects) => {
  const input = work(random, effects);
  const mended = input.n % 2 === 0 ? "right" : "mended";
  return {
    kind: "coordinator",
    name: "doubtful",
    input,
    status: "completed",
    leastMs: 0,
    faults: (value) =>
      same("what readers were told", value, {
        spoilt: "SPOILT",
        refused: "STATE_STALE",
        own: "STATE_STALE",
        allowed: "right",
        told: ["spoil"],
        waited: mended,
        after: mended,
      }),
  };
};

const sagaOf = (random: Random, effects: string): Saga => {
  const length = 2 + random.below(5);
  return { ...work(random, effects), length, failAt: random.below(length + 1) };
};

/** The calls that were completed, the last first, and those that were compensated, in their order. */
const undone = (journal: readonly JournalEntry[]): string[] => {
  const calls = new Set(journal.flatMap((entry) => (entry.t === "call" && entry.fn === "reserve" ? [entry.seq] : [])));
  const completed = journal.flatMap((entry) =>
    entry.t === "done" && calls.has(entry.seq) && entry.failure === undefined ? [entry.seq] : [],
  );
  const compensated = journal.flatMap((entry) => (entry.t === "undo" ? [-Number(entry.seq)] : []));
  const settled = journal.flatMap((entry) =>
    entry.t === "done" && Number(entry.seq) < 0 && entry.failure === undefined ? [-Number(entry.seq)] : [],
  );
  return [
    ...same("what was compensated", compensated, completed.reverse()),
    ...same("the compensations that were completed", settled, compensated),
  ];
};

export const saga: Maker = (random, effects) => {
  const input = sagaOf(random, effects);
  return {
    kind: "coordinator",
    name: "saga",
    input,
    status: "completed",
    leastMs: 0,
    faults: (value, journal) => {
      const result = value as { reserved: number[]; undone: number[] };
      if (input.failAt === input.length) return same("the result", result, { reserved: list(input.length, nextFrom(input.n)), undone: [] });
      const compensated = journal.flatMap((entry) => (entry.t === "undo" ? [-Number(entry.seq)] : []));
      return [...same("what it was told", result.undone, compensated), ...undone(journal)];
    },
  };
};

const nextFrom = (n: number): (() => number) => {
  let next = n;
  return () => next++;
};

export const recoveredSaga: Maker = (random, effects) => {
  const input = sagaOf(random, effects);
  const isWhole = input.failAt === input.length;
  return {
    kind: "coordinator",
    name: "saga-recovered",
    input,
    status: isWhole ? "completed" : "failed",
    leastMs: 0,
    faults: (value, journal) => (isWhole ? same("the count of positions", (value as number[]).length, input.length) : undone(journal)),
  };
};

export const cancelledSaga: Maker = (random, effects) => {
  const input = sagaOf(random, effects);
  return {
    kind: "coordinator",
    name: "saga-cancelled",
    input: { ...input, failAt: input.length },
    status: "cancelled",
    leastMs: 0,
    faults: (_value, journal) => undone(journal),
  };
};

export const mended: Maker = (random, effects) => {
  const input = work(random, effects);
  return {
    kind: "coordinator",
    name: "mended",
    input,
    status: "completed",
    leastMs: input.ms,
    faults: (value, journal) => [
      ...same("the result", value, input.n),
      ...same("the count of decisions", journal.filter(({ t }) => t === "recovered").length, 1),
    ],
  };
};
