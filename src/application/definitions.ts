import { LockstepError } from "../lib/errors.ts";
import type { RetryPolicy } from "../protocol/run.ts";
import type { CoordinatorContext, FunctionContext } from "./context.ts";
import type { StandardSchemaV1 } from "./standard-schema.ts";

/** How a function is executed. Everything is optional. */
export interface FunctionOptions<Input, Output> {
  /** Checks (and may transform) the input before the handler sees it: any Standard Schema, such as zod, valibot or arktype. */
  input?: StandardSchemaV1<unknown, Input>;
  /** Checks the result before it is journaled. */
  output?: StandardSchemaV1<unknown, Output>;
  /** The longest that one attempt may take. Default 60,000. */
  timeoutMs?: number;
  retry?: RetryPolicy;
  /** Calls of this function that may execute at the same time on the whole platform. Default: no limit. */
  concurrency?: number;
  /** Heap of a pod of this function, in MiB. Default 256. */
  memoryMb?: number;
  /** The same input always gives the same result. Default false. */
  deterministic?: boolean;
}

export interface CoordinatorOptions<Input, Output> {
  input?: StandardSchemaV1<unknown, Input>;
  output?: StandardSchemaV1<unknown, Output>;
}

// A registered symbol, so that a definition is known across copies of this module.
const KIND: unique symbol = Symbol.for("lockstep.definition") as never;

export interface FunctionDefinition<Input = unknown, Output = unknown> {
  readonly [KIND]: "function";
  readonly name: string;
  readonly options: FunctionOptions<Input, Output>;
  readonly handler: (input: Input, ctx: FunctionContext) => Output | Promise<Output>;
}

export interface CoordinatorDefinition<Input = unknown, Output = unknown> {
  readonly [KIND]: "coordinator";
  readonly name: string;
  readonly options: CoordinatorOptions<Input, Output>;
  readonly handler: (ctx: CoordinatorContext, input: Input) => Promise<Output>;
}

/** Any definition, whatever its types: what an application module exports. */
// biome-ignore lint/suspicious/noExplicitAny: the handler's input is contravariant, so `unknown` would accept no definition at all
export type Definition = FunctionDefinition<any, any> | CoordinatorDefinition<any, any>;

const NAME = /^[a-zA-Z][a-zA-Z0-9_-]{0,99}$/;

/**
 * Defines a function: a named unit of work that runs in a pod of its own and may be executed more than once (at least once), while exactly
 * one attempt's result is committed.
 * @throws {LockstepError} APPLICATION_INVALID when the name or an option is wrong
 */
export const fn = <Input = void, Output = void>(
  name: string,
  handler: (input: Input, ctx: FunctionContext) => Output | Promise<Output>,
  options: FunctionOptions<Input, Output> = {},
): FunctionDefinition<Input, Output> => {
  checkName("function", name);
  checkHandler("function", name, handler);
  checkFunctionOptions(name, options);
  return { [KIND]: "function", name, handler, options };
};

/**
 * Defines a coordinator: durable code. It is replayed from its journal after a crash, so it must do the same again when given the same
 * results: use `ctx.now()`, `ctx.random()`, `ctx.uuid()` and keep effects in functions or `ctx.step`.
 * @throws {LockstepError} APPLICATION_INVALID when the name is wrong
 */
export const coordinator = <Input = void, Output = void>(
  name: string,
  handler: (ctx: CoordinatorContext, input: Input) => Promise<Output>,
  options: CoordinatorOptions<Input, Output> = {},
): CoordinatorDefinition<Input, Output> => {
  checkName("coordinator", name);
  checkHandler("coordinator", name, handler);
  return { [KIND]: "coordinator", name, handler, options };
};

export const isDefinition = (value: unknown): value is Definition =>
  typeof value === "object" &&
  value !== null &&
  ((value as Definition)[KIND] === "function" || (value as Definition)[KIND] === "coordinator");

export const isFunction = (definition: Definition): definition is FunctionDefinition => definition[KIND] === "function";

const invalid = (message: string, field?: string): LockstepError =>
  new LockstepError("APPLICATION_INVALID", message, field === undefined ? {} : { details: { field } });

const checkName = (kind: string, name: unknown): void => {
  if (typeof name !== "string" || !NAME.test(name)) {
    throw invalid(`${kind} name ${JSON.stringify(name)} is invalid: use a letter, then up to 99 letters, digits, "-" or "_"`, "name");
  }
};

const checkHandler = (kind: string, name: string, handler: unknown): void => {
  if (typeof handler !== "function") throw invalid(`${kind} "${name}" needs a handler function as its second argument`, "handler");
};

const checkFunctionOptions = (name: string, options: Omit<FunctionOptions<unknown, unknown>, "input" | "output">): void => {
  const bound = (field: string, value: unknown, least: number): void => {
    if (value === undefined) return;
    if (typeof value !== "number" || !Number.isFinite(value) || value < least) {
      throw invalid(`function "${name}": ${field} must be a number of at least ${least}, not ${String(value)}`, field);
    }
  };
  bound("timeoutMs", options.timeoutMs, 1);
  bound("concurrency", options.concurrency, 1);
  bound("memoryMb", options.memoryMb, 16);
  bound("retry.attempts", options.retry?.attempts, 1);
  bound("retry.backoff.initialMs", options.retry?.backoff?.initialMs, 0);
  bound("retry.backoff.factor", options.retry?.backoff?.factor, 1);
  bound("retry.backoff.maxMs", options.retry?.backoff?.maxMs, 0);
  bound("retry.backoff.jitter", options.retry?.backoff?.jitter, 0);
};
