import { LockstepError } from "../lib/errors.ts";
import { unknownBucket } from "./names.ts";
import type { ObjectPlace } from "./port.ts";

/** What the SDK's errors tell. */
interface Told {
  name?: unknown;
  message?: unknown;
  code?: unknown;
  $metadata?: { httpStatusCode?: number };
}

export const nameOfError = (error: unknown): string => {
  const { name } = (error ?? {}) as Told;
  return typeof name === "string" ? name : "";
};

export const statusOf = (error: unknown): number | undefined => ((error ?? {}) as Told).$metadata?.httpStatusCode;

export const isMissing = (error: unknown): boolean => ["NoSuchKey", "NotFound"].includes(nameOfError(error)) || statusOf(error) === 404;

const FULL = new Set(["QuotaExceeded", "XMinioStorageFull", "InsufficientCapacity", "StorageFull"]);
const CONFLICTS = new Set(["PreconditionFailed", "ConditionalRequestConflict"]);
/** Statuses of refusals that say nothing of what was asked, and pass. */
const PASSING = new Set([408, 429]);

/**
 * What an error of S3 means for whoever wanted an object. `details.passing`: trying again may help.
 */
export const s3Error = (cause: unknown, { bucket, key }: { bucket: string; key?: string }): LockstepError => {
  if (cause instanceof LockstepError) return cause;
  const name = nameOfError(cause);
  const status = statusOf(cause);
  const message = `S3: ${name}: ${String(((cause ?? {}) as Told).message)}`;
  const of = key === undefined ? bucket : `${bucket}/${key}`;
  if (name === "NoSuchBucket") return unknownBucket(bucket);
  if (name === "InvalidBucketName") return new LockstepError("BUCKET_NAME_INVALID", `${of}: ${message}`, { cause });
  if (name === "InvalidRange" || status === 416)
    return new LockstepError("RANGE_NOT_SATISFIABLE", `${of}: there are no such bytes`, { cause });
  if (name === "KeyTooLongError") return new LockstepError("OBJECT_KEY_INVALID", `${of}: ${message}`, { cause });
  if (CONFLICTS.has(name) || status === 412) return new LockstepError("PRECONDITION_FAILED", `${of} is not in that state`, { cause });
  if (FULL.has(name) || status === 507) return new LockstepError("STORAGE_FULL", `${of}: ${message}`, { cause });
  const passing = status === undefined || status >= 500 || PASSING.has(status);
  return new LockstepError("STORAGE_UNAVAILABLE", `${of}: ${message}`, {
    cause,
    details: { passing, ...(status === undefined ? {} : { status }) },
  });
};

/** Whether the same may succeed later. What can't be done now because of what it is, can't be done later either. */
export const isPassing = (error: LockstepError): boolean => error.code === "STORAGE_FULL" || error.details?.passing === true;

export const lostUpload = ({ bucket, key }: ObjectPlace): LockstepError =>
  new LockstepError("STORAGE_UNAVAILABLE", `${bucket}/${key}: S3 has dropped the bytes that were staged for it`, {
    details: { passing: false },
  });
