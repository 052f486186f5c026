import fc from "fast-check";
import { expect, test } from "vitest";
import { fitsGlob } from "./glob.ts";

test.each([
  ["orders/*", "orders/17", true],
  ["orders/*", "orders/", true],
  ["orders/*", "orders/a/b", true],
  ["orders/*", "order/17", false],
  ["*", "", true],
  ["*", "anything", true],
  ["", "", true],
  ["", "a", false],
  ["run.*", "run.finished", true],
  ["*.json", "a.json.json", true],
  ["a*b*c", "a-b-b-c", true],
  ["a*b*c", "a-c-b", false],
  ["a.c", "abc", false],
])("%s and %s: %s", (pattern, text, fits) => {
  expect(fitsGlob(pattern, text)).toBe(fits);
});

test("a text fits the patterns that are made by putting stars in place of its parts", () => {
  const parts = fc.array(fc.string({ maxLength: 4 }), { minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(parts, parts, (kept, replaced) => {
      const text = kept.flatMap((part, i) => [part, i < kept.length - 1 ? (replaced[i % replaced.length] ?? "") : ""]).join("");
      expect(fitsGlob(kept.join("*"), text)).toBe(true);
    }),
  );
});

test("many stars take no time", () => {
  expect(fitsGlob(`${"*a".repeat(500)}b`, "a".repeat(2_000))).toBe(false);
});
