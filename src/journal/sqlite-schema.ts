/**
 * The tables of `journal.sqlite`, and how a file of an older version becomes one of this version.
 *
 * A migration that has been released is never changed: a new one is added at the end. The file's version is the number of migrations that
 * it has seen (`user_version`).
 */
import type { DatabaseSync } from "node:sqlite";
import { LockstepError } from "../lib/errors.ts";
import { unavailable } from "./sqlite-errors.ts";
import { transaction } from "./sqlite-transaction.ts";

export type Migration = (db: DatabaseSync) => void;

/** "Lock" in ASCII, so that `file` and we can tell a journal from any other SQLite file. */
const APPLICATION_ID = 0x4c6f636b;

/*
 * - `runs.n` is the run's ordinal. `state` tells status and liveness together (sqlite-codec.ts), so that one index serves both.
 *   `target` is a hash of kind and name: a name may be the text of an expression, too long for an index. Large columns come last: the
 *   first ones are read without them.
 * - `records`: one row per run and commit. It grows at its end and only the narrow index is written all over: a commit for 500 runs dirties
 *   a third fewer pages than with the rows clustered by run.
 * - `payloads`: texts above the inline limit. Where one belongs, the number of its slot stands in its place.
 * - `meta` counts finished runs, which would take long to count, and keeps the greatest numbers ever given once their rows may be gone.
 */
const first: Migration = (db) =>
  db.exec(`
    PRAGMA application_id = ${APPLICATION_ID};
    CREATE TABLE meta(
      id INTEGER PRIMARY KEY CHECK (id = 1), epoch INTEGER NOT NULL,
      completed INTEGER NOT NULL, failed INTEGER NOT NULL, cancelled INTEGER NOT NULL,
      last_ordinal INTEGER NOT NULL, last_position INTEGER NOT NULL, last_log INTEGER NOT NULL
    ) STRICT;
    INSERT INTO meta VALUES(1, 0, 0, 0, 0, 0, 0, 0);
    CREATE TABLE runs(
      n INTEGER PRIMARY KEY, state INTEGER NOT NULL, kind INTEGER NOT NULL, target INTEGER NOT NULL,
      accepted_at REAL NOT NULL, finished_at REAL, wake_at REAL, priority REAL NOT NULL, parent INTEGER, parent_seq INTEGER,
      application TEXT NOT NULL, version TEXT NOT NULL, key TEXT, name TEXT NOT NULL, failure TEXT, input ANY NOT NULL, value ANY
    ) STRICT;
    CREATE INDEX runs_state ON runs(state, kind);
    CREATE INDEX runs_target ON runs(target, state);
    CREATE UNIQUE INDEX runs_key ON runs(key, kind, name) WHERE key IS NOT NULL;
    CREATE INDEX runs_wake ON runs(wake_at) WHERE wake_at IS NOT NULL AND state BETWEEN 3 AND 5;
    CREATE INDEX runs_finished ON runs(finished_at) WHERE state >= 6;
    CREATE TABLE records(id INTEGER PRIMARY KEY, run INTEGER NOT NULL, first INTEGER NOT NULL, data TEXT NOT NULL) STRICT;
    CREATE UNIQUE INDEX records_run ON records(run, first);
    CREATE TABLE payloads(
      run INTEGER NOT NULL, slot INTEGER NOT NULL, text TEXT NOT NULL, PRIMARY KEY (run, slot)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE events(first INTEGER PRIMARY KEY, data TEXT NOT NULL) STRICT;
    CREATE TABLE logs(
      n INTEGER PRIMARY KEY, run INTEGER NOT NULL, seq INTEGER NOT NULL, attempt INTEGER NOT NULL, function TEXT NOT NULL,
      lines TEXT NOT NULL
    ) STRICT;
    CREATE INDEX logs_run ON logs(run);
    CREATE INDEX logs_function ON logs(function);
    CREATE TABLE applications(
      application TEXT NOT NULL, version TEXT NOT NULL, current INTEGER NOT NULL, deployed_at REAL NOT NULL, manifest TEXT NOT NULL,
      code TEXT NOT NULL, PRIMARY KEY (version, application)
    ) STRICT;
  `);

/*
 * - `state`: with rows in the order of their first writing and the keys in an index, new keys are written nearly twice as fast as with the
 *   rows clustered by key, changes as fast, and a read costs half a microsecond more. `value` is null for a key that is only stale.
 * - `meta.last_version` outlives the rows, so that no version is given twice.
 */
const second: Migration = (db) =>
  db.exec(`
    CREATE TABLE state(
      id INTEGER PRIMARY KEY, space TEXT NOT NULL, key TEXT NOT NULL, version INTEGER NOT NULL, expires_at REAL, stale TEXT, value TEXT
    ) STRICT;
    CREATE UNIQUE INDEX state_key ON state(space, key);
    CREATE INDEX state_stale ON state(space, key) WHERE stale IS NOT NULL;
    CREATE INDEX state_expiry ON state(expires_at) WHERE expires_at IS NOT NULL;
    ALTER TABLE meta ADD COLUMN last_version INTEGER NOT NULL DEFAULT 0;
  `);

/*
 * - `logs.level` is that of an entry's gravest line, from 0 for debug to 3 for error; `at` is when it was written. Warnings and errors are
 *   few, so their indexes cost the other entries nothing.
 */
const third: Migration = (db) =>
  db.exec(`
    CREATE TABLE entries(
      n INTEGER PRIMARY KEY, run INTEGER NOT NULL, seq INTEGER NOT NULL, attempt INTEGER NOT NULL, at REAL NOT NULL,
      level INTEGER NOT NULL, function TEXT NOT NULL, report TEXT, lines TEXT NOT NULL
    ) STRICT;
    INSERT INTO entries(n, run, seq, attempt, at, level, function, lines)
      SELECT n, run, seq, attempt, coalesce(json_extract(lines, '$[#-1].at'), 0), coalesce((
        SELECT max(CASE json_extract(value, '$.level') WHEN 'debug' THEN 0 WHEN 'warn' THEN 2 WHEN 'error' THEN 3 ELSE 1 END)
        FROM json_each(logs.lines)), 0), function, lines FROM logs ORDER BY n;
    DROP TABLE logs;
    ALTER TABLE entries RENAME TO logs;
    CREATE INDEX logs_run ON logs(run);
    CREATE INDEX logs_function ON logs(function);
    CREATE INDEX logs_level ON logs(level) WHERE level >= 2;
    CREATE INDEX logs_function_level ON logs(function, level) WHERE level >= 2;
  `);

/*
 * - `proofs`: texts that vouch for the results of several calls. A `done` record names one as `"certificate":{"proof":id,"position":n}`; records
 *   of before have the whole text, and those of one call alone still have.
 */
const fourth: Migration = (db) =>
  db.exec("CREATE TABLE proofs(n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, uses INTEGER NOT NULL, text TEXT NOT NULL) STRICT;");

export const MIGRATIONS: readonly Migration[] = [first, second, third, fourth];

/**
 * Brings the file to the version of this program, each step in a transaction of its own.
 * @throws {LockstepError} DATA_DIRECTORY_NEWER, JOURNAL_UNAVAILABLE
 */
export const migrate = (db: DatabaseSync, migrations: readonly Migration[] = MIGRATIONS): void => {
  const found = readVersion(db);
  if (found > migrations.length) {
    throw new LockstepError(
      "DATA_DIRECTORY_NEWER",
      `the journal has schema version ${found}; this Lockstep knows versions up to ${migrations.length}`,
      { details: { found, supported: migrations.length } },
    );
  }
  for (let version = found + 1; version <= migrations.length; version++) {
    try {
      transaction(db, () => {
        migrations[version - 1]?.(db);
        db.exec(`PRAGMA user_version = ${version}`);
      });
    } catch (cause) {
      throw unavailable(`the journal could not be migrated to schema version ${version}`, cause);
    }
  }
};

const readVersion = (db: DatabaseSync): number => {
  const numberOf = (sql: string): number => Number(Object.values(db.prepare(sql).get() ?? {})[0]);
  const id = numberOf("PRAGMA application_id");
  const isEmpty = numberOf("SELECT count(*) FROM sqlite_schema") === 0;
  if (isEmpty || id === APPLICATION_ID) return numberOf("PRAGMA user_version");
  throw new LockstepError("JOURNAL_UNAVAILABLE", "journal.sqlite is a database, but no journal of Lockstep");
};
