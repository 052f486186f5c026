/**
 * Every statement that reads, by name; a test looks at their plans.
 *
 * They name their index: a plan that would scan the history is then an error at the start, and no statistics can change it.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { FIRST_ASLEEP, FIRST_FINISHED, RUN_COLUMNS, SUMMARY_COLUMNS } from "./sqlite-codec.ts";

const ASLEEP = `state BETWEEN ${FIRST_ASLEEP} AND ${FIRST_FINISHED - 1}`;
const PAGE = "n >= ? AND n < ? ORDER BY n DESC";

export const LIST_SQL = {
  all: `SELECT ${SUMMARY_COLUMNS} FROM runs WHERE ${PAGE} LIMIT ?`,
  byState: `SELECT ${SUMMARY_COLUMNS} FROM runs INDEXED BY runs_state WHERE state = ? AND kind = ? AND ${PAGE} LIMIT ?`,
  byTarget: `SELECT ${SUMMARY_COLUMNS} FROM runs INDEXED BY runs_target WHERE target = ? AND state = ? AND kind = ? AND name = ? AND ${PAGE} LIMIT ?`,
  // A key belongs to one run of each target at most, so there are too few rows for a limit to matter.
  byKey: `SELECT ${SUMMARY_COLUMNS} FROM runs INDEXED BY runs_key WHERE key = ? AND ${PAGE}`,
} as const;

export const READ_SQL = {
  epoch: "SELECT epoch FROM meta",
  heads: `
    SELECT max(last_ordinal, coalesce((SELECT max(n) FROM runs), 0)) AS n, last_position AS position,
      max(last_log, coalesce((SELECT max(n) FROM logs), 0)) AS log, last_version AS version FROM meta`,
  newestEvents: "SELECT first, data FROM events ORDER BY first DESC LIMIT 1",
  run: `SELECT ${RUN_COLUMNS} FROM runs WHERE n = ?`,
  runByKey: `SELECT ${RUN_COLUMNS} FROM runs INDEXED BY runs_key WHERE key = ? AND kind = ? AND name = ?`,
  records: "SELECT data FROM records INDEXED BY records_run WHERE run = ? ORDER BY first",
  payload: "SELECT text FROM payloads WHERE run = ? AND slot = ?",
  recordPayloads: "SELECT slot, text FROM payloads WHERE run = ? AND slot >= 0",
  live: `SELECT n FROM runs INDEXED BY runs_state WHERE state < ${FIRST_ASLEEP} ORDER BY n`,
  due: `
    SELECT n, wake_at FROM runs INDEXED BY runs_wake WHERE wake_at IS NOT NULL AND ${ASLEEP} AND wake_at <= ?
    ORDER BY wake_at, n LIMIT ?`,
  finished: "SELECT completed, failed, cancelled FROM meta",
  unfinished: `SELECT state, count(*) AS count FROM runs INDEXED BY runs_state WHERE state < ${FIRST_FINISHED} GROUP BY state`,
  oldestFinished: `
    SELECT n, finished_at FROM runs INDEXED BY runs_finished WHERE state >= ${FIRST_FINISHED} ORDER BY finished_at, n LIMIT ?`,
  events: `
    SELECT first, data FROM events WHERE first >= coalesce((SELECT max(first) FROM events WHERE first <= ?), ?) ORDER BY first`,
} as const;

const LOGS = "SELECT n, run, seq, attempt, function, lines, report FROM logs";
const LOG_PAGE = `
  n > ?1 AND n <= ?2 AND level >= ?4 AND at >= ?5 AND (?6 IS NULL OR lines LIKE ?6 ESCAPE '!' OR report LIKE ?6 ESCAPE '!')
  ORDER BY n LIMIT ?3`;

export const LOG_SQL = {
  all: `${LOGS} WHERE ${LOG_PAGE}`,
  ofRun: `${LOGS} INDEXED BY logs_run WHERE run = ?7 AND function = coalesce(?8, function) AND ${LOG_PAGE}`,
  ofFunction: `${LOGS} INDEXED BY logs_function WHERE function = ?7 AND ${LOG_PAGE}`,
  // The index holds no others, which is said again so that it is used.
  ofLevel: `${LOGS} INDEXED BY logs_level WHERE level >= 2 AND level = ?7 AND ${LOG_PAGE}`,
  ofFunctionLevel: `${LOGS} INDEXED BY logs_function_level WHERE level >= 2 AND level = ?7 AND function = ?8 AND ${LOG_PAGE}`,
} as const;

const STATE = "key, version, expires_at, stale, value FROM state";

export const STATE_SQL = {
  get: `SELECT ${STATE} INDEXED BY state_key WHERE space = ? AND key = ?`,
  from: `SELECT ${STATE} INDEXED BY state_key WHERE space = ? AND key >= ? ORDER BY key`,
  stale: `SELECT space, ${STATE} INDEXED BY state_stale WHERE stale IS NOT NULL ORDER BY space, key`,
  expired: `
    SELECT space, key FROM state INDEXED BY state_expiry WHERE expires_at IS NOT NULL AND expires_at <= ?
    ORDER BY expires_at, id LIMIT ?`,
} as const;

export const PROOF_SQL = {
  any: "SELECT 1 FROM proofs LIMIT 1",
  add: "INSERT INTO proofs(id, uses, text) VALUES (?, 0, ?) ON CONFLICT (id) DO NOTHING",
  change: "UPDATE proofs SET uses = uses + ? WHERE id = ?",
  drop: "DELETE FROM proofs WHERE id = ? AND uses <= 0",
  proof: "SELECT text FROM proofs WHERE id = ?",
  naming: `SELECT data FROM records INDEXED BY records_run WHERE run = ? AND instr(data, '"certificate":{"proof":') > 0`,
} as const;

export type Statements<Sql> = Readonly<Record<keyof Sql, StatementSync>>;

export const prepareAll = <Sql extends Readonly<Record<string, string>>>(db: DatabaseSync, sql: Sql): Statements<Sql> =>
  Object.fromEntries(Object.entries(sql).map(([name, text]) => [name, db.prepare(text)])) as Statements<Sql>;
