/** What is known of an object. */
export interface ObjectInfo {
  bucket: string;
  key: string;
  /** Another one for each PUT of the key. In the embedded store it is a number that only grows; over S3 the version id, or the etag. */
  version: string;
  size: number;
  /** Quoted as in HTTP. */
  etag: string;
  contentType: string;
  /** The user's own, with names in lower case. */
  metadata: Record<string, string>;
  /** Unix ms. */
  modifiedAt: number;
}

export interface PutOptions {
  contentType?: string;
  metadata?: Record<string, string>;
  /** Refused with PRECONDITION_FAILED unless the object has this etag, or for `ifNoneMatch: "*"` unless there is none. */
  ifMatch?: string;
  ifNoneMatch?: "*";
  /**
   * Names this PUT: when it was the last one of its object already, as after an answer that was lost, nothing is put and no run is started.
   * At most 200 characters.
   */
  idempotencyKey?: string;
}

/** Bytes `start` to `end`, both included; without `end` to the last; a negative `start` counts from the end. */
export interface ByteRange {
  start: number;
  end?: number;
}

export interface ObjectPage {
  objects: ObjectInfo[];
  /** Give it back to get the next page; absent on the last. */
  cursor?: string;
}

/** What an attempt asks about objects. Bodies travel in chunks, one request each, so that neither side holds more than one. */
export type ObjectRequest =
  /** Answers the `ObjectInfo`, or nothing when there is no such object. */
  | { op: "object-head"; bucket: string; key: string }
  | { op: "object-list"; bucket: string; prefix?: string; cursor?: string; limit?: number }
  /** Answers `{ handle, info }`; then `object-read` answers with `data`, empty at the end. */
  | { op: "object-get"; bucket: string; key: string; range?: ByteRange }
  | { op: "object-read"; handle: number }
  /** Answers `{ handle }`; after the last `object-write` comes `object-close`, which answers `{ size, etag }`: the bytes are staged. */
  | { op: "object-put"; bucket: string; key: string; options: PutOptions }
  | { op: "object-write"; handle: number; data: Uint8Array }
  | { op: "object-close"; handle: number }
  /** Answers `{ handle, size, etag }`: the copy is staged. */
  | { op: "object-copy"; bucket: string; key: string; to: { bucket: string; key: string } }
  /** Announces a deletion, which the result may then hold. Answers `{ existed }`. */
  | { op: "object-delete"; bucket: string; key: string }
  | { op: "object-drop"; handle: number };

/** What an attempt's result makes of objects, published when the call commits, in this order. */
export type ObjectWrite = { op: "put"; handle: number } | { op: "delete"; bucket: string; key: string };
