import { Packr, Unpackr } from "msgpackr";

/**
 * Frames between processes: a 32-bit big-endian length, then one MessagePack array that holds all messages of a turn. Record structures
 * are sent once per connection (`sequential`), so an encoder and the decoder at the other end live exactly as long as their connection.
 */
const HEADER = 4;

/** Larger frames are refused: the peer is broken or hostile. */
export const MAX_FRAME_BYTES = 256 * 1024 * 1024;

export class FrameEncoder<Message> {
  readonly #packr = new Packr({ useRecords: true, sequential: true });

  /** The header and the body, for a corked pair of writes: joining them would copy the body. */
  encode(messages: readonly Message[]): [Buffer, Buffer] {
    const body = this.#packr.pack(messages);
    const header = Buffer.allocUnsafe(HEADER);
    header.writeUInt32BE(body.length, 0);
    return [header, body];
  }
}

export class FrameDecoder<Message> {
  readonly #unpackr = new Unpackr({ useRecords: true, sequential: true });
  /** The longest frame that is taken, in bytes. */
  limit: number;
  #rest: Buffer | undefined;
  #parts: Buffer[] = [];
  #missing = 0;

  constructor(limit = MAX_FRAME_BYTES) {
    this.limit = limit;
  }

  /**
   * Takes what the socket read and gives the messages of all frames that it completes.
   * @throws {RangeError} on a frame above the limit, {Error} on malformed MessagePack: the connection must be closed then
   */
  push(chunk: Buffer): Message[] {
    let input = chunk;
    if (this.#missing > 0) {
      // Inside a large frame chunks are only collected: joining them one by one would copy quadratically.
      this.#parts.push(chunk);
      this.#missing -= chunk.length;
      if (this.#missing > 0) return [];
      input = Buffer.concat(this.#parts);
      this.#parts = [];
      this.#missing = 0;
    } else if (this.#rest !== undefined) {
      input = Buffer.concat([this.#rest, chunk]);
    }
    this.#rest = undefined;
    return this.#frames(input);
  }

  #frames(input: Buffer): Message[] {
    let messages: Message[] | undefined;
    let at = 0;
    while (input.length - at >= HEADER) {
      const length = input.readUInt32BE(at);
      if (length > this.limit) throw new RangeError(`a frame of ${length} bytes exceeds the limit of ${this.limit}`);
      const end = at + HEADER + length;
      if (end > input.length) {
        this.#missing = end - input.length;
        this.#parts = [input.subarray(at)];
        return messages ?? [];
      }
      const batch = this.#unpackr.unpack(input.subarray(at + HEADER, end)) as Message[];
      if (!Array.isArray(batch)) throw new Error("a frame must hold an array of messages");
      if (messages === undefined) messages = batch;
      else for (const message of batch) messages.push(message);
      at = end;
    }
    if (at < input.length) this.#rest = input.subarray(at);
    return messages ?? [];
  }
}
