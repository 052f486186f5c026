/** Frames between replicas: a 32-bit big-endian length, then so many bytes. */
export const HEADER_BYTES = 4;

/** Completes a frame whose first `HEADER_BYTES` were left free: one buffer is one write. */
export const framed = (frame: Buffer): Buffer => {
  frame.writeUInt32BE(frame.length - HEADER_BYTES, 0);
  return frame;
};

export class FrameReader {
  /** The longest frame that is taken, in bytes; it may change between two frames of one chunk. */
  limit: number;
  #parts: Buffer[] = [];
  #size = 0;
  /** Bytes that must be there before it is worth looking. */
  #needed = HEADER_BYTES;

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
    const end = HEADER_BYTES + length;
    const isWhole = input.length >= end;
    this.#size = input.length - (isWhole ? end : 0);
    this.#parts = this.#size === 0 ? [] : [isWhole ? input.subarray(end) : input];
    this.#needed = isWhole ? HEADER_BYTES : end;
    return isWhole ? input.subarray(HEADER_BYTES, end) : undefined;
  }
}
