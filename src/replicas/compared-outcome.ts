/**
 * When two pods have said the same of a call, and what of it counts then (pure).
 */
import type { Failure } from "../lib/errors.ts";
import type { Json } from "../lib/json.ts";
import { differenceOf } from "./divergence.ts";

/** Exactly one of them. */
export type ComparedOutcome = { value: Json; failure?: undefined } | { value?: undefined; failure: Failure };

/** Of values that are nested deeper nothing is said but whether their texts are the same. */
const DEPTH = 500;
const CAUSE_DEPTH = 4;

/** By value: the order of an object's fields makes no difference. Of failures code, name, message and whether trying again can help. */
export const isSameOutcome = (a: ComparedOutcome, b: ComparedOutcome): boolean => {
  if (a.failure === undefined) return b.failure === undefined && isSameJson(a.value, b.value);
  return b.failure !== undefined && isSameFailure(a.failure, b.failure);
};

/** What counts of an outcome that two pods agree on. */
export const agreedOutcome = (a: ComparedOutcome, b: ComparedOutcome): ComparedOutcome =>
  a.failure === undefined || b.failure === undefined ? a : { failure: agreedFailure(a.failure, b.failure, 0) };

/** The path of the first part in which they differ, such as `value.total`. */
export const outcomeDifference = (a: ComparedOutcome, b: ComparedOutcome): string | undefined => differenceOf(shownOf(a), shownOf(b));

const isSameFailure = (a: Failure, b: Failure): boolean =>
  a.code === b.code && a.name === b.name && a.message === b.message && isTerminal(a) === isTerminal(b);

/** Beside what makes it the same, only what both have told: no field rests on one pod's word, but for the stack, which is for people. */
const agreedFailure = (a: Failure, b: Failure, depth: number): Failure => {
  const agreed: Failure = { code: a.code, message: a.message };
  if (a.name !== undefined) agreed.name = a.name;
  if (a.stack !== undefined) agreed.stack = a.stack;
  if (isTerminal(a)) agreed.terminal = true;
  if (a.details !== undefined && isSame(a.details, b.details, 0)) agreed.details = a.details;
  if (a.facts !== undefined && isSame(a.facts, b.facts, 0)) agreed.facts = a.facts;
  const [mine, other] = [a.cause, b.cause];
  if (depth < CAUSE_DEPTH && isFailure(mine) && isFailure(other) && isSameFailure(mine, other)) {
    agreed.cause = agreedFailure(mine, other, depth + 1);
  }
  return agreed;
};

const isTerminal = ({ terminal }: Failure): boolean => terminal === true;

const shownOf = ({ value, failure }: ComparedOutcome): unknown => {
  if (failure === undefined) return { value: parsed(value ?? "") };
  const { code, name, message } = failure;
  return { failure: { code, name, message, terminal: isTerminal(failure) } };
};

const isSameJson = (a: Json, b: Json): boolean => a === b || (a !== "" && b !== "" && isSame(parsed(a), parsed(b), 0));

/** Pods are not trusted to send JSON: what is none equals nothing but the same text. */
const parsed = (text: Json): unknown => {
  if (text === "") return undefined;
  try {
    return JSON.parse(text);
  } catch {
    // That it is thrown is the answer. A symbol's like is in no JSON.
    return Symbol(text.slice(0, 1));
  }
};

const isSame = (a: unknown, b: unknown, depth: number): boolean => {
  if (a === b) return true;
  if (!isObject(a) || !isObject(b) || Array.isArray(a) !== Array.isArray(b) || depth > DEPTH) return false;
  const keys = Object.keys(a);
  if (keys.length !== Object.keys(b).length) return false;
  return keys.every((key) => Object.hasOwn(b, key) && isSame(a[key], b[key], depth + 1));
};

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;

const isFailure = (cause: unknown): cause is Failure =>
  isObject(cause) && typeof cause.code === "string" && typeof cause.message === "string";
