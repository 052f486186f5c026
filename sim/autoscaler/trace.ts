import type { Load } from "./workload.ts";

/** What is wrong with what was given; for people, without a stack. */
export class InputError extends Error {
  override readonly name = "InputError";
}

interface Row {
  readonly time: number;
  readonly count: number;
}

/** Bounds what a trace with two times that lie far apart is filled up to. */
const MOST_COUNTS = 10_000_000;

/**
 * Reads `timestamp-or-index,count` lines, with or without a header. Where the times are numbers or dates at even distances, the intervals that
 * are left out have had no calls; of other times only the order counts.
 *
 * @throws {InputError} naming the line
 */
export const parseTrace = (name: string, text: string, intervalMs: number): Load => {
  const rows: Row[] = [];
  const lines = text.replace(/^\uFEFF/, "").split(/\r?\n/);
  for (const [index, line] of lines.entries()) {
    if (line.trim() === "") continue;
    const row = rowOf(line);
    if (row !== undefined) rows.push(row);
    else if (rows.length > 0 || index > 0 || !isHeader(line)) {
      throw new InputError(
        `${name}, line ${index + 1}: ${JSON.stringify(line.slice(0, 60))} is not "timestamp-or-index,count" with a count of 0 or more`,
      );
    }
  }
  if (rows.length === 0) throw new InputError(`${name}: there is no line "timestamp-or-index,count" in it`);
  return { name, intervalMs, counts: filled(name, rows) };
};

const fieldsOf = (line: string): string[] => line.split(",").map((field) => field.trim().replace(/^"(.*)"$/, "$1"));

const rowOf = (line: string): Row | undefined => {
  const [time = "", last = "", ...rest] = fieldsOf(line);
  const count = last === "" ? Number.NaN : Number(last);
  if (rest.length > 0 || !Number.isFinite(count) || count < 0) return undefined;
  return { time: timeOf(time), count };
};

/** A date without a zone is taken as UTC: where clocks are put forward in summer, an hour would be missing else. */
const timeOf = (field: string): number => {
  if (field === "") return Number.NaN;
  const value = Number(field);
  if (!Number.isNaN(value)) return value;
  return Date.parse(/^\d{4}-\d\d-\d\d[ T][\d:.]+$/.test(field) ? `${field.replace(" ", "T")}Z` : field);
};

/** Names, and not a first line whose count is wrong. */
const isHeader = (line: string): boolean => fieldsOf(line).every((field) => !/^[-+.\d]/.test(field));

const filled = (name: string, rows: readonly Row[]): number[] => {
  const steps = rows.slice(1).map(({ time }, i) => time - rows[i]!.time);
  const step = steps.reduce((least, each) => Math.min(least, each), Number.POSITIVE_INFINITY);
  const isEven = step > 0 && steps.every((each) => Math.abs(each / step - Math.round(each / step)) < 1e-6);
  if (!isEven) return rows.map(({ count }) => count);
  const first = rows[0]!.time;
  const length = Math.round((rows.at(-1)!.time - first) / step) + 1;
  if (length > MOST_COUNTS) throw new InputError(`${name}: its times span ${length} intervals; ${MOST_COUNTS} are the most`);
  const counts = Array<number>(length).fill(0);
  for (const { time, count } of rows) counts[Math.round((time - first) / step)] = count;
  return counts;
};
