import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { directoryOf, removeEarlier } from "./directories.ts";

test("what earlier replicas of a seat have left is removed, and nothing else", async () => {
  const folder = mkdtempSync(join(tmpdir(), "lockstep-test-"));
  try {
    for (const [index, generation] of [
      [1, 1],
      [1, 2],
      [1, 9],
      [1, 10],
      [1, 11],
      [0, 1],
      [11, 3],
    ] as const) {
      mkdirSync(directoryOf(folder, index, generation));
      writeFileSync(join(directoryOf(folder, index, generation), "key"), "secret");
    }
    mkdirSync(join(folder, "1-x"));
    await removeEarlier(folder, 1, 10);
    expect(readdirSync(folder).sort()).toEqual(["0-1", "1-10", "1-11", "1-x", "11-3"]);
    await removeEarlier(join(folder, "none"), 1, 10);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
