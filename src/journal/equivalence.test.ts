import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import type { JournalRecord, LogLine, RunKind, RunStatus } from "../protocol/run.ts";
import type { Staleness, StateChange } from "../protocol/state.ts";
import { batchOf, idAt, resultOf, runAt, START } from "../testing/journal-fixtures.ts";
import { createMemoryJournal, type MemoryJournal } from "./memory.ts";
import type { Batch, Journal } from "./port.ts";
import { SqliteJournal } from "./sqlite-journal.ts";

const root = mkdtempSync(join(tmpdir(), "lockstep-equivalence-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const RUNS = 8;
const slot = fc.nat({ max: RUNS - 1 });
const status = fc.constantFrom<RunStatus[]>("running", "waiting", "suspended", "completed", "failed", "cancelled");
const kind = fc.constantFrom<RunKind[]>("coordinator", "expression", "function", "recovery");
const level = fc.constantFrom<LogLine["level"][]>("debug", "info", "warn", "error");
const name = fc.constantFrom("a", "b");
const text = fc.oneof(fc.string({ unit: "grapheme", maxLength: 12 }), fc.constant("long ".repeat(20)));
const optional = <T>(of: fc.Arbitrary<T>) => fc.option(of, { nil: undefined });
const few = <T>(of: fc.Arbitrary<T>, maxLength = 3) => fc.array(of, { maxLength });

const stale: fc.Arbitrary<Staleness> = fc
  .record({ call: fc.nat({ max: 2 }), message: text })
  .map((parts) => ({ run: idAt(1), function: "a", fault: "timeout", at: START, ...parts }));
const change: fc.Arbitrary<StateChange> = fc
  .record({
    space: fc.constantFrom("a", "$b"),
    key: fc.constantFrom("t/1", "t/2", "t/é", "t/\u{ff01}", "t/\u{1f600}", "u/1"),
    value: optional(text),
    version: fc.integer({ min: 1, max: 99 }),
    stale: optional(stale),
    expiresAt: optional(fc.nat({ max: 20 })),
    keep: optional(fc.constant(true as const)),
  })
  .map((parts) => JSON.parse(JSON.stringify(parts)));

const certificate = fc.oneof(
  fc.constant({}),
  text.map((own) => ({ certificate: own })),
  fc.record({ name: fc.constantFrom("p", "q"), position: fc.nat({ max: 3 }) }).map(({ name: id, position }) => {
    return { certificate: { proof: { id, text: `proof ${id}` }, position } };
  }),
);

const batch: fc.Arbitrary<Batch> = fc
  .record({
    accepted: few(
      fc
        .record({ slot, kind, name, input: text, key: optional(fc.constantFrom("k", "l")), parent: optional(slot) })
        .map(({ slot: ms, parent, ...rest }) =>
          runAt(ms, { ...rest, ...(parent === undefined ? {} : { parent: idAt(parent), parentSeq: 1 }) }),
        ),
    ),
    appended: few(
      fc.record({
        run: slot.map(idAt),
        from: fc.nat({ max: 3 }),
        records: fc.array(
          fc.tuple(text, certificate).map(([value, of]): JournalRecord => ({ ...resultOf(1, value), ...of })),
          { minLength: 1, maxLength: 3 },
        ),
      }),
    ),
    changed: few(
      fc.record({
        id: slot.map(idAt),
        status,
        live: fc.boolean(),
        wakeAt: optional(fc.nat({ max: 20 })),
        finishedAt: optional(fc.nat({ max: 20 })),
        value: optional(text),
        failure: optional(text.map((message) => ({ code: "X", message }))),
      }),
    ),
    events: few(fc.nat().map((checked) => ({ at: START, body: { type: "platform.audited", checked, repaired: 0 } as const }))),
    logs: few(
      fc.record({
        run: slot.map(idAt),
        seq: fc.nat({ max: 3 }),
        attempt: fc.constant(1),
        function: name,
        lines: few(fc.record({ at: fc.nat({ max: 20 }), level, text })),
        report: optional(
          fc.record({ startedAt: fc.constant(0), endedAt: fc.nat({ max: 20 }), outcome: fc.constantFrom("ok", "fault"), message: text }),
        ),
      }),
    ),
    woken: few(slot.map(idAt), 2),
    purged: few(slot.map(idAt), 1),
    state: optional(few(change, 5)),
    trimEventsTo: optional(fc.nat({ max: 12 })),
    trimLogsTo: optional(fc.nat({ max: 12 })),
  })
  .map(({ trimEventsTo, trimLogsTo, state, logs, ...parts }) =>
    batchOf({
      ...parts,
      logs: logs.map(({ report, ...log }) => (report === undefined ? log : { ...log, report })),
      ...(state === undefined ? {} : { state }),
      ...(trimEventsTo === undefined ? {} : { trimEventsTo }),
      ...(trimLogsTo === undefined ? {} : { trimLogsTo }),
    }),
  );

/** What a journal answers to everything that can be asked. */
const answers = async (
  journal: Journal,
  filter: Parameters<Journal["list"]>[0],
  number: number,
  search: Parameters<Journal["logs"]>[0],
) => ({
  heads: [journal.lastOrdinal, journal.lastPosition],
  runs: await Promise.all(Array.from({ length: RUNS }, (_, i) => journal.load(idAt(i)))),
  // Records of runs that are not stored are the caller's mistake.
  records: await Promise.all(
    Array.from({ length: RUNS }, async (_, i) => ((await journal.load(idAt(i))) === undefined ? [] : journal.records(idAt(i)))),
  ),
  live: await journal.live(),
  due: await journal.dueBy(number, 3),
  keyed: await journal.findByKey("function", "a", "k"),
  page: await journal.list(filter, 3),
  counts: await journal.countByStatus(),
  purgeable: await journal.purgeable({ before: number, keep: 2 }, 3),
  events: await journal.events(number, 4),
  logs: await journal.logs({ run: idAt(number % RUNS), after: number % 3 }, 3),
  state: await journal.state.list("a", number % 2 === 0 ? "t/" : "", number % 5, number % 3 === 0 ? "t/2" : undefined),
  entry: await journal.state.get("$b", "t/1"),
  stale: await journal.state.stale(),
  expired: (await journal.state.expired(number, 100)).map(({ space, key }) => `${space} ${key}`).sort(),
  version: journal.state.lastVersion,
  logsOfFunction: await journal.logs({ function: "b" }, 3),
  logsFound: await journal.logs(search, 3),
});

const outcome = (work: Promise<number>): Promise<number | string> => work.catch((error: { code: string }) => error.code);

const step = fc.record({
  batch,
  filter: fc.record(
    { status: few(status), kind, name, key: fc.constantFrom("k", "l"), since: fc.nat(9).map((ms) => START + ms) },
    { requiredKeys: [] },
  ),
  number: fc.nat({ max: 20 }),
  search: fc.record(
    {
      run: slot.map(idAt),
      function: name,
      level,
      text: fc.oneof(text, fc.constantFrom("LONG", "l", "%", '"', "\\")),
      since: fc.nat({ max: 20 }),
      after: fc.oneof(fc.constant("latest" as const), fc.nat({ max: 12 })),
    },
    { requiredKeys: [] },
  ),
  reopen: fc.nat({ max: 9 }).map((n) => n === 0),
});

test("both adapters give the same answers after any commits", { timeout: 60_000 }, async () => {
  let files = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 15 }), async (steps) => {
      const path = join(root, `${files++}.sqlite`);
      const open = () => new SqliteJournal(path, { inlineLimit: 50, checkpointPages: 50 });
      let sqlite: Journal = open();
      let memory: MemoryJournal = createMemoryJournal();
      try {
        for (const { batch: given, filter, number, search, reopen } of steps) {
          expect(await outcome(sqlite.commit(given))).toEqual(await outcome(memory.commit(given)));
          if (reopen) {
            await sqlite.close();
            sqlite = open();
            memory = memory.reopen();
          }
          expect(await answers(sqlite, filter, number, search)).toEqual(await answers(memory, filter, number, search));
        }
      } finally {
        await sqlite.close();
      }
    }),
    { numRuns: 40 },
  );
});
