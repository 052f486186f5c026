import type * as nodeFiles from "node:fs/promises";
import path from "node:path";
import { getOrMake } from "../lib/map.ts";

/** What is used of the disk: a seam for tests of disks that are full or fail. */
export type Files = Pick<typeof nodeFiles, "open" | "mkdir" | "link" | "copyFile" | "unlink" | "rmdir" | "readdir">;

/** Makes folders, and brings their entries to the disk: those that wait for one folder share a flush, as commits do. */
export class FolderSync {
  readonly #files: Pick<Files, "open" | "mkdir">;
  readonly #made = new Map<string, Promise<void>>();
  readonly #flushes = new Map<string, { running: Promise<void>; next: Promise<void> | undefined }>();

  constructor(files: Pick<Files, "open" | "mkdir">) {
    this.#files = files;
  }

  /** Makes `folder`, two below `root`, so that it outlives a crash. */
  make(folder: string, root: string): Promise<void> {
    return getOrMake(this.#made, folder, () =>
      this.#make(folder, root).catch((error: unknown) => {
        this.#made.delete(folder);
        throw error;
      }),
    );
  }

  async #make(folder: string, root: string): Promise<void> {
    await this.#files.mkdir(folder, { recursive: true, mode: 0o700 });
    for (const changed of [path.dirname(folder), root, path.dirname(root)]) await this.sync(changed);
  }

  /** Resolves after a flush that began after this was called. */
  async sync(folder: string): Promise<void> {
    const flush = this.#flushes.get(folder);
    if (flush === undefined) return this.#begin(folder);
    // The one under way may have begun before the entry was there.
    flush.next ??= flush.running.then(
      () => this.#begin(folder),
      () => this.#begin(folder),
    );
    return flush.next;
  }

  #begin(folder: string): Promise<void> {
    const running = this.#flush(folder);
    const flush = { running, next: undefined };
    this.#flushes.set(folder, flush);
    const end = (): void => {
      if (flush.next === undefined) this.#flushes.delete(folder);
    };
    running.then(end, end);
    return running;
  }

  async #flush(folder: string): Promise<void> {
    const handle = await this.#files.open(folder, "r");
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  }
}
