/**
 * The application of the burst study: the operators of expressions, which take a while as if each asked somebody else, and a function that
 * takes as long as it is told. None has a pod until it is called, and all let them go soon.
 */
import { setTimeout as delay } from "node:timers/promises";
import { fn } from "lockstep";

type Operands = [a: number, b: number];

const OPERATOR_MS = 25;
const options = { scale: { min: 0, max: 4, targetMs: 250, coolDownMs: 2_000 } };

export const add = fn("add", ([a, b]: Operands) => delay(OPERATOR_MS, a + b), options);
export const subtract = fn("subtract", ([a, b]: Operands) => delay(OPERATOR_MS, a - b), options);
export const multiply = fn("multiply", ([a, b]: Operands) => delay(OPERATOR_MS, a * b), options);
export const divide = fn("divide", ([a, b]: Operands) => delay(OPERATOR_MS, a / b), options);

export const work = fn("work", ({ n, ms }: { n: number; ms: number }) => delay(ms, n * 2), options);
