/** Conformance of object stores: changes, their order, conditions, events, and what a crash leaves. */
import { deepEqual, equal, notEqual, ok } from "node:assert/strict";
import type { EventBody } from "../protocol/events.ts";
import type { ObjectInfo } from "../protocol/objects.ts";
import { at, change, keysOf, PLAIN, put, read, rejectsWith, remove, type StoreCases, stage } from "./object-store-fixtures.ts";

const told = (events: EventBody[]): string[] =>
  events.flatMap((event) => {
    if (event.type === "object.put") return [`put ${event.object.key} ${event.object.size}`];
    return event.type === "object.deleted" ? [`deleted ${event.key}`] : [];
  });

export const changeCases: StoreCases = {
  "replaces an object, and gives each PUT another version": async ({ store }) => {
    const first = await put(store, at("a"), "one");
    const second = await put(store, at("a"), "other");
    notEqual(first.version, second.version);
    notEqual(first.etag, second.etag);
    equal(await read(store, at("a")), "other");
    equal((await store.head(at("a")))?.version, second.version);
  },

  "gives an object that is put again after its deletion another version": async ({ store }) => {
    const first = await put(store, at("a"), "one");
    equal((await remove(store, at("a")))?.etag, first.etag);
    equal(await store.head(at("a")), undefined);
    ok((await put(store, at("a"), "two")).version !== first.version);
  },

  "tells each change as one event, in order": async ({ store, events }) => {
    await put(store, at("a"), "1");
    await put(store, at("b"), "22");
    await put(store, at("a"), "333");
    await remove(store, at("b"));
    await remove(store, at("b"));
    deepEqual(told(await events()), ["put a 1", "put b 2", "put a 3", "deleted b"]);
  },

  "tells in the event what the object is, and whose call has put it": async ({ store, events }) => {
    const staged = await stage(store, at("a"), "1", { contentType: "text/plain", metadata: { x: "y" } });
    const info = await change(store, { place: at("a"), staged, run: "run_1" });
    deepEqual(await events(), [{ type: "object.put", object: info, run: "run_1" }]);
  },

  "publishes several changes together, in order": async ({ store, events }) => {
    const places = [at("a"), at("b"), at("a")];
    const staged = [await stage(store, at("a"), "1"), await stage(store, at("b"), "22"), await stage(store, at("a"), "333")];
    const claims = await Promise.all(places.map((place) => store.claim(place, true)));
    const done = store.publish(places.map((place, i) => ({ place, staged: staged[i]! })));
    await Promise.all(done);
    for (const claim of claims) claim.release();
    equal(await read(store, at("a")), "333");
    deepEqual(told(await events()).sort(), ["put a 1", "put a 3", "put b 2"]);
  },

  "puts only what is not there yet, if asked to": async ({ store }) => {
    const first = await stage(store, at("a"), "one");
    await change(store, { place: at("a"), staged: first, ifNoneMatch: "*" });
    const second = await stage(store, at("a"), "two");
    const claim = await store.claim(at("a"), true);
    equal(store.holds([{ place: at("a"), staged: second, ifNoneMatch: "*" }]), false);
    claim.release();
    await store.discard(second);
    equal(await read(store, at("a")), "one");
  },

  "replaces and deletes only what has the given etag, if asked to": async ({ store }) => {
    const first = await put(store, at("a"), "one");
    const staged = await stage(store, at("a"), "two");
    const second = await change(store, { place: at("a"), staged, ifMatch: first.etag });
    notEqual(second?.etag, first.etag);
    const claim = await store.claim(at("a"), true);
    const late = await stage(store, at("a"), "three");
    equal(store.holds([{ place: at("a"), staged: late, ifMatch: first.etag }]), false);
    equal(store.holds([{ place: at("a"), ifMatch: first.etag }]), false);
    equal(store.holds([{ place: at("a"), ifMatch: second?.etag as string }]), true);
    claim.release();
    await store.discard(late);
    await change(store, { place: at("a"), ifMatch: second?.etag as string });
    equal(await store.head(at("a")), undefined);
  },

  "lets one of many win who put what is not there yet": async ({ store, events }) => {
    const puts = Array.from({ length: 10 }, async (_, i) => {
      const staged = await stage(store, at("prize"), `winner ${i}`);
      try {
        return await change(store, { place: at("prize"), staged, ifNoneMatch: "*" });
      } catch (error) {
        equal((error as { code?: string }).code, "PRECONDITION_FAILED");
        return undefined;
      }
    });
    const winners = (await Promise.all(puts)).filter((info) => info !== undefined);
    equal(winners.length, 1);
    equal((await store.head(at("prize")))?.version, winners[0]?.version);
    equal(told(await events()).length, 1);
  },

  "keeps one whole body of many that are put at the same time, the one told last": async ({ store, events }) => {
    const bodies = Array.from({ length: 20 }, (_, i) => String(i).repeat(1_000 + i));
    const infos = await Promise.all(bodies.map((body) => put(store, at("a"), body)));
    equal(new Set(infos.map(({ version }) => version)).size, 20);
    const now = await read(store, at("a"));
    ok(bodies.includes(now), "the body is one of those put, whole");
    const last = (await events()).at(-1) as { object: ObjectInfo };
    equal(last.object.version, (await store.head(at("a")))?.version);
    equal((await events()).length, 20);
  },

  "remembers by which PUT an object was made": async ({ store }) => {
    await put(store, at("a"), "one", { ...PLAIN, put: "put-1" });
    const claim = await store.claim(at("a"), true);
    equal(claim.put, "put-1");
    claim.release();
    await put(store, at("a"), "two");
    const other = await store.claim(at("a"), true);
    equal(other.put, undefined);
    other.release();
  },

  "knows nothing of a key that is not there": async ({ store }) => {
    const claim = await store.claim(at("none"), true);
    equal(claim.info, undefined);
    claim.release();
    await rejectsWith(change(store, { place: at("none"), ifMatch: '"x"' }), "PRECONDITION_FAILED");
  },

  "has after a crash what was told to be there, and nothing of what was staged": async (bench) => {
    const info = await put(bench.store, at("a"), "one");
    await put(bench.store, at("b"), "gone");
    await remove(bench.store, at("b"));
    await stage(bench.store, at("c"), "staged only");
    await bench.crash();
    equal(await read(bench.store, at("a")), "one");
    deepEqual(await bench.store.head(at("a")), info);
    deepEqual(await keysOf(bench.store), ["a"]);
    deepEqual(told(await bench.events()), ["put a 3", "put b 4", "deleted b"]);
    notEqual((await put(bench.store, at("a"), "two")).version, info.version);
  },
};
