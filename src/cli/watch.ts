import { watch } from "node:fs";
import path from "node:path";
import type { Clock } from "../lib/clock.ts";

export interface Watcher {
  /** Watches these files from now on; those of packages are left out. */
  update(files: readonly string[]): void;
  close(): void;
}

// An editor writes a file in several steps; a formatter or a checkout, many files.
const SETTLE_MS = 60;

/**
 * Calls back a moment after any of the files changed, was replaced, removed or made. Folders are watched rather than files, because
 * editors replace files by new ones.
 */
export const createWatcher = (clock: Clock, onChange: () => void): Watcher => {
  const folders = new Map<string, { names: Set<string>; close: () => void }>();
  let stop: () => void = () => undefined;
  const changed = (): void => {
    stop();
    stop = clock.after(SETTLE_MS, onChange);
  };
  const open = (folder: string, names: Set<string>): void => {
    const watcher = watch(folder, (_event, name) => {
      if (name === null || folders.get(folder)?.names.has(name)) changed();
    });
    // The folder itself is gone: the next bundle tells what is missing.
    watcher.on("error", changed);
    folders.set(folder, { names, close: () => watcher.close() });
  };
  return {
    update(files) {
      const wanted = byFolder(files.filter((file) => !file.split(path.sep).includes("node_modules")));
      for (const [folder, watched] of folders) {
        if (wanted.has(folder)) continue;
        watched.close();
        folders.delete(folder);
      }
      for (const [folder, names] of wanted) {
        const watched = folders.get(folder);
        if (watched === undefined) open(folder, names);
        else watched.names = names;
      }
    },
    close() {
      stop();
      for (const watched of folders.values()) watched.close();
      folders.clear();
    },
  };
};

const byFolder = (files: readonly string[]): Map<string, Set<string>> => {
  const folders = new Map<string, Set<string>>();
  for (const file of files) {
    const folder = path.dirname(file);
    const names = folders.get(folder) ?? new Set();
    names.add(path.basename(file));
    folders.set(folder, names);
  }
  return folders;
};
