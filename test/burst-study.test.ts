import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "..");

test("bursts let layers grow and pods come, are served, and let the pods go", { timeout: 120_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), "lockstep-burst-"));
  const sizes = ["--expressions", "40", "--calls", "120", "--work-ms", "20", "--pods", "2", "--slots", "2"];
  const { status, stdout, stderr } = spawnSync(process.execPath, ["scripts/burst-study.ts", ...sizes, "--svg", join(folder, "burst.svg")], {
    cwd: ROOT,
    encoding: "utf8",
    timeout: 110_000,
  });
  expect(stderr).toBe("");
  expect(stdout).toMatch(/divide 0 → 1: activation/);
  expect(stdout).toMatch(/work 0 → 1: activation/);
  expect(stdout).toMatch(/work \d → 0: no traffic for 2000 ms/);
  for (const name of ["burst", "burst-expressions"]) expect(readFileSync(join(folder, `${name}.svg`), "utf8")).toMatch(/^<svg /);
  rmSync(folder, { recursive: true });
  expect(status).toBe(0);
});
