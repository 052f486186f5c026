import type { Load } from "./workload.ts";

/** What is wrong with what was given; for people, without a stack. */
export class InputError extends Error {
  override readonly name = "InputError";
}

/**
 * Reads `timestamp-or-index,count` lines, with or without a header.
 *
 * @throws {InputError} naming the line
 */
export const parseTrace = (name: string, text: string, intervalMs: number): Load => {
  const counts: number[] = [];
  const lines = text.replace(/^\uFEFF/, "").split(/\r?\n/);
  for (const [index, line] of lines.entries()) {
    if (line.trim() === "") continue;
    const count = countOf(line);
    if (count !== undefined) counts.push(count);
    else if (counts.length > 0 || index > 0) {
      throw new InputError(
        `${name}, line ${index + 1}: ${JSON.stringify(line.slice(0, 60))} is not "timestamp-or-index,count" with a count of 0 or more`,
      );
    }
  }
  if (counts.length === 0) throw new InputError(`${name}: there is no line "timestamp-or-index,count" in it`);
  return { name, intervalMs, counts };
};

/** The last field; the first one is not looked at, since all that counts is the order. */
const countOf = (line: string): number | undefined => {
  const fields = line.split(",");
  const last = fields.at(-1)?.trim() ?? "";
  if (fields.length !== 2 || last === "") return undefined;
  const count = Number(last);
  return Number.isFinite(count) && count >= 0 ? count : undefined;
};
