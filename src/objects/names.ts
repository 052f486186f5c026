/** What buckets, keys and the things kept with an object may be called. */
import { isBucketName } from "../lib/bucket-name.ts";
import { LockstepError } from "../lib/errors.ts";
import type { ByteRange, ObjectInfo, PutOptions } from "../protocol/objects.ts";
import type { Content, ObjectPlace } from "./port.ts";

const MAX_KEY_BYTES = 1_024;
const MAX_METADATA_BYTES = 2_048;
const MAX_CONTENT_TYPE = 200;
const MAX_PUT_KEY = 200;
const DEFAULT_CONTENT_TYPE = "application/octet-stream";

/** @throws {LockstepError} BUCKET_NAME_INVALID */
export const checkBucket = (bucket: string): void => {
  if (isBucketName(bucket)) return;
  throw new LockstepError("BUCKET_NAME_INVALID", `no bucket can be called ${shown(bucket)}`, { details: { field: "bucket", bucket } });
};

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;

/** @throws {LockstepError} OBJECT_KEY_INVALID */
export const checkKey = (key: string): void => {
  const wrong = wrongKey(key);
  if (wrong === undefined) return;
  throw new LockstepError("OBJECT_KEY_INVALID", `the key ${shown(key)} ${wrong}`, { details: { field: "key" } });
};

const wrongKey = (key: string): string | undefined => {
  if (key === "") return "is empty";
  if (key.length > MAX_KEY_BYTES || Buffer.byteLength(key) > MAX_KEY_BYTES) return `is longer than ${MAX_KEY_BYTES} bytes`;
  if (!key.isWellFormed()) return "holds half of a surrogate pair";
  // Every client takes such a segment out of an address: over HTTP nobody would ever reach the object.
  if (key === "." || key === "..") return "can't be told from a folder in an address";
  return CONTROL.test(key) ? "holds a control character" : undefined;
};

/** @throws {LockstepError} BUCKET_NAME_INVALID, OBJECT_KEY_INVALID */
export const checkPlace = ({ bucket, key }: ObjectPlace): void => {
  checkBucket(bucket);
  checkKey(key);
};

const METADATA_NAME = /^[a-z0-9][a-z0-9_.-]{0,99}$/;

/**
 * What is kept with an object, of the options of its PUT.
 * @throws {LockstepError} BAD_REQUEST naming the option
 */
export const contentOf = (options: PutOptions): Content => {
  const { contentType = DEFAULT_CONTENT_TYPE, metadata = {}, idempotencyKey } = options;
  if (!isVisible(contentType) || contentType.length > MAX_CONTENT_TYPE) {
    throw wrong("contentType", `must be 1 to ${MAX_CONTENT_TYPE} visible ASCII characters, not ${shown(contentType)}`);
  }
  const content: Content = { contentType, metadata: checkMetadata(metadata) };
  if (idempotencyKey === undefined) return content;
  if (!isVisible(idempotencyKey) || idempotencyKey.length > MAX_PUT_KEY) {
    throw wrong("idempotencyKey", `must be 1 to ${MAX_PUT_KEY} visible ASCII characters, not ${shown(idempotencyKey)}`);
  }
  return { ...content, put: idempotencyKey };
};

const isVisible = (text: string): boolean => /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/.test(text);

const checkMetadata = (metadata: Record<string, string>): Record<string, string> => {
  const checked: Record<string, string> = {};
  let bytes = 0;
  for (const [given, value] of Object.entries(metadata)) {
    const name = given.toLowerCase();
    if (!METADATA_NAME.test(name) || RESERVED_METADATA.test(name)) throw wrong("metadata", `can have no name ${shown(given)}`);
    if (!value.isWellFormed() || CONTROL.test(value))
      throw wrong(`metadata.${name}`, "holds a control character or half of a surrogate pair");
    bytes += name.length + Buffer.byteLength(value);
    checked[name] = value;
  }
  if (bytes <= MAX_METADATA_BYTES) return checked;
  throw wrong("metadata", `is ${bytes} bytes; the limit is ${MAX_METADATA_BYTES}`);
};

// Taken by the S3 store, for what it must find again.
const RESERVED_METADATA = /^lockstep-/;

const wrong = (field: string, message: string): LockstepError =>
  new LockstepError("BAD_REQUEST", `${field} ${message}`, { details: { field } });

const SHOWN = 80;

const shown = (text: string): string => JSON.stringify(text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text);

/**
 * The bytes that a range means in an object of this size, both ends included.
 * @throws {LockstepError} RANGE_NOT_SATISFIABLE
 */
export const rangeIn = ({ start, end }: ByteRange, size: number): { start: number; end: number } => {
  const first = start < 0 ? Math.max(0, size + start) : start;
  const last = Math.min(end ?? size - 1, size - 1);
  if (first < size && first <= last) return { start: first, end: last };
  const message = `there is nothing from byte ${start}${end === undefined ? "" : ` to ${end}`} in an object of ${size} bytes`;
  throw new LockstepError("RANGE_NOT_SATISFIABLE", message, { details: { size } });
};

/** Whether what is there (its etag, or `undefined`) is what a change was made for. */
export const fits = (etag: string | undefined, change: { ifMatch?: string; ifNoneMatch?: "*" }): boolean => {
  if (change.ifNoneMatch !== undefined && etag !== undefined) return false;
  return change.ifMatch === undefined || (etag !== undefined && (change.ifMatch === "*" || change.ifMatch === etag));
};

export const nameOf = ({ bucket, key }: ObjectPlace): string => `${bucket}/${key}`;

export const unknownObject = (place: ObjectPlace): LockstepError =>
  new LockstepError("UNKNOWN_OBJECT", `there is no object ${shown(nameOf(place))}`, { details: { bucket: place.bucket, key: place.key } });

export const unknownBucket = (bucket: string): LockstepError =>
  new LockstepError("UNKNOWN_BUCKET", `there is no bucket ${shown(bucket)}`, { details: { bucket } });

export const preconditionFailed = (place: ObjectPlace, info: Pick<ObjectInfo, "etag"> | undefined): LockstepError => {
  const now = info === undefined ? "does not exist" : `has the etag ${info.etag}`;
  const details = { bucket: place.bucket, key: place.key, etag: info?.etag };
  return new LockstepError("PRECONDITION_FAILED", `${shown(nameOf(place))} ${now}`, { details });
};
