import type { RunId } from "../lib/ids.ts";
import type { ByteRange, ObjectInfo } from "../protocol/objects.ts";

/** Where an object is. Both names have been checked: an adapter may rely on the rules of names.ts. */
export interface ObjectPlace {
  bucket: string;
  key: string;
}

/** What an object has beside its bytes. `put` is the idempotency key of the PUT that made it. */
export interface Content {
  contentType: string;
  metadata: Record<string, string>;
  put?: string;
}

/** Bytes that are stored, durably, and no object yet. They belong to one store, which knows them by `token`. */
export interface Staged {
  readonly size: number;
  readonly etag: string;
  readonly content: Content;
  readonly token: string;
}

/** Without `staged`, the object is deleted. `run`: whose call it comes from. */
export interface Change {
  place: ObjectPlace;
  run?: RunId;
  staged?: Staged;
  ifMatch?: string;
  ifNoneMatch?: "*";
}

/** A key whose changes may be published until `release`. `info` tells what it holds, changes that are being published included. */
export interface Claim {
  readonly info: ObjectInfo | undefined;
  /** The idempotency key of the PUT that made it. */
  readonly put: string | undefined;
  release(): void;
}

/**
 * Where objects are kept. Bytes are staged first, and published by a change in the journal's turn, with its event: an object is visible
 * whole or not at all, whatever dies when. Rejects with UNKNOWN_BUCKET, UNKNOWN_OBJECT, RANGE_NOT_SATISFIABLE, PRECONDITION_FAILED,
 * OBJECT_CORRUPT, STORAGE_FULL, STORAGE_UNAVAILABLE.
 */
export interface ObjectStore {
  /** Finishes what an earlier life has begun, and removes what it left behind; may go on in the background. */
  start(): Promise<void>;
  /** Resolves when nothing of it goes on any more. */
  stop(): Promise<void>;
  /** Makes the bucket unless there is one. */
  ensureBucket(bucket: string): Promise<void>;
  /** The chunks of `body` are the store's from then on. */
  stage(place: ObjectPlace, body: AsyncIterable<Uint8Array>, content: Content): Promise<Staged>;
  stageCopy(from: ObjectPlace, to: ObjectPlace): Promise<Staged>;
  discard(staged: Staged): Promise<void>;
  /** `look`: `info` is wanted even where it has to be asked for. */
  claim(place: ObjectPlace, look: boolean): Promise<Claim>;
  /** Whether the conditions of these changes of claimed keys hold, as far as is known. */
  holds(changes: readonly Change[]): boolean;
  /**
   * Records the changes of claimed keys in this turn, all of them, in order; several of one key are carried out in the order of the calls.
   * The promises resolve when a change and its event are durable: with the object, or what was deleted (`undefined`: there was nothing).
   */
  publish(changes: readonly Change[]): Promise<ObjectInfo | undefined>[];
  head(place: ObjectPlace): Promise<ObjectInfo | undefined>;
  open(place: ObjectPlace, range?: ByteRange): Promise<{ info: ObjectInfo; range?: ByteRange; body: AsyncIterable<Uint8Array> }>;
  /** In order of the UTF-8 bytes of the keys, those after the key `after`. */
  list(bucket: string, page: { prefix: string; after?: string; limit: number }): Promise<{ objects: ObjectInfo[]; more: boolean }>;
  /** Takes an event notification of the store's own, parsed; gives how many events it held. Absent where there are none. */
  notify?(notification: unknown): Promise<number>;
}
