import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "..");

test("certified calls survive each fault of the study without a wrong answer, which plain pods give", { timeout: 240_000 }, () => {
  const { status, stdout, stderr } = spawnSync(process.execPath, ["scripts/fault-study.ts"], {
    cwd: ROOT,
    encoding: "utf8",
    timeout: 230_000,
  });
  expect(stderr).toBe("");
  expect(stdout.match(/^ {2}certified +(II|III|IV) .* 0 of \d+$/gm)).toHaveLength(6);
  expect(stdout.match(/^ {2}plain pods +– +never +never .* [1-9]\d* of \d+$/gm)).toHaveLength(2);
  expect(status).toBe(0);
});
