import type { CallOptions, RetryPolicy } from "../protocol/run.ts";
import type { StandardSchemaV1 } from "./standard-schema.ts";

// Contexts and definitions name each other (a handler takes a context, a context calls definitions), so their shapes share this file.

/** Writes log lines that stay with the call or run. Values that are not text are shown as `console.log` would. */
export interface Logger {
  debug(...values: unknown[]): void;
  info(...values: unknown[]): void;
  warn(...values: unknown[]): void;
  error(...values: unknown[]): void;
}

/** What a function's handler knows of its call. */
export interface FunctionContext {
  readonly runId: string;
  /** The idempotency key `run/call`: the same for every attempt, so that outside effects can be deduplicated with it. */
  readonly key: string;
  /** From 1. */
  readonly attempt: number;
  /** Aborted when the call is cancelled or out of time. */
  readonly signal: AbortSignal;
  readonly log: Logger;
}

/** Options of one `ctx.call`. */
export interface CallRequest extends CallOptions {
  /** Aborting it cancels the call: the promise rejects with CALL_CANCELLED and the function's `ctx.signal` fires. */
  signal?: AbortSignal;
}

/** A child run that was started without waiting for it. */
export interface RunHandle {
  readonly id: string;
}

/**
 * What coordinator code may do. Every method is durable: its outcome is journaled, and a replay sees the same one.
 */
export interface CoordinatorContext {
  readonly runId: string;
  /** Calls a function in a pod of its own. Rejects with a `CallError`. */
  call<Input, Output>(fn: FunctionDefinition<Input, Output>, input: NoInfer<Input>, options?: CallRequest): Promise<Output>;
  call<Output = unknown>(name: string, input?: unknown, options?: CallRequest): Promise<Output>;
  /** Resolves after `ms` milliseconds, also across restarts. */
  sleep(ms: number): Promise<void>;
  /** Executes `f` here, once, and journals what it returns or throws. It may execute again only if the platform died before that. */
  step<Output>(name: string, f: () => Output | Promise<Output>): Promise<Output>;
  /** Runs another coordinator as a child and waits for its result. */
  run<Input, Output>(child: CoordinatorDefinition<Input, Output>, input: NoInfer<Input>): Promise<Output>;
  /** Starts a child that lives on by itself. */
  start<Input, Output>(child: CoordinatorDefinition<Input, Output>, input: NoInfer<Input>): Promise<RunHandle>;
  /** Waits for a signal by name; rejects with SIGNAL_TIMEOUT after `timeoutMs`. Signals that came earlier wait in order. */
  signal<Value = unknown>(name: string, options?: { timeoutMs?: number }): Promise<Value>;
  /** The time of the event that this code reacts to, in Unix milliseconds: the same in every replay. */
  now(): number;
  /** A float in [0, 1), from a sequence that belongs to the run. */
  random(): number;
  /** A version 4 UUID from the same sequence. */
  uuid(): string;
  /** Not written again in a replay. */
  readonly log: Logger;
}

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
export const KIND: unique symbol = Symbol.for("lockstep.definition") as never;

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
