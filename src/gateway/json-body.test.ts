import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseBody, writeValue } from "./json-body.ts";

const parse = (text: string | Buffer, maxDepth = 100): unknown => parseBody(Buffer.from(text as string), maxDepth);
const nested = (depth: number): string => "[".repeat(depth) + "]".repeat(depth);
const depthOf = (value: unknown): number =>
  typeof value === "object" && value !== null ? 1 + Math.max(0, ...Object.values(value).map(depthOf)) : 0;

describe("a body", () => {
  test("is what its JSON says", () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        fc.pre(!text.includes("__proto__") && JSON.parse(text) !== null);
        expect(parse(text)).toEqual(JSON.parse(text));
      }),
    );
  });

  test("is refused exactly when it is nested deeper than the limit, whatever its strings hold", () => {
    const tricky = fc
      .array(fc.constantFrom("[", "{", "]", "}", '"', "\\", "x", "long text without any of those "), { maxLength: 8 })
      .map((parts) => parts.join(""));
    const value = fc.letrec((tie) => ({
      any: fc.oneof(
        { maxDepth: 8, depthSize: "large" },
        tricky,
        fc.array(tie("any"), { maxLength: 3 }),
        fc.dictionary(tricky, tie("any"), { maxKeys: 3 }),
      ),
    })).any;
    fc.assert(
      fc.property(value, fc.integer({ min: 1, max: 6 }), fc.constantFrom(undefined, 1), (value, limit, space) => {
        const text = JSON.stringify(value, null, space);
        if (depthOf(value) <= limit) expect(parse(text, limit)).toEqual(JSON.parse(text));
        else expect(() => parse(text, limit)).toThrow(`nested deeper than ${limit} levels`);
      }),
      { numRuns: 500 },
    );
  });

  test("may be a hundred levels deep, and a million levels are refused", () => {
    expect(depthOf(parse(nested(100)))).toBe(100);
    expect(() => parse(nested(101))).toThrow("nested deeper than 100 levels");
    expect(() => parse(nested(1_000_000))).toThrow("nested deeper than 100 levels");
  });

  test.each(["{", '{"a":1,}', "{'a':1}", "undefined", "", "\u{feff}{}", '{"a":"', "[1"])("of %j is refused as no JSON", (text) => {
    expect(() => parse(text)).toThrow(expect.objectContaining({ code: "BAD_REQUEST", message: expect.stringContaining("not JSON") }));
  });

  test("that is no UTF-8 is refused", () => {
    expect(() => parse(Buffer.from([0x22, 0xff, 0x22]))).toThrow("not UTF-8");
  });

  test("of null is refused", () => {
    expect(() => parse("null")).toThrow("not null");
  });

  test.each(['{"a":{"__proto__":{"x":1}}}', '{"a":[{"\\u005f_proto__":1}]}', '{"__proto\\u005F\\u005f":null}'])(
    "with the member of %s is refused",
    (text) => {
      expect(() => parse(text)).toThrow(expect.objectContaining({ code: "BAD_REQUEST", message: expect.stringContaining("__proto__") }));
    },
  );

  test("may speak of __proto__ in a value", () => {
    expect(parse('{"a":"__proto__"}')).toEqual({ a: "__proto__" });
  });
});

describe("a value", () => {
  test("is written as the JSON that it came from", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(JSON.parse(writeValue(value, "input"))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  test("that is absent is the empty text", () => {
    expect(writeValue(undefined, "input")).toBe("");
  });

  test("with a number beyond a double is refused instead of becoming null", () => {
    const error = expect.objectContaining({ code: "BAD_REQUEST", details: { field: "input.a[1].b", in: "body" } });
    expect(() => writeValue(parse('{"a":[null,{"b":1e400}]}'), "input")).toThrow(error);
    expect(() => writeValue(JSON.parse(`-${"9".repeat(400)}`), "input")).toThrow("beyond the range");
  });
});
