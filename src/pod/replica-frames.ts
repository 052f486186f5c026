/** Frames between replicas: a 32-bit big-endian length, then so many bytes. */
const HEADER = 4;

/** The header and the body, for a corked pair of writes. */
export const framed = (body: Uint8Array): [Buffer, Uint8Array] => {
  const header = Buffer.allocUnsafe(HEADER);
  header.writeUInt32BE(body.length, 0);
  return [header, body];
};

export class FrameReader {
  /** The longest frame that is taken, in bytes. */
  limit: number;
  #parts: Buffer[] = [];
  #size = 0;
  /** Bytes that must be there before it is worth looking. */
  #needed = HEADER;

  constructor(limit: number) {
    this.limit = limit;
  }

  /** The frames that this chunk completes. @throws {RangeError} on one above the limit: the connection must be closed then */
  push(chunk: Buffer): Buffer[] {
    this.#parts.push(chunk);
    this.#size += chunk.length;
    if (this.#size < this.#needed) return [];
    const input = this.#parts.length === 1 ? chunk : Buffer.concat(this.#parts);
    const frames: Buffer[] = [];
    let at = 0;
    this.#needed = HEADER;
    while (input.length - at >= HEADER) {
      const length = input.readUInt32BE(at);
      if (length > this.limit) throw new RangeError(`a frame of ${length} bytes exceeds the limit of ${this.limit}`);
      this.#needed = HEADER + length;
      if (input.length - at < this.#needed) break;
      frames.push(input.subarray(at + HEADER, at + this.#needed));
      at += this.#needed;
      this.#needed = HEADER;
    }
    this.#parts = at === input.length ? [] : [input.subarray(at)];
    this.#size = input.length - at;
    return frames;
  }
}
