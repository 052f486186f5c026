import type { Failure } from "../lib/errors.ts";
import type { Json } from "../lib/json.ts";

// What replicas vote on: one text for each outcome. `{"value":…}`, `{}` for undefined, or `{"failure":…}`.

const BEFORE = '{"value":';
const NOTHING = "{}";

export const valueOutcome = (value: Json): Json => (value === "" ? NOTHING : `${BEFORE}${value}}`);

export const failureOutcome = (failure: Failure): Json => JSON.stringify({ failure });

/** @param text of a certified outcome: 2f + 1 replicas have written it */
export const readOutcome = (text: Json): { value: Json } | { failure: Failure } => {
  if (text === NOTHING) return { value: "" };
  if (text.startsWith(BEFORE)) return { value: text.slice(BEFORE.length, -1) };
  return { failure: (JSON.parse(text) as { failure: Failure }).failure };
};
