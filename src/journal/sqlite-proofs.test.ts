import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { JournalRecord } from "../protocol/run.ts";
import { batchOf, idAt, runAt } from "../testing/journal-fixtures.ts";
import { SqliteJournal } from "./sqlite-journal.ts";
import { MIGRATIONS, migrate } from "./sqlite-schema.ts";

let directory: string;
let path: string;
let journal: SqliteJournal;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "lockstep-proofs-"));
  path = join(directory, "journal.sqlite");
  journal = new SqliteJournal(path, { inlineLimit: 40 });
});

afterEach(async () => {
  await journal.close();
  rmSync(directory, { recursive: true, force: true });
});

const withFile = <T>(work: (db: DatabaseSync) => T): T => {
  const db = new DatabaseSync(path);
  try {
    return work(db);
  } finally {
    db.close();
  }
};

/** How often each proof is named, as the file says. */
const uses = (): Record<string, number> =>
  withFile((db) =>
    Object.fromEntries(
      db
        .prepare("SELECT id, uses FROM proofs")
        .all()
        .map(({ id, uses }) => [id, uses]),
    ),
  );

const done = (id: string, seq = 1, value = '"ok"'): JournalRecord => ({
  t: "done",
  seq,
  at: 1,
  value,
  certificate: { proof: { id, text: `the text of ${id}` }, position: seq },
});

const accept = (ms: number, ...records: JournalRecord[]) =>
  journal.commit(batchOf({ accepted: [runAt(ms)], appended: [{ run: idAt(ms), from: 0, records }] }));

test("a proof is one row however many records name it, until the last of them is gone", async () => {
  await accept(1, done("a"), done("a", 2), done("b", 3));
  await accept(2, done("a"));
  expect(uses()).toEqual({ a: 3, b: 1 });
  await journal.commit(batchOf({ purged: [idAt(1)] }));
  expect(uses()).toEqual({ a: 1 });
  await journal.close();
  journal = new SqliteJournal(path);
  await journal.commit(batchOf({ purged: [idAt(2)] }));
  expect(uses()).toEqual({});
});

test("the row of a record names the proof and doesn't repeat it, also beside a long value", async () => {
  const value = JSON.stringify("long ".repeat(20));
  await accept(1, done("a", 1, value));
  const data = withFile((db) => db.prepare("SELECT data FROM records").get()?.data);
  expect(data).toContain('"certificate":{"proof":"a","position":1}');
  expect(data).not.toContain("the text of");
  expect(await journal.records(idAt(1))).toEqual([done("a", 1, value)]);
});

test("what a commit takes and lets go leaves nothing", async () => {
  await journal.commit(batchOf({ accepted: [runAt(1)], appended: [{ run: idAt(1), from: 0, records: [done("a")] }], purged: [idAt(1)] }));
  expect(uses()).toEqual({});
});

test("what a commit takes that fails is in no later one", async () => {
  await accept(1, done("a"));
  // These records are there already.
  await expect(journal.commit(batchOf({ appended: [{ run: idAt(1), from: 0, records: [done("b")] }] }))).rejects.toThrow();
  await accept(2, done("a"));
  expect(uses()).toEqual({ a: 2 });
});

test("what users write like the name of a proof is not counted", async () => {
  const text = '{"t":"done","certificate":{"proof":"a","position":1}}';
  await accept(1, done("a"));
  await accept(2, { t: "done", seq: 1, at: 1, value: text, certificate: text });
  await accept(3, { t: "done", seq: 1, at: 1, failure: { code: "X", message: text, details: { certificate: { proof: "a" } } } });
  await journal.commit(batchOf({ purged: [idAt(2), idAt(3)] }));
  expect(uses()).toEqual({ a: 1 });
});

test("a record whose proof is missing is not read as one without", async () => {
  await accept(1, done("a"));
  withFile((db) => db.exec("DELETE FROM proofs"));
  await expect(journal.records(idAt(1))).rejects.toMatchObject({
    code: "JOURNAL_UNAVAILABLE",
    message: expect.stringContaining("proof a"),
  });
});

test("a journal of before has the whole text in its records, and keeps it", async () => {
  await journal.close();
  rmSync(path);
  withFile((db) => {
    migrate(db, MIGRATIONS.slice(0, 3));
    const { id, ...head } = runAt(1);
    db.prepare(
      "INSERT INTO runs(n, state, kind, target, accepted_at, priority, application, version, name, input) VALUES (?, 0, 0, 0, ?, 0, ?, ?, ?, '')",
    ).run(Number.parseInt(id.slice(4), 32) || 1, head.acceptedAt, head.application, head.version, head.name);
    db.exec(
      `INSERT INTO records(run, first, data) SELECT n, 0, '[{"t":"done","seq":1,"at":1,"value":"1","certificate":"{\\"format\\":1}"}]' FROM runs`,
    );
  });
  journal = new SqliteJournal(path);
  const [old] = await journal.live();
  expect(await journal.records(old!)).toEqual([{ t: "done", seq: 1, at: 1, value: "1", certificate: '{"format":1}' }]);
  await journal.commit(batchOf({ purged: [old!] }));
});
