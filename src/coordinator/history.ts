import type { JournalRecord } from "../protocol/run.ts";

/** A record as a pod is given it. Certificates are for people: no code sees them, and they would be most of the message. */
export const toldRecord = (record: JournalRecord): JournalRecord => {
  if (record.t !== "done" || record.certificate === undefined) return record;
  const { certificate: _, ...rest } = record;
  return rest;
};

/** A journal as a pod is given it; `about` as in the message that begins a run. */
export const toldHistory = (history: readonly JournalRecord[], about: readonly JournalRecord[] | undefined) => ({
  history: history.map(toldRecord),
  ...(about === undefined ? {} : { about: about.map(toldRecord) }),
});
