/** Compares what was seen with what the cases declare, and prints it. */
import type { Case } from "./cases.ts";
import type { Observation } from "./study.ts";

/** What is not as declared, as text; empty when all is. */
export const differencesOf = (study: Case, seen: Observation): string[] => {
  const differences: string[] = [];
  const compare = (what: string, is: unknown, should: unknown): void => {
    if (is !== should) differences.push(`${seen.id}: ${what} is ${String(is)}, declared ${String(should)}`);
  };
  compare("the verdict", seen.verdict, study.verdict);
  compare("the decision", seen.decision, study.decision);
  compare("the run", seen.run, study.run);
  compare("the state", seen.state, study.state);
  compare("the state's staleness", seen.isStale, study.stale === true);
  compare("the ledger's entry", seen.paid, study.paid);
  if (study.beside === "reader-and-ledger") compare("what the reader was told", seen.reader, "refused: STATE_STALE");
  return differences;
};

export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  if (sorted.length === 0) return Number.NaN;
  return sorted.length % 2 === 1
    ? (sorted[Math.floor(middle)] as number)
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
};

const HEADINGS = [
  "case",
  "verdict",
  "verdict after",
  "decision",
  "decided after",
  "run",
  "recovered after",
  "state",
  "ledger",
  "as declared",
];

export const tableOf = (rows: readonly { study: Case; seen: readonly Observation[]; isAsDeclared: boolean }[]): string => {
  const lines = rows.map(({ study, seen, isAsDeclared }) => {
    const first = seen[0] as Observation;
    const decided = seen.flatMap(({ decisionMs }) => (decisionMs === undefined ? [] : [decisionMs]));
    return [
      seen.length > 1 ? `${study.name} ×${seen.length}` : study.name,
      first.verdict,
      msOf(seen.map(({ verdictMs }) => verdictMs)),
      first.by === undefined ? first.decision : `${first.decision} (a person)`,
      decided.length === 0 ? "–" : msOf(decided),
      first.run,
      msOf(seen.map(({ recoveredMs }) => recoveredMs)),
      first.isStale ? `${first.state} (stale)` : first.state,
      first.paid ? "paid" : "–",
      isAsDeclared ? "yes" : "NO",
    ];
  });
  return aligned([HEADINGS, ...lines]);
};

const msOf = (values: readonly number[]): string => `${Math.round(median(values))} ms`;

const aligned = (rows: readonly string[][]): string => {
  const widths = HEADINGS.map((_, column) => Math.max(...rows.map((row) => (row[column] ?? "").length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] as number))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
};
