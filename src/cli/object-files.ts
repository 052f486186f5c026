/** Objects' bytes from and to files and the standard streams. */
import { createReadStream, createWriteStream } from "node:fs";
import { open, rename, rm } from "node:fs/promises";
import path from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { ReadableStream as NodeStream } from "node:stream/web";
import type { Io } from "./io.ts";
import { UsageError } from "./usage-error.ts";

/** Up to this size a file is read whole: then it can be sent again when the answer is lost. */
const WHOLE_BYTES = 8 * 1024 * 1024;

/** @throws {UsageError} */
export const bodyOf = async (io: Io, file: string): Promise<Uint8Array | ReadableStream<Uint8Array>> => {
  if (file === "-") return Readable.toWeb(Readable.from(io.stdinBytes(), { objectMode: false })) as ReadableStream<Uint8Array>;
  const full = path.resolve(io.cwd, file);
  const handle = await open(full, "r").catch((error: Error) => {
    throw new UsageError(`${file} cannot be read: ${error.message}`);
  });
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) throw new UsageError(`${file} is no file`);
    if (stat.size <= WHOLE_BYTES) return await handle.readFile();
  } finally {
    await handle.close();
  }
  return Readable.toWeb(createReadStream(full)) as ReadableStream<Uint8Array>;
};

/** Writes all of it. A file appears under its name only when it is whole. */
export const save = async (io: Io, file: string, body: ReadableStream<Uint8Array>): Promise<void> => {
  const bytes = Readable.fromWeb(body as NodeStream<Uint8Array>);
  if (file === "-") return io.writeBytes(bytes);
  const full = path.resolve(io.cwd, file);
  const part = `${full}.part`;
  try {
    await pipeline(bytes, createWriteStream(part));
    await rename(part, full);
  } catch (error) {
    await rm(part, { force: true });
    const { syscall, message } = error as NodeJS.ErrnoException;
    throw syscall === "open" || syscall === "rename" ? new UsageError(`${file} cannot be written: ${message}`) : error;
  }
};
