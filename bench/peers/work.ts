/** The work that every contender does: the same functions, the same shapes, the same answers. */
export const increment = (x: number): number => x + 1;

export const double = (x: number): number => x * 2;

export const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

export const CASE_NAMES = ["one-call", "chain-2", "chain-10", "fan-32", "inside-1000"] as const;

export type CaseName = (typeof CASE_NAMES)[number];

/** What a run is asked for; `x` is the start value, and for `inside-1000` the number of calls. */
export interface Work {
  name: CaseName;
  what: string;
  /** Requests in flight, each measured on its own; 1 is "alone". */
  connections: readonly number[];
  /** Durable calls (or steps) in one run. */
  callsPerRun: number;
  /** The start value of the i-th request. */
  input: (i: number) => number;
  /** What the run of `input` must return. */
  expected: (input: number) => number;
  /** The measured time is the asked one times this: long runs need a longer window. Default 1. */
  stretch?: number;
}

export const FAN = 32;
export const INSIDE = 1_000;

const range = (length: number): number[] => Array.from({ length }, (_, i) => i);

export const WORK: readonly Work[] = [
  {
    name: "one-call",
    what: "one durable call",
    connections: [1, 64],
    callsPerRun: 1,
    input: (i) => i,
    expected: increment,
  },
  {
    name: "chain-2",
    what: "two calls, the second consumes the first's result",
    connections: [1, 64, 512],
    callsPerRun: 2,
    input: (i) => i,
    expected: (x) => double(increment(x)),
  },
  {
    name: "chain-10",
    what: "ten calls, each consumes the result before it",
    connections: [1, 64],
    callsPerRun: 10,
    input: (i) => i,
    expected: (x) => range(5).reduce((value) => double(increment(value)), x),
  },
  {
    name: "fan-32",
    what: "32 calls at once, then the sum of their results",
    connections: [1, 32],
    callsPerRun: FAN,
    input: (i) => i,
    expected: (x) => sum(range(FAN).map((i) => increment(x + i))),
  },
  {
    name: "inside-1000",
    what: "1,000 calls at once inside one run, then their sum",
    connections: [4],
    callsPerRun: INSIDE,
    input: () => INSIDE,
    expected: (calls) => sum(range(calls).map(increment)),
    stretch: 2,
  },
];
