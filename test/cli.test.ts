/** The `lockstep` command as people use it: a process of its own, from the build. */
import { type ChildProcess, spawn } from "node:child_process";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { eventually } from "./support/eventually.ts";
import { createSandbox, type Sandbox } from "./support/sandbox.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const bin = `${root}bin/lockstep.js`;

interface Lockstep {
  child: ChildProcess;
  out(): string;
  error(): string;
  exit: Promise<number | null>;
}

let sandbox: Sandbox;

beforeEach(() => {
  sandbox = createSandbox();
});

afterEach(() => sandbox.dispose());

const begin = (argv: string[], environment: Record<string, string> = {}, node: string[] = [], detached = false): Lockstep => {
  const child = spawn(process.execPath, [...node, bin, ...argv], {
    cwd: sandbox.root,
    env: { PATH: process.env.PATH, HOME: sandbox.root, TMPDIR: sandbox.temporary, ...environment },
    stdio: ["ignore", "pipe", "pipe"],
    detached,
  });
  const texts = { out: "", error: "" };
  child.stdout?.on("data", (chunk: Buffer) => {
    texts.out += chunk;
  });
  child.stderr?.on("data", (chunk: Buffer) => {
    texts.error += chunk;
  });
  const exit = new Promise<number | null>((resolve) => child.once("close", (code) => resolve(code)));
  return { child, out: () => texts.out, error: () => texts.error, exit };
};

const lockstep = async (
  argv: string[],
  environment: Record<string, string> = {},
): Promise<{ code: number | null; out: string; error: string }> => {
  const command = begin(argv, environment);
  return { code: await command.exit, out: command.out(), error: command.error() };
};

const arithmetic = `${root}examples/arithmetic`;
const booking = `${root}examples/booking`;

describe("on a private platform", () => {
  test("an expression is evaluated, and nothing of the platform stays behind", async () => {
    expect(await lockstep(["eval", "--app", arithmetic, "((3+5)*(4/2))"])).toEqual({ code: 0, out: "16\n", error: "" });
    expect(sandbox.processes()).toEqual([]);
    expect(await lockstep(["eval", "--app", arithmetic, "(a+b)*2", "--var", "a=1", "--var", "b=2", "--json"])).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^\{"id":"run_\w+","status":"completed","value":6\}\n$/),
    });
  });

  test.each([
    ["1+", /error EXPRESSION_INVALID: .* column 3.*\n {2}1\+\n {4}\^\n/],
    ["foo(1)", /error UNKNOWN_FUNCTION: .*"foo".*\n {2}foo\(1\)\n {2}\^\n/],
    ["1/0", /error DIVISION_BY_ZERO: 1 \/ 0: division by zero[\s\S]* {4}at divide \(.*index\.ts:\d+:\d+\)\n/],
    ["(((", /error EXPRESSION_INVALID: .* column 4.*\n {2}\(\(\(\n {5}\^\n/],
    ['1+"x"', /error INPUT_INVALID: .*expected a number/],
  ])("%s fails with the place or the name", async (expression, expected) => {
    const { code, out, error } = await lockstep(["eval", "--app", arithmetic, expression]);
    expect([code, out]).toEqual([1, ""]);
    expect(error).toMatch(expected);
  });

  test("a booking is paid, after a second attempt if need be, or undone", async () => {
    const book = (card: string) =>
      lockstep(["run", "--app", booking, "booking", JSON.stringify({ customer: "Ada", item: "city-tour", quantity: 2, card })]);
    const [paid, slow, declined, down] = await Promise.all(["4242-4242", "4000-0001", "4000-0000", "4000-0002"].map(book));
    expect(paid?.code).toBe(0);
    expect(JSON.parse(paid?.out as string)).toMatchObject({ amount: 50, receipt: expect.stringMatching(/^receipt:run_\w+\/3$/) });
    expect(slow?.code).toBe(0);
    expect(slow?.error).toContain("charged 50 on attempt 2");
    expect(declined?.code).toBe(1);
    expect(declined?.error).toContain("error CARD_DECLINED: the bank declined the card");
    expect(declined?.error).toMatch(/payments\.ts:\d+:\d+/);
    expect(down?.code).toBe(1);
    expect(down?.error).toContain("in function payment, call 3 after 3 attempts");
    for (const undone of [declined, down]) expect(undone?.error).toMatch(/withdrew order:[\s\S]*released reservation:/);
  });

  test("an application that does not compile is refused with the place", async () => {
    const file = sandbox.write("app/index.ts", "export const = 1;");
    const { code, error } = await lockstep(["eval", "1", "--app", file]);
    expect(code).toBe(1);
    expect(error).toMatch(/error APPLICATION_INVALID: [\s\S]*app\/index\.ts:1:14: Expected identifier/);
  });
});

test("a trip waits for its signal on a platform that stays", async () => {
  const platform = begin(["start", "--app", booking, "--port", "0"]);
  const url = await eventually("the platform prints its address", () => platform.out().trim() || undefined);
  const there = { LOCKSTEP_URL: url };
  const input = JSON.stringify({ traveller: "Ada", to: "Turin", nights: 3, card: "4242-4242", coolingOffMs: 1 });
  const id = (await lockstep(["run", "trip", input, "--key", "ada-turin", "--detach"], there)).out.trim();
  const again = await lockstep(["run", "trip", input, "--key", "ada-turin", "--detach", "--json"], there);
  expect(JSON.parse(again.out)).toEqual({ id, existing: true });
  await eventually("the trip waits", async () => /waiting for +signal/.test((await lockstep(["runs", "show", id], there)).out));
  expect((await lockstep(["runs", "signal", id, "approve", '{"approved":true,"by":"Grace"}'], there)).code).toBe(0);
  const result = await lockstep(["run", "trip", input, "--key", "ada-turin"], there);
  expect(JSON.parse(result.out)).toMatchObject({ approvedBy: "Grace", amount: 405 });
  const shown = await lockstep(["runs", "show", id, "--json"], there);
  expect(JSON.parse(shown.out)).toMatchObject({ id, status: "completed", key: "ada-turin", journal: expect.any(Array) });
  expect((await lockstep(["logs", "--run", id], there)).out).toMatch(/book-flight \| a seat to Turin for Ada/);
  platform.child.kill("SIGTERM");
  expect(await platform.exit).toBe(0);
  expect(sandbox.processes()).toEqual([]);
  expect((await lockstep(["pods"], there)).code).toBe(3);
});

test("dev deploys again what changed, and stops in order", async () => {
  cpSync(arithmetic, sandbox.path("app"), { recursive: true });
  const dev = begin(["dev", "app", "--port", "0"]);
  const url = await eventually("dev tells its address", () => /http:\/\/127\.0\.0\.1:\d+/.exec(dev.error())?.[0]);
  await eventually("the application is deployed", () => dev.out().includes("deployed app"));
  const there = { LOCKSTEP_URL: url };
  expect((await lockstep(["call", "add", "[1,2]"], there)).out).toBe("3\n");
  const file = sandbox.path("app/index.ts");
  writeFileSync(file, readFileSync(file, "utf8").replace("a + b", "a + b + 100"));
  await eventually("the change is deployed", () => dev.out().match(/deployed app/g)?.length === 2);
  expect((await lockstep(["call", "add", "[1,2]"], there)).out).toBe("103\n");
  expect(dev.out()).toMatch(/add accepted run_\w+\n[\s\S]*add completed in [\d.]+ m?s run_\w+\n/);
  dev.child.kill("SIGINT");
  expect(await dev.exit).toBe(0);
  expect(sandbox.processes()).toEqual([]);
});

/** An application whose function `slow` answers once the file `open` is there. */
const untilOpen = (): string => `import { existsSync } from "node:fs";
  import { fn } from "lockstep";
  export const slow = fn("slow", async () => {
    while (!existsSync(${JSON.stringify(sandbox.path("open"))})) await new Promise((done) => setTimeout(done, 5));
    return "done";
  });`;

test("Ctrl-C in a terminal lets a call under way finish", async () => {
  const app = sandbox.write("app/index.ts", untilOpen());
  const first = begin(["start", "--app", app, "--port", "0"], {}, [], true);
  const url = await eventually("the platform prints its address", () => first.out().trim() || undefined);
  const call = begin(["call", "slow", "--key", "k", "--json"], { LOCKSTEP_URL: url });
  await eventually("the call executes", async () =>
    (await lockstep(["layers", "--json"], { LOCKSTEP_URL: url })).out.includes('"running":1'),
  );
  process.kill(-(first.child.pid as number), "SIGINT");
  sandbox.write("open", "");
  expect(await first.exit).toBe(0);
  call.child.kill("SIGKILL");
  const second = begin(["start", "--port", "0"]);
  const again = await eventually("the platform prints its address", () => second.out().trim() || undefined);
  const shown = await lockstep(["runs", "--key", "k", "--json"], { LOCKSTEP_URL: again });
  const { id } = JSON.parse(shown.out).runs[0];
  const { journal, ...run } = JSON.parse((await lockstep(["runs", "show", id, "--json"], { LOCKSTEP_URL: again })).out);
  expect(run).toMatchObject({ status: "completed", value: "done" });
  expect(journal.filter(({ t }: { t: string }) => t === "attempt")).toEqual([]);
  second.child.kill("SIGINT");
  expect(await second.exit).toBe(0);
});

test("a terminal that is closed lets dev stop in order", async () => {
  const app = sandbox.write("app/index.ts", untilOpen());
  const first = begin(["dev", app, "--port", "0"], {}, [], true);
  const url = await eventually("dev tells its address", () => /http:\/\/127\.0\.0\.1:\d+/.exec(first.error())?.[0]);
  await eventually("the application is deployed", () => first.out().includes("deployed"));
  const call = begin(["call", "slow", "--key", "k", "--json"], { LOCKSTEP_URL: url });
  await eventually("the call executes", async () =>
    (await lockstep(["layers", "--json"], { LOCKSTEP_URL: url })).out.includes('"running":1'),
  );
  // Nobody reads what it writes from now on, and the shell tells it so once more.
  first.child.stdout?.destroy();
  first.child.stderr?.destroy();
  process.kill(-(first.child.pid as number), "SIGHUP");
  process.kill(-(first.child.pid as number), "SIGHUP");
  sandbox.write("open", "");
  expect(await first.exit).toBe(0);
  call.child.kill("SIGKILL");
  const second = begin(["start", "--port", "0"]);
  const there = { LOCKSTEP_URL: await eventually("the platform prints its address", () => second.out().trim() || undefined) };
  expect(JSON.parse((await lockstep(["faults", "--json"], there)).out).faults).toEqual([]);
  const [run] = JSON.parse((await lockstep(["runs", "--key", "k", "--json"], there)).out).runs;
  expect(run).toMatchObject({ status: "completed" });
  second.child.kill("SIGHUP");
  expect(await second.exit).toBe(0);
});

test("an application whose output nobody reads any more stops in order", async () => {
  cpSync(arithmetic, sandbox.path("app"), { recursive: true });
  const first = begin(["dev", "app", "--port", "0"]);
  const url = await eventually("dev tells its address", () => /http:\/\/127\.0\.0\.1:\d+/.exec(first.error())?.[0]);
  await eventually("the application is deployed", () => first.out().includes("deployed"));
  first.child.stdout?.destroy();
  // It learns so by the first line that it writes.
  const call = begin(["call", "add", "[1,2]"], { LOCKSTEP_URL: url });
  expect(await first.exit).toBe(0);
  call.child.kill("SIGKILL");
  const second = begin(["start", "--port", "0"]);
  const there = { LOCKSTEP_URL: await eventually("the platform prints its address", () => second.out().trim() || undefined) };
  expect(JSON.parse((await lockstep(["faults", "--json"], there)).out).faults).toEqual([]);
  second.child.kill("SIGTERM");
  expect(await second.exit).toBe(0);
});

test("a second platform on the same data directory is refused", async () => {
  const first = begin(["start", "--port", "0"]);
  await eventually("the platform prints its address", () => first.out().trim() || undefined);
  expect(await lockstep(["start", "--port", "0"])).toMatchObject({
    code: 1,
    out: "",
    error: expect.stringContaining("error DATA_DIRECTORY_IN_USE:"),
  });
  first.child.kill("SIGINT");
  expect(await first.exit).toBe(0);
});

test("a port that is taken is refused, and nothing stays behind", async () => {
  const first = begin(["start", "--port", "0"]);
  const url = await eventually("the platform prints its address", () => first.out().trim() || undefined);
  const second = await lockstep(["start", "--port", new URL(url).port, "--data", "other"]);
  expect(second).toMatchObject({ code: 1, out: "", error: expect.stringContaining("error ADDRESS_UNAVAILABLE:") });
  first.child.kill("SIGINT");
  expect(await first.exit).toBe(0);
  expect(sandbox.processes()).toEqual([]);
});

test("an old Node.js gets a clear message", async () => {
  const preload = sandbox.write(
    "old.cjs",
    `Object.defineProperty(process, "versions", { value: { ...process.versions, node: "20.11.1" } });`,
  );
  const old = begin(["eval", "1"], {}, ["--require", preload]);
  expect(await old.exit).toBe(1);
  expect(old.out()).toBe("");
  expect(old.error()).toMatch(/^error UNSUPPORTED_NODE: Lockstep needs Node\.js 22\.13 or later; this is 20\.11\.1 .*\n {2}mend: /);
});

test("the program's file is one that every Node.js can parse", () => {
  const text = readFileSync(bin, "utf8");
  expect(text).toMatch(/^#!\/usr\/bin\/env node\n/);
  expect(text).not.toMatch(/^import |`|\?\.|\?\?|\b(const|let|await|async)\b/m);
});
