import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "..");

test("every failure of the case study is judged and recovered as declared", { timeout: 120_000 }, () => {
  const { status, stdout, stderr } = spawnSync(process.execPath, ["scripts/case-study.ts", "--repetitions", "2"], {
    cwd: ROOT,
    encoding: "utf8",
    timeout: 110_000,
  });
  expect(stderr).toBe("");
  expect(stdout.match(/ yes$/gm)).toHaveLength(12);
  expect(status).toBe(0);
});
