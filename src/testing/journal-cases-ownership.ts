/** Conformance of journals: epochs, fencing, reopening, closing. */
import { deepEqual, equal, ok } from "node:assert/strict";
import type { JournalCases } from "./journal-fixtures.ts";
import { batchOf, finishAt, idAt, rejectsWith, resultOf, runAt, START } from "./journal-fixtures.ts";

export const ownershipCases: JournalCases = {
  "all that was committed is there for the next owner": async ({ open, reopen }) => {
    const journal = await open();
    const asleep = { id: idAt(2), status: "waiting", live: false, wakeAt: START + 50 } as const;
    await journal.commit(
      batchOf({ accepted: [runAt(1, { key: "k" }), runAt(2), runAt(3)], appended: [{ run: idAt(1), from: 0, records: [resultOf(1)] }] }),
    );
    await journal.commit(
      batchOf({ appended: [{ run: idAt(1), from: 1, records: [resultOf(2)] }], changed: [finishAt(1, 9, { value: "1" }), asleep] }),
    );
    await journal.close();
    const next = await reopen(journal);
    equal(next.lastOrdinal, journal.lastOrdinal);
    deepEqual(await next.load(idAt(1)), { ...runAt(1, { key: "k" }), ...finishAt(1, 9, { value: "1" }) });
    deepEqual(await next.records(idAt(1)), [resultOf(1), resultOf(2)]);
    deepEqual(await next.live(), [idAt(3)]);
    deepEqual(await next.dueBy(START + 50, 10), [{ id: idAt(2), wakeAt: START + 50 }]);
    equal((await next.findByKey("coordinator", "booking", "k"))?.id, idAt(1));
    await rejectsWith("IDEMPOTENCY_CONFLICT", next.commit(batchOf({ accepted: [runAt(9, { key: "k" })] })));
  },

  "every owner has a greater epoch than all before it": async ({ open, reopen }) => {
    let journal = await open();
    for (let i = 0; i < 3; i++) {
      const next = await reopen(journal);
      ok(next.epoch > journal.epoch);
      await journal.close();
      journal = next;
    }
  },

  "an owner that another has replaced can write nothing any more": async ({ open, reopen }) => {
    const journal = await open();
    await journal.commit(batchOf({ accepted: [runAt(1)] }));
    const next = await reopen(journal);
    const bundle = { application: "shop", version: "aa", code: "" };
    const version = { application: "shop", version: "aa", manifest: { functions: [], coordinators: [] }, deployedAt: 1, current: true };
    await rejectsWith("EPOCH_FENCED", journal.commit(batchOf({ accepted: [runAt(2)] })));
    await rejectsWith("EPOCH_FENCED", journal.commit(batchOf({ changed: [finishAt(1, 2)] })));
    await rejectsWith("EPOCH_FENCED", journal.commit(batchOf({ purged: [idAt(1)] })));
    await rejectsWith("EPOCH_FENCED", journal.saveApplication(bundle, version));
    await next.commit(batchOf({ accepted: [runAt(2)] }));
    await rejectsWith("EPOCH_FENCED", journal.commit(batchOf({ appended: [{ run: idAt(1), from: 0, records: [resultOf(1)] }] })));
    deepEqual(await next.live(), [idAt(1), idAt(2)]);
    deepEqual(await next.records(idAt(1)), []);
    deepEqual(await next.applications(), []);
  },

  "a closed journal refuses everything, and closing again does nothing": async ({ open, reopen }) => {
    const journal = await open();
    await journal.commit(batchOf({ accepted: [runAt(1)] }));
    await journal.close();
    await journal.close();
    await rejectsWith("JOURNAL_UNAVAILABLE", journal.commit(batchOf({ accepted: [runAt(2)] })));
    await rejectsWith("JOURNAL_UNAVAILABLE", journal.load(idAt(1)));
    await rejectsWith("JOURNAL_UNAVAILABLE", journal.list({}, 1));
    deepEqual(await (await reopen(journal)).live(), [idAt(1)]);
  },
};
