/** The documents' code and commands, executed: what a newcomer copies must work. */
import { spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "./support/eventually.ts";
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

test("the shop of the README sells, and undoes what can't be paid", async () => {
  const app = sandbox.write("shop/index.ts", blocksOf("README.md", "ts").slice(1).join("\n"));
  const commands = blocksOf("README.md", "sh").find((block) => block.includes("lockstep dev shop")) ?? "";
  const dev = spawn(process.execPath, [join(root, "bin/lockstep.js"), "dev", app, "--port", "0", "--data", sandbox.path("shop-data")], {
    cwd: root,
    env: { ...process.env, TMPDIR: sandbox.temporary },
  });
  let printed = "";
  for (const stream of [dev.stdout, dev.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      printed += chunk;
    });
  }
  try {
    await eventually("the shop is deployed", () => printed.includes("deployed shop"));
    const url = /lockstep at (\S+),/.exec(printed)?.[1] ?? "";
    const [, ...lines] = commands.trimEnd().split("\n");
    const answers = await Array.fromAsync(lines, async (line) => {
      if (line.includes("state ls"))
        await eventually("both sales have ended", () => printed.match(/^\S+ sale (completed|failed)/gm)?.length === 2);
      const { status, stdout, stderr } = spawnSync("bash", ["-c", line.replace("npx lockstep", '"$0" bin/lockstep.js'), process.execPath], {
        cwd: root,
        encoding: "utf8",
        env: { ...process.env, LOCKSTEP_URL: url },
      });
      expect({ line, status, stderr }).toMatchObject({ line, status: 0 });
      return stdout;
    });
    expect(answers.at(-2)).toMatch(/stock\/concert +\d+ +1\b/);
    expect(answers.at(-1)).toMatch(/failed[\s\S]*completed/);
    expect(printed).toContain("CARD_STOLEN");
  } finally {
    dev.kill("SIGINT");
    await new Promise((resolve) => dev.once("close", resolve));
  }
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
