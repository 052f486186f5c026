import { LockstepError } from "../lib/errors.ts";

const FULL = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);

/** What an error of the file system means for whoever wanted an object. */
export const fileError = (cause: unknown): LockstepError => {
  const { code = "", message } = cause as NodeJS.ErrnoException;
  if (FULL.has(code)) return new LockstepError("STORAGE_FULL", `the disk has no room for the object (${code})`, { cause });
  return new LockstepError("STORAGE_UNAVAILABLE", `the folder of the objects can't be used: ${message}`, { cause });
};
