// Owns: the course of an expression run: which calls are ready, what they are given, and when and how the run finishes.
// Doesn't own: the journal, retries, cancellation (the run machine feeds outcomes and obeys commands) and what the values mean: they are JSON
// text, composed and never parsed.
//
//   start() ──► calls whose operands are constants ──► resolve(seq, value) ──► calls that became ready ──► … ──► finish(value)
//      └─► finish (a constant)                          resolve(seq, failure) ──► finish(failure)
//
// I1: the commands are a pure function of text, variables, `deterministic` and the outcomes so far; one seq always has one input.
// I2: a call is commanded once, at the moment when its last operand arrives; `finish` is commanded once and is the last command.
// I3: `resolve` costs as much as the call has dependents (and these have operands, when they become ready).
import type { Failure } from "../lib/errors.ts";
import { LockstepError } from "../lib/errors.ts";
import type { Json } from "../lib/json.ts";
import { UNDEFINED } from "../lib/json.ts";
import type { Command } from "../protocol/run.ts";
import { clip, columnOf, unknownFunction, unknownVariable } from "./errors.ts";
import type { CallNode, Graph, Operand } from "./graph.ts";
import { buildGraph, functionsOf, variablesOf } from "./graph.ts";
import type { ExpressionLimits } from "./limits.ts";
import { UNLIMITED } from "./limits.ts";
import { parse } from "./parser.ts";
import { readVariables } from "./variables.ts";

/** The outcome of one call: its result as JSON ("" for undefined), or why it failed. */
export interface Outcome {
  value?: Json;
  failure?: Failure;
}

export interface ExpressionRun {
  /** The first commands. To be called once, before any `resolve`. */
  start(): Command[];
  /**
   * Takes the outcome of call `seq` and gives the commands that follow from it; none once the run has finished.
   * @throws {LockstepError} INTERNAL when that call was not commanded or has an outcome already
   */
  resolve(seq: number, outcome: Outcome): Command[];
}

/**
 * Makes the driver of an expression run.
 * @param variables JSON of an object, or "" for none
 * @param deterministic by the application version of the run, so that a replay shares the same sub-expressions
 * @param limits default: none. `validateExpression` applied them before the run was accepted; stricter ones since then must not strand it
 * @param maxInputBytes a call whose input would be longer fails the run with PAYLOAD_TOO_LARGE. Default: none
 * @throws {LockstepError} EXPRESSION_INVALID, UNKNOWN_VARIABLE, BAD_REQUEST when `variables` is no object, EXPRESSION_TOO_LARGE by `limits`
 */
export const createExpressionRun = (
  text: string,
  variables: Json,
  deterministic: (name: string) => boolean,
  limits: Partial<ExpressionLimits> = UNLIMITED,
  maxInputBytes = Number.POSITIVE_INFINITY,
): ExpressionRun => new GraphRun(text, buildGraph(parse(text, limits), readVariables(variables), deterministic), maxInputBytes);

/**
 * Checks an expression before it is accepted. Of several unknown names the first in the text is reported.
 * @param limits default: `DEFAULT_LIMITS`, each one by itself
 * @throws {LockstepError} as `createExpressionRun`, and UNKNOWN_FUNCTION with `details.position` and `details.name`
 */
export const validateExpression = (
  text: string,
  variables: Json,
  knownFunction: (name: string) => boolean,
  limits?: Partial<ExpressionLimits>,
): void => {
  const tree = parse(text, limits);
  const values = readVariables(variables);
  const fn = functionsOf(tree).find((use) => !knownFunction(use.name));
  const variable = variablesOf(tree).find((use) => !values.has(use.name));
  if (fn !== undefined && (variable === undefined || fn.position < variable.position))
    throw unknownFunction(fn.name, fn.position, fn.operator);
  if (variable !== undefined) throw unknownVariable(variable.name, variable.position);
};

class GraphRun implements ExpressionRun {
  readonly #text: string;
  readonly #graph: Graph;
  readonly #maxInputBytes: number;
  /** By seq: the calls that use the result, once per use. */
  readonly #dependents: CallNode[][] = [[]];
  /** By seq: how many operands have not arrived. */
  readonly #missing: number[] = [0];
  readonly #results: (Json | undefined)[] = [];
  #finished = false;

  constructor(text: string, graph: Graph, maxInputBytes: number) {
    this.#text = text;
    this.#graph = graph;
    this.#maxInputBytes = maxInputBytes;
    for (const call of graph.calls) this.#awaitOperandsOf(call);
  }

  start(): Command[] {
    const { calls, root } = this.#graph;
    if (typeof root !== "number") return this.#finish({ value: root });
    return this.#commandAll(calls.filter((call) => this.#missing[call.seq] === 0));
  }

  resolve(seq: number, { value = UNDEFINED, failure }: Outcome): Command[] {
    if (this.#finished) return [];
    const call = this.#graph.calls[seq - 1];
    if (call === undefined || this.#missing[seq] !== 0 || this.#results[seq] !== undefined) throw unawaited(seq);
    if (failure !== undefined) return this.#finish({ failure: this.#locate(failure, call) });
    this.#results[seq] = value;
    if (seq === this.#graph.root) return this.#finish({ value });
    return this.#advance(seq);
  }

  // Operands have smaller numbers, so their lists exist already.
  #awaitOperandsOf(call: CallNode): void {
    let missing = 0;
    for (const operand of call.operands) {
      if (typeof operand !== "number") continue;
      missing++;
      (this.#dependents[operand] as CallNode[]).push(call);
    }
    this.#missing.push(missing);
    this.#dependents.push([]);
  }

  #advance(seq: number): Command[] {
    const ready: CallNode[] = [];
    for (const call of this.#dependents[seq] as CallNode[]) {
      const missing = (this.#missing[call.seq] as number) - 1;
      this.#missing[call.seq] = missing;
      if (missing === 0) ready.push(call);
    }
    return this.#commandAll(ready);
  }

  #commandAll(ready: readonly CallNode[]): Command[] {
    // Looked for before the input is composed: a few large operands, often enough repeated, are longer than any string can be.
    const excess = ready.find(({ operands }) => this.#lengthOf(operands) > this.#maxInputBytes);
    if (excess !== undefined) return this.#finish({ failure: this.#locate(inputTooLarge(excess.fn, this.#maxInputBytes), excess) });
    return ready.map(({ seq, fn, operands }) => ({ t: "call", seq, fn, input: this.#inputOf(operands) }));
  }

  #lengthOf(operands: readonly Operand[]): number {
    let length = operands.length;
    for (const operand of operands) length += (typeof operand === "number" ? (this.#results[operand] as Json) : operand).length;
    return length;
  }

  #inputOf(operands: readonly Operand[]): Json {
    if (operands.length === 0) return UNDEFINED;
    const values = operands.map((operand) => (typeof operand === "number" ? (this.#results[operand] as Json) : operand));
    if (values.length === 1) return values[0] as Json;
    // An array cannot hold undefined; JSON.stringify writes null there too.
    return `[${values.map((value) => (value === UNDEFINED ? "null" : value)).join()}]`;
  }

  #finish(outcome: Outcome): Command[] {
    this.#finished = true;
    return [{ t: "finish", ...outcome }];
  }

  /** Says where in the text the call stands; the function's own details keep their names. */
  #locate(failure: Failure, { seq, fn, position, start, end }: CallNode): Failure {
    const expression = clip(this.#text.slice(start, end));
    const place = { position, expression };
    return {
      ...failure,
      message: `${failure.message} (in ${expression}, column ${columnOf(position)})`,
      call: failure.call ?? { function: fn, seq },
      details: failure.details === undefined ? place : isRecord(failure.details) ? { ...place, ...failure.details } : failure.details,
    };
  }
}

const inputTooLarge = (fn: string, limit: number): Failure => ({
  code: "PAYLOAD_TOO_LARGE",
  message: `the input of function "${fn}" is larger than the limit of ${limit} bytes`,
  details: { limit },
  terminal: true,
});

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null && !Array.isArray(value);

const unawaited = (seq: number): LockstepError =>
  new LockstepError("INTERNAL", `the expression run got an outcome of call ${seq}, which is not under way`, { details: { seq } });
