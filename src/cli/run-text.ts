/** Runs and their journals as people read them. */
import type { JournalEntry, RunDetails } from "../client/index.ts";
import type { Failure } from "../lib/errors.ts";
import type { RunStatus, RunSummary } from "../protocol/run.ts";
import { failureText } from "./report.ts";
import type { Style } from "./style.ts";
import type { Column } from "./table.ts";
import { dateAndTime, duration, oneLine } from "./text.ts";

export const statusPainter = (style: Style, status: RunStatus): ((text: string) => string) => {
  if (status === "completed") return style.green;
  if (status === "failed" || status === "suspended") return style.red;
  return status === "cancelled" ? style.dim : style.yellow;
};

export const runsTable = (style: Style): Column<RunSummary>[] => [
  { title: "RUN", cell: (row) => row.id },
  { title: "STATUS", cell: (row) => row.status, paint: (text, row) => statusPainter(style, row.status)(text) },
  { title: "KIND", cell: (row) => row.kind },
  { title: "NAME", cell: (row) => oneLine(row.name, 40) },
  { title: "ACCEPTED", cell: (row) => dateAndTime(row.acceptedAt) },
  { title: "TOOK", cell: (row) => (row.finishedAt === undefined ? "" : duration(row.finishedAt - row.acceptedAt)), right: true },
  { title: "KEY", cell: (row) => oneLine(row.key ?? "", 40) },
];

export const runText = (run: RunDetails, journal: readonly JournalEntry[], now: number, style: Style): string => {
  const took = duration((run.finishedAt ?? now) - run.acceptedAt);
  const facts: [string, string | undefined][] = [
    ["application", `${run.application} ${run.version}`],
    ["accepted", `${dateAndTime(run.acceptedAt)}, ${run.finishedAt === undefined ? `${took} ago` : `took ${took}`}`],
    ["key", run.key],
    ["parent", run.parent],
    ["input", json(run.input)],
    ["value", json(run.value)],
    ["waiting for", run.waitingFor.length === 0 ? undefined : run.waitingFor.join("; ")],
    ["failure", run.failure === undefined ? undefined : `${style.red(run.failure.code)}: ${run.failure.message}`],
  ];
  const lines = facts.flatMap(([name, text]) => (text === undefined ? [] : [`  ${style.dim(name.padEnd(11))}  ${text}`]));
  const head = `${style.bold(run.id)}  ${run.kind} ${style.cyan(oneLine(run.name, 100))}  ${statusPainter(style, run.status)(run.status)}`;
  const why = run.failure === undefined ? "" : failureText(run.failure, style);
  return `${[head, ...lines].join("\n")}\n${why}${journalText(run, journal, style)}`;
};

const journalText = (run: RunDetails, journal: readonly JournalEntry[], style: Style): string => {
  if (journal.length === 0) return "";
  const lines = journal.map(
    (entry) => `  ${style.dim(`+${duration(Math.max(0, entry.at - run.acceptedAt))}`.padEnd(10))}  ${entryText(entry, style).trimEnd()}`,
  );
  return `${style.bold("journal")}\n${lines.join("\n")}\n`;
};

const json = (value: unknown): string | undefined => (value === undefined ? undefined : oneLine(JSON.stringify(value), 160));

const after = (value: unknown): string => (value === undefined ? "" : ` ${oneLine(JSON.stringify(value), 100)}`);

const entryText = (entry: JournalEntry, style: Style): string => {
  const failure = entry.failure as Failure | undefined;
  const failed = failure === undefined ? "" : ` ${style.red(failure.code)}: ${oneLine(failure.message, 100)}`;
  const number = entry.seq === undefined ? "" : ` ${entry.seq}`;
  const head = `${entry.t}${number}`.padEnd(10);
  switch (entry.t) {
    case "call":
      return `${head}  ${style.cyan(String(entry.fn))}${after(entry.input)}`;
    case "child":
      return `${head}  ${style.cyan(String(entry.coordinator))} ${entry.child}${after(entry.input)}`;
    case "sleep":
      return `${head}  ${duration(Number(entry.ms))}`;
    case "signal":
      return `${head}  ${entry.name}`;
    case "signalled":
      return `${head}  ${entry.name}${after(entry.value)}`;
    case "step":
      return `${head}  ${entry.name}`;
    case "withdraw":
      return `${head}  of ${entry.target}`;
    case "attempt":
      return `${head}  attempt ${entry.attempt} failed${failed}`;
    case "cancel":
      return `${head}  ${entry.reason}`;
    case "finish":
      return `${head}  ${statusPainter(style, entry.status as RunStatus)(String(entry.status))}${failed}${after(entry.value)}`;
    default:
      return `${head} ${failed}${after(entry.value)}${metricsText(entry, style)}`;
  }
};

const metricsText = ({ metrics }: JournalEntry, style: Style): string => {
  if (typeof metrics !== "object" || metrics === null) return "";
  const { durationMs, coldStart, pod } = metrics as { durationMs: number; coldStart: boolean; pod: string };
  return style.dim(`  ${duration(durationMs)} in ${pod}${coldStart ? ", cold" : ""}`);
};
