import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, test } from "vitest";
import { openJournaled } from "../../test/support/journaled-objects.ts";
import { objectStoreConformance } from "../testing/object-store-conformance.ts";
import { FileBytes } from "./filesystem.ts";
import { MemoryBytes } from "./memory.ts";

const root = mkdtempSync(join(tmpdir(), "lockstep-objects-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

let stores = 0;

objectStoreConformance("file system", {
  test,
  open: async () => {
    const directory = join(root, String(++stores), "objects");
    return openJournaled((epoch) => new FileBytes(directory, epoch));
  },
  crash: (old) => (old as Awaited<ReturnType<typeof openJournaled>>).crash(),
  close: (store) => store.store.stop(),
});

objectStoreConformance("memory", {
  test,
  open: async () => {
    const bytes = new MemoryBytes();
    return openJournaled(() => bytes);
  },
  crash: (old) => (old as Awaited<ReturnType<typeof openJournaled>>).crash(),
  close: (store) => store.store.stop(),
});
