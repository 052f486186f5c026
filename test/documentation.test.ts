/** The documents' code and commands, executed: what a newcomer copies must work. */
import { execFile as execFileWithCallback, spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "./support/eventually.ts";
import type { Sandbox } from "./support/sandbox.ts";
import { createSandbox } from "./support/sandbox.ts";

const execFile = promisify(execFileWithCallback);

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

/** Deploys an application by `lockstep dev`, and gives what each further line of the README's block has printed. */
const carryOut = async (folder: string, code: string, before: (line: string, printed: () => string) => Promise<void> | void) => {
  const app = sandbox.write(`${folder}/index.ts`, code);
  const data = sandbox.path(`${folder}-data`);
  const commands = blocksOf("README.md", "sh").find((block) => block.includes(`lockstep dev ${folder}`)) ?? "";
  const dev = spawn(process.execPath, [join(root, "bin/lockstep.js"), "dev", app, "--port", "0", "--data", data], {
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
    await eventually(`${folder} is deployed`, () => printed.includes(`deployed ${folder}`));
    const url = /lockstep at (\S+),/.exec(printed)?.[1] ?? "";
    const [, ...lines] = commands.trimEnd().split("\n");
    const execute = (line: string) => {
      const command = line.replace("npx lockstep", `"$0" ${join(root, "bin/lockstep.js")}`).replace(".lockstep/", `${data}/`);
      return execFile("bash", ["-c", command, process.execPath], { cwd: sandbox.root, env: { ...process.env, LOCKSTEP_URL: url } });
    };
    const answers = await Array.fromAsync(lines, async (line) => {
      await before(line, () => printed);
      const executed = execute(line.replace(/ &$/, ""));
      // It goes on beside the next ones, as soon as it has begun.
      if (line.endsWith("&")) return await new Promise<string>((resolve) => executed.child.stderr?.once("data", resolve));
      return (await executed).stdout;
    });
    return { answers, printed };
  } finally {
    dev.kill("SIGINT");
    await new Promise((resolve) => dev.once("close", resolve));
  }
};

const scriptOf = (word: string): string => blocksOf("README.md", "ts").find((block) => block.includes(word)) ?? "";

test("the shop of the README sells, and undoes what can't be paid", async () => {
  const code = ["const reserve", "const pay", "const sale"].map(scriptOf).join("\n");
  const { answers, printed } = await carryOut("shop", code, async (line, text) => {
    if (line.includes("state ls"))
      await eventually("both sales have ended", () => text().match(/^\S+ sale (completed|failed)/gm)?.length === 2);
  });
  expect(answers.at(-2)).toMatch(/stock\/concert +\d+ +1\b/);
  expect(answers.at(-1)).toMatch(/failed[\s\S]*completed/);
  expect(printed).toContain("CARD_STOLEN");
});

test("the bank of the README certifies what is left, although a replica lies", async () => {
  const { answers } = await carryOut("bank", scriptOf("fn.stateful"), async (line, printed) => {
    if (line.includes("verify")) await eventually("the liar is found", () => /fault III lie \S+ \(account\)/.test(printed()));
  });
  expect(answers[0]).toBe("1000\n");
  expect(answers.at(-2)).toContain("800\n");
  expect(answers.at(-1)).toContain("valid: 3 replicas have signed this result");
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
