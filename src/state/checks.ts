/** What may be asked of the state store, whoever asks: pods execute users' code, and HTTP is anybody's. */
import { LockstepError } from "../lib/errors.ts";
import type { Space, StateWrite } from "../protocol/state.ts";
import { stateKeyProblem, statePrefixProblem } from "../protocol/state-key.ts";

export const MOST_LISTED = 1_000;
export const MOST_WRITES = 10_000;
/** Keys and listings that one transaction may read. */
export const MOST_READS = 10_000;

const LONGEST_OWN_KEY = 1_300;
const LONGEST_TTL_MS = 100 * 366 * 24 * 3_600_000;

// The platform's own keys are made of names that were checked before, such as a bucket and an object's key.
const ownKeyProblem = (key: string): string | undefined => (key.length > LONGEST_OWN_KEY ? "is too long" : undefined);

/** @throws {LockstepError} STATE_KEY_INVALID */
export const checkKey = (space: Space, key: string): void => {
  const problem = space.startsWith("$") ? ownKeyProblem(key) : stateKeyProblem(key);
  if (problem !== undefined) throw invalidKey("key", key, problem);
};

/** @throws {LockstepError} STATE_KEY_INVALID, BAD_REQUEST */
export const checkListing = (space: Space, prefix: string, limit: number, after: string | undefined): void => {
  const problem = space.startsWith("$") ? ownKeyProblem(prefix) : statePrefixProblem(prefix);
  if (problem !== undefined) throw invalidKey("prefix", prefix, problem);
  if (after !== undefined && (typeof after !== "string" || after.length > LONGEST_OWN_KEY || !after.isWellFormed()))
    throw invalidKey("key `after`", after, "is no key");
  if (!Number.isInteger(limit) || limit < 1 || limit > MOST_LISTED)
    throw badRequest("limit", `must be an integer from 1 to ${MOST_LISTED}, not ${limit}`);
};

/** @throws {LockstepError} STATE_KEY_INVALID, BAD_REQUEST, PAYLOAD_TOO_LARGE */
export const checkWrite = (space: Space, { key, value, ttlMs }: StateWrite, maxValueBytes: number): void => {
  checkKey(space, key);
  if (ttlMs !== undefined && !(typeof ttlMs === "number" && ttlMs > 0 && ttlMs <= LONGEST_TTL_MS))
    throw badRequest("ttlMs", `must be a number of milliseconds above 0 and at most ${LONGEST_TTL_MS}, not ${ttlMs}`);
  if (value !== undefined && typeof value !== "string") throw badRequest("value", `must be JSON text, not ${typeof value}`);
  if (value === undefined || value.length * 3 <= maxValueBytes) return;
  const bytes = Buffer.byteLength(value);
  if (bytes <= maxValueBytes) return;
  throw new LockstepError("PAYLOAD_TOO_LARGE", `the value of ${key} is ${bytes} bytes of JSON; the limit is ${maxValueBytes}`, {
    details: { key, bytes, limit: maxValueBytes },
  });
};

const SHOWN = 200;

const invalidKey = (what: string, key: unknown, problem: string): LockstepError => {
  const shown = typeof key === "string" ? JSON.stringify(key.slice(0, SHOWN)) : typeof key;
  return new LockstepError("STATE_KEY_INVALID", `the ${what} ${shown} ${problem}`);
};

const badRequest = (field: string, problem: string): LockstepError =>
  new LockstepError("BAD_REQUEST", `${field} ${problem}`, { details: { field } });
