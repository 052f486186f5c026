import type { JournalRecord } from "../protocol/run.ts";

/** The certificates of a run's calls, in the order in which these ended, as texts of JSON objects. */
export const certificatesOf = (records: readonly JournalRecord[]): string[] => {
  const functions = new Map<number, string>();
  const certificates: string[] = [];
  for (const record of records) {
    if (record.t === "call") functions.set(record.seq, record.fn);
    // The control plane gives each certificate as its own text.
    if (record.t !== "done" || typeof record.certificate !== "string") continue;
    const { seq: call, at, certificate } = record;
    // A compensation has the negative number of what it undoes.
    const head = JSON.stringify({ call, function: functions.get(Math.abs(call)) ?? "", at });
    certificates.push(`${head.slice(0, -1)},"certificate":${certificate}}`);
  }
  return certificates;
};
