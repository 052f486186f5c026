/**
 * Checks values against the JSON Schemas of requests. It knows the few keywords that those use and refuses to compile any other, so that
 * no constraint of the OpenAPI document is silently unchecked. A general validator would cost more than a hundred milliseconds of every
 * start of the platform (docs/decisions/0006-http-edge.md); a test compares this one with TypeBox's.
 */

/** The part of JSON Schema 2020-12 that requests use. `x-expects` completes "must be …" where a pattern would tell a person nothing. */
export interface JsonSchema {
  readonly type?: "object" | "string" | "integer" | "boolean";
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | JsonSchema;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly description?: string;
  readonly examples?: readonly unknown[];
  readonly default?: unknown;
  readonly "x-expects"?: string;
}

/** What is wrong with a value, and where: `path` is empty for the value itself, else such as `variables.a`. */
export interface Fault {
  path: string;
  message: string;
}

export type Check = (value: unknown, path: string) => Fault | undefined;

const ANNOTATIONS = ["description", "examples", "default", "x-expects"];
const KEYWORDS: Record<string, readonly string[]> = {
  object: ["type", "properties", "required", "additionalProperties"],
  string: ["type", "minLength", "maxLength", "pattern"],
  integer: ["type", "minimum", "maximum"],
  boolean: ["type"],
  anything: [],
};

/** @throws {TypeError} when the schema uses a keyword that is not checked */
export const compile = (schema: JsonSchema): Check => {
  const known = KEYWORDS[schema.type ?? "anything"] ?? [];
  const strange = Object.keys(schema).find((keyword) => !known.includes(keyword) && !ANNOTATIONS.includes(keyword));
  if (strange !== undefined)
    throw new TypeError(`the schema keyword "${strange}" of a ${schema.type ?? "value of any type"} is not checked`);
  switch (schema.type) {
    case undefined:
      return () => undefined;
    case "object":
      return objectCheck(schema);
    case "string":
      return stringCheck(schema);
    case "integer":
      return integerCheck(schema);
    case "boolean":
      return (value, path) => (typeof value === "boolean" ? undefined : mismatch(path, "true or false", value));
  }
};

const objectCheck = (schema: JsonSchema): Check => {
  const checks = new Map(Object.entries(schema.properties ?? {}).map(([name, property]) => [name, compile(property)]));
  const required = schema.required ?? [];
  const rest = restCheck(schema.additionalProperties ?? true, [...checks.keys()]);
  return (value, path) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return mismatch(path, "an object", value);
    const object = value as Record<string, unknown>;
    for (const name of required) {
      if (object[name] === undefined || !Object.hasOwn(object, name)) return { path: join(path, name), message: "is missing" };
    }
    for (const name of Object.keys(object)) {
      const fault = (checks.get(name) ?? rest)(object[name], join(path, name));
      if (fault !== undefined) return fault;
    }
    return undefined;
  };
};

const restCheck = (rest: boolean | JsonSchema, names: string[]): Check => {
  if (typeof rest === "object") return compile(rest);
  const known = names.length === 0 ? "none is known" : `known: ${names.join(", ")}`;
  return rest ? () => undefined : (_, path) => ({ path, message: `is not known here (${known})` });
};

const stringCheck = (schema: JsonSchema): Check => {
  const { minLength = 0, maxLength = Number.POSITIVE_INFINITY } = schema;
  const pattern = schema.pattern === undefined ? undefined : new RegExp(schema.pattern, "u");
  const expects = schema["x-expects"] ?? (pattern === undefined ? "text" : `text that matches ${schema.pattern}`);
  return (value, path) => {
    if (typeof value !== "string") return mismatch(path, expects, value);
    if (isShorter(value, minLength))
      return { path, message: value === "" ? "must not be empty" : `must have at least ${minLength} characters` };
    if (value.length > maxLength && !isShorter(value, maxLength + 1)) return { path, message: `must have at most ${maxLength} characters` };
    return pattern === undefined || pattern.test(value) ? undefined : mismatch(path, expects, value);
  };
};

// Lengths count code points, of which a text has at most as many as UTF-16 units and at least half as many.
const isShorter = (text: string, length: number): boolean =>
  text.length < length || (text.length < length * 2 && [...text].length < length);

const integerCheck = (schema: JsonSchema): Check => {
  const { minimum = Number.MIN_SAFE_INTEGER, maximum = Number.MAX_SAFE_INTEGER } = schema;
  const expects = schema["x-expects"] ?? `an integer from ${minimum} to ${maximum}`;
  return (value, path) =>
    Number.isInteger(value) && (value as number) >= minimum && (value as number) <= maximum ? undefined : mismatch(path, expects, value);
};

const mismatch = (path: string, expected: string, value: unknown): Fault => ({ path, message: `must be ${expected}, not ${show(value)}` });

const show = (value: unknown): string => {
  if (value === null || typeof value === "number" || typeof value === "boolean") return String(value);
  if (Array.isArray(value)) return "an array";
  if (typeof value !== "string") return typeof value === "object" ? "an object" : typeof value;
  return JSON.stringify(value.length <= 60 ? value : `${value.slice(0, 60)}…`);
};

const join = (path: string, name: string): string => (path === "" ? name : `${path}.${name}`);

/**
 * Makes what reads the integers and booleans of a query string, whose values all arrive as text. What is no such text stays as it is, for
 * the check to refuse. The reader gives the same object back when there was nothing to read.
 */
export const queryReader = (schema: JsonSchema): ((query: object) => object) => {
  const typed = Object.entries(schema.properties ?? {}).filter(([, { type }]) => type === "integer" || type === "boolean");
  return (query) => {
    let read = query;
    for (const [name, { type }] of typed) {
      const value = (query as Record<string, unknown>)[name];
      if (typeof value !== "string") continue;
      if (type === "integer" && /^-?\d{1,15}$/.test(value)) read = { ...read, [name]: Number(value) };
      if (type === "boolean" && (value === "true" || value === "false")) read = { ...read, [name]: value === "true" };
    }
    return read;
  };
};
