import { expect, test } from "vitest";
import { open } from "../../test/support/gateway.ts";
import { createClient } from "../client/index.ts";
import { runIdOf } from "../lib/ids.ts";
import type { Staleness } from "../protocol/state.ts";

const stale: Staleness = { run: runIdOf(7), call: 2, function: "pay", fault: "execution", message: "no", at: 1_700_000_000_000 };

test("a key is set, shown, set on a condition and deleted", async () => {
  const { call, raw } = await open();
  const put = (body: object) => call("/v1/state/shop/orders%2F17", { method: "PUT", body });
  expect((await call("/v1/state/shop/orders%2F17")).json).toMatchObject({ status: 404, code: "UNKNOWN_KEY" });
  expect((await put({ value: { paid: true } })).json).toMatchObject({ version: 1 });
  expect((await call("/v1/state/shop/orders%2F17")).json).toMatchObject({ key: "orders/17", value: { paid: true }, version: 1 });
  expect((await raw("/v1/state/shop/orders/17")).json).toMatchObject({ version: 1 });
  expect((await put({ value: null, ifVersion: 1 })).json).toEqual({ key: "orders/17", value: null, version: 2 });
  expect((await put({ value: 1, ifVersion: 1 })).json).toMatchObject({ status: 409, code: "STATE_CONFLICT" });
  expect((await call("/v1/state/shop/orders%2F17?ifVersion=1", { method: "DELETE" })).json).toMatchObject({ code: "STATE_CONFLICT" });
  expect((await call("/v1/state/shop/orders%2F17?ifVersion=2", { method: "DELETE" })).status).toBe(204);
  expect((await call("/v1/state/shop/orders%2F17", { method: "DELETE" })).status).toBe(204);
  expect((await call("/v1/state/shop/orders%2F17")).status).toBe(404);
});

test("keys are listed by prefix and page, and those that are stale by themselves", async () => {
  const { call, plane } = await open();
  for (const key of ["orders/1", "orders/2", "orders/3", "rooms/1"]) await plane.state.write("shop", { key, value: '"x"' });
  plane.state.entries.set("shop orders/2", { application: "shop", key: "orders/2", value: "", version: 0, stale });
  const keys = async (query: string) => (await call(`/v1/state/shop${query}`)).json.entries.map(({ key }: { key: string }) => key);
  expect(await keys("")).toEqual(["orders/1", "orders/2", "orders/3", "rooms/1"]);
  expect(await keys("?prefix=orders/&limit=2")).toEqual(["orders/1", "orders/2"]);
  expect(await keys("?prefix=orders/&after=orders/2")).toEqual(["orders/3"]);
  expect((await call("/v1/state/shop?stale=true")).json).toEqual({ entries: [{ key: "orders/2", version: 0, stale }] });
  expect(await keys("?stale=true&prefix=rooms/")).toEqual([]);
  // A key without a value is shown all the same while it is stale.
  expect((await call("/v1/state/shop/orders%2F2")).json).toEqual({ key: "orders/2", version: 0, stale });
  expect((await call("/v1/state/shop/orders%2F2", { method: "PUT", body: { refresh: true } })).json).toMatchObject({ key: "orders/2" });
});

test.each<[object, string]>([
  [{}, "value"],
  [{ value: 1, refresh: true }, "value"],
  [{ value: 1, ttlMs: 0 }, "ttlMs"],
  [{ value: 1, ifVersion: -1 }, "ifVersion"],
  [{ value: 1, version: 3 }, "version"],
])("a PUT of %j is refused", async (body, field) => {
  const { call } = await open();
  const { json } = await call("/v1/state/shop/orders%2F17", { method: "PUT", body });
  expect(json).toMatchObject({ code: "BAD_REQUEST", details: { field } });
});

test("any key that the store takes can be addressed", async () => {
  const { gateway, plane } = await open();
  const { state } = createClient({ url: gateway.url });
  const keys = ["orders/a b", "orders/%2F", "orders/..", "orders/../x", "orders/a/b?c#d", "orders/é😀", `orders/${"€".repeat(333)}`];
  for (const key of keys) expect(await state.set("shop", key, 1)).toMatchObject({ key, value: 1 });
  expect([...plane.state.entries.values()].map(({ key }) => key)).toEqual(keys);
  for (const key of keys) await state.delete("shop", key);
  expect(plane.state.entries.size).toBe(0);
});

test("the client reads, writes and refreshes", async () => {
  const { gateway, plane } = await open();
  const { state } = createClient({ url: gateway.url });
  expect(await state.get("shop", "orders/1")).toEqual({ key: "orders/1", version: 0 });
  expect(await state.set("shop", "orders/1", ["a"], { ifVersion: 0 })).toEqual({ key: "orders/1", value: ["a"], version: 1 });
  await expect(state.set("shop", "orders/1", 2, { ifVersion: 0 })).rejects.toMatchObject({ code: "STATE_CONFLICT" });
  expect(await state.list("shop", { prefix: "orders/", limit: 5 })).toHaveLength(1);
  plane.state.entries.set("shop orders/1", { application: "shop", key: "orders/1", value: "1", version: 4, stale });
  expect(await state.stale("shop")).toEqual([{ key: "orders/1", value: 1, version: 4, stale }]);
  expect(await state.refresh("shop", "orders/1")).toMatchObject({ value: 1 });
  expect(await state.stale("shop")).toEqual([]);
});
