import type { CallLog } from "../protocol/control-plane.ts";
import type { ExecutionReport, LogLine } from "../protocol/run.ts";
import type { Style } from "./style.ts";
import { duration, oneLine, timeOfDay } from "./text.ts";
import { evidenceLines, verdictText } from "./verdict-text.ts";

const painter = (level: LogLine["level"], style: Style): ((text: string) => string) => {
  if (level === "error") return style.red;
  if (level === "warn") return style.yellow;
  return level === "debug" ? style.dim : (text) => text;
};

/** What calls and coordinators have logged, a line each: when, who, what. */
export const logLines = (logs: readonly CallLog[], style: Style): string =>
  logs.flatMap((log) => log.lines.map((line) => logLine(log, line, style))).join("");

/** The same, with a line for the begin of each execution, one for its end and one for what it measured. */
export const executionLines = (log: CallLog, style: Style): string => {
  const { report } = log;
  const lines = logLines([log], style);
  if (report === undefined) return lines;
  const mark = (at: number, word: string, text: string): string =>
    `${headOf(log, at, style)} ${style.bold(word.padEnd(6))} ${style.dim(`${log.run}/${log.seq}`)}${text === "" ? "" : `  ${text}`}\n`;
  const measured = measurements(report);
  return [
    mark(report.startedAt, "START", ""),
    lines,
    mark(report.endedAt, "END", endOf(report, style)),
    ...evidenceLines(report.verdict, style).map((line) => `    ${line}\n`),
    measured === "" ? "" : mark(report.endedAt, "REPORT", measured),
  ].join("");
};

const endOf = ({ outcome, verdict, message = "" }: ExecutionReport, style: Style): string => {
  if (outcome === "ok") return style.green("ok");
  const fault = verdict === undefined ? "fault" : verdictText(verdict);
  return `${style.red(fault)}: ${oneLine(message, 200)}`;
};

const measurements = ({ metrics }: ExecutionReport): string => {
  if (metrics === undefined) return "";
  const { durationMs, cpuMs, memoryMb, queueMs, coldStart, coldStartMs, pod } = metrics;
  const facts = [
    `duration ${duration(durationMs)}`,
    `cpu ${duration(cpuMs)}`,
    `memory ${Math.round(memoryMb)} MiB`,
    `queue ${duration(queueMs)}`,
  ];
  return [...facts, pod, ...(coldStart ? [coldText("cold start", coldStartMs)] : [])].join(", ");
};

/** How long the pod of a cold start took is known once it has loaded. */
export const coldText = (text: string, coldStartMs: number | undefined): string =>
  coldStartMs === undefined ? text : `${text} ${duration(coldStartMs)}`;

const headOf = ({ attempt, function: name }: CallLog, at: number, style: Style): string =>
  `${style.dim(timeOfDay(at))} ${style.cyan(name)}${style.dim(attempt > 1 ? ` attempt ${attempt}` : "")}`;

const logLine = (log: CallLog, line: LogLine, style: Style): string => {
  const head = `${headOf(log, line.at, style)} ${style.dim("|")} `;
  const paint = painter(line.level, style);
  const [first = "", ...rest] = line.text.trimEnd().split("\n");
  return `${[head + paint(first), ...rest.map((text) => `    ${paint(text)}`)].join("\n")}\n`;
};
