import { open, readdir, readFile, rename, unlink } from "node:fs/promises";
import { join } from "node:path";
import type { Digest } from "../consensus/crypto.ts";
import { digestOf, type Page } from "./replica-state.ts";

const NAME = /^pages-(\d+)$/;
/** With more files than this, what is still needed of them is written into one. */
const MOST_FILES = 8;
/** Lists of snapshots whose pages are kept: the last stable one is among them. */
const KEPT_LISTS = 4;

/** Flushes a directory: that a file is in it. */
export const syncDirectory = async (path: string): Promise<void> => {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
};

/** Writes a file as a whole or not at all. */
export const writeWhole = async (directory: string, name: string, text: string, mode = 0o600): Promise<void> => {
  const path = join(directory, name);
  const handle = await open(`${path}.new`, "w", mode);
  try {
    await handle.writeFile(text);
    await handle.datasync();
  } finally {
    await handle.close();
  }
  await rename(`${path}.new`, path);
  await syncDirectory(directory);
};

/**
 * The pages of a replica's snapshots on its disk, by their digests. A snapshot writes the pages that have changed into one file of its own; what
 * is in no snapshot that may still be asked for goes with the last page of its file.
 */
export class PageFiles {
  readonly #directory: string;
  readonly #pages = new Map<Digest, { text: string; file: number }>();
  #lists: ReadonlySet<Digest>[] = [];
  #files = new Set<number>();
  #next = 1;

  constructor(directory: string) {
    this.#directory = directory;
  }

  async load(): Promise<void> {
    const files = (await readdir(this.#directory)).flatMap((name) => NAME.exec(name)?.slice(1).map(Number) ?? []);
    for (const file of files.sort((a, b) => a - b)) {
      const text = await readFile(this.#path(file), "utf8");
      for (const line of text.split("\n")) if (line !== "") this.#take(JSON.parse(line) as string, file);
      this.#files.add(file);
      this.#next = file + 1;
    }
    this.#lists = [new Set(this.#pages.keys())];
  }

  /** The texts of these digests; undefined unless all of them are here. */
  texts(digests: readonly Digest[]): string[] | undefined {
    const texts: string[] = [];
    for (const digest of digests) {
      const page = this.#pages.get(digest);
      if (page === undefined) return undefined;
      texts.push(page.text);
    }
    return texts;
  }

  /** All pages of one snapshot. */
  async save(pages: readonly Page[]): Promise<void> {
    this.#lists = [new Set(pages.map(({ digest }) => digest)), ...this.#lists].slice(0, KEPT_LISTS);
    const fresh = pages.filter(({ digest }) => !this.#pages.has(digest)).map(({ text }) => text);
    if (fresh.length > 0) await this.#write(fresh);
    for (const digest of this.#pages.keys()) if (!this.#lists.some((list) => list.has(digest))) this.#pages.delete(digest);
    if (this.#files.size > MOST_FILES) await this.#write([...this.#pages.values()].map(({ text }) => text));
    await this.#clean();
  }

  async #write(texts: readonly string[]): Promise<void> {
    const file = this.#next++;
    await writeWhole(this.#directory, `pages-${file}`, texts.map((text) => JSON.stringify(text)).join("\n"));
    this.#files.add(file);
    for (const text of texts) this.#take(text, file);
  }

  async #clean(): Promise<void> {
    const needed = new Set([...this.#pages.values()].map(({ file }) => file));
    for (const file of this.#files) {
      if (needed.has(file)) continue;
      this.#files.delete(file);
      await unlink(this.#path(file));
    }
  }

  #take(text: string, file: number): void {
    this.#pages.set(digestOf(text), { text, file });
  }

  #path(file: number): string {
    return join(this.#directory, `pages-${file}`);
  }
}
