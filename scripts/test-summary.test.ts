import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";

const folders: string[] = [];

const summarize = (report: string) => {
  const folder = mkdtempSync(join(tmpdir(), "summary-"));
  folders.push(folder);
  writeFileSync(join(folder, "report.json"), report);
  return spawnSync(process.execPath, [join(import.meta.dirname, "test-summary.ts"), join(folder, "report.json")], { encoding: "utf8" });
};

const report = (counts: { passed?: number; failed?: number; success?: boolean; files?: unknown[] }): string =>
  JSON.stringify({
    success: counts.success ?? true,
    numPassedTests: counts.passed ?? 0,
    numFailedTests: counts.failed ?? 0,
    numPendingTests: 1,
    numTodoTests: 1,
    testResults: counts.files ?? [],
  });

afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

test("a run whose tests passed ends with 0 and its counts on the last line", () => {
  const { status, stdout } = summarize(report({ passed: 3 }));
  expect(stdout).toBe("3 passed, 0 failed, 2 skipped\n");
  expect(status).toBe(0);
});

test("a failed test ends it with 1", () => {
  const { status, stdout } = summarize(report({ passed: 3, failed: 1, success: false }));
  expect(stdout).toBe("3 passed, 1 failed, 2 skipped\n");
  expect(status).toBe(1);
});

test("a file that fails before its first test counts as a failure and is named", () => {
  const files = [{ name: "src/a.test.ts", status: "failed", assertionResults: [] }];
  const { status, stdout, stderr } = summarize(report({ passed: 3, success: false, files }));
  expect(stdout).toBe("3 passed, 1 failed, 2 skipped\n");
  expect(stderr).toContain("src/a.test.ts");
  expect(status).toBe(1);
});

test.each([
  ["no test", report({})],
  ["an error outside of tests", report({ passed: 3, success: false })],
  ["no report at all", ""],
])("a run with %s ends with 1", (_, text) => {
  expect(summarize(text).status).toBe(1);
});
