/**
 * One data directory has one owner.
 *
 * Owns: `owner.lock`, an SQLite file that the owner keeps locked as long as it lives, and `owner.pid`, which tells who that is.
 *
 * I1  The lock is the operating system's: it ends with the process, however that ends, and nothing has to be cleaned up.
 * I2  Nothing in this process may open `owner.lock` or `journal.sqlite` except through SQLite: closing a second descriptor of a file ends
 *     the POSIX locks that the process holds on it. That is why the pid is in a file of its own.
 */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { LockstepError } from "../lib/errors.ts";
import { isBusy, unavailable } from "./sqlite-errors.ts";

/** Takes the directory, or throws. Returns what gives it back. @throws {LockstepError} DATA_DIRECTORY_IN_USE, JOURNAL_UNAVAILABLE */
export const takeOwnership = (directory: string): (() => void) => {
  const pidFile = join(directory, "owner.pid");
  const lock = lockFile(join(directory, "owner.lock"), () => inUse(directory, pidFile));
  try {
    writeFileSync(pidFile, `${process.pid}\n`);
  } catch (cause) {
    lock.close();
    throw unavailable(`${pidFile} could not be written`, cause);
  }
  return () => {
    // While the directory is still ours: afterwards the file may be the next owner's.
    rmSync(pidFile, { force: true });
    lock.close();
  };
};

const lockFile = (path: string, inUseError: () => LockstepError): DatabaseSync => {
  let lock: DatabaseSync | undefined;
  try {
    lock = new DatabaseSync(path);
    // Nothing is ever written to the file, so that no crash leaves anything in it to be recovered.
    lock.exec("PRAGMA busy_timeout = 0; BEGIN EXCLUSIVE");
    return lock;
  } catch (cause) {
    lock?.close();
    throw isBusy(cause) ? inUseError() : unavailable(`${path} could not be locked`, cause);
  }
};

const inUse = (directory: string, pidFile: string): LockstepError => {
  const pid = readPid(pidFile);
  const who = pid === undefined ? "another process" : pid === process.pid ? "this process" : `process ${pid}`;
  return new LockstepError("DATA_DIRECTORY_IN_USE", `the data directory ${directory} is in use by ${who}`, {
    details: pid === undefined ? { directory } : { directory, pid },
  });
};

const readPid = (pidFile: string): number | undefined => {
  try {
    const pid = Number.parseInt(readFileSync(pidFile, "utf8"), 10);
    return pid > 0 ? pid : undefined;
  } catch {
    // The pid is only an aid: an owner that has just taken the lock may not have written it yet.
    return undefined;
  }
};
