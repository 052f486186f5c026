import { LockstepError } from "./errors.ts";

/**
 * A user's value as it travels and rests: JSON text, or the empty text for `undefined`. The control plane passes it on without parsing.
 */
export type Json = string;

export const UNDEFINED: Json = "";

/**
 * Writes a user's value as JSON.
 * @param what names the value in errors, for example `the result of function "pay"`
 * @throws {LockstepError} RESULT_NOT_JSON naming the path of what JSON cannot hold; PAYLOAD_TOO_LARGE above `limit` bytes
 */
export const toJson = (value: unknown, what: string, limit = Number.POSITIVE_INFINITY): Json => {
  if (value === undefined) return UNDEFINED;
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch (cause) {
    throw new LockstepError("RESULT_NOT_JSON", `${what} cannot be written as JSON: ${explain(value, cause)}`, { cause });
  }
  if (text === undefined) throw new LockstepError("RESULT_NOT_JSON", `${what} is a ${typeof value}, which JSON cannot hold`);
  if (text === "null" && typeof value === "number") {
    throw new LockstepError("RESULT_NOT_JSON", `${what} is ${value}, which JSON cannot hold`);
  }
  // A UTF-16 unit is at most three bytes of UTF-8, so the exact count is only needed near the limit.
  if (text.length * 3 > limit) {
    const bytes = Buffer.byteLength(text);
    if (bytes > limit) {
      throw new LockstepError("PAYLOAD_TOO_LARGE", `${what} is ${bytes} bytes of JSON; the limit is ${limit}`, {
        details: { bytes, limit },
      });
    }
  }
  return text;
};

export const fromJson = (text: Json): unknown => (text === UNDEFINED ? undefined : JSON.parse(text));

const explain = (value: unknown, cause: unknown): string => {
  const path = findUnwritable(value, "value", new Set(), 0);
  return path ?? (cause instanceof Error ? cause.message : String(cause));
};

const findUnwritable = (value: unknown, path: string, above: Set<object>, depth: number): string | undefined => {
  if (typeof value === "bigint") return `${path} is a BigInt`;
  if (typeof value !== "object" || value === null || depth > 200) return undefined;
  if (above.has(value)) return `${path} is a cycle`;
  above.add(value);
  for (const [key, child] of Object.entries(value)) {
    const found = findUnwritable(child, Array.isArray(value) ? `${path}[${key}]` : `${path}.${key}`, above, depth + 1);
    if (found !== undefined) return found;
  }
  above.delete(value);
  return undefined;
};
