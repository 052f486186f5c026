import { closeSync, fsyncSync, mkdirSync, openSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { Journal } from "./port.ts";
import { unavailable } from "./sqlite-errors.ts";
import type { SqliteJournalOptions } from "./sqlite-journal.ts";
import { SqliteJournal } from "./sqlite-journal.ts";
import { takeOwnership } from "./sqlite-owner.ts";

/**
 * Opens the journal of a data directory, which is made if it is missing, takes the directory for this process and begins a new epoch.
 * @throws {LockstepError} DATA_DIRECTORY_IN_USE, DATA_DIRECTORY_NEWER, JOURNAL_UNAVAILABLE
 */
export const openSqliteJournal = async (directory: string, options: Omit<SqliteJournalOptions, "onClose"> = {}): Promise<Journal> => {
  makeDirectory(resolve(directory));
  const release = takeOwnership(directory);
  try {
    return new SqliteJournal(join(directory, "journal.sqlite"), { ...options, onClose: release });
  } catch (error) {
    release();
    throw error;
  }
};

const makeDirectory = (path: string): void => {
  try {
    const made = mkdirSync(path, { recursive: true });
    // A directory is only as durable as its entry in the one above: without this a power cut could take the journal with it.
    if (made !== undefined) for (let at = path; at.length >= made.length; at = dirname(at)) syncDirectory(dirname(at));
  } catch (cause) {
    throw unavailable(`the data directory ${path} could not be made`, cause);
  }
};

const syncDirectory = (path: string): void => {
  // Windows has no handles of directories to sync.
  if (process.platform === "win32") return;
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
};

export type { SqliteJournalOptions };
