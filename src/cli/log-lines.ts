import type { CallLog } from "../protocol/control-plane.ts";
import type { LogLine } from "../protocol/run.ts";
import type { Style } from "./style.ts";
import { timeOfDay } from "./text.ts";

const painter = (level: LogLine["level"], style: Style): ((text: string) => string) => {
  if (level === "error") return style.red;
  if (level === "warn") return style.yellow;
  return level === "debug" ? style.dim : (text) => text;
};

/** What calls and coordinators have logged, a line each: when, who, what. */
export const logLines = (logs: readonly CallLog[], style: Style): string =>
  logs.flatMap((log) => log.lines.map((line) => logLine(log, line, style))).join("");

const logLine = (log: CallLog, line: LogLine, style: Style): string => {
  const attempt = log.attempt > 1 ? ` attempt ${log.attempt}` : "";
  const head = `${style.dim(timeOfDay(line.at))} ${style.cyan(log.function)}${style.dim(attempt)} ${style.dim("|")} `;
  const paint = painter(line.level, style);
  const [first = "", ...rest] = line.text.trimEnd().split("\n");
  return `${[head + paint(first), ...rest.map((text) => `    ${paint(text)}`)].join("\n")}\n`;
};
