import type { ErrorCode, Failure } from "../lib/errors.ts";
import { LockstepError } from "../lib/errors.ts";
import type { Staleness } from "../protocol/state.ts";

/**
 * Thrown by application code to say that trying again cannot help. `code` is the application's own.
 */
export class TerminalError extends Error {
  override readonly name = "TerminalError";
  readonly terminal = true;
  readonly code: string;
  readonly details: unknown;

  constructor(message: string, options: { code?: string; details?: unknown; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = options.code ?? "TERMINAL";
    this.details = options.details;
  }
}

/** What a coordinator catches when a call, child or step failed: a stable code, the call, its attempts and its cause. */
export class CallError extends Error {
  override readonly name: string = "CallError";
  readonly code: string;
  readonly call: { readonly function: string; readonly seq: number } | undefined;
  readonly attempts: number;
  readonly details: unknown;
  readonly failure: Failure;

  constructor(failure: Failure) {
    super(failure.message, failure.cause === undefined ? undefined : { cause: failure.cause });
    this.code = failure.code;
    this.call = failure.call;
    this.attempts = failure.attempts ?? 1;
    this.details = failure.details;
    this.failure = failure;
  }
}

/** Rejects what a coordinator awaits when its run is cancelled. Clean up and rethrow it. */
export class CancelledError extends CallError {
  constructor(reason: string) {
    super({ code: "RUN_CANCELLED", message: reason });
  }
}

/**
 * Rejects a read of a value that can't be trusted: the call that should have written it failed. Wait for its recovery, or read it with
 * `stale: "allow"` or `"wait"`.
 */
export class StaleStateError extends CallError {
  override readonly name: string = "StaleStateError";
  readonly key: string;
  /** Who failed to write it, why and when. */
  readonly stale: Staleness;

  constructor(failure: Failure) {
    super(failure);
    const { key, stale } = failure.details as { key: string; stale: Staleness };
    this.key = key;
    this.stale = stale;
  }
}

/** Rejects what the definition's `permissions` don't allow. Trying again can't help. */
export class AccessDeniedError extends CallError {
  override readonly name: string = "AccessDeniedError";
  readonly terminal = true;
}

/** What the platform has refused to user code, as the error that this code catches. */
export const refusalOf = (failure: Failure): Error => {
  if (failure.code === "STATE_STALE") return new StaleStateError(failure);
  if (failure.code === "ACCESS_DENIED") return new AccessDeniedError(failure);
  const { code, message, cause } = failure;
  const details = failure.details as Record<string, unknown> | undefined;
  const error = new LockstepError(code as ErrorCode, message, {
    ...(details === undefined ? {} : { details }),
    ...(cause === undefined ? {} : { cause }),
  });
  return failure.terminal ? Object.assign(error, { terminal: true }) : error;
};
