/**
 * How an option is refused: whose it is, which field, what is wrong and how it is mended; and the forms that many options share.
 */
import { LockstepError } from "../lib/errors.ts";

export const MOST_PATTERNS = 100;
export const LONGEST_PATTERN = 1_100;

/** Says whose option is wrong: `function "pay"`. */
export type Owner = string;

export const invalid = (message: string, field?: string): LockstepError =>
  new LockstepError("APPLICATION_INVALID", message, field === undefined ? {} : { details: { field } });

export const refuse = (owner: Owner, field: string, problem: string): never => {
  throw invalid(`${owner}: ${field} ${problem}`, field);
};

export type Fields = Record<string, unknown>;

/** Refuses what is no number, or one below `least`; `undefined` is none. */
export const bound = (owner: Owner, field: string, value: unknown, least: number): void => {
  if (value === undefined) return;
  if (typeof value !== "number" || !Number.isFinite(value) || value < least) {
    throw invalid(`${owner}: ${field} must be a number of at least ${least}, not ${shown(value)}`, field);
  }
};

/** Refuses fields that don't exist. */
export const only = (owner: Owner, field: string, given: Fields, known: readonly string[]): void => {
  const odd = Object.keys(given).find((name) => !known.includes(name) && given[name] !== undefined);
  if (odd !== undefined) refuse(owner, `${field}.${odd}`, `is unknown: use ${known.map((name) => `"${name}"`).join(", ")}`);
};

export const checkPatterns = (owner: Owner, field: string, given: unknown, form: RegExp, what: string): void => {
  if (!Array.isArray(given)) refuse(owner, field, `must be an array of ${what}`);
  const patterns = given as unknown[];
  if (patterns.length > MOST_PATTERNS) refuse(owner, field, `lists ${patterns.length} patterns: ${MOST_PATTERNS} is the most`);
  const wrong = patterns.find((pattern) => typeof pattern !== "string" || pattern.length > LONGEST_PATTERN || !form.test(pattern));
  if (wrong !== undefined || patterns.includes(undefined)) refuse(owner, field, `holds ${shown(wrong)}: use ${what}`);
};

export const isObject = (value: unknown): value is Fields => typeof value === "object" && value !== null && !Array.isArray(value);

export const isText = (value: unknown, longest: number): value is string => typeof value === "string" && value.length <= longest;

/** Whether it can be the path of a field, such as `customer.id`. */
export const isPath = (path: unknown): boolean => isText(path, 200) && /^[\w$-]+(?:\.[\w$-]+)*$/.test(path);

/** What was given, for a message. */
export const shown = (value: unknown): string => {
  const text = typeof value === "function" || typeof value === "bigint" ? String(value) : (JSON.stringify(value) ?? String(value));
  return text.length <= 100 ? text : `${text.slice(0, 100)}…`;
};
