import type { Failure } from "../lib/errors.ts";

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
  override readonly name = "CallError";
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
