import { createHash } from "node:crypto";
import { LockstepError } from "../../src/lib/errors.ts";
import type { ObjectPlane } from "../../src/protocol/control-plane.ts";
import type { ByteRange, ObjectInfo, ObjectPage, PutOptions } from "../../src/protocol/objects.ts";

interface Stored {
  info: ObjectInfo;
  bytes: Buffer;
}

/** Buckets of objects in memory. There is one from the beginning: `orders`. */
export class FakeObjects implements ObjectPlane {
  readonly #buckets = new Map<string, Map<string, Stored>>([["orders", new Map()]]);
  readonly notified: unknown[] = [];
  #version = 0;

  async buckets(): Promise<string[]> {
    return [...this.#buckets.keys()].sort();
  }

  async createBucket(bucket: string): Promise<void> {
    if (!this.#buckets.has(bucket)) this.#buckets.set(bucket, new Map());
  }

  async put(bucket: string, key: string, body: AsyncIterable<Uint8Array>, options: PutOptions): Promise<ObjectInfo> {
    const objects = this.#bucket(bucket);
    const chunks: Uint8Array[] = [];
    for await (const chunk of body) chunks.push(chunk);
    const there = objects.get(key)?.info;
    if ((options.ifNoneMatch === "*" && there !== undefined) || (options.ifMatch !== undefined && options.ifMatch !== there?.etag)) {
      throw new LockstepError("PRECONDITION_FAILED", `${bucket}/${key} is not in that state`);
    }
    const bytes = Buffer.concat(chunks);
    const info: ObjectInfo = {
      bucket,
      key,
      version: String(++this.#version),
      size: bytes.length,
      etag: `"${createHash("md5").update(bytes).digest("hex")}"`,
      contentType: options.contentType ?? "application/octet-stream",
      metadata: options.metadata ?? {},
      modifiedAt: 1_700_000_000_000,
    };
    objects.set(key, { info, bytes });
    return info;
  }

  async get(bucket: string, key: string, range?: ByteRange): ReturnType<ObjectPlane["get"]> {
    const { info, bytes } = this.#object(bucket, key);
    if (range === undefined) return { info, body: chunksOf(bytes) };
    const start = range.start < 0 ? Math.max(0, bytes.length + range.start) : range.start;
    const end = Math.min(range.end ?? bytes.length - 1, bytes.length - 1);
    if (start > end) throw new LockstepError("RANGE_NOT_SATISFIABLE", `${bucket}/${key} has ${bytes.length} bytes`);
    return { info, range: { start, end }, body: chunksOf(bytes.subarray(start, end + 1)) };
  }

  async head(bucket: string, key: string): Promise<ObjectInfo> {
    return this.#object(bucket, key).info;
  }

  async list(bucket: string, { prefix = "", cursor = "", limit = 1_000 }: Parameters<ObjectPlane["list"]>[1]): Promise<ObjectPage> {
    const keys = [...this.#bucket(bucket).keys()].filter((key) => key.startsWith(prefix) && key > cursor).sort();
    const objects = keys.slice(0, limit).map((key) => this.#object(bucket, key).info);
    const last = objects.at(-1);
    return keys.length > limit && last !== undefined ? { objects, cursor: last.key } : { objects };
  }

  async copy(from: { bucket: string; key: string }, to: { bucket: string; key: string }): Promise<ObjectInfo> {
    const { info, bytes } = this.#object(from.bucket, from.key);
    return this.put(to.bucket, to.key, chunksOf(bytes), { contentType: info.contentType, metadata: info.metadata });
  }

  async delete(bucket: string, key: string, options: { ifMatch?: string } = {}): Promise<boolean> {
    const objects = this.#bucket(bucket);
    if (options.ifMatch !== undefined && objects.get(key)?.info.etag !== options.ifMatch) {
      throw new LockstepError("PRECONDITION_FAILED", `${bucket}/${key} is not in that state`);
    }
    return objects.delete(key);
  }

  async notify(notification: unknown): Promise<number> {
    this.notified.push(notification);
    return 1;
  }

  #bucket(bucket: string): Map<string, Stored> {
    const objects = this.#buckets.get(bucket);
    if (objects === undefined) throw new LockstepError("UNKNOWN_BUCKET", `there is no bucket "${bucket}"`);
    return objects;
  }

  #object(bucket: string, key: string): Stored {
    const object = this.#bucket(bucket).get(key);
    if (object === undefined) throw new LockstepError("UNKNOWN_OBJECT", `there is no object ${bucket}/${key}`);
    return object;
  }
}

async function* chunksOf(bytes: Buffer): AsyncGenerator<Uint8Array> {
  yield bytes;
}
