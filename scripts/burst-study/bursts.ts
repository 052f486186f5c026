/** The two bursts: what arrives, what it must come to, and which functions serve it. */
import type { Client } from "lockstep/client";
import type { Start } from "./sender.ts";

export interface Burst {
  name: string;
  what: string;
  functions: readonly string[];
  count: number;
  /** Calls that one pod executes at the same time. */
  slots: number;
  pods: number;
  /** How long one call executes. */
  workMs: number;
  /** Calls that one function gets in all. */
  callsPerFunction: number;
  start(i: number): Start;
  expected(i: number): number;
  /** One call, to see what it takes without a burst. */
  alone?(client: Client, i: number): Promise<number>;
}

/** What `index.ts` says. */
export const OPERATOR_MS = 25;
export const COOL_DOWN_MS = 2_000;

const operandsOf = (i: number): [number, number, number, number, number] => [i, (i % 7) + 1, i + 9, i % 5, (i % 3) + 2];

export interface Size {
  count: number;
  slots: number;
  pods: number;
}

/** Case I of the paper: expressions, whose operators are calls of four functions. */
export const expressions = (size: Size): Burst => ({
  ...size,
  name: "expressions",
  what: `${size.count} expressions such as ((3+4)*(12-3))/2 at once`,
  functions: ["add", "subtract", "multiply", "divide"],
  workMs: OPERATOR_MS,
  callsPerFunction: size.count,
  start: (i) => {
    const [a, b, c, d, e] = operandsOf(i);
    return { path: "/v1/expressions", body: { expression: `((${a}+${b})*(${c}-${d}))/${e}` } };
  },
  expected: (i) => {
    const [a, b, c, d, e] = operandsOf(i);
    return ((a + b) * (c - d)) / e;
  },
});

export const calls = (size: Size, workMs: number): Burst => ({
  ...size,
  name: "calls",
  what: `${size.count} calls of ${workMs} ms at once to a function without pods`,
  functions: ["work"],
  workMs,
  callsPerFunction: size.count,
  start: (n) => ({ path: "/v1/functions/work/calls", body: { input: { n, ms: workMs } } }),
  expected: (n) => n * 2,
  alone: (client, n) => client.call<number>("work", { n, ms: workMs }),
});
