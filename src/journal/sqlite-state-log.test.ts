import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { StateChange } from "../protocol/state.ts";
import { batchOf, runAt } from "../testing/journal-fixtures.ts";
import { SqliteJournal } from "./sqlite-journal.ts";

const BOUNDS = { keys: 20, chars: 100_000, slice: 3 };

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "lockstep-state-log-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const open = (stateLog = BOUNDS) => new SqliteJournal(join(root, "journal.sqlite"), { stateLog });

const count = (table: "state" | "state_log"): number => {
  const db = new DatabaseSync(join(root, "journal.sqlite"));
  try {
    return db.prepare(`SELECT count(*) AS n FROM ${table}`).get()?.n as number;
  } finally {
    db.close();
  }
};

const put = (key: number, version: number): StateChange => ({ space: "shop", key: `t/${key}`, value: `${version}`, version });

/** Commits changes of these keys, one each; their version is also the value. */
const writer = (journal: SqliteJournal) => {
  let version = 0;
  return async (keys: Iterable<number>): Promise<void> => {
    for (const key of keys) await journal.commit(batchOf({ state: [put(key, ++version)] }));
  };
};

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

const versions = async (journal: SqliteJournal): Promise<Record<string, number>> =>
  Object.fromEntries((await journal.state.list("shop", "t/", 1_000)).map(({ key, version }) => [key, version]));

test("keys that change again and again are in the table once, and the log stays short", async () => {
  const journal = open({ ...BOUNDS, chars: 2_000 });
  const write = writer(journal);
  let longest = 0;
  for (let i = 0; i < 50; i++) {
    await write(range(0, 10));
    longest = Math.max(longest, count("state_log"));
  }
  expect(longest).toBeGreaterThan(20);
  expect(longest).toBeLessThan(100);
  expect(count("state")).toBe(10);
  expect((await versions(journal))["t/3"]).toBe(494);
  await journal.close();
});

test("keys that are ever new do not gather in it either", async () => {
  const journal = open();
  await writer(journal)(range(0, 500));
  expect(count("state_log")).toBeLessThan(2 * BOUNDS.keys);
  expect(Object.keys(await versions(journal))).toHaveLength(500);
  await journal.close();
});

test("values that are large make the log no longer than others do", async () => {
  const journal = open({ keys: 200, chars: 20_000, slice: 1 });
  await journal.commit(batchOf({ state: range(0, 200).map((key) => put(key, key + 1)) }));
  const large = "x".repeat(8_000);
  for (let i = 0; i < 30; i++) {
    await journal.commit(batchOf({ state: [{ ...put(300 + i, 300 + i), value: `"${large}"` }] }));
    expect(count("state_log")).toBeLessThan(8);
  }
  expect(Object.keys(await versions(journal))).toHaveLength(230);
  await journal.close();
});

test("a generation moves with the commits after it, also with those that change no state", async () => {
  const journal = open();
  await writer(journal)(range(0, 20));
  expect([count("state"), count("state_log")]).toEqual([0, 20]);
  const seen: number[][] = [];
  for (let i = 0; i < 8; i++) {
    await journal.commit(batchOf({ accepted: [runAt(i)] }));
    seen.push([count("state"), count("state_log")]);
  }
  expect(seen).toEqual([3, 6, 9, 12, 15, 18, 20, 20].map((rows) => [rows, rows === 20 ? 0 : 20]));
  await journal.close();
});

test("a mark is made in what is on its way into the table, and in what is there", async () => {
  const journal = open();
  await writer(journal)(range(0, 20));
  const stale = { run: "run_00000000001", call: 1, function: "pay", fault: "execution" as const, message: "no", at: 0 };
  const mark = (key: number): StateChange => ({ space: "shop", key: `t/${key}`, version: 0, keep: true, stale });
  await journal.commit(batchOf({ state: [mark(9)] }));
  await journal.commit(batchOf({ state: [mark(0)] }));
  const marked = [0, 9].map((key) => ({ key: `t/${key}`, value: `${key + 1}`, version: key + 1, stale }));
  const found = async (): Promise<unknown[]> => [await journal.state.get("shop", "t/0"), await journal.state.get("shop", "t/9")];
  for (let i = 0; i < 30; i++) {
    expect([i, ...(await found())]).toEqual([i, ...marked]);
    expect(await journal.state.stale()).toEqual(marked.map((row) => ({ space: "shop", ...row })));
    await journal.commit(batchOf({ accepted: [runAt(i)] }));
  }
  await writer(journal)(range(20, 60));
  expect(await found()).toEqual(marked);
  await journal.close();
});

test("what is opened in the middle of a move is what it was, and goes on", async () => {
  const journal = open();
  const write = writer(journal);
  await write(range(0, 20));
  await write([5, 6, 25]);
  const before = await versions(journal);
  expect(count("state")).toBeGreaterThan(0);
  await journal.close();
  const next = open();
  expect(await versions(next)).toEqual(before);
  for (let i = 0; i < 30; i++) await next.commit(batchOf({ accepted: [runAt(i)] }));
  expect([count("state"), count("state_log")]).toEqual([21, 0]);
  expect(await versions(next)).toEqual(before);
  await next.close();
});

test("a commit that is refused moves nothing, and what it would have moved is moved later", async () => {
  const journal = open();
  await journal.commit(batchOf({ accepted: [runAt(1)] }));
  await writer(journal)(range(0, 20));
  const before = await versions(journal);
  const refused = batchOf({ accepted: [runAt(2)], state: range(0, 30).map((key) => put(key, 99)), purged: ["no run"] });
  for (let i = 0; i < 3; i++) await expect(journal.commit(refused)).rejects.toThrow();
  expect([count("state"), await versions(journal), journal.state.lastVersion]).toEqual([0, before, 20]);
  for (let i = 0; i < 30; i++) await journal.commit(batchOf({ accepted: [runAt(10 + i)] }));
  expect([count("state"), count("state_log")]).toEqual([20, 0]);
  expect(await versions(journal)).toEqual(before);
  await journal.close();
});
