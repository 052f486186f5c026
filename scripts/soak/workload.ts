/** What the soak asks the platform to do, and what must come of it. */
import type { JournalEntry } from "lockstep/client";
import type { Random } from "../../src/lib/random.ts";
import type { Stamp } from "../../test/apps/soak/work.ts";
import { bank, cancelledSaga, doubtful, mended, recoveredSaga, saga, tally } from "./stateful.ts";
import { type Maker, numbers, same, stampsOf, type Task, upTo, work } from "./task.ts";

const chain: Maker = (random, effects) => {
  const input = { ...work(random, effects), length: 1 + random.below(6) };
  return {
    kind: "coordinator",
    name: "chain",
    input,
    status: "completed",
    leastMs: 0,
    faults: (value, journal) => [
      ...same("the result", value, stampsOf(journal)),
      ...same("the numbers", numbers(value), upTo(input.n, input.length)),
    ],
  };
};

const fan: Maker = (random, effects) => {
  const input = { ...work(random, effects), width: 1 + random.below(20) };
  return {
    kind: "coordinator",
    name: "fan",
    input,
    status: "completed",
    leastMs: 0,
    faults: (value, journal) => [
      ...same("the result", value, stampsOf(journal)),
      ...same("the numbers", numbers(value), upTo(input.n, input.width)),
    ],
  };
};

const signalled: Maker = (random, effects) => {
  const input = work(random, effects);
  const signal = random.below(1_000);
  return {
    kind: "coordinator",
    name: "signalled",
    input,
    signal,
    status: "completed",
    leastMs: 0,
    faults: (value, journal) => [
      ...same("the result", value, stampsOf(journal)),
      ...same("the numbers", numbers(value), [input.n + 1, signal + 1]),
    ],
  };
};

const sleeper: Maker = (random, effects) => {
  const input = { ...work(random, effects), sleepMs: random.below(2) === 0 ? random.below(300) : 2_200 + random.below(2_000) };
  return {
    kind: "coordinator",
    name: "sleeper",
    input,
    status: "completed",
    leastMs: input.sleepMs,
    faults: (value, journal) => [...same("the result", value, stampsOf(journal)), ...same("the numbers", numbers(value), upTo(input.n, 2))],
  };
};

const family: Maker = (random, effects) => {
  const input = { ...work(random, effects), children: 1 + random.below(4) };
  return {
    kind: "coordinator",
    name: "family",
    input,
    status: "completed",
    leastMs: 0,
    faults: (value, journal) => {
      const { detached, results } = value as { detached: string; results: Stamp[][] };
      const children = journal.filter(({ t }) => t === "child");
      const outcomes = journal.filter(({ t }) => t === "done").sort((a, b) => Number(a.seq) - Number(b.seq));
      return [
        ...same("the detached child", detached, children[0]?.child),
        ...same(
          "the results of children",
          [detached, ...results],
          outcomes.map((entry) => entry.value),
        ),
        ...same(
          "the numbers",
          results.map(numbers),
          results.map(() => upTo(input.n, 2)),
        ),
        ...same("the count of children", results.length, input.children),
      ];
    },
  };
};

const stepper: Maker = (random, effects) => {
  const input = work(random, effects);
  return {
    kind: "coordinator",
    name: "stepper",
    input,
    status: "completed",
    leastMs: 0,
    faults: (value, journal) => {
      const { drawn, stamps } = value as { drawn: number; stamps: Stamp[] };
      const step = journal.find((entry) => entry.t === "done" && entry.seq === 1);
      return [
        ...same("the step's outcome", step?.value, drawn),
        ...same("the call's result", stamps, stampsOf(journal)),
        ...same("the number", numbers(stamps), [drawn + 1]),
      ];
    },
  };
};

const racer: Maker = (random, effects) => ({
  kind: "coordinator",
  name: "racer",
  input: work(random, effects),
  status: "completed",
  leastMs: 0,
  faults: (value, journal) => {
    const { winner, draws, stamps, refused, slow } = value as {
      winner: Stamp;
      draws: number;
      stamps: Stamp[];
      refused: string;
      slow: unknown;
    };
    const outcomes = journal.filter(({ t }) => t === "done");
    const ofRace = outcomes.filter(({ seq }) => seq === 1 || seq === 2);
    const isCancelled = (entry: JournalEntry): boolean => (entry.failure as { code: string } | undefined)?.code === "CALL_CANCELLED";
    const slowOutcome = ofRace.find(({ seq }) => seq === 1);
    return [
      ...same("the winner", winner, ofRace.find((entry) => entry.value !== undefined)?.value),
      ...same(
        "what became of the slow call",
        slow,
        slowOutcome !== undefined && isCancelled(slowOutcome) ? "CALL_CANCELLED" : slowOutcome?.value,
      ),
      ...same("the drawn calls", stamps, stampsOf(journal).slice(-draws || Number.POSITIVE_INFINITY)),
      ...same("the count of draws", stamps.length, draws),
      ...same("the refusal", refused, "REFUSED"),
    ];
  },
});

const call: Maker = (random, effects) => {
  const input = work(random, effects);
  const name = random.below(3) === 0 ? "flaky" : "stamp";
  return {
    kind: "function",
    name,
    input,
    status: "completed",
    leastMs: 0,
    faults: (value, journal) => [...same("the result", [value], stampsOf(journal)), ...same("the number", (value as Stamp).n, input.n + 1)],
  };
};

/** A random expression together with what it comes to. */
const expressionOf = (random: Random, depth: number): { text: string; value: number } => {
  if (depth === 0 || random.below(5) === 0) {
    const value = random.below(20);
    return { text: String(value), value };
  }
  const left = expressionOf(random, depth - 1);
  const right = expressionOf(random, depth - 1);
  const operator = ["+", "-", "*"][random.below(3)] as "+" | "-" | "*";
  const value = operator === "+" ? left.value + right.value : operator === "-" ? left.value - right.value : left.value * right.value;
  return { text: `(${left.text}${operator}${right.text})`, value };
};

const expression: Maker = (random) => {
  const { text, value } = expressionOf(random, 1 + random.below(4));
  return {
    kind: "expression",
    name: text,
    input: {},
    status: "completed",
    leastMs: 0,
    faults: (result) => same("the value", result, value),
  };
};

const bulky: Maker = (random) => {
  const bytes = 2 * random.below(60_000) + 4;
  return {
    kind: "coordinator",
    name: "bulky",
    input: { bytes },
    status: "completed",
    leastMs: 0,
    faults: (value) => same("the result", value, { there: "baba", back: "abab", bytes }),
  };
};

const cancelled: Maker = (random, effects) => ({
  kind: "coordinator",
  name: "cancelled",
  input: work(random, effects),
  status: "cancelled",
  leastMs: 0,
  faults: (_value, journal) => {
    const cancelledAt = journal.findIndex(({ t }) => t === "cancel");
    const tidied = journal.slice(cancelledAt).filter((entry) => entry.t === "done" && entry.value !== undefined);
    return same("the count of calls that tidied up", tidied.length, 1);
  },
});

const MAKERS: readonly Maker[] = [
  ...[chain, fan, signalled, sleeper, racer, expression].flatMap((maker) => [maker, maker]),
  ...[family, stepper, call, bulky, cancelled],
  ...[tally, bank, saga].flatMap((maker) => [maker, maker]),
  ...[doubtful, recoveredSaga, cancelledSaga, mended],
];

/** A task drawn by chance. @param effects the file that executions write to */
export const drawTask = (random: Random, effects: string): Task => (MAKERS[random.below(MAKERS.length)] as Maker)(random, effects);
