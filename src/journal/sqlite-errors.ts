import { LockstepError } from "../lib/errors.ts";

const SQLITE_BUSY = 5;
const SQLITE_CONSTRAINT = 19;

/** The primary result code of an SQLite error; `undefined` for any other. */
const codeOf = (error: unknown): number | undefined => {
  const extended = (error as { errcode?: unknown } | null | undefined)?.errcode;
  return typeof extended === "number" ? extended & 0xff : undefined;
};

export const isBusy = (error: unknown): boolean => codeOf(error) === SQLITE_BUSY;

export const unavailable = (what: string, cause: unknown): LockstepError =>
  cause instanceof LockstepError
    ? cause
    : new LockstepError("JOURNAL_UNAVAILABLE", `${what}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });

/** What a failed commit means. A uniqueness that the caller had to check first is no fault of the disk. */
export const commitError = (cause: unknown): LockstepError => {
  if (codeOf(cause) !== SQLITE_CONSTRAINT) return unavailable("the commit failed and nothing of it was kept", cause);
  const { message } = cause as Error;
  return message.includes("runs.key")
    ? new LockstepError("IDEMPOTENCY_CONFLICT", "the idempotency key of a run in this commit is taken; nothing of it was kept", { cause })
    : new LockstepError("INTERNAL", `the commit contradicts what is stored; nothing of it was kept: ${message}`, { cause });
};
