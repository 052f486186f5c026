// Owns: finding each variable's JSON text in the JSON object that holds them all. The texts are cut out, not parsed and written again, so a
// value reaches the functions exactly as it was given, whatever its size, precision and depth.
import { LockstepError } from "../lib/errors.ts";
import type { Json } from "../lib/json.ts";
import { UNDEFINED } from "../lib/json.ts";

/**
 * @param text JSON of an object, or "" for none
 * @throws {LockstepError} BAD_REQUEST when it is something else
 */
export const readVariables = (text: Json): ReadonlyMap<string, Json> => {
  const values = new Map<string, Json>();
  if (text === UNDEFINED) return values;
  checkIsObject(text);
  for (let at = text.indexOf('"'); at !== -1; ) {
    const endOfKey = endOfString(text, at);
    const value = text.indexOf(":", endOfKey) + 1;
    const end = endOfValue(text, value);
    values.set(JSON.parse(text.slice(at, endOfKey)), text.slice(value, end).trim());
    at = text.indexOf('"', end);
  }
  return values;
};

const checkIsObject = (text: Json): void => {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw refused(`variables is not valid JSON: ${(cause as Error).message}`, cause);
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return;
  throw refused(
    `variables must be an object of names and values, not ${Array.isArray(value) ? "an array" : value === null ? "null" : `a ${typeof value}`}`,
  );
};

const refused = (message: string, cause?: unknown): LockstepError =>
  new LockstepError("BAD_REQUEST", message, { cause, details: { field: "variables" } });

/** The offset after the string that begins at `start`. */
const endOfString = (text: Json, start: number): number => {
  for (let at = start + 1; ; at++) {
    if (text[at] === "\\") at++;
    else if (text[at] === '"') return at + 1;
  }
};

/** The offset of the comma or brace after the value that begins at `start`. */
const endOfValue = (text: Json, start: number): number => {
  let depth = 0;
  for (let at = start; ; ) {
    const character = text[at];
    if (depth === 0 && (character === "," || character === "}")) return at;
    if (character === "{" || character === "[") depth++;
    else if (character === "}" || character === "]") depth--;
    at = character === '"' ? endOfString(text, at) : at + 1;
  }
};
