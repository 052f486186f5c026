import { LockstepError } from "../lib/errors.ts";

/** Chunks that somebody reads as one body. A push resolves when its chunk has been taken, so that no more than a few are in memory. */
export class ChunkQueue implements AsyncIterableIterator<Uint8Array> {
  readonly #limit: number;
  readonly #waiting: { chunk: Uint8Array; taken: () => void; lost: (error: unknown) => void }[] = [];
  #reader: { resolve: (result: IteratorResult<Uint8Array, undefined>) => void; reject: (error: unknown) => void } | undefined;
  #ended = false;
  #failure: { error: unknown } | undefined;

  /** @param limit chunks that may wait; a push beyond it rejects with BAD_REQUEST */
  constructor(limit: number) {
    this.#limit = limit;
  }

  push(chunk: Uint8Array): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure.error);
    if (this.#ended) return Promise.reject(new LockstepError("BAD_REQUEST", "the body has ended already"));
    const reader = this.#reader;
    if (reader !== undefined) {
      this.#reader = undefined;
      reader.resolve({ value: chunk, done: false });
      return Promise.resolve();
    }
    if (this.#waiting.length >= this.#limit)
      return Promise.reject(new LockstepError("BAD_REQUEST", "chunks are sent faster than they are taken"));
    return new Promise((taken, lost) => {
      this.#waiting.push({ chunk, taken, lost });
    });
  }

  end(): void {
    this.#ended = true;
    if (this.#reader === undefined) return;
    this.#reader.resolve({ value: undefined, done: true });
    this.#reader = undefined;
  }

  /** Ends the body with an error, for its reader as for those whose chunks wait. */
  fail(error: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = { error };
    this.#reader?.reject(error);
    this.#reader = undefined;
    for (const { lost } of this.#waiting.splice(0)) lost(error);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<Uint8Array, undefined>> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure.error);
    const first = this.#waiting.shift();
    if (first !== undefined) {
      first.taken();
      return Promise.resolve({ value: first.chunk, done: false });
    }
    if (this.#ended) return Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  async return(): Promise<IteratorResult<Uint8Array, undefined>> {
    this.fail(new LockstepError("BAD_REQUEST", "nobody takes the body any more"));
    return { value: undefined, done: true };
  }
}
