/** The SDK: what application modules import. */
export type {
  CallRequest,
  CheckedExecution,
  CoordinatorContext,
  FailureReport,
  FunctionContext,
  Logger,
  ObjectBody,
  Objects,
  RecoveryContext,
  ReplicaContext,
  RunHandle,
  State,
  StatefulOptions,
  StateMachine,
  StateRecord,
  StateStore,
} from "./application/context.ts";
export type { CoordinatorDefinition, CoordinatorOptions, FunctionDefinition, FunctionOptions } from "./application/definitions.ts";
export { bucket, check, coordinator, fn, table } from "./application/definitions.ts";
export { AccessDeniedError, CallError, CancelledError, StaleStateError, TerminalError } from "./application/errors.ts";
export type { StandardSchemaV1 } from "./application/standard-schema.ts";
export type { ErrorCode, Failure } from "./lib/errors.ts";
export { LockstepError } from "./lib/errors.ts";
export type { RetryPolicy } from "./protocol/run.ts";
