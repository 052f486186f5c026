/** Bytes in memory, for the testing kit: an object as long as the process that holds it. */
import { createHash } from "node:crypto";
import type { Bytes, StoredBytes } from "./bytes.ts";

const CHUNK = 64 * 1024;

export class MemoryBytes implements Bytes {
  readonly #files = new Map<string, Buffer>();
  #next = 0;

  async store(body: AsyncIterable<Uint8Array>): Promise<StoredBytes> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of body) chunks.push(chunk);
    const bytes = Buffer.concat(chunks);
    return this.#add(bytes, createHash("sha256").update(bytes).digest("hex"));
  }

  async copy({ file, sha256 }: StoredBytes): Promise<StoredBytes | undefined> {
    const bytes = this.#files.get(file);
    return bytes === undefined ? undefined : this.#add(bytes, sha256);
  }

  async read({ file }: StoredBytes, range?: { start: number; end: number }): Promise<AsyncIterable<Uint8Array> | undefined> {
    const bytes = this.#files.get(file);
    if (bytes === undefined) return undefined;
    const part = range === undefined ? bytes : bytes.subarray(range.start, range.end + 1);
    return (async function* () {
      // Copies: what a reader does to its chunks must not happen to the object.
      for (let at = 0; at < part.length; at += CHUNK) yield Uint8Array.prototype.slice.call(part, at, at + CHUNK);
    })();
  }

  async remove(file: string): Promise<void> {
    this.#files.delete(file);
  }

  async sweep(): Promise<number> {
    return 0;
  }

  #add(bytes: Buffer, sha256: string): StoredBytes {
    const file = String(++this.#next);
    this.#files.set(file, bytes);
    return { file, size: bytes.length, sha256 };
  }
}
