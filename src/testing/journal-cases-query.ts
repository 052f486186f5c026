/** Conformance of journals: recovery, listing, counting. */
import { deepEqual, equal, notEqual, rejects } from "node:assert/strict";
import type { Journal } from "../journal/port.ts";
import type { RunId } from "../lib/ids.ts";
import type { RunFilter, RunKind, RunStatus } from "../protocol/run.ts";
import type { JournalCases } from "./journal-fixtures.ts";
import { batchOf, finishAt, idAt, runAt, START } from "./journal-fixtures.ts";

const idsOf = async (journal: Journal, filter: RunFilter, limit = 100): Promise<RunId[]> =>
  (await journal.list(filter, limit)).runs.map(({ id }) => id);

/** All pages, and how long each was. */
const pagesOf = async (journal: Journal, filter: RunFilter, limit: number): Promise<RunId[][]> => {
  const pages: RunId[][] = [];
  let cursor: string | undefined;
  do {
    const page = await journal.list(filter, limit, cursor);
    pages.push(page.runs.map(({ id }) => id));
    cursor = page.cursor;
  } while (cursor !== undefined);
  return pages;
};

const KINDS: RunKind[] = ["coordinator", "expression", "function"];
const STATUSES: RunStatus[] = ["running", "waiting", "suspended", "completed", "failed", "cancelled"];

/** One run for each kind, name and status, live and asleep by turns. */
const everything = async (journal: Journal) => {
  const runs = KINDS.flatMap((kind) => ["a", "b"].flatMap((name) => STATUSES.map((status) => ({ kind, name, status }))));
  const placed = runs.map((run, ms) => ({ ...run, ms, id: idAt(ms), key: ms % 5 === 0 ? `key ${ms}` : undefined }));
  await journal.commit(
    batchOf({
      accepted: placed.map(({ ms, kind, name, key }) => runAt(ms, key === undefined ? { kind, name } : { kind, name, key })),
      changed: placed.map(({ ms, status }) => finishAt(ms, ms, { status, live: ms % 2 === 0 })),
    }),
  );
  return placed.reverse();
};

/** Every combination of these, each also left out. */
const filters = (): RunFilter[] => {
  const choices: RunFilter[][] = [
    KINDS.map((kind) => ({ kind })),
    ["a", "b", "none"].map((name) => ({ name })),
    ["key 10", "none"].map((key) => ({ key })),
    ([[], ["completed"], ["running", "failed"], STATUSES] as RunStatus[][]).map((status) => ({ status })),
    [{ since: START + 7 }, { until: START + 30 }, { since: START + 7, until: START + 30 }],
  ];
  return choices.reduce((found, more) => found.flatMap((filter) => [filter, ...more.map((part) => ({ ...filter, ...part }))]), [{}]);
};

const fits = (run: Awaited<ReturnType<typeof everything>>[number], { kind, name, key, status, since, until }: RunFilter): boolean =>
  (kind ?? run.kind) === run.kind &&
  (name ?? run.name) === run.name &&
  (key === undefined || key === run.key) &&
  (status ?? STATUSES).includes(run.status) &&
  START + run.ms >= (since ?? 0) &&
  START + run.ms < (until ?? Number.POSITIVE_INFINITY);

export const queryCases: JournalCases = {
  "live runs are those unfinished and live, the earliest first": async ({ open, reopen }) => {
    const journal = await open();
    await journal.commit(batchOf({ accepted: [4, 2, 1, 3, 5].map((ms) => runAt(ms)) }));
    await journal.commit(
      batchOf({
        changed: [
          { id: idAt(1), status: "waiting", live: true },
          { id: idAt(2), status: "waiting", live: false },
          finishAt(3, 4, { live: true }),
          { id: idAt(4), status: "suspended", live: true },
        ],
      }),
    );
    deepEqual(await journal.live(), [idAt(1), idAt(4), idAt(5)]);
    equal((await journal.load(idAt(3)))?.live, false);
    deepEqual(await (await reopen(journal)).live(), [idAt(1), idAt(4), idAt(5)]);
  },

  "runs to wake are those asleep whose time has come, the soonest first": async ({ open }) => {
    const journal = await open();
    await journal.commit(batchOf({ accepted: [1, 2, 3, 4, 5, 6, 7].map((ms) => runAt(ms)) }));
    await journal.commit(
      batchOf({
        changed: [
          { id: idAt(1), status: "waiting", live: false, wakeAt: START + 30 },
          { id: idAt(2), status: "waiting", live: false, wakeAt: START + 10 },
          { id: idAt(3), status: "waiting", live: true, wakeAt: START + 10 },
          { id: idAt(4), status: "waiting", live: false },
          { id: idAt(5), status: "suspended", live: false, wakeAt: START + 20 },
          { id: idAt(6), status: "waiting", live: false, wakeAt: START + 31 },
          { ...finishAt(7, 8), wakeAt: START + 5 },
        ],
      }),
    );
    const due = [2, 5, 1].map((ms, i) => ({ id: idAt(ms), wakeAt: START + (i + 1) * 10 }));
    deepEqual(await journal.dueBy(START + 30, 10), due);
    deepEqual(await journal.dueBy(START + 30, 2), due.slice(0, 2));
    deepEqual(await journal.dueBy(START + 9, 10), []);
    await journal.commit(batchOf({ changed: [{ id: idAt(2), status: "running", live: true }] }));
    deepEqual(await journal.dueBy(START + 30, 10), due.slice(1));
  },

  "runs are listed newest first, with what is shown of them": async ({ open }) => {
    const journal = await open();
    const child = runAt(2, { parent: idAt(1), parentSeq: 3, key: "k" });
    await journal.commit(batchOf({ accepted: [runAt(1)] }));
    await journal.commit(batchOf({ accepted: [child], changed: [finishAt(2, 9, { value: "1" })] }));
    const { input: _, priority: __, ...shown } = runAt(1);
    const { input: ___, priority: ____, parentSeq: _____, ...shownChild } = child;
    deepEqual(await journal.list({}, 10), {
      runs: [
        { ...shownChild, status: "completed", finishedAt: START + 9 },
        { ...shown, status: "running" },
      ],
    });
  },

  "every combination of filters finds what fits": async ({ open }) => {
    const journal = await open();
    const runs = await everything(journal);
    for (const filter of filters()) {
      const expected = runs.filter((run) => fits(run, filter)).map(({ id }) => id);
      deepEqual(await idsOf(journal, filter), expected, JSON.stringify(filter));
    }
  },

  "pages follow each other without gaps or repeats": async ({ open }) => {
    const journal = await open();
    const all = (await everything(journal)).map(({ id }) => id);
    const filters: RunFilter[] = [
      {},
      { kind: "function" },
      { name: "a" },
      { status: ["waiting", "completed"] },
      { name: "b", since: START + 5 },
    ];
    for (const filter of filters) {
      const expected = await idsOf(journal, filter);
      for (const limit of [1, 5, expected.length, 100]) {
        const pages = await pagesOf(journal, filter, limit);
        deepEqual(pages.flat(), expected);
        equal(pages.length, Math.ceil(expected.length / limit));
      }
    }
    deepEqual((await pagesOf(journal, {}, 7)).flat(), all);
  },

  "a cursor stays where it is when runs are accepted, finish or are purged meanwhile": async ({ open }) => {
    const journal = await open();
    await journal.commit(batchOf({ accepted: [1, 2, 3, 4, 5, 6].map((ms) => runAt(ms)) }));
    const first = await journal.list({ name: "booking" }, 2);
    await journal.commit(batchOf({ accepted: [7, 8, 9].map((ms) => runAt(ms)), changed: [finishAt(3, 9)], purged: [idAt(5)] }));
    const second = await journal.list({ name: "booking" }, 2, first.cursor);
    deepEqual(
      [...first.runs, ...second.runs].map(({ id }) => id),
      [6, 5, 4, 3].map(idAt),
    );
    notEqual(second.cursor, undefined);
  },

  "a cursor that no page gave is refused by name": async ({ open }) => {
    const journal = await open();
    await journal.commit(batchOf({ accepted: [1, 2, 3].map((ms) => runAt(ms)) }));
    const { cursor } = await journal.list({}, 1);
    for (const bad of ["", "x", "12", `${cursor}x`, ` ${cursor}`, idAt(1), "../../etc", "1".repeat(10_000)]) {
      await rejects(journal.list({}, 10, bad), { code: "BAD_REQUEST", details: { field: "cursor" } });
      await rejects(journal.list({ status: ["running"] }, 10, bad), { code: "BAD_REQUEST", details: { field: "cursor" } });
    }
  },

  "runs are counted by status, through changes, purges and reopening": async ({ open, reopen }) => {
    const journal = await open();
    await everything(journal);
    const six = { running: 6, waiting: 6, suspended: 6, completed: 6, failed: 6, cancelled: 6 };
    deepEqual(await journal.countByStatus(), six);
    // Runs 0 to 5 have the six statuses in their order.
    await journal.commit(
      batchOf({ changed: [finishAt(0, 1), finishAt(4, 1, { status: "failed" }), finishAt(5, 1, { status: "failed" })] }),
    );
    await journal.commit(
      batchOf({ changed: [{ id: idAt(3), status: "running", live: true }], purged: [idAt(1), idAt(4), idAt(9), idAt(99)] }),
    );
    const counts = { running: 6, waiting: 5, suspended: 6, completed: 5, failed: 6, cancelled: 5 };
    deepEqual(await journal.countByStatus(), counts);
    deepEqual(await (await reopen(journal)).countByStatus(), counts);
  },
};
