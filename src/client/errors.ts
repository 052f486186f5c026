import type { Failure } from "../lib/errors.ts";
import { catalogue } from "../lib/errors.ts";
import type { RunStatus } from "../protocol/run.ts";

/** The platform refused a request, or could not be asked. `code` is of the catalogue in docs/errors.md, or of a newer platform. */
export class ClientError extends Error {
  override readonly name = "ClientError";
  readonly code: string;
  /** The HTTP status; for NOT_CONNECTED and WAIT_TIMEOUT, which come from this side, the one of the catalogue. */
  readonly status: number;
  readonly detail: string;
  /** What to do about it. */
  readonly mend: string | undefined;
  /** When the platform said after how long to try again. */
  readonly retryAfterMs: number | undefined;
  /** Further facts, such as `{ position: 3 }` for an expression. */
  readonly details: Readonly<Record<string, unknown>> | undefined;

  constructor(
    code: string,
    detail: string,
    options: { status?: number; mend?: string; retryAfterMs?: number; details?: Record<string, unknown>; cause?: unknown } = {},
  ) {
    super(detail, options.cause === undefined ? undefined : { cause: options.cause });
    const known = Object.hasOwn(catalogue, code) ? catalogue[code as keyof typeof catalogue] : undefined;
    this.code = code;
    this.status = options.status ?? known?.status ?? 500;
    this.detail = detail;
    this.mend = options.mend ?? known?.mend;
    this.retryAfterMs = options.retryAfterMs;
    this.details = options.details;
  }
}

/** A run that was waited for failed, was cancelled, or is suspended: then somebody must resume or cancel it. */
export class RunError extends Error {
  override readonly name = "RunError";
  readonly code: string;
  readonly failure: Failure;
  readonly runId: string;
  readonly status: RunStatus;

  constructor(runId: string, status: RunStatus, failure: Failure) {
    super(failure.message, failure.cause === undefined ? undefined : { cause: failure.cause });
    this.code = failure.code;
    this.failure = failure;
    this.runId = runId;
    this.status = status;
  }
}
