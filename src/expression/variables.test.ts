import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readVariables } from "./variables.ts";

describe("readVariables", () => {
  it("cuts each value out as it was written", () => {
    const values = readVariables(' { "a" : 1.50 , "b":[1, {"c":"}],"}], "c" : "x\\"y\\\\" , "d":{ } , "e":null } ');
    expect([...values]).toEqual([
      ["a", "1.50"],
      ["b", '[1, {"c":"}],"}]'],
      ["c", '"x\\"y\\\\"'],
      ["d", "{ }"],
      ["e", "null"],
    ]);
  });

  it.each(["", "{}", " { } "])("finds none in %j", (text) => {
    expect(readVariables(text).size).toBe(0);
  });

  it("keeps numbers that a double cannot hold", () => {
    expect(readVariables('{"a":12345678901234567890,"b":1e999}')).toEqual(
      new Map([
        ["a", "12345678901234567890"],
        ["b", "1e999"],
      ]),
    );
  });

  it("reads escaped names and takes the last of equal ones, as JSON.parse does", () => {
    expect([...readVariables('{"\\u0061\\"":1,"a\\"":2,"__proto__":3}')]).toEqual([
      ['a"', "2"],
      ["__proto__", "3"],
    ]);
  });

  it("reads values nested 100,000 deep", () => {
    const value = `${"[".repeat(100_000)}${"]".repeat(100_000)}`;
    expect(readVariables(`{"a":${value}}`).get("a")).toBe(value);
  });

  it("finds in any object what JSON.parse finds", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string({ unit: "grapheme" }), fc.jsonValue()), fc.constantFrom(undefined, 1, "\t"), (object, space) => {
        const values = readVariables(JSON.stringify(object, null, space));
        expect(new Map([...values].map(([name, text]) => [name, JSON.parse(text)]))).toEqual(
          new Map(Object.entries(JSON.parse(JSON.stringify(object)))),
        );
      }),
    );
  });

  it.each([
    ["{", "variables is not valid JSON: "],
    ['{"a":1}x', "variables is not valid JSON: "],
    ["[1]", "variables must be an object of names and values, not an array"],
    ["null", "variables must be an object of names and values, not null"],
    ["3", "variables must be an object of names and values, not a number"],
  ])("refuses %j", (text, message) => {
    expect(() => readVariables(text)).toThrow(
      expect.objectContaining({ code: "BAD_REQUEST", message: expect.stringContaining(message), details: { field: "variables" } }),
    );
  });
});
