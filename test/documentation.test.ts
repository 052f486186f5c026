/** The documents' code and commands, executed: what a newcomer copies must work. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Sandbox } from "./support/sandbox.ts";
import { createSandbox } from "./support/sandbox.ts";

const root = join(import.meta.dirname, "..");
const read = (path: string): string => readFileSync(join(root, path), "utf8");

/** The text of each fenced block in one language. */
const blocksOf = (path: string, language: string): string[] =>
  [...read(path).matchAll(/^```(\w*)\n(.*?)^```$/gms)].flatMap(([, of, text]) => (of === language ? [text ?? ""] : []));

let sandbox: Sandbox;
beforeAll(() => {
  sandbox = createSandbox();
});
afterAll(() => sandbox.dispose());

const lockstep = (...args: string[]) =>
  spawnSync(process.execPath, [join(root, "bin/lockstep.js"), ...args], {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, HOME: sandbox.root, TMPDIR: sandbox.temporary },
  });

test("the application of the README runs as it stands", () => {
  const app = sandbox.write("readme/index.ts", blocksOf("README.md", "ts")[0] ?? "");
  const { status, stdout, stderr } = lockstep("run", "order", '{"amount": 7}', "--app", app);
  expect(stderr).toBe("");
  expect(stdout).toMatch(/^shipped, paid by receipt:run_\w+\/1\n$/);
  expect(status).toBe(0);
});

test("the application of the first steps fails with the code that it gives a stolen card", () => {
  const app = sandbox.write("shop/index.ts", blocksOf("docs/getting-started.md", "ts")[0] ?? "");
  const { status, stderr } = lockstep("run", "order", '{"card": "stolen", "amount": 7}', "--app", app);
  expect(stderr).toContain("CARD_STOLEN");
  expect(status).toBe(1);
});

describe.each(["README.md", "docs/getting-started.md", "docs/expressions.md"])("%s", (path) => {
  const commands = blocksOf(path, "sh")
    .flatMap((block) => block.split("\n"))
    .filter((line) => line.startsWith("npx lockstep ") && line.includes("--app examples/"));

  test("shows a command that needs no platform", () => {
    expect(commands.length).toBeGreaterThan(0);
  });

  test.each(commands)("%s", (command) => {
    const { status, stdout, stderr } = spawnSync(
      "bash",
      ["-c", command.replace("npx lockstep", '"$0" bin/lockstep.js'), process.execPath],
      {
        cwd: root,
        encoding: "utf8",
        env: { ...process.env, TMPDIR: sandbox.temporary },
      },
    );
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    if (command.includes("((3+5)*(4/2))")) expect(stdout).toBe("16\n");
  });
});
