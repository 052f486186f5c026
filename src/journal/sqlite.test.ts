import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { batchOf, finishAt, idAt, resultOf, runAt } from "../testing/journal-fixtures.ts";
import { openSqliteJournal } from "./sqlite.ts";

let directory: string;
const children: ChildProcess[] = [];

beforeEach(() => {
  directory = join(mkdtempSync(join(tmpdir(), "lockstep-sqlite-")), "data");
});

afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
  rmSync(join(directory, ".."), { recursive: true, force: true });
});

const moduleUrl = (path: string): string => pathToFileURL(join(import.meta.dirname, path)).href;

/** Runs a program in a Node of its own that has opened the journal of the directory; `open` makes it itself if it wants other options. */
const startOwner = (program: string, limit = "unlimited", options = "{}"): { child: ChildProcess; lines: AsyncIterator<string> } => {
  const script = `
    import { openSqliteJournal } from ${JSON.stringify(moduleUrl("sqlite.ts"))};
    import { batchOf, finishAt, idAt, resultOf, runAt } from ${JSON.stringify(moduleUrl("../testing/journal-fixtures.ts"))};
    import { writeSync } from "node:fs";
    const say = (line) => writeSync(1, line + "\\n");
    const journal = await openSqliteJournal(${JSON.stringify(directory)}, ${options});
    ${program}`;
  const command = `ulimit -f ${limit} && exec "$0" "$@"`;
  const child = spawn("sh", ["-c", command, process.execPath, "--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.push(child);
  return { child, lines: createInterface({ input: child.stdout! })[Symbol.asyncIterator]() };
};

const nextLine = async (lines: AsyncIterator<string>): Promise<string> => (await lines.next()).value;

const kill = async (child: ChildProcess): Promise<void> => {
  child.kill("SIGKILL");
  await once(child, "exit");
};

const query = (sql: string) => {
  const db = new DatabaseSync(join(directory, "journal.sqlite"));
  try {
    return db.prepare(sql).get();
  } finally {
    db.close();
  }
};

describe("the data directory", () => {
  test("is made when it is missing", async () => {
    const journal = await openSqliteJournal(join(directory, "deeper"));
    expect(existsSync(join(directory, "deeper", "journal.sqlite"))).toBe(true);
    await journal.close();
  });

  test("cannot be where a file is", async () => {
    writeFileSync(directory, "a file");
    await expect(openSqliteJournal(directory)).rejects.toMatchObject({ code: "JOURNAL_UNAVAILABLE" });
  });

  test("has one owner in this process, until that closes", async () => {
    const journal = await openSqliteJournal(directory);
    await expect(openSqliteJournal(directory)).rejects.toMatchObject({
      code: "DATA_DIRECTORY_IN_USE",
      details: { pid: process.pid },
    });
    await journal.commit(batchOf({ accepted: [runAt(1)] }));
    await expect(openSqliteJournal(directory)).rejects.toMatchObject({ code: "DATA_DIRECTORY_IN_USE" });
    await journal.close();
    const next = await openSqliteJournal(directory);
    expect(next.epoch).toBe(journal.epoch + 1);
    expect(await next.live()).toEqual([idAt(1)]);
    await next.close();
    expect(existsSync(join(directory, "owner.pid"))).toBe(false);
  });

  test("is refused at once while another process owns it, also a busy one, and is free when that is killed", {
    timeout: 60_000,
  }, async () => {
    const { child, lines } = startOwner('say("open"); for (;;);');
    expect(await nextLine(lines)).toBe("open");
    const start = performance.now();
    await expect(openSqliteJournal(directory)).rejects.toMatchObject({
      code: "DATA_DIRECTORY_IN_USE",
      message: `the data directory ${directory} is in use by process ${child.pid}`,
      details: { pid: child.pid },
    });
    // Who waited for the lock would do so for the connections' busy_timeout.
    expect(performance.now() - start).toBeLessThan(2_000);
    await kill(child);
    const journal = await openSqliteJournal(directory);
    expect(journal.epoch).toBe(2);
    expect(readFileSync(join(directory, "owner.pid"), "utf8")).toBe(`${process.pid}\n`);
    await journal.close();
  });

  test("is free again when opening fails", async () => {
    await (await openSqliteJournal(directory)).close();
    const version = query("PRAGMA user_version")?.user_version;
    query("PRAGMA user_version = 99");
    await expect(openSqliteJournal(directory)).rejects.toMatchObject({ code: "DATA_DIRECTORY_NEWER" });
    query(`PRAGMA user_version = ${version}`);
    await (await openSqliteJournal(directory)).close();
  });

  test("that cannot be written to is refused", async () => {
    await (await openSqliteJournal(directory)).close();
    for (const name of ["owner.pid", "owner.lock", "journal.sqlite"]) {
      const path = join(directory, name);
      const saved = existsSync(path) ? readFileSync(path) : undefined;
      rmSync(path, { force: true });
      mkdirSync(path);
      await expect(openSqliteJournal(directory)).rejects.toMatchObject({ name: "LockstepError", code: "JOURNAL_UNAVAILABLE" });
      rmdirSync(path);
      if (saved !== undefined) writeFileSync(path, saved);
    }
    await (await openSqliteJournal(directory)).close();
  });

  test("with something else in place of the journal is refused and left alone", async () => {
    await (await openSqliteJournal(directory)).close();
    const file = join(directory, "journal.sqlite");
    writeFileSync(file, "no database at all, but long enough to be looked at as one ".repeat(20));
    const before = readFileSync(file);
    await expect(openSqliteJournal(directory)).rejects.toMatchObject({ code: "JOURNAL_UNAVAILABLE" });
    expect(readFileSync(file)).toEqual(before);
  });
});

describe("what was acknowledged", () => {
  test("is there after kill -9, however often", { timeout: 60_000 }, async () => {
    let acknowledged = 0;
    for (let round = 0; round < 5; round++) {
      const { child, lines } = startOwner(`
        for (let n = journal.lastPosition + 1; ; n++) {
          const event = { at: n, body: { type: "platform.audited", checked: n, repaired: 0 } };
          const appended = [{ run: idAt(n), from: 0, records: [resultOf(1, String(n))] }];
          await journal.commit(batchOf({ accepted: [runAt(n)], appended, changed: n % 2 ? [finishAt(n, n)] : [], events: [event] }));
          say(String(n));
        }`);
      const stopAt = acknowledged + 40 + round * 35;
      while (acknowledged < stopAt) acknowledged = Number(await nextLine(lines));
      await kill(child);
      for (let rest = await lines.next(); !rest.done; rest = await lines.next()) acknowledged = Number(rest.value);

      const journal = await openSqliteJournal(directory);
      const stored = journal.lastPosition;
      // The commit that was under way may have been kept although nobody was told.
      expect([acknowledged, acknowledged + 1]).toContain(stored);
      expect((await journal.events(0, 10_000)).map(({ position }) => position)).toEqual(Array.from({ length: stored }, (_, i) => i + 1));
      expect((await journal.live()).length).toBe(Math.floor(stored / 2));
      expect((await journal.countByStatus()).completed).toBe(Math.ceil(stored / 2));
      for (const n of [1, acknowledged - 1, stored]) expect(await journal.records(idAt(n))).toEqual([resultOf(1, String(n))]);
      await journal.close();
    }
  });

  test("is intact when the disk takes no more, and can still be read", { timeout: 60_000 }, async () => {
    const { lines } = startOwner(
      `
        let n = 0;
        try {
          for (;;) {
            await journal.commit(batchOf({ accepted: [runAt(n + 1, { input: "x".repeat(20_000) })] }));
            n++;
          }
        } catch (error) {
          const rest = await journal.list({}, 1_000);
          say(JSON.stringify({ n, code: error.code, cause: error.cause.code, read: rest.runs.length, last: journal.lastOrdinal }));
        }`,
      "1000",
      "{ checkpointPages: 20 }",
    );
    const report = JSON.parse(await nextLine(lines));
    expect(report).toMatchObject({ code: "JOURNAL_UNAVAILABLE", cause: "ERR_SQLITE_ERROR", read: report.n });
    expect(report.n).toBeGreaterThan(5);
    await lines.next();
    const journal = await openSqliteJournal(directory);
    expect((await journal.list({}, 1_000)).runs.length).toBe(report.n);
    expect(journal.lastOrdinal).toBe(report.last);
    expect((await journal.load(idAt(report.n)))?.input.length).toBe(20_000);
    await journal.commit(batchOf({ accepted: [runAt(report.n + 1)] }));
    await journal.close();
  });
});

test("texts above the inline limit lie apart from their run and records, and go with it", async () => {
  const journal = await openSqliteJournal(directory, { inlineLimit: 100 });
  const [short, long] = ["x".repeat(100), "x".repeat(101)];
  const records = [resultOf(1, short), resultOf(2, long)];
  for (const [ms, text] of [short, long].entries()) {
    await journal.commit(
      batchOf({
        accepted: [runAt(ms, { input: text })],
        appended: [{ run: idAt(ms), from: 0, records }],
        changed: [finishAt(ms, 5, { value: text })],
      }),
    );
  }
  const counts = () => ({ ...query("SELECT count(*) AS count, sum(length(text)) AS length FROM payloads") });
  expect(counts()).toEqual({ count: 4, length: 404 });
  expect({ ...query("SELECT max(length(data)) < 350 AS short FROM records") }).toEqual({ short: 1 });
  await journal.commit(batchOf({ purged: [idAt(0)] }));
  expect(counts()).toEqual({ count: 3, length: 303 });
  await journal.commit(batchOf({ purged: [idAt(1)] }));
  expect(counts()).toEqual({ count: 0, length: null });
  await journal.close();
});

test("a clean close leaves one file to copy", async () => {
  const journal = await openSqliteJournal(directory);
  await journal.commit(batchOf({ accepted: [runAt(1)] }));
  await journal.close();
  expect(existsSync(join(directory, "journal.sqlite-wal"))).toBe(false);
  expect({ ...query("PRAGMA integrity_check") }).toEqual({ integrity_check: "ok" });
});
