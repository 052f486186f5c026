/**
 * Prints "N passed, N failed, N skipped" from Vitest's JSON report, and ends with 1 unless tests ran and all of them passed.
 * Usage: node scripts/test-summary.ts report.json
 */
import { readFileSync } from "node:fs";

interface Report {
  success: boolean;
  numPassedTests: number;
  numFailedTests: number;
  numPendingTests: number;
  numTodoTests: number;
  testResults: { name: string; status: string; assertionResults: unknown[] }[];
}

const [path] = process.argv.slice(2);
if (path === undefined) throw new Error("usage: node scripts/test-summary.ts report.json");
const text = readFileSync(path, "utf8");
if (text === "") {
  // A check before the tests failed, so Vitest never wrote a report.
  console.error("no test ran: a step before the tests failed");
  process.exitCode = 1;
} else {
  const report = JSON.parse(text) as Report;
  // A file that fails before its first test (a syntax error, a failed import) counts as one failure: it has no tests to count.
  const brokenFiles = report.testResults.filter(({ status, assertionResults }) => status === "failed" && assertionResults.length === 0);
  for (const { name } of brokenFiles) console.error(`failed before its first test: ${name}`);
  const failed = report.numFailedTests + brokenFiles.length;
  if (report.numPassedTests + failed === 0) console.error("no test ran");
  console.log(`${report.numPassedTests} passed, ${failed} failed, ${report.numPendingTests + report.numTodoTests} skipped`);
  process.exitCode = report.success && failed === 0 && report.numPassedTests > 0 ? 0 : 1;
}
