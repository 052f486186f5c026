import type { Json } from "../lib/json.ts";
import { UNDEFINED } from "../lib/json.ts";
import type { RunResult } from "../protocol/run.ts";

const NONE: ReadonlySet<string> = new Set();

/**
 * Writes an object as JSON in which the members named in `raw` already are JSON text and are embedded as they are, not as strings of JSON.
 * Members that are `undefined`, in either sense, are left out. Those named in `nested` are objects which are written in the same way.
 */
export const withRawMembers = (object: object, raw: ReadonlySet<string>, nested: ReadonlySet<string> = NONE): string => {
  let text = "";
  for (const [name, value] of Object.entries(object)) {
    const isNested = nested.has(name) && typeof value === "object" && value !== null;
    const written = isNested ? withRawMembers(value, raw) : raw.has(name) ? (value as Json | undefined) : JSON.stringify(value);
    if (written !== undefined && written !== UNDEFINED) text += `${text === "" ? "" : ","}${JSON.stringify(name)}:${written}`;
  }
  return `{${text}}`;
};

/** The members of a run's outcome, without braces: ids and statuses need no escaping. */
export const resultMembers = ({ id, status, value, failure }: RunResult): string => {
  let text = `"id":"${id}","status":"${status}"`;
  if (value !== undefined && value !== UNDEFINED) text += `,"value":${value}`;
  if (failure !== undefined) text += `,"failure":${JSON.stringify(failure)}`;
  return text;
};
