/** What people write on the command line, read. */
import { readFile } from "node:fs/promises";
import path from "node:path";
import { durationMs, timeMs } from "../gateway/units.ts";
import type { Io } from "./io.ts";
import { UsageError } from "./usage-error.ts";

/**
 * JSON from an argument, from a file (`@path`) or from standard input (`-`). No argument is no value.
 * @throws {UsageError} when it is no JSON or cannot be read
 */
export const jsonArgument = async (argument: string | undefined, io: Pick<Io, "cwd" | "stdin">): Promise<unknown> => {
  if (argument === undefined) return undefined;
  const { text, from } = await textOf(argument, io);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new UsageError(
      `${from} is no JSON: ${(error as Error).message}`,
      `Quote JSON for your shell: '{"amount": 5}', or give @file or -.`,
    );
  }
};

const textOf = async (argument: string, io: Pick<Io, "cwd" | "stdin">): Promise<{ text: string; from: string }> => {
  if (argument === "-") return { text: await io.stdin(), from: "standard input" };
  if (!argument.startsWith("@")) return { text: argument, from: "the argument" };
  const file = argument.slice(1);
  try {
    return { text: await readFile(path.resolve(io.cwd, file), "utf8"), from: file };
  } catch (error) {
    throw new UsageError(`${file} cannot be read: ${(error as Error).message}`);
  }
};

const VARIABLE = /^([a-zA-Z_][a-zA-Z0-9_-]*)=(.*)$/s;

/** `a=1`, `b="text"`, `c=[1,2]`: the value is JSON, and text where it is none. @throws {UsageError} */
export const variables = (assignments: readonly string[]): Record<string, unknown> => {
  const values: Record<string, unknown> = {};
  for (const assignment of assignments) {
    const [, name, value] = VARIABLE.exec(assignment) ?? [];
    if (name === undefined || value === undefined) throw new UsageError(`--var "${assignment}" is not of the form name=value`);
    values[name] = jsonOrText(value);
  }
  return values;
};

const jsonOrText = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    // Not JSON, so it is what it looks like: text.
    return text;
  }
};

/** `500ms`, `30s`, `2m`, `1h` or seconds, in milliseconds. @throws {UsageError} */
export const durationOption = (name: string, text: string | undefined): number | undefined => {
  if (text === undefined) return undefined;
  const ms = durationMs(text);
  if (ms === undefined) throw new UsageError(`--${name} "${text}" is no duration: write 500ms, 30s, 2m, 1h or a number of seconds`);
  return ms;
};

/** An ISO 8601 date or time, Unix milliseconds of at least ten digits, or a duration before now. @throws {UsageError} */
export const timeOption = (name: string, text: string | undefined, now: number): number | undefined => {
  if (text === undefined) return undefined;
  const ago = /^\d{10,}$/.test(text) ? undefined : durationMs(text);
  const ms = ago === undefined ? timeMs(text) : now - ago;
  if (ms === undefined)
    throw new UsageError(`--${name} "${text}" is no time: write 2026-01-31, 2026-01-31T12:00:00Z, or 10m for ten minutes ago`);
  return ms;
};

/** @throws {UsageError} */
export const integerOption = (name: string, text: string | undefined, least: number, most: number): number | undefined => {
  if (text === undefined) return undefined;
  const number = /^-?\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(number >= least && number <= most)) throw new UsageError(`--${name} "${text}" is no whole number from ${least} to ${most}`);
  return number;
};
