import type { ByteRange } from "../protocol/objects.ts";

/** What a file of bytes was when it was stored. `file` is a name of the keeper's own making: no user's text is ever part of it. */
export interface StoredBytes {
  file: string;
  size: number;
  /** Hexadecimal. */
  sha256: string;
}

/** Where the journaled store keeps bytes. Files never change: they are stored, read and removed. */
export interface Bytes {
  /** Durable when it resolves; leaves nothing behind when it rejects. What `body` throws is passed on. */
  store(body: AsyncIterable<Uint8Array>): Promise<StoredBytes>;
  /** The same bytes under another name. `undefined`: no such file. */
  copy(stored: StoredBytes): Promise<StoredBytes | undefined>;
  /** Rejects with OBJECT_CORRUPT when the bytes are not those that were stored; a large body may do so at its end. `undefined`: no such file. */
  read(stored: StoredBytes, range?: Required<ByteRange>): Promise<AsyncIterable<Uint8Array> | undefined>;
  remove(file: string): Promise<void>;
  /** Removes files of earlier lives of which `referenced` does not tell. Returns how many. */
  sweep(referenced: () => AsyncIterable<string>): Promise<number>;
}
