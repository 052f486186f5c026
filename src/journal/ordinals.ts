import { LockstepError } from "../lib/errors.ts";
import type { RunId } from "../lib/ids.ts";
import { ordinalOf } from "../lib/ids.ts";

/** The number behind the id of a run that is written. @throws {LockstepError} INTERNAL when it is no run id */
export const ordinalOfRun = (id: RunId): number => {
  const ordinal = ordinalOf(id);
  if (ordinal === undefined) throw new LockstepError("INTERNAL", `${JSON.stringify(id)} is no run id`);
  return ordinal;
};

/**
 * The cursor of a listing: the ordinal of the last run shown, with the form's version before and a full stop after it. Runs that are accepted
 * meanwhile are newer and cannot move a page.
 */
export const cursorOf = (ordinal: number): string => Buffer.from(`1:${ordinal}.`).toString("base64url");

/** @throws {LockstepError} BAD_REQUEST when the text is no cursor of a listing */
export const ordinalOfCursor = (cursor: string): number => {
  const ordinal = Number(/^1:(\d{1,16})\.$/.exec(Buffer.from(cursor, "base64url").toString("latin1"))?.[1]);
  if (Number.isSafeInteger(ordinal) && cursorOf(ordinal) === cursor) return ordinal;
  throw new LockstepError("BAD_REQUEST", "cursor is none that a listing of runs gave: leave it out to begin with the newest", {
    details: { field: "cursor" },
  });
};
