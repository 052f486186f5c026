import { createHash, type Hash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import type { StoredBytes } from "./bytes.ts";
import { corrupt } from "./corrupt.ts";
import { fileError } from "./filesystem-errors.ts";

const CHUNK = 256 * 1024;

/**
 * The bytes of a large file, or a part of them, one chunk in memory at a time. A whole body is checked at its end: then, instead of ending, it
 * rejects with OBJECT_CORRUPT. The file is closed at the end, or by `return`, also when nothing was ever read.
 */
export class FileBody implements AsyncIterableIterator<Uint8Array> {
  readonly #handle: FileHandle;
  readonly #stored: StoredBytes;
  readonly #hash: Hash | undefined;
  readonly #end: number;
  #at: number;
  #closed = false;

  constructor(handle: FileHandle, stored: StoredBytes, range?: { start: number; end: number }) {
    this.#handle = handle;
    this.#stored = stored;
    this.#hash = range === undefined ? createHash("sha256") : undefined;
    this.#at = range?.start ?? 0;
    this.#end = range === undefined ? stored.size : range.end + 1;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    if (this.#closed) return { value: undefined, done: true };
    try {
      if (this.#at < this.#end) return { value: await this.#read(), done: false };
      if (this.#hash !== undefined && this.#hash.digest("hex") !== this.#stored.sha256) throw corrupt(this.#stored, "the checksum differs");
    } catch (error) {
      await this.return();
      throw error;
    }
    return this.return();
  }

  async return(): Promise<{ value: undefined; done: true }> {
    if (!this.#closed) {
      this.#closed = true;
      await this.#handle.close();
    }
    return { value: undefined, done: true };
  }

  async #read(): Promise<Uint8Array> {
    const wanted = Math.min(CHUNK, this.#end - this.#at);
    // A buffer of its own for each chunk: whoever got the last one may still hold it.
    const read = await this.#handle.read(Buffer.allocUnsafe(wanted), 0, wanted, this.#at).catch((error: unknown) => {
      throw fileError(error);
    });
    if (read.bytesRead === 0) throw corrupt(this.#stored, `they end after ${this.#at} of ${this.#stored.size}`);
    this.#at += read.bytesRead;
    const chunk = read.buffer.subarray(0, read.bytesRead);
    this.#hash?.update(chunk);
    return chunk;
  }
}
