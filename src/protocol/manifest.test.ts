import { expect, test } from "vitest";
import { isManifest } from "./manifest.ts";

const withFunction = (more: object) => ({ functions: [{ name: "pay", ...more }], coordinators: [] });
const many = <T>(one: T, count: number): T[] => Array.from({ length: count }, () => one);

test("absent fields may also be empty, as MessagePack writes them", () => {
  expect(isManifest({ ...withFunction({ on: null, limits: undefined }), tables: null })).toBe(true);
});

test.each<[string, unknown]>([
  ["that is none", []],
  ["without functions", { coordinators: [] }],
  ["with a function without a name", { functions: [{}], coordinators: [] }],
  ["with a name as long as a book", { functions: [{ name: "a".repeat(10_000) }], coordinators: [] }],
  ["with an option that is unknown", withFunction({ trust: "me" })],
  ["with a state's key that is none", withFunction({ stateKey: 1 })],
  ["with a number that is none", withFunction({ timeoutMs: Number.NaN })],
  ["with a BigInt", withFunction({ timeoutMs: 1n })],
  ["with too many patterns", withFunction({ writes: many("a/b", 101) })],
  ["with a pattern that is too long", withFunction({ writes: ["a".repeat(2_000)] })],
  ["with permissions of an unknown kind", withFunction({ permissions: { files: [] } })],
  ["with a trigger of two forms", withFunction({ on: [{ stale: "a/*", cron: "* * * * *" }] })],
  ["with a trigger of none", withFunction({ on: [{}] })],
  ["with a trigger that compares with an object", withFunction({ on: [{ event: "run.finished", where: { a: {} } }] })],
  ["with too many functions", { functions: many({ name: "a" }, 2_001), coordinators: [] }],
  ["with a bucket that is no text", { functions: [], coordinators: [], buckets: [1] }],
  ["with a table that has a prototype's field", { functions: [], coordinators: [], tables: [{ name: "a", constructor: 1 }] }],
  ["with an alert of nobody", { functions: [], coordinators: [], alerts: [{ name: "a" }] }],
])("a manifest %s is refused", (_, manifest) => {
  expect(isManifest(manifest)).toBe(false);
});
