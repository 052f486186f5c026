import type { Readable } from "node:stream";
import { LockstepError } from "../lib/errors.ts";
import { nameOf } from "./names.ts";
import type { ObjectPlace } from "./port.ts";
import { s3Error } from "./s3-errors.ts";

/** The bytes of an answer of S3. The connection is given up by `return`, also when nothing was ever read. */
export class S3Body implements AsyncIterableIterator<Uint8Array> {
  readonly #stream: Readable;
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #place: ObjectPlace;
  readonly #length: number;
  #read = 0;

  constructor(stream: Readable, place: ObjectPlace, length: number) {
    this.#stream = stream;
    this.#chunks = stream[Symbol.asyncIterator]();
    this.#place = place;
    this.#length = length;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    let step: IteratorResult<Uint8Array>;
    try {
      step = await this.#chunks.next();
    } catch (error) {
      throw s3Error(error, this.#place);
    }
    if (!step.done) {
      this.#read += step.value.length;
      return step;
    }
    if (this.#read === this.#length) return { value: undefined, done: true };
    const message = `${nameOf(this.#place)}: S3 has given ${this.#read} of ${this.#length} bytes`;
    throw new LockstepError("STORAGE_UNAVAILABLE", message, { details: { passing: true } });
  }

  async return(): Promise<{ value: undefined; done: true }> {
    this.#stream.destroy();
    return { value: undefined, done: true };
  }
}
