import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, test } from "vitest";
import { journalConformance } from "../testing/journal-conformance.ts";
import type { MemoryJournal } from "./memory.ts";
import { createMemoryJournal } from "./memory.ts";
import type { Journal } from "./port.ts";
import { SqliteJournal, type SqliteJournalOptions } from "./sqlite-journal.ts";

journalConformance("memory", {
  test,
  open: async () => createMemoryJournal(),
  reopen: async (old) => (old as MemoryJournal).reopen(),
});

const root = mkdtempSync(join(tmpdir(), "lockstep-journal-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const paths = new Map<Journal, string>();
const openAt = (path: string, options: SqliteJournalOptions): Journal => {
  // Without the lock of the directory: a second owner can only come when that has failed, and then the epoch is what protects.
  const journal = new SqliteJournal(path, options);
  paths.set(journal, path);
  return journal;
};

const variants: Record<string, SqliteJournalOptions> = {
  SQLite: {},
  "SQLite, with all payloads out of line": { inlineLimit: 0 },
  "SQLite, whose state leaves its log at once": { stateLog: { keys: 1, chars: 1, slice: 1_000 } },
  "SQLite, whose state leaves its log by and by": { stateLog: { keys: 2, chars: 200, slice: 1 } },
};

for (const [name, options] of Object.entries(variants)) {
  journalConformance(name, {
    test,
    open: async () => openAt(join(root, `${paths.size}.sqlite`), options),
    reopen: async (old) => openAt(paths.get(old) as string, options),
  });
}
