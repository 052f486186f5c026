/** Small builders for tests of object stores. */
import { rejects } from "node:assert/strict";
import type { Change, Content, ObjectPlace, ObjectStore, Staged } from "../objects/port.ts";
import type { EventBody } from "../protocol/events.ts";
import type { ObjectInfo } from "../protocol/objects.ts";

/** A store, and what it has recorded. Its buckets `orders` and `other` are there and empty. */
export interface OpenStore {
  store: ObjectStore;
  /** The events that are durable, in order. */
  events(): Promise<EventBody[]>;
}

/** What a case of the suite works with. */
export interface StoreBench extends OpenStore {
  /** Kills the store and opens it again on what is left; `store` is the new one then. */
  crash(): Promise<void>;
}

export type StoreCases = Record<string, (bench: StoreBench) => Promise<void>>;

export const at = (key: string, bucket = "orders"): ObjectPlace => ({ bucket, key });

export const PLAIN: Content = { contentType: "application/octet-stream", metadata: {} };

/** A body in chunks of this size. */
export async function* chunked(bytes: Uint8Array | string, size = 65_536): AsyncGenerator<Uint8Array> {
  const all = typeof bytes === "string" ? Buffer.from(bytes) : bytes;
  for (let start = 0; start < all.length; start += size) yield all.subarray(start, start + size);
}

/** Bytes that look like no others: the same for the same seed. */
export const noise = (length: number, seed = 1): Buffer => {
  const bytes = Buffer.alloc(length);
  let state = seed;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
};

export const change = async (store: ObjectStore, what: Change): Promise<ObjectInfo | undefined> => {
  const claim = await store.claim(what.place, true);
  try {
    return await (store.publish([what])[0] as Promise<ObjectInfo | undefined>);
  } finally {
    claim.release();
  }
};

export const stage = (store: ObjectStore, place: ObjectPlace, body: Uint8Array | string, content = PLAIN): Promise<Staged> =>
  store.stage(place, chunked(body), content);

export const put = async (store: ObjectStore, place: ObjectPlace, body: Uint8Array | string, content = PLAIN): Promise<ObjectInfo> =>
  (await change(store, { place, staged: await stage(store, place, body, content) })) as ObjectInfo;

export const remove = (store: ObjectStore, place: ObjectPlace): Promise<ObjectInfo | undefined> => change(store, { place });

export const bytesOf = async (body: AsyncIterable<Uint8Array>): Promise<Buffer> => {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
};

export const read = async (store: ObjectStore, place: ObjectPlace): Promise<string> =>
  (await bytesOf((await store.open(place)).body)).toString();

export const keysOf = async (store: ObjectStore, prefix = "", bucket = "orders"): Promise<string[]> =>
  (await store.list(bucket, { prefix, limit: 1_000 })).objects.map(({ key }) => key);

export const rejectsWith = (work: Promise<unknown>, code: string): Promise<void> =>
  rejects(work, (error: unknown) => (error as { code?: unknown }).code === code);
