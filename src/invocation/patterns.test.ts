import { expect, test } from "vitest";
import { declaredKeys } from "./patterns.ts";

test("a declared key is filled from the input's fields", () => {
  const input = '{"id":17,"customer":{"id":"c-5"},"rush":true}';
  expect(declaredKeys(["orders/{id}", "customers/{customer.id}", "flags/{rush}", "totals/all"], input)).toEqual([
    "orders/17",
    "customers/c-5",
    "flags/true",
    "totals/all",
  ]);
});

test("an input that is the field itself is meant by empty braces", () => {
  expect(declaredKeys(["orders/{}"], '"o-1"')).toEqual(["orders/o-1"]);
});

test.each([
  ["has no such field", "orders/{id}", '{"name":"x"}'],
  ["has a field that is an object", "orders/{id}", '{"id":{"a":1}}'],
  ["has an empty field", "orders/{id}", '{"id":""}'],
  ["has a field that makes no key", "orders/{id}", '{"id":"a\\u0000b"}'],
  ["inherits what it is asked for", "orders/{constructor.name}", "{}"],
  ["is no object", "orders/{id}", "5"],
  ["is nothing", "orders/{id}", ""],
  ["is no JSON", "orders/{id}", "{"],
])("an input that %s gives no key", (_, pattern, input) => {
  expect(declaredKeys([pattern], input)).toEqual([]);
});

test("a key that two patterns give is given once", () => {
  expect(declaredKeys(["orders/{id}", "orders/{}"], '"x"')).toEqual(["orders/x"]);
});
