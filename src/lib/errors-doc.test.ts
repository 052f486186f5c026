import { expect, test } from "vitest";
import { catalogue } from "./errors.ts";

const INTRODUCTION = `# Errors

Every error that Lockstep raises has one of these codes. They are stable: programs may depend on them, while messages may change.
Over HTTP an error is a problem document (RFC 9457, \`application/problem+json\`) with the status given here, and its \`type\` is
\`urn:lockstep:error:\` and the code. The failures of runs and calls carry the same codes, or the application's own (\`TerminalError\`).

This page is written from the catalogue in \`src/lib/errors.ts\` by \`npx vitest run src/lib/errors-doc.test.ts -u\`.
`;

const cell = (text: string): string => text.replaceAll("|", "\\|");

const page = (): string => {
  const rows = Object.entries(catalogue).map(
    ([code, { status, means, mend }]) => `| \`${code}\` | ${status} | ${cell(means)} | ${cell(mend)} |`,
  );
  return `${INTRODUCTION}\n| Code | HTTP status | Meaning | What to do |\n|---|---|---|---|\n${rows.join("\n")}\n`;
};

test("docs/errors.md says exactly what the catalogue says", async () => {
  await expect(page()).toMatchFileSnapshot("../../docs/errors.md");
});

test("the catalogue is in alphabetical order", () => {
  const codes = Object.keys(catalogue).map((code) => code.toLowerCase());
  expect(codes).toEqual([...codes].sort());
});

test("every code has an HTTP error status and full sentences", () => {
  for (const [code, { status, means, mend }] of Object.entries(catalogue)) {
    expect(status, code).toBeGreaterThanOrEqual(400);
    expect(status, code).toBeLessThan(600);
    expect(means, code).toMatch(/\.$/);
    expect(mend, code).toMatch(/\.$/);
  }
});
