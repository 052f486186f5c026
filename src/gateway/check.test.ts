import fc from "fast-check";
import * as TypeBox from "typebox/schema";
import { describe, expect, test } from "vitest";
import type { JsonSchema } from "./check.ts";
import { compile, queryReader } from "./check.ts";
import { CancelBody, EventsQuery, ExpressionBody, RunsQuery, StartBody } from "./schemas.ts";

const text = fc.oneof(fc.string({ maxLength: 6 }), fc.string({ unit: "binary", maxLength: 6 }), fc.constantFrom("", "a", "30s", "😀😀"));
const scalar = fc.oneof(text, fc.integer({ min: -12, max: 12 }), fc.double(), fc.boolean(), fc.constant(null));

const leafSchema: fc.Arbitrary<JsonSchema> = fc.oneof(
  fc.constant({}),
  fc.constant({ type: "boolean" } as const),
  fc.record({ type: fc.constant("integer" as const), minimum: fc.integer({ min: -9, max: 2 }), maximum: fc.integer({ min: -2, max: 9 }) }),
  fc.record({ type: fc.constant("string" as const), minLength: fc.nat(3), maxLength: fc.nat(5) }, { requiredKeys: ["type"] }),
  fc.constant({ type: "string", pattern: "^\\d+(ms|s)?$" } as const),
);

// TypeBox takes inherited members for the value's own; what this check does with their names has a test of its own.
const name = fc.constantFrom("a", "b", "c", "d");
const schema: fc.Arbitrary<JsonSchema> = fc.letrec<{ any: JsonSchema; object: JsonSchema }>((tie) => ({
  any: fc.oneof({ depthSize: "small", withCrossShrink: true }, leafSchema, tie("object")),
  object: fc.record(
    {
      type: fc.constant("object" as const),
      properties: fc.dictionary(name, tie("any"), { noNullPrototype: true }),
      required: fc.uniqueArray(name, { maxLength: 2 }),
      additionalProperties: fc.oneof(fc.boolean(), tie("any")),
    },
    { requiredKeys: ["type"] },
  ),
})).any;

const value = fc.letrec((tie) => ({
  any: fc.oneof({ depthSize: "small" }, scalar, tie("object"), fc.array(scalar, { maxLength: 2 })),
  object: fc.dictionary(name, tie("any"), { noNullPrototype: true, maxKeys: 4 }),
})).any;

describe("the check of a schema", () => {
  test("accepts and refuses what TypeBox does", () => {
    fc.assert(
      fc.property(schema, value, (schema, value) => {
        expect(compile(schema)(value, "") === undefined).toBe(TypeBox.Check(schema, value));
      }),
      { numRuns: 2_000 },
    );
  });

  test.each([
    ["a body of a start", StartBody],
    ["a body of an expression", ExpressionBody],
    ["a cancellation", CancelBody],
    ["a query for runs", RunsQuery],
    ["a query for events", EventsQuery],
  ])("accepts and refuses what TypeBox does for %s", (_, schema: JsonSchema) => {
    const names = fc.constantFrom(...Object.keys(schema.properties ?? {}), "strange");
    const some = fc.oneof(scalar, value, fc.constantFrom("running,failed", "run.accepted", "latest", "2026-01-31", "coordinator", "5"));
    fc.assert(
      fc.property(fc.dictionary(names, some, { noNullPrototype: true, maxKeys: 3 }), (value) => {
        expect(compile(schema)(value, "") === undefined).toBe(TypeBox.Check(schema as never, value));
      }),
    );
  });

  test("refuses to compile a keyword that it would not check", () => {
    const strange = { type: "string", format: "email" } as JsonSchema;
    expect(() => compile(strange)).toThrow('"format"');
    expect(() => compile({ type: "object", properties: { a: strange } })).toThrow(TypeError);
    expect(() => compile({ type: "number" } as never)).toThrow(TypeError);
    expect(() => compile({ enum: [1] } as never)).toThrow('"enum"');
  });

  test.each([
    [{ priority: "3" }, "priority", 'must be an integer from -1000000 to 1000000, not "3"'],
    [{ priority: 1.5 }, "priority", "must be an integer from -1000000 to 1000000, not 1.5"],
    [{ key: "" }, "key", "must not be empty"],
    [{ key: "k".repeat(501) }, "key", "must have at most 500 characters"],
    [{ key: null }, "key", "must be text, not null"],
    [{ inptu: 1 }, "inptu", "is not known here (known: input, key, priority)"],
    [[], "", "must be an object, not an array"],
    ["x".repeat(100), "", `must be an object, not "${"x".repeat(60)}…"`],
  ])("says what is wrong with %o", (value, path, message) => {
    expect(compile(StartBody)(value, "")).toEqual({ path, message });
  });

  test("takes only a value's own members for its members", () => {
    const inherited: JsonSchema = { type: "object", properties: { toString: { type: "boolean" as const } }, additionalProperties: false };
    expect(compile(inherited)({}, "")).toBeUndefined();
    expect(compile(inherited)({ constructor: 1 }, "")).toMatchObject({ path: "constructor" });
    expect(compile({ ...inherited, required: ["toString"] })({}, "")).toEqual({ path: "toString", message: "is missing" });
    expect(compile(inherited)(JSON.parse('{"__proto__":1}'), "")).toMatchObject({ path: "__proto__" });
  });

  test("names the path of a nested value", () => {
    const nested: JsonSchema = {
      type: "object",
      properties: { a: { type: "object", properties: { b: { type: "boolean" } }, required: ["b"] } },
    };
    expect(compile(nested)({ a: {} }, "")).toEqual({ path: "a.b", message: "is missing" });
    expect(compile(nested)({ a: { b: 0 } }, "")).toEqual({ path: "a.b", message: "must be true or false, not 0" });
  });
});

describe("a query", () => {
  const read = queryReader({ type: "object", properties: { n: { type: "integer" }, yes: { type: "boolean" }, t: { type: "string" } } });

  test("gets its integers and booleans", () => {
    expect(read({ n: "12", yes: "false", t: "12" })).toEqual({ n: 12, yes: false, t: "12" });
  });

  test("keeps what is neither, for the check to refuse", () => {
    expect(read({ n: "1e3", yes: "1", more: "5" })).toEqual({ n: "1e3", yes: "1", more: "5" });
    expect(read({ n: ["1", "2"] })).toEqual({ n: ["1", "2"] });
  });
});
