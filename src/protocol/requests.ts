import type { ObjectRequest, ObjectWrite } from "./objects.ts";
import type { StateOp, StateRead, StateWrite } from "./state.ts";

// Pods run user code: what they send is checked for its shape here, so that nothing behind this border meets a value that it can't hold.
// What a careless user can do by way of the SDK gets a typed error from the services instead, hence the generous bounds.

/** Writes that one attempt may make. */
export const MAX_WRITES = 1_000;

/** The most that one `list` gives. */
export const MAX_LISTED = 1_000;

/** The part of an object that one message carries. */
export const CHUNK_BYTES = 256 * 1024;

/** Bytes that one chunk may have at most: nobody of ours sends more than `CHUNK_BYTES`. */
const MAX_CHUNK_BYTES = 1024 * 1024;

const MAX_TEXT = 16_384;
const MAX_METADATA = 200;

type Shape = Record<string, unknown>;

const isObject = (value: unknown): value is Shape => typeof value === "object" && value !== null;

const isText = (value: unknown): value is string => typeof value === "string" && value.length <= MAX_TEXT;

const isAbsent = (value: unknown): value is undefined => value === undefined;

const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;

const isPositive = (value: unknown): boolean => typeof value === "number" && Number.isFinite(value) && value > 0;

/** Only these fields, so that nothing unknown reaches a place that keeps the whole. */
const hasOnly = (value: Shape, fields: readonly string[]): boolean => {
  for (const field in value) if (!fields.includes(field)) return false;
  return true;
};

export const isStateRead = (ask: unknown): ask is StateRead => {
  if (!isObject(ask)) return false;
  if (ask.op === "get") return hasOnly(ask, GET) && isText(ask.key) && (isAbsent(ask.stale) || STALE_READS.has(ask.stale));
  if (ask.op !== "list") return false;
  const { prefix, limit, after } = ask;
  return hasOnly(ask, LIST) && isText(prefix) && isCount(limit) && (limit as number) <= MAX_LISTED && (isAbsent(after) || isText(after));
};

const GET = ["op", "key", "stale"];
const LIST = ["op", "prefix", "limit", "after"];
const STALE_READS: ReadonlySet<unknown> = new Set(["refuse", "allow", "wait"]);

export const isStateWrite = (write: unknown): write is StateWrite => isObject(write) && hasOnly(write, WRITE) && isWriteBody(write);

const WRITE = ["key", "value", "ttlMs", "ifVersion", "refresh"];

const isWriteBody = ({ key, value, ttlMs, ifVersion, refresh }: Shape): boolean =>
  isText(key) &&
  (isAbsent(value) || typeof value === "string") &&
  (isAbsent(ttlMs) || isPositive(ttlMs)) &&
  (isAbsent(ifVersion) || isCount(ifVersion)) &&
  (isAbsent(refresh) || typeof refresh === "boolean");

export const isStateWrites = (writes: unknown): writes is StateWrite[] =>
  Array.isArray(writes) && writes.length <= MAX_WRITES && writes.every(isStateWrite);

/** A coordinator's operation: it is journaled as it is. */
export const isStateOp = (op: unknown): op is StateOp =>
  isStateRead(op) || (isObject(op) && op.op === "write" && hasOnly(op, WRITE_OP) && isWriteBody(op));

const WRITE_OP = ["op", ...WRITE];

export const isObjectRequest = (ask: unknown): ask is ObjectRequest => {
  if (!isObject(ask)) return false;
  switch (ask.op) {
    case "object-head":
    case "object-delete":
      return isPlace(ask);
    case "object-list":
      return isText(ask.bucket) && isAbsentOrText(ask.prefix) && isAbsentOrText(ask.cursor) && (isAbsent(ask.limit) || isCount(ask.limit));
    case "object-get":
      return isPlace(ask) && (isAbsent(ask.range) || isRange(ask.range));
    case "object-put":
      return isPlace(ask) && isPutOptions(ask.options);
    case "object-copy":
      return isPlace(ask) && isObject(ask.to) && isPlace(ask.to);
    case "object-write":
      return isCount(ask.handle) && ask.data instanceof Uint8Array && ask.data.length <= MAX_CHUNK_BYTES;
    case "object-read":
    case "object-close":
    case "object-drop":
      return isCount(ask.handle);
    default:
      return false;
  }
};

const isPlace = (value: Shape): boolean => isText(value.bucket) && isText(value.key);

const isAbsentOrText = (value: unknown): boolean => isAbsent(value) || isText(value);

const isRange = (range: unknown): boolean =>
  isObject(range) && Number.isSafeInteger(range.start) && (isAbsent(range.end) || isCount(range.end));

const isPutOptions = (options: unknown): boolean => {
  if (!isObject(options)) return false;
  const { contentType, metadata, ifMatch, ifNoneMatch, idempotencyKey } = options;
  return (
    isAbsentOrText(contentType) &&
    isAbsentOrText(ifMatch) &&
    isAbsentOrText(idempotencyKey) &&
    (isAbsent(ifNoneMatch) || ifNoneMatch === "*") &&
    (isAbsent(metadata) || isMetadata(metadata))
  );
};

const isMetadata = (metadata: unknown): boolean =>
  isObject(metadata) && Object.keys(metadata).length <= MAX_METADATA && Object.values(metadata).every(isText);

export const isObjectWrites = (writes: unknown): writes is ObjectWrite[] =>
  Array.isArray(writes) && writes.length <= MAX_WRITES && writes.every(isObjectWrite);

const isObjectWrite = (write: unknown): boolean => isObject(write) && (write.op === "put" ? isCount(write.handle) : isDelete(write));

const isDelete = (write: Shape): boolean => write.op === "delete" && isPlace(write);
