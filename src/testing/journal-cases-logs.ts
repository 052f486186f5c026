/** Conformance of journals: searching and bounding the logs. */
import { deepEqual, equal } from "node:assert/strict";
import type { Journal } from "../journal/port.ts";
import type { CallLog } from "../protocol/control-plane.ts";
import type { ExecutionReport, LogLine } from "../protocol/run.ts";
import type { JournalCases } from "./journal-fixtures.ts";
import { batchOf, idAt, runAt, START } from "./journal-fixtures.ts";

const line = (level: LogLine["level"], text: string, ms = 0): LogLine => ({ at: START + ms, level, text });

const entry = (seq: number, name: string, lines: LogLine[], report?: Partial<ExecutionReport>): CallLog => {
  const log: CallLog = { run: idAt(1), seq, attempt: 1, function: name, lines };
  return report === undefined ? log : { ...log, report: { startedAt: START, endedAt: START, outcome: "ok", ...report } };
};

const LOGS: CallLog[] = [
  entry(1, "pay", [line("debug", "one"), line("info", "Two %_!"), line("warn", "three")]),
  entry(2, "pay", [line("info", 'a "quoted" text')]),
  entry(3, "ship", [line("error", "lost: Ärger\nat sea"), line("info", "two")], { outcome: "fault", message: "no ship" }),
  entry(4, "pay", [], { outcome: "fault", message: "Card declined", endedAt: START + 50 }),
  entry(5, "ship", [line("info", "sailed", 100)], { endedAt: START + 100 }),
  entry(6, "pay", [line("error", "two", 200)]),
];

const filled = async (journal: Journal): Promise<Journal> => {
  await journal.commit(batchOf({ accepted: [runAt(1)], logs: LOGS.slice(0, 4) }));
  await journal.commit(batchOf({ logs: LOGS.slice(4) }));
  return journal;
};

type Filter = Parameters<Journal["logs"]>[0];

/** Which entries fit, with the texts of those of their lines that are given. */
const found = async (journal: Journal, filter: Filter, limit = 100): Promise<(number | string)[][]> =>
  (await journal.logs(filter, limit)).logs.map(({ seq, lines }) => [seq, ...lines.map(({ text }) => text)]);

export const logCases: JournalCases = {
  "an entry keeps the report of its execution": async ({ open, reopen }) => {
    const metrics = { durationMs: 1.5, cpuMs: 1, queueMs: 0.1, memoryMb: 60.5, coldStart: true, pod: "pod-1" };
    const verdict = { class: "timeout" as const, retryable: true, evidence: ["CALL_TIMEOUT: late"] };
    const logs = [entry(1, "pay", [], { outcome: "fault", metrics, verdict, message: "late" }), entry(2, "pay", [], { metrics })];
    const journal = await open();
    await journal.commit(batchOf({ accepted: [runAt(1)], logs }));
    deepEqual((await (await reopen(journal)).logs({}, 10)).logs, logs);
  },

  "a level finds entries with such a line or a graver one, and those that failed, with these lines only": async ({ open, reopen }) => {
    const journal = await reopen(await filled(await open()));
    deepEqual(await found(journal, { level: "error" }), [[3, "lost: Ärger\nat sea"], [4], [6, "two"]]);
    deepEqual(await found(journal, { level: "warn" }), [[1, "three"], [3, "lost: Ärger\nat sea"], [4], [6, "two"]]);
    deepEqual((await found(journal, { level: "info" })).length, 6);
    deepEqual(await found(journal, { level: "info", function: "pay" }), [[1, "Two %_!", "three"], [2, 'a "quoted" text'], [4], [6, "two"]]);
    deepEqual(await found(journal, { level: "error", function: "pay" }), [[4], [6, "two"]]);
    deepEqual(await found(journal, { level: "warn", function: "pay", run: idAt(1) }), [[1, "three"], [4], [6, "two"]]);
    deepEqual(await found(journal, { level: "error", run: idAt(2) }), []);
  },

  "a text is found in any case, whatever characters it has": async ({ open }) => {
    const journal = await filled(await open());
    deepEqual(await found(journal, { text: "TWO" }), [
      [1, "Two %_!"],
      [3, "two"],
      [6, "two"],
    ]);
    deepEqual(await found(journal, { text: "two", level: "error" }), [[6, "two"]]);
    deepEqual(await found(journal, { text: "two", function: "ship" }), [[3, "two"]]);
    deepEqual(await found(journal, { text: '"QUOTED"' }), [[2, 'a "quoted" text']]);
    deepEqual(await found(journal, { text: "äRGER\nat" }), [[3, "lost: Ärger\nat sea"]]);
    deepEqual(await found(journal, { text: "card" }), [[4]]);
    for (const text of ["%_!", " %"]) deepEqual(await found(journal, { text }), [[1, "Two %_!"]]);
    // What stands in the entry's JSON beside the lines is no text of theirs.
    for (const text of ["level", ".*", "pay", "%two%", "\\n"]) deepEqual(await found(journal, { text }), []);
  },

  "a time finds what was written since": async ({ open }) => {
    const journal = await filled(await open());
    deepEqual(await found(journal, { since: START + 50 }), [[4], [5, "sailed"], [6, "two"]]);
    deepEqual(await found(journal, { since: START + 101, function: "ship" }), []);
    deepEqual(await found(journal, { since: START + 51, level: "error" }), [[6, "two"]]);
  },

  "pages of what is found follow each other, and the last tells where the logs end": async ({ open }) => {
    const journal = await filled(await open());
    for (const filter of [{}, { level: "warn" }, { text: "two" }, { function: "pay", level: "error" }, { text: "nowhere" }] as Filter[]) {
      const all = await found(journal, filter);
      const pages: (number | string)[][] = [];
      let after = 0;
      for (;;) {
        const page = await journal.logs({ ...filter, after }, 1);
        if (page.logs.length === 0) break;
        pages.push(...page.logs.map(({ seq, lines }) => [seq, ...lines.map(({ text }) => text)]));
        after = page.next;
      }
      deepEqual(pages, all);
      equal((await journal.logs({ ...filter, after }, 1)).next, LOGS.length);
    }
    equal((await journal.logs({ after: 1_000 }, 1)).next, 1_000);
  },

  "after the latest there is nothing but what comes": async ({ open, reopen }) => {
    const empty = await open();
    deepEqual(await empty.logs({ after: "latest" }, 10), { logs: [], next: 0 });
    const journal = await reopen(await filled(empty));
    const { logs, next } = await journal.logs({ after: "latest", level: "error" }, 10);
    deepEqual([logs, next], [[], LOGS.length]);
    await journal.commit(batchOf({ logs: [entry(7, "pay", [line("error", "new")])] }));
    deepEqual(await found(journal, { after: next }), [[7, "new"]]);
  },

  "trimmed entries are gone up to the cursor, and cursors are not given again": async ({ open, reopen }) => {
    const journal = await filled(await open());
    await journal.commit(batchOf({ trimLogsTo: 4 }));
    deepEqual(await found(journal, {}), [
      [5, "sailed"],
      [6, "two"],
    ]);
    deepEqual(await found(journal, { level: "error" }), [[6, "two"]]);
    await journal.commit(batchOf({ trimLogsTo: 100 }));
    const next = await reopen(journal);
    deepEqual(await next.logs({}, 10), { logs: [], next: 6 });
    await next.commit(batchOf({ logs: [entry(7, "pay", [])] }));
    equal((await next.logs({}, 10)).next, 7);
  },
};
