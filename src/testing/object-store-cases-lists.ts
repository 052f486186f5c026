/** Conformance of object stores: names and listings. */
import { deepEqual, equal } from "node:assert/strict";
import { compareUtf8 } from "../lib/utf8.ts";
import { at, keysOf, put, read, remove, type StoreCases } from "./object-store-fixtures.ts";

const ODD = [
  "../../etc/passwd",
  "/absolute",
  "a//b",
  "a/./b",
  "a/../b",
  "ends with a slash/",
  "trailing dot.",
  "CON",
  "a\\b",
  'a:b*c?d"e<f>g|h',
  "%2e%2e%2f",
  "a+b c&d=e#f;g@h",
  "größe/日本語/🙂",
  "\ue000 and \u{10000}",
  " leading and trailing ",
  "~",
  "k".repeat(1_024),
  "a'b(c)d!e",
];

export const listCases: StoreCases = {
  "keeps objects under odd names apart": async ({ store }) => {
    for (const [i, key] of ODD.entries()) await put(store, at(key), `body ${i}`);
    for (const [i, key] of ODD.entries()) {
      equal(await read(store, at(key)), `body ${i}`, key);
      equal((await store.head(at(key)))?.key, key);
    }
    deepEqual(await keysOf(store), [...ODD].sort(compareUtf8));
    for (const key of ODD) await remove(store, at(key));
    deepEqual(await keysOf(store), []);
  },

  "keeps buckets apart": async ({ store }) => {
    await put(store, at("a"), "of orders");
    await put(store, at("a", "other"), "of other");
    equal(await read(store, at("a")), "of orders");
    equal(await read(store, at("a", "other")), "of other");
    deepEqual(await keysOf(store, "", "other"), ["a"]);
    await remove(store, at("a", "other"));
    deepEqual(await keysOf(store), ["a"]);
  },

  "lists what begins with a prefix, in the order of the keys' bytes": async ({ store }) => {
    for (const key of ["b/2", "a", "b/10", "b/1", "c", "B/1", "b", "b/ü"]) await put(store, at(key), key);
    deepEqual(await keysOf(store, "b/"), ["b/1", "b/10", "b/2", "b/ü"]);
    deepEqual(await keysOf(store, "b"), ["b", "b/1", "b/10", "b/2", "b/ü"]);
    deepEqual(await keysOf(store, "none"), []);
    deepEqual(await keysOf(store), ["B/1", "a", "b", "b/1", "b/10", "b/2", "b/ü", "c"]);
  },

  "lists page by page, and every object once": async ({ store }) => {
    const keys = Array.from({ length: 25 }, (_, i) => `page/${String(i).padStart(3, "0")}`);
    for (const key of keys) await put(store, at(key), key);
    await put(store, at("zzz"), "not of the prefix");
    const found: string[] = [];
    let after: string | undefined;
    let pages = 0;
    for (;;) {
      const page = await store.list("orders", { prefix: "page/", limit: 10, ...(after === undefined ? {} : { after }) });
      found.push(...page.objects.map(({ key }) => key));
      pages++;
      after = page.objects.at(-1)?.key;
      if (!page.more) break;
    }
    deepEqual(found, keys);
    equal(pages, 3);
  },

  "lists a page that is exactly full as the last": async ({ store }) => {
    for (const key of ["1", "2", "3"]) await put(store, at(key), key);
    equal((await store.list("orders", { prefix: "", limit: 3 })).more, false);
    equal((await store.list("orders", { prefix: "", limit: 2 })).more, true);
  },

  "goes on with a listing after a key that is gone": async ({ store }) => {
    for (const key of ["1", "2", "3"]) await put(store, at(key), key);
    await remove(store, at("2"));
    const page = await store.list("orders", { prefix: "", limit: 10, after: "2" });
    deepEqual(
      page.objects.map(({ key }) => key),
      ["3"],
    );
  },

  "lists sizes and etags as they are": async ({ store }) => {
    const info = await put(store, at("a"), "12345");
    const [listed] = (await store.list("orders", { prefix: "", limit: 10 })).objects;
    deepEqual([listed?.size, listed?.etag, listed?.bucket], [5, info.etag, "orders"]);
  },
};
