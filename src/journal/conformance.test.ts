import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, test } from "vitest";
import { journalConformance } from "../testing/journal-conformance.ts";
import type { MemoryJournal } from "./memory.ts";
import { createMemoryJournal } from "./memory.ts";
import type { Journal } from "./port.ts";
import { SqliteJournal } from "./sqlite-journal.ts";

journalConformance("memory", {
  test,
  open: async () => createMemoryJournal(),
  reopen: async (old) => (old as MemoryJournal).reopen(),
});

const root = mkdtempSync(join(tmpdir(), "lockstep-journal-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const paths = new Map<Journal, string>();
const openAt = (path: string, inlineLimit: number): Journal => {
  // Without the lock of the directory: a second owner can only come when that has failed, and then the epoch is what protects.
  const journal = new SqliteJournal(path, { inlineLimit });
  paths.set(journal, path);
  return journal;
};

for (const inlineLimit of [32_768, 0]) {
  journalConformance(`SQLite, inline up to ${inlineLimit}`, {
    test,
    open: async () => openAt(join(root, `${paths.size}.sqlite`), inlineLimit),
    reopen: async (old) => openAt(paths.get(old) as string, inlineLimit),
  });
}
