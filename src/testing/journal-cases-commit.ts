/** Conformance of journals: what a commit keeps, and how it comes back. */
import { deepEqual, equal } from "node:assert/strict";
import type { RunChange, StoredRun } from "../journal/port.ts";
import { ordinalOf } from "../lib/ids.ts";
import type { JournalRecord } from "../protocol/run.ts";
import type { JournalCases } from "./journal-fixtures.ts";
import { batchOf, finishAt, idAt, rejectsWith, resultOf, runAt, START } from "./journal-fixtures.ts";

const LONG = JSON.stringify("long ".repeat(40_000));
const ODD = JSON.stringify('\u0000 " \\ \u2028 ß 漢 😀 é \uFFFF');

export const commitCases: JournalCases = {
  "an empty journal holds nothing": async ({ open }) => {
    const journal = await open();
    equal(journal.lastOrdinal, 0);
    equal(journal.lastPosition, 0);
    deepEqual(await journal.live(), []);
    deepEqual(await journal.list({}, 10), { runs: [] });
    deepEqual(await journal.events(0, 10), []);
    deepEqual(await journal.logs({}, 10), { logs: [], next: 0 });
    deepEqual(await journal.applications(), []);
    deepEqual(await journal.countByStatus(), { running: 0, waiting: 0, suspended: 0, completed: 0, failed: 0, cancelled: 0 });
  },

  "an accepted run comes back as it was given, running and live": async ({ open }) => {
    const journal = await open();
    const plain = runAt(1);
    const full = runAt(2, { kind: "function", key: "order 12", priority: -3, parent: plain.id, parentSeq: 7, input: "" });
    await journal.commit(batchOf({ accepted: [plain, full] }));
    deepEqual(await journal.load(plain.id), { ...plain, status: "running", live: true });
    deepEqual(await journal.load(full.id), { ...full, status: "running", live: true });
    equal(journal.lastOrdinal, ordinalOf(full.id));
  },

  "what is not stored is not found": async ({ open }) => {
    const journal = await open();
    await journal.commit(batchOf({ accepted: [runAt(1, { key: "k" })] }));
    for (const id of [idAt(2), "run_", "", "nonsense"]) {
      equal(await journal.load(id), undefined);
      deepEqual(await journal.records(id), []);
      deepEqual((await journal.logs({ run: id }, 10)).logs, []);
    }
    equal(await journal.findByKey("coordinator", "booking", "other"), undefined);
    equal(await journal.bundle("feedfeedfeedfeed"), undefined);
  },

  "a change replaces all that an earlier one said": async ({ open }) => {
    const journal = await open();
    const run = runAt(1);
    const failure = { code: "STEP_FAILED", message: "no", details: { deep: [1, null, "x"] } };
    const suspended: RunChange = { id: run.id, status: "suspended", live: false, wakeAt: START + 5, failure };
    const finished = finishAt(1, 9, { value: '{"ok":true}' });
    await journal.commit(batchOf({ accepted: [run] }));
    await journal.commit(batchOf({ changed: [suspended] }));
    deepEqual(await journal.load(run.id), { ...run, ...suspended });
    await journal.commit(batchOf({ changed: [{ id: run.id, status: "running", live: true }, finished] }));
    deepEqual(await journal.load(run.id), { ...run, ...finished });
  },

  "a sleeping run that is woken is live again, with its status, and any other stays as it is": async ({ open }) => {
    const journal = await open();
    const asleep = { id: idAt(1), status: "suspended", live: false, wakeAt: START + 5 } as const;
    const finished = finishAt(2, 9);
    await journal.commit(batchOf({ accepted: [runAt(1), runAt(2), runAt(3), runAt(4)], changed: [asleep, finished] }));
    await journal.commit(batchOf({ changed: [{ ...asleep, id: idAt(4), status: "waiting" }] }));
    const woken = [1, 2, 3, 4, 7].map(idAt);
    await journal.commit(batchOf({ woken, changed: [{ id: idAt(4), status: "waiting", live: false, wakeAt: START + 9 }] }));
    deepEqual(await journal.load(idAt(1)), { ...runAt(1), id: idAt(1), status: "suspended", live: true });
    deepEqual(await journal.load(idAt(2)), { ...runAt(2), ...finished });
    deepEqual(await journal.live(), [idAt(1), idAt(3)]);
    deepEqual(await journal.dueBy(START + 100, 10), [{ id: idAt(4), wakeAt: START + 9 }]);
  },

  "a run can be accepted and finished in one commit": async ({ open }) => {
    const journal = await open();
    const finished = finishAt(1, 2, { status: "failed", failure: { code: "X", message: "no" } });
    const records = [resultOf(1), resultOf(2)];
    await journal.commit(batchOf({ accepted: [runAt(1)], appended: [{ run: idAt(1), from: 0, records }], changed: [finished] }));
    deepEqual(await journal.load(idAt(1)), { ...runAt(1), ...finished });
    deepEqual(await journal.records(idAt(1)), records);
    equal((await journal.countByStatus()).failed, 1);
  },

  "records come back in their order, whatever the order of the commits of other runs": async ({ open }) => {
    const journal = await open();
    const [a, b] = [runAt(1), runAt(2)];
    await journal.commit(batchOf({ accepted: [a, b], appended: [{ run: a.id, from: 0, records: [resultOf(1)] }] }));
    await journal.commit(batchOf({ appended: [{ run: b.id, from: 0, records: [resultOf(5), resultOf(6)] }] }));
    await journal.commit(
      batchOf({
        appended: [
          { run: b.id, from: 2, records: [resultOf(7)] },
          { run: a.id, from: 1, records: [resultOf(2), resultOf(3)] },
          { run: a.id, from: 3, records: [resultOf(4)] },
        ],
      }),
    );
    deepEqual(
      await journal.records(a.id),
      [1, 2, 3, 4].map((seq) => resultOf(seq)),
    );
    deepEqual(
      await journal.records(b.id),
      [5, 6, 7].map((seq) => resultOf(seq)),
    );
  },

  "a commit is kept as a whole or not at all": async ({ open }) => {
    const journal = await open();
    await journal.commit(batchOf({ accepted: [runAt(1)], appended: [{ run: idAt(1), from: 0, records: [resultOf(1)] }] }));
    const rest = {
      accepted: [runAt(2, { key: "k" })],
      events: [{ at: START, body: { type: "run.resumed", run: idAt(2), name: "booking" } as const }],
      logs: [{ run: idAt(2), seq: 1, attempt: 1, function: "pay", lines: [] }],
      purged: [idAt(1)],
    };
    const contradictions = [
      { ...rest, changed: [finishAt(1, 2), finishAt(7, 2)] },
      { ...rest, changed: [finishAt(1, 2)], appended: [{ run: idAt(1), from: 0, records: [resultOf(9)] }] },
      { ...rest, changed: [finishAt(1, 2)], accepted: [...rest.accepted, runAt(1)] },
    ];
    for (const parts of contradictions) await rejectsWith("INTERNAL", journal.commit(batchOf(parts)));
    equal(journal.lastOrdinal, ordinalOf(idAt(1)));
    equal(journal.lastPosition, 0);
    deepEqual(await journal.load(idAt(1)), { ...runAt(1), status: "running", live: true });
    deepEqual(await journal.records(idAt(1)), [resultOf(1)]);
    equal(await journal.load(idAt(2)), undefined);
    equal(await journal.findByKey("coordinator", "booking", "k"), undefined);
    deepEqual(await journal.events(0, 10), []);
    deepEqual((await journal.logs({}, 10)).logs, []);
    await journal.commit(batchOf({ accepted: [runAt(3)] }));
    equal((await journal.countByStatus()).running, 2);
  },

  "a key is unique for its kind and name, also within a commit": async ({ open }) => {
    const journal = await open();
    const run = runAt(1, { key: "k" });
    await journal.commit(batchOf({ accepted: [run, runAt(2, { key: "k", name: "other" }), runAt(3, { key: "k", kind: "function" })] }));
    await rejectsWith("IDEMPOTENCY_CONFLICT", journal.commit(batchOf({ accepted: [runAt(4), runAt(5, { key: "k" })] })));
    await rejectsWith("IDEMPOTENCY_CONFLICT", journal.commit(batchOf({ accepted: [runAt(4, { key: "l" }), runAt(5, { key: "l" })] })));
    equal(await journal.load(idAt(4)), undefined);
    deepEqual(await journal.findByKey("coordinator", "booking", "k"), { ...run, status: "running", live: true });
    equal((await journal.findByKey("coordinator", "other", "k"))?.id, idAt(2));
    equal((await journal.findByKey("function", "booking", "k"))?.id, idAt(3));
    equal(await journal.findByKey("function", "other", "k"), undefined);
  },

  "long inputs and results come back whole, in the head and in records": async ({ open, reopen }) => {
    const journal = await open();
    const run = runAt(1, { input: LONG });
    const finished = finishAt(1, 2, { value: LONG });
    const records: JournalRecord[] = [
      { t: "call", seq: 1, at: START, fn: "pay", version: "v", input: LONG },
      resultOf(1, "1"),
      { t: "call", seq: 2, at: START, fn: "pay", version: "v", input: "2" },
      resultOf(2, LONG),
      { t: "signalled", name: "go", at: START, value: LONG },
    ];
    await journal.commit(batchOf({ accepted: [run], appended: [{ run: run.id, from: 0, records: records.slice(0, 3) }] }));
    await journal.commit(batchOf({ appended: [{ run: run.id, from: 3, records: records.slice(3) }], changed: [finished] }));
    const next = await reopen(journal);
    deepEqual(await next.load(run.id), { ...run, ...finished });
    deepEqual(await next.records(run.id), records);
  },

  "odd characters survive": async ({ open, reopen }) => {
    const journal = await open();
    const run = runAt(1, { kind: "expression", name: "a+b 漢 \n\t", key: "k 😀 \u2028", input: ODD });
    const failure = { code: "X", message: '\u0000 "quoted" 😀 \'; DROP TABLE runs; --' };
    const finished = finishAt(1, 2, { status: "failed", value: ODD, failure });
    const log = { run: run.id, seq: 1, attempt: 1, function: "päy", lines: [{ at: START, level: "info" as const, text: "\u0000 ü" }] };
    const records = [resultOf(1, ODD), { t: "signalled", name: "\u0000", at: START, value: "" } as const];
    await journal.commit(batchOf({ accepted: [run], appended: [{ run: run.id, from: 0, records }], changed: [finished], logs: [log] }));
    const next = await reopen(journal);
    deepEqual(await next.load(run.id), { ...run, ...finished });
    deepEqual(await next.records(run.id), records);
    deepEqual((await next.logs({ function: "päy" }, 10)).logs, [log]);
    equal((await next.findByKey("expression", run.name, "k 😀 \u2028"))?.id, run.id);
    equal((await next.list({ name: run.name }, 10)).runs[0]?.name, run.name);
  },

  "half a character never breaks a commit": async ({ open }) => {
    const journal = await open();
    const broken = "\ud800 half";
    await journal.commit(
      batchOf({ accepted: [runAt(1, { key: broken, input: JSON.stringify(broken) })], changed: [finishAt(1, 2, { value: broken })] }),
    );
    equal((await journal.load(idAt(1)))?.input, JSON.stringify(broken));
    equal((await journal.findByKey("coordinator", "booking", broken))?.id, idAt(1));
  },

  "a big commit is one commit": async ({ open }) => {
    const journal = await open();
    const runs = Array.from({ length: 2_000 }, (_, i) => runAt(i));
    const appended = runs.map(({ id }, i) => ({ run: id, from: 0, records: [resultOf(1, String(i)), resultOf(2, String(i))] }));
    const events = runs.map(({ id, name }) => ({ at: START, body: { type: "run.resumed", run: id, name } as const }));
    equal(await journal.commit(batchOf({ accepted: runs, appended, events })), 1);
    await journal.commit(batchOf({ changed: runs.map((_, i) => finishAt(i, 1, { value: String(i) })) }));
    equal(journal.lastPosition, 2_000);
    equal((await journal.countByStatus()).completed, 2_000);
    for (const i of [0, 1_037, 1_999]) {
      equal(((await journal.load(idAt(i))) as StoredRun).value, String(i));
      deepEqual(await journal.records(idAt(i)), appended[i]?.records);
    }
  },

  "what is given in or out is a copy": async ({ open }) => {
    const journal = await open();
    const run = runAt(1);
    const record = resultOf(1, "1") as { value: string };
    const failure = { code: "X", message: "before" };
    await journal.commit(
      batchOf({
        accepted: [run],
        appended: [{ run: run.id, from: 0, records: [record as JournalRecord] }],
        changed: [finishAt(1, 2, { status: "failed", failure })],
      }),
    );
    run.input = record.value = failure.message = "after";
    const loaded = (await journal.load(run.id)) as StoredRun & { failure: { message: string } };
    loaded.failure.message = loaded.name = "after";
    const [read] = (await journal.records(run.id)) as { value: string }[];
    read!.value = "after";
    equal((await journal.load(run.id))?.input, runAt(1).input);
    equal((await journal.load(run.id))?.failure?.message, "before");
    equal((await journal.load(run.id))?.name, "booking");
    deepEqual(await journal.records(run.id), [resultOf(1, "1")]);
  },
};
