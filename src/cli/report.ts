/** Errors as people and programs read them, and the exit code that belongs to each. */
import type { Failure } from "../lib/errors.ts";
import { catalogue } from "../lib/errors.ts";
import type { ExitCode } from "./exit-codes.ts";
import { EXIT } from "./exit-codes.ts";
import type { Style } from "./style.ts";

/** What is known of an error, whichever class it came in. */
export interface Report {
  code: string;
  message: string;
  mend?: string;
  details?: unknown;
  stack?: string;
}

/** The command was interrupted; whoever throws it has said what there is to say. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
  readonly code = "INTERRUPTED";
}

export const reportOf = (thrown: unknown): Report => {
  if (!(thrown instanceof Error)) return { code: "INTERNAL", message: String(thrown) };
  const { code, mend, details, message, stack, syscall } = thrown as Error & Partial<Report> & { syscall?: unknown };
  // A system call's error tells in its message what could not be done, and where; it is no defect.
  if (typeof code === "string" && syscall !== undefined) return { code, message };
  if (typeof code !== "string" || code === "INTERNAL" || code.startsWith("ERR_")) return defect(message, stack);
  return { code, message, ...(mend === undefined ? mendOf(code) : { mend }), ...(details === undefined ? {} : { details }) };
};

const defect = (message: string, stack: string | undefined): Report => {
  const report: Report = { code: "INTERNAL", message, mend: catalogue.INTERNAL.mend };
  if (stack !== undefined) report.stack = stack;
  return report;
};

/** What the catalogue advises for a code; nothing for an application's own. */
export const mendOf = (code: string): { mend?: string } => {
  const known = Object.hasOwn(catalogue, code) ? catalogue[code as keyof typeof catalogue] : undefined;
  return known === undefined ? {} : { mend: known.mend };
};

export const exitCodeOf = (thrown: unknown): ExitCode => {
  const { code } = reportOf(thrown);
  if (code === "USAGE") return EXIT.usage;
  if (code === "NOT_CONNECTED") return EXIT.notConnected;
  if (code === "WAIT_TIMEOUT") return EXIT.timedOut;
  return code === "INTERRUPTED" ? EXIT.interrupted : EXIT.failed;
};

/** `error CODE: message`, for an expression the text with a caret, and what to do. */
export const errorText = (report: Report, style: Style, expression?: string): string => {
  const { code, message, mend, details, stack } = report;
  const lines = [`${style.red(style.bold(`error ${code}:`))} ${message}`];
  const position = (details as { position?: unknown } | undefined)?.position;
  if (expression !== undefined && typeof position === "number") lines.push(...caret(expression, position, style));
  if (stack !== undefined) lines.push(style.dim(stack.split("\n").slice(1).join("\n")));
  if (mend !== undefined) lines.push(`  ${style.dim("mend:")} ${mend}`);
  return `${lines.join("\n")}\n`;
};

const SHOWN_BEFORE = 50;
const SHOWN_AFTER = 30;

/** The line of the expression that holds `position` (0-based), cut to what fits, and a caret under that character. */
const caret = (expression: string, position: number, style: Style): string[] => {
  const begin = expression.lastIndexOf("\n", position - 1) + 1;
  const end = expression.indexOf("\n", position);
  const line = expression.slice(begin, end < 0 ? undefined : end);
  const column = position - begin;
  const from = Math.max(0, column - SHOWN_BEFORE);
  const to = column + SHOWN_AFTER;
  const shown = `${from > 0 ? "…" : ""}${line.slice(from, to)}${to < line.length ? "…" : ""}`.replace(/\t/g, " ");
  return [`  ${shown}`, `  ${" ".repeat(column - from + (from > 0 ? 1 : 0))}${style.red("^")}`];
};

const FRAMES_SHOWN = 4;

/** The top of a stack without the frames of Node.js and of the pod's own program. */
const userFrames = (stack: string): string[] => {
  const frames = stack.split("\n").map((line) => line.trim());
  return frames.filter((line) => line.startsWith("at ") && !/\(node:|at node:|[\\/]pod[\\/]main\.[jt]s/.test(line)).slice(0, FRAMES_SHOWN);
};

/** A run's failure with the call it came from, its causes and the top of the user's stack. */
export const failureText = (failure: Failure, style: Style): string => {
  const lines: string[] = [];
  const { call, attempts } = failure;
  if (call !== undefined) {
    const tries = attempts === undefined || attempts === 1 ? "" : ` after ${attempts} attempts`;
    lines.push(`  in function ${style.bold(call.function)}, call ${call.seq}${tries}`);
  }
  for (let cause = failure.cause, above = failure.message, depth = 0; cause !== undefined && depth < 4; depth++) {
    if (cause.message !== above) lines.push(`  because ${cause.code === "CAUSE" ? (cause.name ?? "Error") : cause.code}: ${cause.message}`);
    above = cause.message;
    cause = cause.cause;
  }
  lines.push(...userFrames(failure.stack ?? "").map((frame) => style.dim(`    ${frame}`)));
  return lines.map((line) => `${line}\n`).join("");
};
