/** Conformance of journals: rows of the state store. */
import { deepEqual, equal } from "node:assert/strict";
import type { Staleness, StateChange, StateEntry } from "../protocol/state.ts";
import type { JournalCases } from "./journal-fixtures.ts";
import { batchOf, idAt, rejectsWith, runAt, START } from "./journal-fixtures.ts";

const staleBy = (call: number): Staleness => ({ run: idAt(1), call, function: "pay", fault: "execution", message: "no", at: START });

const put = (key: string, version: number, parts: Partial<StateChange> = {}): StateChange => ({
  space: "shop",
  key,
  value: `"${key} ${version}"`,
  version,
  ...parts,
});

const drop = (key: string, version: number): StateChange => ({ space: "shop", key, version });

const mark = (key: string, stale?: Staleness): StateChange => ({
  space: "shop",
  key,
  version: 0,
  keep: true,
  ...(stale === undefined ? {} : { stale }),
});

const entry = (key: string, version: number, parts: Partial<StateEntry> = {}): StateEntry => ({
  key,
  value: `"${key} ${version}"`,
  version,
  ...parts,
});

const keys = (entries: readonly { key: string }[]): string[] => entries.map(({ key }) => key);

export const stateCases: JournalCases = {
  "a row of the state store is what its last change says": async ({ open, reopen }) => {
    const journal = await open();
    equal(await journal.state.get("shop", "a/1"), undefined);
    await journal.commit(batchOf({ state: [put("a/1", 1), put("a/2", 2, { expiresAt: START, stale: staleBy(1) })] }));
    await journal.commit(batchOf({ state: [put("a/1", 3, { value: "null" }), put("a/1", 4), put("a/3", 5)] }));
    const next = await reopen(journal);
    deepEqual(await next.state.get("shop", "a/1"), entry("a/1", 4));
    deepEqual(await next.state.get("shop", "a/2"), entry("a/2", 2, { expiresAt: START, stale: staleBy(1) }));
    deepEqual(await next.state.get("shop", "a/3"), entry("a/3", 5));
    equal(await next.state.get("other", "a/1"), undefined);
    equal(await next.state.get("shop", "a"), undefined);
    await next.commit(batchOf({ state: [put("a/2", 6)] }));
    deepEqual(await next.state.get("shop", "a/2"), entry("a/2", 6));
  },

  "a change without value and staleness removes the row, also in the commit that wrote it": async ({ open }) => {
    const journal = await open();
    await journal.commit(batchOf({ state: [put("a/1", 1), put("a/2", 2), drop("a/2", 3), drop("a/9", 4)] }));
    equal(await journal.state.get("shop", "a/2"), undefined);
    await journal.commit(batchOf({ state: [drop("a/1", 5), put("a/2", 6), drop("a/3", 7), put("a/3", 8)] }));
    deepEqual(keys(await journal.state.list("shop", "", 10)), ["a/2", "a/3"]);
    await journal.commit(batchOf({ state: [put("a/2", 9), drop("a/2", 10), put("a/2", 11)] }));
    deepEqual(await journal.state.get("shop", "a/2"), entry("a/2", 11));
  },

  "a mark changes staleness alone, whether the row is there, comes in the same commit or is not": async ({ open, reopen }) => {
    const journal = await open();
    await journal.commit(batchOf({ state: [put("a/1", 1, { expiresAt: START }), mark("a/2", staleBy(2))] }));
    await journal.commit(batchOf({ state: [mark("a/1", staleBy(1)), put("a/3", 3), mark("a/3", staleBy(3))] }));
    const next = await reopen(journal);
    deepEqual(await next.state.get("shop", "a/1"), entry("a/1", 1, { expiresAt: START, stale: staleBy(1) }));
    deepEqual(await next.state.get("shop", "a/2"), { key: "a/2", value: "", version: 0, stale: staleBy(2) });
    deepEqual(await next.state.get("shop", "a/3"), entry("a/3", 3, { stale: staleBy(3) }));
    await next.commit(batchOf({ state: [mark("a/1"), mark("a/2"), mark("a/9"), drop("a/3", 4), mark("a/3", staleBy(4))] }));
    deepEqual(await next.state.get("shop", "a/1"), entry("a/1", 1, { expiresAt: START }));
    equal(await next.state.get("shop", "a/2"), undefined);
    equal(await next.state.get("shop", "a/9"), undefined);
    deepEqual(await next.state.get("shop", "a/3"), { key: "a/3", value: "", version: 0, stale: staleBy(4) });
    await next.commit(batchOf({ state: [mark("a/1", staleBy(5)), put("a/1", 6)] }));
    deepEqual(await next.state.get("shop", "a/1"), entry("a/1", 6));
  },

  "rows are listed by prefix, in the order of their UTF-8 bytes, after any key": async ({ open }) => {
    const journal = await open();
    // U+FF01 comes before U+1F600 in UTF-8 and after it in UTF-16.
    const sorted = ["a", "a/", "a/1", "a/10", "a/2", "a/B", "a/b", "a/é", "a/！", "a/😀", "a0", "b/1"];
    await journal.commit(batchOf({ state: [...sorted].reverse().map((key, i) => put(key, i + 1)) }));
    await journal.commit(batchOf({ state: [put("a/1", 50, { space: "other" })] }));
    deepEqual(keys(await journal.state.list("shop", "", 100)), sorted);
    const under = sorted.filter((key) => key.startsWith("a/"));
    deepEqual(keys(await journal.state.list("shop", "a/", 100)), under);
    for (const [i, after] of under.entries()) {
      deepEqual(keys(await journal.state.list("shop", "a/", 3, after)), under.slice(i + 1, i + 4));
    }
    deepEqual(keys(await journal.state.list("shop", "a/", 2, "a")), under.slice(0, 2));
    deepEqual(keys(await journal.state.list("shop", "a/", 100, "a/11")), under.slice(3));
    deepEqual(await journal.state.list("shop", "a/", 100, "b"), []);
    deepEqual(await journal.state.list("shop", "c", 100), []);
    deepEqual(await journal.state.list("shop", "a/", 0), []);
    deepEqual(keys(await journal.state.list("shop", "a/😀", 100)), ["a/😀"]);
  },

  "many changes of one commit are all kept": async ({ open }) => {
    const journal = await open();
    const state = Array.from({ length: 150 }, (_, i) => put(`t/${String(i % 100).padStart(3, "0")}`, i + 1));
    await journal.commit(batchOf({ state }));
    const rows = await journal.state.list("shop", "t/", 1_000);
    deepEqual(
      rows.map(({ version }) => version),
      Array.from({ length: 100 }, (_, i) => (i < 50 ? i + 101 : i + 1)),
    );
  },

  "stale rows are listed in order, with their space": async ({ open }) => {
    const journal = await open();
    await journal.commit(batchOf({ state: [put("b", 1), mark("b", staleBy(1)), mark("a", staleBy(2)), put("c", 2)] }));
    await journal.commit(batchOf({ state: [put("z", 3, { space: "app", stale: staleBy(3) })] }));
    deepEqual(await journal.state.stale(), [
      { space: "app", ...entry("z", 3, { stale: staleBy(3) }) },
      { space: "shop", key: "a", value: "", version: 0, stale: staleBy(2) },
      { space: "shop", ...entry("b", 1, { stale: staleBy(1) }) },
    ]);
    await journal.commit(batchOf({ state: [mark("b"), mark("a"), put("z", 4, { space: "app" })] }));
    deepEqual(await journal.state.stale(), []);
  },

  "expired rows are listed, soonest first": async ({ open }) => {
    const journal = await open();
    const at = (key: string, version: number, ms: number) => put(key, version, { expiresAt: START + ms });
    await journal.commit(batchOf({ state: [at("a", 1, 30), at("b", 2, 10), put("c", 3), at("d", 4, 20), at("e", 5, 40)] }));
    const expired = async (ms: number, limit = 10) => keys(await journal.state.expired(START + ms, limit));
    deepEqual(await expired(9), []);
    deepEqual(await expired(30), ["b", "d", "a"]);
    deepEqual(await expired(100, 2), ["b", "d"]);
    deepEqual(await journal.state.expired(START + 10, 10), [{ space: "shop", key: "b" }]);
    await journal.commit(batchOf({ state: [put("b", 6), drop("d", 7)] }));
    deepEqual(await expired(100), ["a", "e"]);
  },

  "the last version is known also when its row is gone": async ({ open, reopen }) => {
    const journal = await open();
    equal(journal.state.lastVersion, 0);
    await journal.commit(batchOf({ state: [put("a", 7), put("b", 3), mark("c", staleBy(1))] }));
    equal(journal.state.lastVersion, 7);
    await journal.commit(batchOf({ state: [drop("a", 9)] }));
    const next = await reopen(journal);
    equal(next.state.lastVersion, 9);
    await next.commit(batchOf({ state: [put("d", 8)] }));
    equal(next.state.lastVersion, 9);
    equal((await reopen(next)).state.lastVersion, 9);
  },

  "of a commit that is refused no row is kept": async ({ open }) => {
    const journal = await open();
    await journal.commit(batchOf({ accepted: [runAt(1)], state: [put("a", 1)] }));
    await rejectsWith("INTERNAL", journal.commit(batchOf({ accepted: [runAt(1)], state: [put("a", 2), put("b", 3)] })));
    deepEqual(await journal.state.list("shop", "", 10), [entry("a", 1)]);
    equal(journal.state.lastVersion, 1);
  },
};
