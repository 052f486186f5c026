import { DatabaseSync } from "node:sqlite";
import { expect, test } from "vitest";
import { LIST_SQL, LOG_SQL, PROOF_SQL, READ_SQL, STATE_SQL } from "./sqlite-queries.ts";
import { migrate } from "./sqlite-schema.ts";

const db = new DatabaseSync(":memory:");
migrate(db);

const planOf = (sql: string): string[] =>
  db
    .prepare(`EXPLAIN QUERY PLAN ${sql}`)
    .all()
    .map(({ detail }) => String(detail));

test.each(Object.entries(LIST_SQL))("the listing %s searches an index and scans nothing", (_, sql) => {
  // Only the few runs of one key are sorted; all others come from the index in their order.
  expect(planOf(sql)).toEqual(
    sql === LIST_SQL.byKey
      ? ["SEARCH runs USING INDEX runs_key (key=?)", "USE TEMP B-TREE FOR ORDER BY"]
      : [expect.stringMatching(/^SEARCH runs USING (INDEX|INTEGER PRIMARY KEY).*rowid<\?\)$/)],
  );
});

test.each([
  ["run", "INTEGER PRIMARY KEY"],
  ["runByKey", "runs_key (key=? AND kind=? AND name=?)"],
  ["records", "records_run (run=?)"],
  ["live", "COVERING INDEX runs_state (state<?)"],
  ["due", "runs_wake (wake_at>? AND wake_at<?)"],
  ["unfinished", "COVERING INDEX runs_state (state<?)"],
  ["payload", "PRIMARY KEY (run=? AND slot=?)"],
  ["events", "INTEGER PRIMARY KEY (rowid>?)"],
] as const)("the query %s searches by %s", (name, index) => {
  const plan = planOf(READ_SQL[name]);
  expect(plan[0]).toContain(index);
  expect(plan.filter((step) => step.startsWith("SCAN") && !step.includes("SCALAR"))).toEqual([]);
});

test.each([
  ["all", "INTEGER PRIMARY KEY (rowid>? AND rowid<?)"],
  ["ofRun", "logs_run (run=? AND rowid>? AND rowid<?)"],
  ["ofFunction", "logs_function (function=? AND rowid>? AND rowid<?)"],
  ["ofLevel", "logs_level (level=? AND rowid>? AND rowid<?)"],
  ["ofFunctionLevel", "logs_function_level (function=? AND level=? AND rowid>? AND rowid<?)"],
] as const)("the log query %s searches by %s and sorts nothing", (name, index) => {
  expect(planOf(LOG_SQL[name])).toEqual([`SEARCH logs USING ${name === "all" ? "" : "INDEX "}${index}`]);
});

test("retention reads finished runs in the order of their end, without sorting", () => {
  expect(planOf(READ_SQL.oldestFinished)).toEqual(["SCAN runs USING INDEX runs_finished"]);
});

test.each(["change", "drop", "proof"] as const)("the statement %s of proofs searches by their id", (name) => {
  expect(planOf(PROOF_SQL[name])).toEqual([expect.stringContaining("SEARCH proofs USING INDEX sqlite_autoindex_proofs_1 (id=?)")]);
});

test("the proofs that a run names are searched among its records", () => {
  expect(planOf(PROOF_SQL.naming)).toEqual(["SEARCH records USING INDEX records_run (run=?)"]);
});

test.each([
  ["get", "state_key (space=? AND key=?)"],
  ["from", "state_key (space=? AND key>?)"],
  ["stale", "state_stale"],
  ["expired", "state_expiry (expires_at>? AND expires_at<?)"],
] as const)("the query %s of the state store uses %s and sorts nothing", (name, index) => {
  const plan = planOf(STATE_SQL[name]);
  expect(plan[0]).toContain(index);
  expect(plan).toHaveLength(1);
});
