/** Frames between replicas: a 32-bit big-endian length, then so many bytes. */
const HEADER = 4;

/** The header and the body, for a corked pair of writes. */
export const framed = (body: Uint8Array): [Buffer, Uint8Array] => {
  const header = Buffer.allocUnsafe(HEADER);
  header.writeUInt32BE(body.length, 0);
  return [header, body];
};

export class FrameReader {
  /** The longest frame that is taken, in bytes; it may change between two frames of one chunk. */
  limit: number;
  #parts: Buffer[] = [];
  #size = 0;
  /** Bytes that must be there before it is worth looking. */
  #needed = HEADER;

  constructor(limit: number) {
    this.limit = limit;
  }

  push(chunk: Buffer): void {
    this.#parts.push(chunk);
    this.#size += chunk.length;
  }

  /** The next whole frame of what was pushed. @throws {RangeError} on one above the limit: the connection must be closed then */
  next(): Buffer | undefined {
    if (this.#size < this.#needed) return undefined;
    const input = this.#parts.length === 1 ? (this.#parts[0] as Buffer) : Buffer.concat(this.#parts);
    const length = input.readUInt32BE(0);
    if (length > this.limit) throw new RangeError(`a frame of ${length} bytes exceeds the limit of ${this.limit}`);
    const end = HEADER + length;
    const isWhole = input.length >= end;
    this.#parts = isWhole ? [input.subarray(end)] : [input];
    this.#size = input.length - (isWhole ? end : 0);
    this.#needed = isWhole ? HEADER : end;
    return isWhole ? input.subarray(HEADER, end) : undefined;
  }
}
