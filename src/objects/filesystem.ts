/**
 * Bytes in files below one folder: `<epoch>/<block>/<number>`, names of our own making in which no user's text occurs.
 *
 * Owns: the files, and that they are durable. Does not own: which of them are objects (journaled.ts).
 *
 * F1  A file is written once, under a name that was never used, and is whole and on disk (it and its folder entry) before it is told of.
 *     A rename would add nothing: nobody looks for a file that no row names.
 * F2  Only files of earlier epochs are swept: those of this one may still be on their way to a row.
 */
import { createHash } from "node:crypto";
import * as nodeFiles from "node:fs/promises";
import path from "node:path";
import { LockstepError } from "../lib/errors.ts";
import type { Bytes, StoredBytes } from "./bytes.ts";
import { corrupt } from "./corrupt.ts";
import { FileBody } from "./filesystem-body.ts";
import { fileError } from "./filesystem-errors.ts";
import { type Files, FolderSync } from "./filesystem-folders.ts";

// Up to this size a body is read whole and checked before its first byte leaves.
const SMALL = 1 << 20;
const FILES_PER_FOLDER = 4_096;
// Bodies that come in crumbs are written in larger pieces.
const WRITE_BYTES = 256 * 1024;

const isCode = (error: unknown, ...codes: string[]): boolean => codes.includes((error as NodeJS.ErrnoException | undefined)?.code ?? "");

export class FileBytes implements Bytes {
  readonly #directory: string;
  readonly #epoch: string;
  readonly #files: Files;
  readonly #folders: FolderSync;
  #last = 0;

  /** @param directory made when it is first needed */
  constructor(directory: string, epoch: number, files: Files = nodeFiles) {
    this.#directory = directory;
    this.#epoch = epoch.toString(36);
    this.#files = files;
    this.#folders = new FolderSync(files);
  }

  async store(body: AsyncIterable<Uint8Array>): Promise<StoredBytes> {
    const hash = createHash("sha256");
    let size = 0;
    const file = await this.#create(async (handle) => {
      for await (const piece of gathered(body)) {
        hash.update(piece);
        size += piece.length;
        await onDisk(() => handle.writeFile(piece));
      }
      await onDisk(() => handle.datasync());
    });
    return { file, size, sha256: hash.digest("hex") };
  }

  async copy(stored: StoredBytes): Promise<StoredBytes | undefined> {
    const from = this.#pathOf(stored.file);
    for (;;) {
      const file = this.#nextName();
      const to = this.#pathOf(file);
      try {
        await this.#folders.make(path.dirname(to), this.#directory);
        // The bytes never change, so two names may share them.
        await this.#files.link(from, to).catch(async (error: unknown) => {
          if (!isCode(error, "EPERM", "EMLINK", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EXDEV")) throw error;
          await this.#copyBytes(from, to);
        });
        await this.#folders.sync(path.dirname(to));
        return { ...stored, file };
      } catch (error) {
        if (isCode(error, "EEXIST")) continue;
        if (isCode(error, "ENOENT")) return undefined;
        await this.#abandon(to);
        throw fileError(error);
      }
    }
  }

  async read(stored: StoredBytes, range?: { start: number; end: number }): Promise<AsyncIterable<Uint8Array> | undefined> {
    const handle = await onDisk(() => this.#files.open(this.#pathOf(stored.file), "r")).catch((error: unknown) => {
      if (isCode((error as Error).cause, "ENOENT")) return undefined;
      throw error;
    });
    if (handle === undefined) return undefined;
    try {
      const { size } = await onDisk(() => handle.stat());
      if (size !== stored.size) throw corrupt(stored, `there are ${size} of ${stored.size} bytes`);
      if (size > SMALL) return new FileBody(handle, stored, range);
      const bytes = await onDisk(() => handle.readFile());
      await handle.close();
      if (createHash("sha256").update(bytes).digest("hex") !== stored.sha256) throw corrupt(stored, "the checksum differs");
      return one(range === undefined ? bytes : bytes.subarray(range.start, range.end + 1));
    } catch (error) {
      await handle.close().catch(() => undefined);
      throw error;
    }
  }

  async remove(file: string): Promise<void> {
    try {
      await this.#files.unlink(this.#pathOf(file));
    } catch (error) {
      if (!isCode(error, "ENOENT")) throw fileError(error);
    }
  }

  async sweep(referenced: () => AsyncIterable<string>): Promise<number> {
    const older = (await this.#list("")).filter((epoch) => epoch !== this.#epoch);
    const orphans = new Set<string>();
    const blocks: string[] = [];
    for (const epoch of older) {
      for (const block of await this.#list(epoch)) {
        blocks.push(path.join(epoch, block));
        for (const name of await this.#list(path.join(epoch, block))) orphans.add(`${epoch}/${block}/${name}`);
      }
    }
    if (orphans.size > 0) for await (const file of referenced()) orphans.delete(file);
    for (const file of orphans) await this.remove(file);
    // Those that still hold something stay.
    for (const folder of [...blocks, ...older]) await this.#files.rmdir(path.join(this.#directory, folder)).catch(() => undefined);
    return orphans.size;
  }

  // ---------------------------------------------------------------- files

  /** A new file, filled by `fill` and durable; removed again when anything fails. */
  async #create(fill: (handle: nodeFiles.FileHandle) => Promise<void>): Promise<string> {
    const { file, handle } = await this.#open();
    const full = this.#pathOf(file);
    try {
      try {
        await fill(handle);
      } finally {
        await onDisk(() => handle.close());
      }
      await onDisk(() => this.#folders.sync(path.dirname(full)));
      return file;
    } catch (error) {
      await this.#abandon(full);
      throw error;
    }
  }

  async #open(): Promise<{ file: string; handle: nodeFiles.FileHandle }> {
    for (;;) {
      const file = this.#nextName();
      const full = this.#pathOf(file);
      try {
        await this.#folders.make(path.dirname(full), this.#directory);
        return { file, handle: await this.#files.open(full, "wx", 0o600) };
      } catch (error) {
        // A journal that was made anew counts its epochs from the beginning: whose file this is, is not ours to say.
        if (!isCode(error, "EEXIST")) throw fileError(error);
      }
    }
  }

  async #copyBytes(from: string, to: string): Promise<void> {
    await this.#files.copyFile(from, to, nodeFiles.constants.COPYFILE_EXCL);
    const handle = await this.#files.open(to, "r+");
    try {
      await handle.datasync();
    } finally {
      await handle.close();
    }
  }

  /** What can't be removed now is removed at the next start. */
  async #abandon(full: string): Promise<void> {
    await this.#files.unlink(full).catch(() => undefined);
  }

  async #list(folder: string): Promise<string[]> {
    try {
      return await this.#files.readdir(path.join(this.#directory, folder));
    } catch (error) {
      if (isCode(error, "ENOENT", "ENOTDIR")) return [];
      throw fileError(error);
    }
  }

  #nextName(): string {
    const n = ++this.#last;
    return `${this.#epoch}/${Math.floor(n / FILES_PER_FOLDER).toString(36)}/${n.toString(36)}`;
  }

  #pathOf(file: string): string {
    return path.join(this.#directory, file);
  }
}

const onDisk = async <T>(work: () => Promise<T>): Promise<T> => {
  try {
    return await work();
  } catch (error) {
    throw error instanceof LockstepError ? error : fileError(error);
  }
};

/** The same bytes in pieces that are worth a write. */
async function* gathered(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let waiting: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    waiting.push(chunk);
    bytes += chunk.length;
    if (bytes < WRITE_BYTES) continue;
    yield waiting.length === 1 ? chunk : Buffer.concat(waiting);
    waiting = [];
    bytes = 0;
  }
  if (bytes > 0) yield Buffer.concat(waiting);
}

async function* one(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  if (bytes.length > 0) yield bytes;
}
