/** Conformance of object stores: bodies, and what is kept with them. */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import {
  at,
  bytesOf,
  change,
  chunked,
  noise,
  PLAIN,
  put,
  read,
  rejectsWith,
  remove,
  type StoreCases,
  stage,
} from "./object-store-fixtures.ts";

const LARGE = 9 * 1024 * 1024 + 17;

export const bodyCases: StoreCases = {
  "gives back what was put, with its size, etag, type, metadata and time": async ({ store }) => {
    const content = { contentType: "application/json", metadata: { author: "kaur", note: "größer als 100 %" } };
    const info = await put(store, at("a.json"), '{"seat":12}', content);
    deepEqual(
      { bucket: info.bucket, key: info.key, size: info.size, contentType: info.contentType, metadata: info.metadata },
      { bucket: "orders", key: "a.json", size: 11, ...content },
    );
    match(info.etag, /^"[^"]+"$/);
    ok(Math.abs(info.modifiedAt - Date.now()) < 60_000, "the time of the PUT");
    deepEqual(await store.head(at("a.json")), info);
    const opened = await store.open(at("a.json"));
    deepEqual(opened.info, info);
    equal((await bytesOf(opened.body)).toString(), '{"seat":12}');
  },

  "keeps an empty body": async ({ store }) => {
    equal((await put(store, at("empty"), "")).size, 0);
    equal((await bytesOf((await store.open(at("empty"))).body)).length, 0);
    await rejectsWith(store.open(at("empty"), { start: 0 }), "RANGE_NOT_SATISFIABLE");
  },

  "keeps a large body that comes in many chunks, and reads it in chunks": async ({ store }) => {
    const bytes = noise(LARGE);
    const staged = await store.stage(at("large"), chunked(bytes, 100_003), PLAIN);
    const info = await change(store, { place: at("large"), staged });
    equal(info?.size, LARGE);
    let largest = 0;
    let length = 0;
    for await (const chunk of (await store.open(at("large"))).body) {
      ok(bytes.subarray(length, length + chunk.length).equals(chunk), `the bytes from ${length} on`);
      length += chunk.length;
      largest = Math.max(largest, chunk.length);
    }
    equal(length, LARGE);
    ok(largest <= 1024 * 1024, `no chunk is larger than 1 MiB, one was ${largest}`);
  },

  "keeps a body that comes byte by byte": async ({ store }) => {
    const staged = await store.stage(at("crumbs"), chunked("hello, world", 1), PLAIN);
    await change(store, { place: at("crumbs"), staged });
    equal(await read(store, at("crumbs")), "hello, world");
  },

  "reads ranges from the beginning, the middle and the end": async ({ store }) => {
    await put(store, at("digits"), "0123456789");
    const part = async (range: { start: number; end?: number }) => {
      const opened = await store.open(at("digits"), range);
      return [(await bytesOf(opened.body)).toString(), opened.range];
    };
    deepEqual(await part({ start: 0, end: 3 }), ["0123", { start: 0, end: 3 }]);
    deepEqual(await part({ start: 4 }), ["456789", { start: 4, end: 9 }]);
    deepEqual(await part({ start: -3 }), ["789", { start: 7, end: 9 }]);
    deepEqual(await part({ start: -99 }), ["0123456789", { start: 0, end: 9 }]);
    deepEqual(await part({ start: 8, end: 99 }), ["89", { start: 8, end: 9 }]);
    await rejectsWith(store.open(at("digits"), { start: 10 }), "RANGE_NOT_SATISFIABLE");
    await rejectsWith(store.open(at("digits"), { start: 5, end: 4 }), "RANGE_NOT_SATISFIABLE");
  },

  "reads a range of a large body": async ({ store }) => {
    const bytes = noise(LARGE, 2);
    await put(store, at("large"), bytes);
    const { body } = await store.open(at("large"), { start: 5_000_001, end: 8_000_000 });
    ok(bytes.subarray(5_000_001, 8_000_001).equals(await bytesOf(body)));
  },

  "lets a reader leave early": async ({ store }) => {
    await put(store, at("large"), noise(LARGE, 3));
    for await (const chunk of (await store.open(at("large"))).body) {
      ok(chunk.length > 0);
      break;
    }
    equal((await store.head(at("large")))?.size, LARGE);
  },

  "goes on reading the object that was opened while it is replaced and deleted": async ({ store }) => {
    const bytes = noise(LARGE, 4);
    await put(store, at("large"), bytes);
    const opened = await store.open(at("large"));
    await put(store, at("large"), "new");
    await remove(store, at("large"));
    const found = await bytesOf(opened.body);
    ok(bytes.equals(found));
  },

  "keeps nothing of a body that fails on the way": async ({ store, events }) => {
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield Buffer.from("half of i");
      throw new TypeError("the client went away");
    }
    const failure = await store.stage(at("torn"), failing(), PLAIN).catch((error: unknown) => error);
    equal((failure as Error).message, "the client went away");
    equal(await store.head(at("torn")), undefined);
    deepEqual(await events(), []);
  },

  "shows nothing of what is only staged": async ({ store, events }) => {
    const staged = await stage(store, at("staged"), "not yet");
    equal(await store.head(at("staged")), undefined);
    deepEqual((await store.list("orders", { prefix: "", limit: 10 })).objects, []);
    await store.discard(staged);
    deepEqual(await events(), []);
  },

  "tells that there is no such object": async ({ store }) => {
    equal(await store.head(at("none")), undefined);
    await rejectsWith(store.open(at("none")), "UNKNOWN_OBJECT");
    await rejectsWith(store.stageCopy(at("none"), at("copy")), "UNKNOWN_OBJECT");
    equal(await remove(store, at("none")), undefined);
  },

  "copies an object with what is kept with it, also to another bucket": async ({ store }) => {
    const content = { contentType: "text/csv", metadata: { origin: "export" } };
    const original = await put(store, at("a"), "1;2;3", content);
    const staged = await store.stageCopy(at("a"), at("b", "other"));
    const copy = await change(store, { place: at("b", "other"), staged });
    deepEqual(
      { size: copy?.size, contentType: copy?.contentType, metadata: copy?.metadata },
      { size: 5, contentType: content.contentType, metadata: content.metadata },
    );
    await remove(store, at("a"));
    equal(await read(store, at("b", "other")), "1;2;3");
    equal(original.size, copy?.size);
  },

  "copies an empty object, and a large one": async ({ store }) => {
    await put(store, at("empty"), "");
    await change(store, { place: at("empty copy"), staged: await store.stageCopy(at("empty"), at("empty copy")) });
    equal((await store.head(at("empty copy")))?.size, 0);
    const bytes = noise(LARGE, 5);
    await put(store, at("large"), bytes);
    await change(store, { place: at("large copy"), staged: await store.stageCopy(at("large"), at("large copy")) });
    ok(bytes.equals(await bytesOf((await store.open(at("large copy"))).body)));
  },
};
