import type { CallRequest } from "../application/context.ts";
import type { CallOptions, RetryPolicy } from "../protocol/run.ts";

/**
 * What coordinator code gave to a method of its context, checked here: TypeScript can't stop everybody, and the control plane ends pods that
 * send it nonsense.
 */

type Check = (value: unknown) => boolean;

const atLeast =
  (least: number): Check =>
  (value) =>
    // JSON, in which the journal keeps it, knows no Infinity.
    Number.isFinite(value) && (value as number) >= least;

const isText: Check = (value) => typeof value === "string";

const isNumber: Check = (value) => Number.isFinite(value);

const RETRY: Record<string, Check> = {
  attempts: atLeast(1),
  nonRetryable: (value) => Array.isArray(value) && value.every(isText),
  onExhausted: (value) => value === "suspend" || value === "fail",
};

const BACKOFF: Record<string, Check> = { initialMs: atLeast(0), factor: atLeast(1), maxMs: atLeast(0), jitter: atLeast(0) };

/** @throws {TypeError} when it is no name and has none */
export const nameOf = (target: unknown, method: string): string => {
  const name = typeof target === "object" && target !== null ? (target as { name?: unknown }).name : target;
  if (typeof name === "string" && name !== "") return name;
  throw new TypeError(`ctx.${method} needs a name as its first argument, or a definition that has one, not ${shown(target)}`);
};

/** @throws {TypeError} */
export const durationOf = (ms: unknown, method: string): number => {
  if (typeof ms === "number" && ms >= 0) return Math.min(ms, Number.MAX_SAFE_INTEGER);
  throw new TypeError(`ctx.${method} needs a number of milliseconds of at least 0, not ${shown(ms)}`);
};

/** The options that the journal keeps: those that are known. @throws {TypeError} naming the one that is wrong */
export const optionsOf = (request: CallRequest | undefined): CallOptions | undefined => {
  if (request === undefined) return undefined;
  const options: CallOptions = pick(request, { timeoutMs: atLeast(1), priority: isNumber }, "");
  if (request.retry !== undefined) options.retry = retryOf(request.retry);
  return Object.keys(options).length === 0 ? undefined : options;
};

const retryOf = (given: RetryPolicy): RetryPolicy => {
  const retry: RetryPolicy = pick(given, RETRY, "retry.");
  if (given.backoff !== undefined) retry.backoff = pick(given.backoff, BACKOFF, "retry.backoff.");
  return retry;
};

const pick = <Options extends object>(given: Options, checks: Record<string, Check>, path: string): Partial<Options> => {
  const picked: Record<string, unknown> = {};
  for (const [name, fits] of Object.entries(checks)) {
    const value = (given as Record<string, unknown>)[name];
    if (value === undefined) continue;
    if (!fits(value)) throw new TypeError(`ctx.call: the option ${path}${name} can't be ${shown(value)}`);
    picked[name] = value;
  }
  return picked as Partial<Options>;
};

const shown = (value: unknown): string => (isText(value) ? JSON.stringify(value) : typeof value === "object" ? "an object" : String(value));
