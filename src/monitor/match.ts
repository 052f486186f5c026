/** What the monitor's rules look at in one error of a chain of causes. Shapes only: which library threw it does not matter. */
import type { Failure } from "../lib/errors.ts";

export type Fits = (link: Failure) => boolean;

/** The error's code is one of these. */
export const codes = (...wanted: string[]): Fits => {
  const set = new Set(wanted);
  return ({ code }) => set.has(code);
};

/** The error's class or its code is one of these: SDKs put the same word into either. */
export const named = (...wanted: string[]): Fits => {
  const set = new Set(wanted);
  return ({ code, name }) => set.has(code) || (name !== undefined && set.has(name));
};

export const classNamed = (...wanted: string[]): Fits => {
  const set = new Set(wanted);
  return ({ name }) => name !== undefined && set.has(name);
};

export const either =
  (...fits: Fits[]): Fits =>
  (link) =>
    fits.some((matches) => matches(link));

export const both =
  (...fits: Fits[]): Fits =>
  (link) =>
    fits.every((matches) => matches(link));

export const coded =
  (pattern: RegExp): Fits =>
  ({ code }) =>
    pattern.test(code);

export const says =
  (pattern: RegExp): Fits =>
  ({ message }) =>
    pattern.test(message);

export const fact =
  (name: string, ...wanted: (string | number | boolean)[]): Fits =>
  ({ facts }) => {
    const value = facts?.[name];
    return value !== undefined && wanted.includes(value);
  };

const HTTP_FACTS = ["httpStatusCode", "response.status", "status", "statusCode"];

/** The HTTP status of a response that the error tells of; `undefined` for none. */
export const statusOf = ({ facts }: Failure): number | undefined => {
  if (facts === undefined) return undefined;
  for (const name of HTTP_FACTS) {
    const value = facts[name];
    if (typeof value === "number" && Number.isInteger(value) && value >= 400 && value <= 599) return value;
  }
  return undefined;
};

export const status =
  (...wanted: number[]): Fits =>
  (link) =>
    wanted.includes(statusOf(link) ?? 0);

export const statusFrom =
  (first: number, last: number): Fits =>
  (link) => {
    const value = statusOf(link) ?? 0;
    return value >= first && value <= last;
  };

const SQL_STATE = /^[0-9A-Z]{5}$/;

/** `EPIPE` has the form of an SQL state too: what is one comes with a severity, a routine, or in a field of that name. */
export const sqlStateOf = ({ code, facts }: Failure): string | undefined => {
  if (facts === undefined) return undefined;
  if (typeof facts.sqlState === "string") return facts.sqlState;
  return SQL_STATE.test(code) && (facts.severity !== undefined || facts.routine !== undefined) ? code : undefined;
};

/** The SQL state is one of these, or begins with one of them: two characters are a whole class. */
export const sql =
  (...wanted: string[]): Fits =>
  (link) => {
    const state = sqlStateOf(link);
    return state !== undefined && wanted.some((start) => state.startsWith(start));
  };

/** A gRPC error's message begins with its number and name: `14 UNAVAILABLE: …`. */
export const grpc =
  (...wanted: number[]): Fits =>
  ({ message, facts }) => {
    const code = facts?.code;
    return typeof code === "number" && wanted.includes(code) && new RegExp(`^${code} [A-Z_]+: `).test(message);
  };

/** MongoDB's drivers name their classes so; servers' errors have numbers. */
export const mongo =
  (...wanted: number[]): Fits =>
  ({ name, facts }) =>
    name?.startsWith("Mongo") === true && typeof facts?.code === "number" && wanted.includes(facts.code);

/** The first word of what a Redis server answered. */
export const redis = (...wanted: string[]): Fits =>
  both(classNamed("ReplyError", "ErrorReply", "SimpleError", "BlobError"), ({ message }) =>
    wanted.includes(message.split(" ", 1)[0] ?? ""),
  );

/** The end of what a pod wrote to its standard error, for one that died. */
export const outputOf = ({ details }: Failure): string => {
  const output = (details as { output?: unknown } | null | undefined)?.output;
  return typeof output === "string" ? output : "";
};
