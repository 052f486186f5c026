import { fromJson, type Json } from "../lib/json.ts";
import { stateKeyProblem } from "../protocol/state-key.ts";

/**
 * The state keys that a call with this input is declared to write: `orders/{id}` with the input `{ "id": 17 }` is `orders/17`, and
 * `{order.id}` a field of a field. A pattern whose field the input lacks, or that makes no key, gives none.
 */
export const declaredKeys = (patterns: readonly string[], input: Json): string[] => {
  if (patterns.length === 0) return [];
  const value = parsed(input);
  const keys = new Set<string>();
  for (const pattern of patterns) {
    const key = fill(pattern, value);
    if (key !== undefined && stateKeyProblem(key) === undefined) keys.add(key);
  }
  return [...keys];
};

const parsed = (input: Json): unknown => {
  try {
    return fromJson(input);
  } catch {
    // Inputs come from user code by way of its pod: one that is no JSON has no fields.
    return undefined;
  }
};

const FIELD = /\{([^{}]*)\}/g;

const fill = (pattern: string, input: unknown): string | undefined => {
  let isWhole = true;
  const key = pattern.replace(FIELD, (_, path: string) => {
    const value = fieldOf(input, path.trim());
    if (typeof value === "string" && value !== "") return value;
    if (typeof value === "number" || typeof value === "boolean") return String(value);
    isWhole = false;
    return "";
  });
  return isWhole ? key : undefined;
};

/** `{}` alone is the input itself. */
const fieldOf = (input: unknown, path: string): unknown => {
  let value = input;
  for (const name of path === "" ? [] : path.split(".")) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return undefined;
    value = (value as Record<string, unknown>)[name];
  }
  return value;
};
