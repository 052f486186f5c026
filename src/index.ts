/** The SDK: what application modules import. */
export type { CallRequest, CoordinatorContext, FunctionContext, Logger, RunHandle } from "./application/context.ts";
export type { CoordinatorDefinition, CoordinatorOptions, FunctionDefinition, FunctionOptions } from "./application/definitions.ts";
export { coordinator, fn } from "./application/definitions.ts";
export { CallError, CancelledError, TerminalError } from "./application/errors.ts";
export type { StandardSchemaV1 } from "./application/standard-schema.ts";
export type { ErrorCode, Failure } from "./lib/errors.ts";
export { LockstepError } from "./lib/errors.ts";
export type { RetryPolicy } from "./protocol/run.ts";
