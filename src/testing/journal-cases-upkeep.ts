/** Conformance of journals: events, logs, retention, applications. */
import { deepEqual, equal } from "node:assert/strict";
import { ordinalOf } from "../lib/ids.ts";
import type { ApplicationVersion, Bundle } from "../protocol/application.ts";
import type { CallLog } from "../protocol/control-plane.ts";
import type { EventBody } from "../protocol/events.ts";
import type { JournalCases } from "./journal-fixtures.ts";
import { batchOf, finishAt, idAt, resultOf, runAt, START } from "./journal-fixtures.ts";

const eventsAt = (...numbers: number[]): { at: number; body: EventBody }[] =>
  numbers.map((at) => ({ at, body: { type: "platform.audited", checked: at, repaired: 0 } }));

const stored = (...positions: number[]) =>
  positions.map((position) => ({ position, at: position, type: "platform.audited", checked: position, repaired: 0 }));

const logOf = (ms: number, seq: number, name: string): CallLog => ({
  run: idAt(ms),
  seq,
  attempt: 1,
  function: name,
  lines: [{ at: START, level: "info", text: `line ${seq}` }],
});

const bundleOf = (application: string, version: string): Bundle => ({
  application,
  version,
  code: `exports.${application} = "${version}";`,
});

const versionOf = (application: string, version: string, deployedAt: number, current = true): ApplicationVersion => ({
  application,
  version,
  manifest: { functions: [{ name: "pay", timeoutMs: 5, retry: { attempts: 2 } }], coordinators: [{ name: "booking" }] },
  deployedAt,
  current,
});

export const upkeepCases: JournalCases = {
  "events have consecutive positions, and a commit tells the first of its own": async ({ open, reopen }) => {
    const journal = await open();
    equal(await journal.commit(batchOf({ events: eventsAt(1, 2, 3) })), 1);
    equal(await journal.commit(batchOf({ accepted: [runAt(1)] })), 4);
    equal(await journal.commit(batchOf({ events: eventsAt(4) })), 4);
    equal(journal.lastPosition, 4);
    const next = await reopen(journal);
    equal(next.lastPosition, 4);
    equal(await next.commit(batchOf({ events: eventsAt(5, 6) })), 5);
    deepEqual(await next.events(0, 100), stored(1, 2, 3, 4, 5, 6));
  },

  "events are read after any position, as many as asked for": async ({ open }) => {
    const journal = await open();
    for (const batch of [[1, 2, 3], [4], [5, 6]]) await journal.commit(batchOf({ events: eventsAt(...batch) }));
    for (let after = 0; after <= 7; after++) {
      for (let limit = 1; limit <= 7; limit++) {
        deepEqual(await journal.events(after, limit), stored(1, 2, 3, 4, 5, 6).slice(after, after + limit));
      }
    }
  },

  "trimmed events are gone up to the position, and positions are not given again": async ({ open, reopen }) => {
    const journal = await open();
    for (const batch of [
      [1, 2, 3],
      [4, 5],
    ])
      await journal.commit(batchOf({ events: eventsAt(...batch) }));
    await journal.commit(batchOf({ trimEventsTo: 2 }));
    deepEqual(await journal.events(0, 100), stored(3, 4, 5));
    deepEqual(await journal.events(3, 100), stored(4, 5));
    await journal.commit(batchOf({ trimEventsTo: 1 }));
    deepEqual(await journal.events(0, 100), stored(3, 4, 5));
    await journal.commit(batchOf({ events: eventsAt(6, 7), trimEventsTo: 6 }));
    deepEqual(await journal.events(0, 1), stored(7));
    await journal.commit(batchOf({ trimEventsTo: 100 }));
    deepEqual(await journal.events(0, 100), []);
    const next = await reopen(journal);
    equal(next.lastPosition, 7);
    equal(await next.commit(batchOf({ events: eventsAt(8) })), 8);
    deepEqual(await next.events(0, 100), stored(8));
  },

  "logs are read in their order, by run and by function, from a cursor": async ({ open, reopen }) => {
    const journal = await open();
    const logs = [logOf(1, 1, "pay"), logOf(2, 1, "pay"), logOf(1, 2, "ship"), logOf(1, 3, "pay"), logOf(2, 0, "booking")];
    await journal.commit(batchOf({ accepted: [runAt(1), runAt(2)], logs: logs.slice(0, 2) }));
    await journal.commit(batchOf({ logs: logs.slice(2) }));
    const next = await reopen(journal);
    const of = async (filter: Parameters<typeof next.logs>[0], limit = 10) =>
      (await next.logs(filter, limit)).logs.map((log) => logs.findIndex((l) => l.run === log.run && l.seq === log.seq));
    deepEqual((await next.logs({}, 10)).logs, logs);
    deepEqual(await of({ run: idAt(1) }), [0, 2, 3]);
    deepEqual(await of({ function: "pay" }), [0, 1, 3]);
    deepEqual(await of({ run: idAt(1), function: "pay" }), [0, 3]);
    deepEqual(await of({ run: idAt(3) }), []);
    const first = await next.logs({ function: "pay" }, 2);
    deepEqual(await of({ function: "pay", after: first.next }), [3]);
    const all = await next.logs({}, 10);
    deepEqual(await next.logs({ after: all.next }, 10), { logs: [], next: all.next });
    await next.commit(batchOf({ logs: [logOf(2, 9, "pay")] }));
    deepEqual((await next.logs({ after: all.next }, 10)).logs, [logOf(2, 9, "pay")]);
  },

  "a cursor into logs misses none, also when those before it were purged": async ({ open, reopen }) => {
    const journal = await open();
    await journal.commit(batchOf({ accepted: [runAt(1), runAt(2)], logs: [logOf(1, 1, "pay"), logOf(2, 1, "pay")] }));
    const { next: cursor } = await journal.logs({}, 10);
    await journal.commit(batchOf({ purged: [idAt(1), idAt(2)] }));
    const next = await reopen(journal);
    await next.commit(batchOf({ accepted: [runAt(3)], logs: [logOf(3, 1, "pay")] }));
    deepEqual((await next.logs({ after: cursor }, 10)).logs, [logOf(3, 1, "pay")]);
  },

  "what retention may purge is what finished too long ago or beyond the number to keep, oldest first": async ({ open }) => {
    const journal = await open();
    await journal.commit(batchOf({ accepted: [1, 2, 3, 4, 5, 6].map((ms) => runAt(ms)) }));
    await journal.commit(
      batchOf({
        changed: [finishAt(1, 50), finishAt(2, 10, { status: "failed" }), finishAt(4, 30, { status: "cancelled" }), finishAt(5, 20)],
      }),
    );
    await journal.commit(batchOf({ changed: [{ id: idAt(3), status: "suspended", live: false }] }));
    const purgeable = (before: number, keep: number, limit = 10) => journal.purgeable({ before: START + before, keep }, limit);
    deepEqual(await purgeable(0, 10), []);
    deepEqual(await purgeable(20, 10), [2].map(idAt));
    deepEqual(await purgeable(21, 10), [2, 5].map(idAt));
    deepEqual(await purgeable(0, 1), [2, 5, 4].map(idAt));
    deepEqual(await purgeable(25, 3), [2, 5].map(idAt));
    deepEqual(await purgeable(1_000, 0), [2, 5, 4, 1].map(idAt));
    deepEqual(await purgeable(1_000, 0, 2), [2, 5].map(idAt));
    deepEqual(await purgeable(0, Number.POSITIVE_INFINITY), []);
  },

  "a purged run is gone with all that belongs to it, and its key is free": async ({ open, reopen }) => {
    const journal = await open();
    const long = JSON.stringify("x".repeat(100_000));
    const whole = (ms: number) => ({
      accepted: [runAt(ms, { key: `k${ms}`, input: long })],
      appended: [{ run: idAt(ms), from: 0, records: [resultOf(1, long)] }],
      changed: [finishAt(ms, 5, { value: long })],
      logs: [logOf(ms, 1, "pay")],
    });
    await journal.commit(batchOf(whole(1)));
    await journal.commit(batchOf(whole(2)));
    await journal.commit(batchOf({ purged: [idAt(2), idAt(77)] }));
    equal(await journal.load(idAt(2)), undefined);
    deepEqual(await journal.records(idAt(2)), []);
    equal(await journal.findByKey("coordinator", "booking", "k2"), undefined);
    deepEqual(
      (await journal.list({}, 10)).runs.map(({ id }) => id),
      [idAt(1)],
    );
    deepEqual((await journal.logs({}, 10)).logs, [logOf(1, 1, "pay")]);
    equal((await journal.load(idAt(1)))?.value, long);
    deepEqual(await journal.records(idAt(1)), [resultOf(1, long)]);
    await journal.commit(batchOf({ accepted: [runAt(1_000, { key: "k2" })], purged: [idAt(1_000)] }));
    const next = await reopen(journal);
    equal(next.lastOrdinal, ordinalOf(idAt(1_000)));
  },

  "of an application one version is current, and each keeps its code": async ({ open, reopen }) => {
    const journal = await open();
    await journal.saveApplication(bundleOf("shop", "aa"), versionOf("shop", "aa", 1));
    await journal.saveApplication(bundleOf("math", "bb"), versionOf("math", "bb", 2));
    await journal.saveApplication(bundleOf("shop", "cc"), versionOf("shop", "cc", 3));
    const next = await reopen(journal);
    deepEqual(await next.applications(), [versionOf("shop", "aa", 1, false), versionOf("math", "bb", 2), versionOf("shop", "cc", 3)]);
    deepEqual(await next.bundle("aa"), bundleOf("shop", "aa"));
    await next.saveApplication(bundleOf("shop", "dd"), versionOf("shop", "dd", 4, false));
    await next.saveApplication(bundleOf("shop", "aa"), versionOf("shop", "aa", 5));
    const currents = (await next.applications()).filter(({ current }) => current).map(({ version }) => version);
    deepEqual(currents, ["bb", "aa"]);
    deepEqual(await next.bundle("dd"), bundleOf("shop", "dd"));
  },
};
