/** Runs and their journals as people read them. */
import type { JournalEntry, RunDetails } from "../client/index.ts";
import type { Failure } from "../lib/errors.ts";
import type { CallMetrics, RunStatus, RunSummary } from "../protocol/run.ts";
import { coldText } from "./log-lines.ts";
import { type RunStory, recoveryText, storyText } from "./recovery-text.ts";
import { failureText } from "./report.ts";
import type { Style } from "./style.ts";
import type { Column } from "./table.ts";
import { dateAndTime, duration, oneLine } from "./text.ts";
import { evidenceLines, verdictText } from "./verdict-text.ts";

export const statusPainter = (style: Style, status: RunStatus): ((text: string) => string) => {
  if (status === "completed") return style.green;
  if (status === "failed" || status === "suspended") return style.red;
  return status === "cancelled" ? style.dim : style.yellow;
};

/** The column of parents is there when any of the runs has one. */
export const runsTable = (style: Style, runs: readonly RunSummary[]): Column<RunSummary>[] => [
  { title: "RUN", cell: (row) => row.id },
  { title: "STATUS", cell: (row) => row.status, paint: (text, row) => statusPainter(style, row.status)(text) },
  { title: "KIND", cell: (row) => row.kind },
  { title: "NAME", cell: (row) => oneLine(row.name, 40) },
  { title: "ACCEPTED", cell: (row) => dateAndTime(row.acceptedAt) },
  { title: "TOOK", cell: (row) => (row.finishedAt === undefined ? "" : duration(row.finishedAt - row.acceptedAt)), right: true },
  { title: "KEY", cell: (row) => oneLine(row.key ?? "", 40) },
  ...(runs.some(({ parent }) => parent !== undefined) ? [{ title: "PARENT", cell: (row: RunSummary) => row.parent }] : []),
];

/** @param whole all of the journal, not only its end */
export const runText = (story: RunStory, now: number, style: Style, whole: boolean): string => {
  const { run, journal } = story;
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
    ["verdict", run.failure?.verdict === undefined ? undefined : verdictText(run.failure.verdict)],
  ];
  const lines = facts.flatMap(([name, text]) => (text === undefined ? [] : [`  ${style.dim(name.padEnd(11))}  ${text}`]));
  const head = `${style.bold(run.id)}  ${run.kind} ${style.cyan(oneLine(run.name, 100))}  ${statusPainter(style, run.status)(run.status)}`;
  const why = run.failure === undefined ? "" : failureText(run.failure, style);
  return `${[head, ...lines].join("\n")}\n${why}${recoveryText(story, style)}${journalText(run, journal, style, whole)}`;
};

const SHOWN = 50;

const journalText = (run: RunDetails, all: readonly JournalEntry[], style: Style, whole: boolean): string => {
  if (all.length === 0) return "";
  const journal = whole ? all : all.slice(-SHOWN);
  const before = all.length - journal.length;
  const head = `${style.bold("journal")}${before === 0 ? "" : style.dim(`  ${before} earlier records are left out: --journal`)}`;
  const evident = evidenceOfEntries(style);
  const lines = journal.flatMap((entry) => [
    `  ${style.dim(`+${duration(Math.max(0, entry.at - run.acceptedAt))}`.padEnd(10))}  ${entryText(entry, style).trimEnd()}`,
    ...evident(entry),
  ]);
  return `${head}\n${lines.join("\n")}\n`;
};

/** The verdict on what failed, under its entry; attempts that fail alike are told of once. */
const evidenceOfEntries = (style: Style): ((entry: JournalEntry) => string[]) => {
  const told = new Map<unknown, string>();
  return ({ seq, failure }) => {
    const verdict = (failure as Failure | undefined)?.verdict;
    if (verdict === undefined) return [];
    const lines = [style.yellow(verdictText(verdict)), ...evidenceLines(verdict, style)].map((line) => `${" ".repeat(26)}${line}`);
    const text = lines.join("\n");
    // A run that ends as its call did has nothing to add.
    if (seq === undefined ? [...told.values()].includes(text) : told.get(seq) === text) return [];
    told.set(seq, text);
    return lines;
  };
};

const json = (value: unknown): string | undefined => (value === undefined ? undefined : oneLine(JSON.stringify(value), 160));

const after = (value: unknown): string => (value === undefined ? "" : ` ${oneLine(JSON.stringify(value), 100)}`);

const entryText = (entry: JournalEntry, style: Style): string => {
  const failure = entry.failure as Failure | undefined;
  const failed = failure === undefined ? "" : ` ${style.red(failure.code)}: ${oneLine(failure.message, 100)}`;
  const number = entry.seq === undefined ? "" : ` ${entry.seq}`;
  const head = `${entry.t}${number}`.padEnd(10);
  const story = storyText(entry, style);
  if (story !== undefined) return `${head}  ${story}`;
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
  const { durationMs, coldStart, coldStartMs, pod } = metrics as CallMetrics;
  return style.dim(`  ${duration(durationMs)} in ${pod}${coldStart ? `, ${coldText("cold", coldStartMs)}` : ""}`);
};
