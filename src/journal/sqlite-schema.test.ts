import { DatabaseSync } from "node:sqlite";
import { expect, test } from "vitest";
import { MIGRATIONS, type Migration, migrate } from "./sqlite-schema.ts";

const steps: Migration[] = [
  (db) => db.exec("PRAGMA application_id = 0x4c6f636b; CREATE TABLE boxes(label TEXT); INSERT INTO boxes VALUES('one')"),
  (db) => db.exec("ALTER TABLE boxes ADD COLUMN weight INTEGER; UPDATE boxes SET weight = 7"),
  (db) => db.exec("CREATE TABLE lids(label TEXT); INSERT INTO lids SELECT label FROM boxes; DROP TABLE missing"),
];

const versionOf = (db: DatabaseSync) => db.prepare("PRAGMA user_version").get()?.user_version;
const codeOf = (work: () => void): unknown => {
  try {
    return work();
  } catch (error) {
    return (error as { code: string }).code;
  }
};

test("a file of an older version takes the steps that it lacks and keeps its data", () => {
  const db = new DatabaseSync(":memory:");
  migrate(db, steps.slice(0, 1));
  expect(versionOf(db)).toBe(1);
  migrate(db, steps.slice(0, 2));
  expect(versionOf(db)).toBe(2);
  expect({ ...db.prepare("SELECT * FROM boxes").get() }).toEqual({ label: "one", weight: 7 });
});

test("a step that fails leaves the version before it, whole", () => {
  const db = new DatabaseSync(":memory:");
  expect(codeOf(() => migrate(db, steps))).toBe("JOURNAL_UNAVAILABLE");
  expect(versionOf(db)).toBe(2);
  expect(db.prepare("SELECT name FROM sqlite_schema WHERE name = 'lids'").get()).toBeUndefined();
});

test("log entries of the first version are found by their level and time", () => {
  const db = new DatabaseSync(":memory:");
  migrate(db, MIGRATIONS.slice(0, 2));
  const line = (level: string, at: number) => ({ at, level, text: "x" });
  const entries = [[line("warn", 5), line("error", 6), line("info", 7)], [line("debug", 8)], [line("odd", 9)], []];
  const insert = db.prepare("INSERT INTO logs(run, seq, attempt, function, lines) VALUES (1, 2, 3, 'pay', ?)");
  for (const lines of entries) insert.run(JSON.stringify(lines));
  migrate(db);
  const rows = db.prepare("SELECT n, run, seq, attempt, at, level, function, report, lines FROM logs ORDER BY n").all();
  const kept = { run: 1, seq: 2, attempt: 3, function: "pay", report: null };
  expect(rows.map((row) => ({ ...row }))).toEqual(
    [
      { n: 1, at: 7, level: 3 },
      { n: 2, at: 8, level: 0 },
      { n: 3, at: 9, level: 1 },
      { n: 4, at: 0, level: 0 },
    ].map((row, i) => ({ ...row, ...kept, lines: JSON.stringify(entries[i]) })),
  );
});

test("opening again changes nothing", () => {
  const db = new DatabaseSync(":memory:");
  migrate(db);
  const tables = db.prepare("SELECT sql FROM sqlite_schema").all();
  migrate(db);
  expect(db.prepare("SELECT sql FROM sqlite_schema").all()).toEqual(tables);
});

test("a file of a newer version is refused and left alone", () => {
  const db = new DatabaseSync(":memory:");
  migrate(db, steps.slice(0, 2));
  expect(codeOf(() => migrate(db, steps.slice(0, 1)))).toBe("DATA_DIRECTORY_NEWER");
  expect(versionOf(db)).toBe(2);
});

test("a database of another program is refused and left alone", () => {
  const db = new DatabaseSync(":memory:");
  db.exec("CREATE TABLE theirs(x)");
  expect(codeOf(() => migrate(db))).toBe("JOURNAL_UNAVAILABLE");
  expect(db.prepare("SELECT count(*) AS count FROM sqlite_schema").get()?.count).toBe(1);
});
