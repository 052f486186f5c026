import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { connect, reserveWal } from "./sqlite-connection.ts";

const directory = mkdtempSync(join(tmpdir(), "lockstep-connection-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

test("every commit is synced to the disk before it returns", () => {
  const db = connect(join(directory, "synced.sqlite"), 1_000);
  const settingOf = (name: string) => Object.values(db.prepare(`PRAGMA ${name}`).get() ?? {})[0];
  expect(settingOf("journal_mode")).toBe("wal");
  // FULL. With NORMAL a commit would be written but not synced, and a power cut could take it back.
  expect(settingOf("synchronous")).toBe(2);
  db.close();
});

test("the WAL has the length that it will have, and what was in it stays valid", () => {
  const path = join(directory, "reserved.sqlite");
  const db = connect(path, 100);
  db.exec("CREATE TABLE t(x); INSERT INTO t VALUES (1)");
  reserveWal(path, 100);
  expect(statSync(`${path}-wal`).size).toBeGreaterThanOrEqual(100 * 4096);
  db.exec("INSERT INTO t VALUES (2)");
  const other = connect(path, 100);
  expect(other.prepare("SELECT sum(x) AS sum FROM t").get()?.sum).toBe(3);
  other.close();
  db.close();
});
