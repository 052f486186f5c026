import { LockstepError } from "./errors.ts";

/**
 * A user's value as it travels and rests: JSON text, or the empty text for `undefined`. The control plane passes it on without parsing.
 */
export type Json = string;

export const UNDEFINED: Json = "";

/**
 * Writes a user's value as JSON. What JSON leaves out (a property that is `undefined` or a function) is left out; what it would change (a
 * number that is not finite becomes `null`) is refused.
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
  // A number that is not finite leaves a `null`; the search for it is only worth its time when there is one.
  const changed = text.includes("null") ? findUnwritable(value, isNotFinite) : undefined;
  if (changed !== undefined) throw new LockstepError("RESULT_NOT_JSON", `${what} cannot be written as JSON: ${changed}`);
  checkSize(text, what, limit);
  return text;
};

const checkSize = (text: string, what: string, limit: number): void => {
  // A UTF-16 unit is at most three bytes of UTF-8, so the exact count is only needed near the limit.
  if (text.length * 3 <= limit) return;
  const bytes = Buffer.byteLength(text);
  if (bytes <= limit) return;
  throw new LockstepError("PAYLOAD_TOO_LARGE", `${what} is ${bytes} bytes of JSON; the limit is ${limit}`, { details: { bytes, limit } });
};

export const fromJson = (text: Json): unknown => (text === UNDEFINED ? undefined : JSON.parse(text));

const explain = (value: unknown, cause: unknown): string =>
  findUnwritable(value, isBigInt) ?? (cause instanceof Error ? cause.message : `a toJSON method threw a ${typeof cause}`);

type Judge = (part: unknown) => string | undefined;

const isBigInt: Judge = (part) => (typeof part === "bigint" ? "a BigInt" : undefined);

const isNotFinite: Judge = (part) => (typeof part === "number" && !Number.isFinite(part) ? `${part}` : undefined);

/** An object on the way down from the value, which has no `above`. */
interface Place {
  part: object;
  key: string;
  above: Place | undefined;
  depth: number;
}

// JSON.stringify ends with an error before this depth, and looking for cycles takes time that grows with the depth.
const DEPTH_LIMIT = 10_000;

/**
 * The path and kind of the first part of `value` that `judge` names, or of a cycle. Without recursion: JSON text may be deeper than the stack.
 * Parts that write themselves by `toJSON` are not looked into.
 */
const findUnwritable = (value: unknown, judge: Judge): string | undefined => {
  const verdict = judge(value);
  if (verdict !== undefined) return `value is ${verdict}`;
  const waiting: Place[] = isObject(value) ? [{ part: value, key: "", above: undefined, depth: 0 }] : [];
  for (let place = waiting.pop(); place !== undefined; place = waiting.pop()) {
    const objects: Place[] = [];
    for (const key of keysOf(place.part)) {
      const part = read(place.part, key);
      const found = judge(part) ?? (isObject(part) && isAbove(part, place) ? "a cycle" : undefined);
      if (found !== undefined) return `${pathOf(place)}${step(place.part, key)} is ${found}`;
      if (isObject(part) && place.depth < DEPTH_LIMIT) objects.push({ part, key, above: place, depth: place.depth + 1 });
    }
    for (let i = objects.length - 1; i >= 0; i--) waiting.push(objects[i]!);
  }
  return undefined;
};

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null;

const keysOf = (part: object): string[] => (typeof read(part, "toJSON") === "function" ? [] : (attempt(() => Object.keys(part)) ?? []));

const read = (part: object, key: string): unknown => attempt(() => (part as Record<string, unknown>)[key]);

const attempt = <Value>(look: () => Value): Value | undefined => {
  try {
    return look();
  } catch {
    // A getter or a proxy that throws is what `JSON.stringify` has reported; the search goes on beside it.
    return undefined;
  }
};

const isAbove = (part: object, place: Place): boolean => {
  for (let at: Place | undefined = place; at !== undefined; at = at.above) if (at.part === part) return true;
  return false;
};

const pathOf = (place: Place): string =>
  place.above === undefined ? "value" : `${pathOf(place.above)}${step(place.above.part, place.key)}`;

const step = (parent: object, key: string): string => (Array.isArray(parent) ? `[${key}]` : `.${key}`);
