import { isUtf8 } from "node:buffer";
import { LockstepError } from "../lib/errors.ts";
import type { Json } from "../lib/json.ts";
import { UNDEFINED } from "../lib/json.ts";

/**
 * Reads a request's body. Refuses what is not UTF-8 text, and `__proto__` members, which could change the prototype of the objects that
 * they are copied to.
 * @throws {LockstepError} BAD_REQUEST saying what is wrong
 */
export const parseBody = (bytes: Buffer, maxDepth: number): unknown => {
  if (!isUtf8(bytes)) throw new LockstepError("BAD_REQUEST", "the body is not UTF-8 text");
  const text = bytes.toString();
  // Each level costs an opening and a closing character, so a shorter text cannot be too deep.
  if (text.length > maxDepth * 2 && isDeeper(text, maxDepth)) {
    throw new LockstepError("BAD_REQUEST", `the body is nested deeper than ${maxDepth} levels`, { details: { maxDepth } });
  }
  const value = parse(text);
  if (value === null) throw new LockstepError("BAD_REQUEST", "the body must be an object, not null");
  // Two searches of the text spare nearly all bodies the walk; the second finds the name in escapes.
  if (text.includes("__proto__") || text.includes("\\u00")) refuseProto(value, "");
  return value;
};

/**
 * Writes a parsed value as JSON again.
 * @param field names the value in errors
 * @throws {LockstepError} BAD_REQUEST for a number beyond the range of a double, such as 1e400, which would silently become null
 */
export const writeValue = (value: unknown, field: string): Json => {
  if (value === undefined) return UNDEFINED;
  const text = JSON.stringify(value);
  if (text.includes("null")) refuseInfinite(value, field);
  return text;
};

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new LockstepError("BAD_REQUEST", `the body is not JSON: ${(cause as Error).message}`, { cause });
  }
};

const QUOTE = 34;
const BACKSLASH = 92;

/** Whether more than `limit` arrays and objects are open at once anywhere in the text; of text that is not JSON the answer may be wrong. */
const isDeeper = (text: string, limit: number): boolean => {
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = endOfString(text, at);
    // "[" and "{" differ in one bit, as do "]" and "}".
    else if ((code | 32) === 123 && ++depth > limit) return true;
    else if ((code | 32) === 125) depth--;
  }
  return false;
};

const endOfString = (text: string, start: number): number => {
  let at = start + 1;
  // Most strings are short, and for those a call of indexOf costs more than looking at each character.
  for (const near = at + 24; at < near && at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) return at;
    if (code === BACKSLASH) at++;
  }
  for (;;) {
    at = text.indexOf('"', at);
    if (at === -1) return text.length;
    let slashes = 0;
    while (text.charCodeAt(at - 1 - slashes) === BACKSLASH) slashes++;
    if (slashes % 2 === 0) return at;
    at++;
  }
};

const childOf = (path: string, parent: object, name: string): string =>
  Array.isArray(parent) ? `${path}[${name}]` : path === "" ? name : `${path}.${name}`;

const refuseProto = (value: unknown, path: string): void => {
  if (typeof value !== "object" || value === null) return;
  for (const [name, child] of Object.entries(value)) {
    const childPath = childOf(path, value, name);
    if (name === "__proto__")
      throw new LockstepError("BAD_REQUEST", `the name ${childPath} is forbidden`, { details: { field: childPath, in: "body" } });
    refuseProto(child, childPath);
  }
};

const refuseInfinite = (value: unknown, path: string): void => {
  if (typeof value === "number" && !Number.isFinite(value)) {
    const message = `${path} in the body is a number beyond the range of a double`;
    throw new LockstepError("BAD_REQUEST", message, { details: { field: path, in: "body" } });
  }
  if (typeof value !== "object" || value === null) return;
  for (const [name, child] of Object.entries(value)) refuseInfinite(child, childOf(path, value, name));
};
