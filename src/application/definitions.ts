import { LockstepError } from "../lib/errors.ts";
import type { RetryPolicy } from "../protocol/run.ts";
import type {
  CoordinatorContext,
  CoordinatorDefinition,
  CoordinatorOptions,
  Definition,
  FunctionContext,
  FunctionDefinition,
  FunctionOptions,
} from "./context.ts";
import { KIND } from "./context.ts";

export type { CoordinatorDefinition, CoordinatorOptions, Definition, FunctionDefinition, FunctionOptions } from "./context.ts";

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
  checkRetry(name, options.retry ?? {});
};

const checkRetry = (name: string, { nonRetryable, onExhausted }: RetryPolicy): void => {
  if (nonRetryable !== undefined && !(Array.isArray(nonRetryable) && nonRetryable.every((code) => typeof code === "string"))) {
    throw invalid(`function "${name}": retry.nonRetryable must be an array of error codes`, "retry.nonRetryable");
  }
  if (onExhausted !== undefined && onExhausted !== "suspend" && onExhausted !== "fail") {
    throw invalid(`function "${name}": retry.onExhausted must be "suspend" or "fail", not ${String(onExhausted)}`, "retry.onExhausted");
  }
};
