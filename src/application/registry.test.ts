import { expect, test } from "vitest";
import { LockstepError } from "../lib/errors.ts";
import type { ApplicationVersion, Manifest } from "../protocol/application.ts";
import { Registry } from "./registry.ts";

const version = (application: string, name: string, more: Partial<Manifest> = {}): ApplicationVersion => ({
  application,
  version: name,
  manifest: { functions: [], coordinators: [], ...more },
  deployedAt: 0,
  current: true,
});

const triggered: Partial<Manifest> = {
  coordinators: [{ name: "book", on: [{ object: { bucket: "orders" } }], permissions: { call: ["pay"] } }],
};

test("a bucket belongs to the application that declares it or is triggered by it", () => {
  const registry = new Registry();
  registry.add(version("shop", "1", { ...triggered, buckets: ["files"] }));
  expect([registry.ownerOfBucket("orders"), registry.ownerOfBucket("files"), registry.ownerOfBucket("others")]).toEqual([
    "shop",
    "shop",
    undefined,
  ]);
  expect(registry.buckets().sort()).toEqual(["files", "orders"]);
});

test("a bucket of another application is taken, until that application gives it up", () => {
  const registry = new Registry();
  registry.add(version("shop", "1", triggered));
  const other = version("other", "2", { buckets: ["orders"] });
  expect(() => registry.checkNames(other)).toThrow(LockstepError);
  expect(() => registry.checkNames(other)).toThrow('bucket "orders" is already defined by application "shop"');
  expect(() => registry.checkNames(version("shop", "3", { buckets: ["orders"] }))).not.toThrow();
  registry.add(version("shop", "3"));
  expect(() => registry.checkNames(other)).not.toThrow();
});

test("tables are those of the current version, coordinators' options those of the version asked for", () => {
  const registry = new Registry();
  registry.add(version("shop", "1", { ...triggered, tables: [{ name: "orders", ttlMs: 5 }] }));
  registry.add(version("shop", "2", { tables: [{ name: "orders" }] }));
  expect(registry.tables("shop")).toEqual([{ name: "orders" }]);
  expect(registry.tables("other")).toEqual([]);
  expect(registry.coordinatorSpec("book", "1")?.permissions).toEqual({ call: ["pay"] });
  expect(registry.coordinatorSpec("book", "2")).toBeUndefined();
  expect(registry.current().map(({ version }) => version)).toEqual(["2"]);
});
