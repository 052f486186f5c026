/** Which log entries a filter is about, and which of their lines: the same in every adapter. */
import type { CallLog, LogFilter } from "../protocol/control-plane.ts";
import type { LogLine } from "../protocol/run.ts";

export type LogSearch = Omit<LogFilter, "limit">;

const LEVELS: readonly LogLine["level"][] = ["debug", "info", "warn", "error"];
const INFO = 1;
const ERROR = 3;

/** From 0 for `debug` to 3 for `error`. What a pod calls otherwise counts as `info`. */
export const rankOf = (level: LogLine["level"]): number => {
  const rank = LEVELS.indexOf(level);
  return rank < 0 ? INFO : rank;
};

/** The gravest level of an entry's lines. An execution that failed is an error, whatever it wrote. */
export const gravestOf = ({ lines, report }: CallLog): number =>
  report?.outcome === "fault" ? ERROR : lines.reduce((gravest, { level }) => Math.max(gravest, rankOf(level)), 0);

/** When an entry was written. */
export const writtenAt = ({ lines, report }: CallLog): number => report?.endedAt ?? lines.at(-1)?.at ?? 0;

/** Finds a text in any case: that of ASCII letters everywhere, that of others as far as one character stands for one. */
const finderOf = (text: string): ((in_: string) => boolean) => {
  const pattern = new RegExp(text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&"), "i");
  return (in_) => pattern.test(in_);
};

/** Gives an entry with the lines that are wanted; `undefined` when none is. An execution that failed also fits by its failure's message. */
export const matcherOf = ({ run, function: name, level, text, since }: LogSearch): ((log: CallLog) => CallLog | undefined) => {
  const least = level === undefined ? 0 : rankOf(level);
  const holds = text === undefined ? undefined : finderOf(text);
  return (log) => {
    if ((run ?? log.run) !== log.run || (name ?? log.function) !== log.function) return undefined;
    if (since !== undefined && writtenAt(log) < since) return undefined;
    if (least === 0 && holds === undefined) return log;
    const lines = log.lines.filter((line) => rankOf(line.level) >= least && (holds === undefined || holds(line.text)));
    const { report } = log;
    const failed = report?.outcome === "fault" && (holds === undefined || holds(report.message ?? ""));
    if (lines.length === 0 && !failed) return undefined;
    return lines.length === log.lines.length ? log : { ...log, lines };
  };
};
