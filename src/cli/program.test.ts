import { expect, test } from "vitest";
import { FakeControlPlane } from "../../test/support/fake-control-plane.ts";
import { folderOf, type World, world } from "../../test/support/fake-io.ts";
import { open, type Running } from "../../test/support/gateway.ts";
import type { Clock } from "../lib/clock.ts";
import { LockstepError } from "../lib/errors.ts";
import type { PlatformOptions } from "../platform.ts";
import type { ApplicationVersion } from "../protocol/application.ts";
import type { StartRun } from "../protocol/run.ts";

const application = `import { fn } from "lockstep";\nexport const add = fn("add", ([a, b]: number[]) => (a ?? 0) + (b ?? 0));\n`;

/** A world whose platform is a real gateway before a fake control plane. */
const connected = async (given: Parameters<typeof world>[0] = {}): Promise<World & Running> => {
  const running = await open();
  const there = world({ fetch, ...given, env: { LOCKSTEP_URL: running.gateway.url, ...given.env } });
  return { ...running, ...there };
};

/** Settles every run as soon as it starts. */
const settling = (plane: FakeControlPlane, how: (request: StartRun) => Parameters<FakeControlPlane["settle"]>[1]): void => {
  const start = plane.start.bind(plane);
  plane.start = async (request) => {
    const accepted = await start(request);
    plane.settle(accepted.id, how(request));
    return accepted;
  };
};

interface PrivateWorld extends World {
  plane: FakeControlPlane;
  started: PlatformOptions[];
  stopped: () => number;
}

/** A world whose platforms, once started, are fake control planes. */
const startable = (given: Parameters<typeof world>[0] = {}, url?: string): PrivateWorld => {
  const plane = new FakeControlPlane();
  const started: PlatformOptions[] = [];
  let stops = 0;
  const startPlatform = async (options: PlatformOptions) => {
    started.push(options);
    for (const bundle of (await options.applications) ?? []) await plane.deploy(bundle);
    const stop = async (): Promise<void> => void stops++;
    const audit = () => ({ checked: 0, repaired: 0 });
    return { controlPlane: plane, url, dataDirectory: options.dataDirectory || "", audit, stop };
  };
  return { ...world({ startPlatform, ...given }), plane, started, stopped: () => stops };
};

test("eval starts an expression's run with its variables and prints the value", async () => {
  const { plane, lockstep, out, error } = await connected();
  settling(plane, () => ({ status: "completed", value: "16" }));
  const code = await lockstep("eval", "(a+5)*b", "--var", "a=3", "--var", 'b="2"', "--var", "c=text", "--key", "k");
  expect([code, out.text, error.text]).toEqual([0, "16\n", ""]);
  const input = JSON.stringify({ a: 3, b: "2", c: "text" });
  expect(plane.asked[0]).toEqual(["start", expect.objectContaining({ kind: "expression", name: "(a+5)*b", input, key: "k" })]);
});

test("an expression may begin with a minus, and a misspelt option is still refused", async () => {
  const { plane, lockstep, out, error } = await connected();
  settling(plane, () => ({ status: "completed", value: "-2" }));
  expect(await lockstep("eval", "-3+1")).toBe(0);
  expect(out.text).toBe("-2\n");
  expect(await lockstep("eval", "1", "--vra", "a=1")).toBe(2);
  expect(error.text).toContain("too many arguments");
});

test.each([
  ["text", '"plain text"', "plain text\n"],
  ["an object", '{"a":[1]}', '{\n  "a": [\n    1\n  ]\n}\n'],
  ["nothing", undefined, ""],
])("call prints %s as people read it", async (_what, value, expected) => {
  const { plane, lockstep, out } = await connected();
  settling(plane, () => ({ status: "completed", ...(value === undefined ? {} : { value }) }));
  expect(await lockstep("call", "pay", '{"amount":5}', "--priority", "3")).toBe(0);
  expect(out.text).toBe(expected);
  expect(plane.asked[0]).toEqual(["start", expect.objectContaining({ kind: "function", name: "pay", input: '{"amount":5}', priority: 3 })]);
});

test("--json prints the outcome on one line", async () => {
  const { plane, lockstep, out } = await connected();
  settling(plane, () => ({ status: "completed", value: '{"a":[1]}' }));
  expect(await lockstep("run", "booking", "--json")).toBe(0);
  expect(JSON.parse(out.text)).toEqual({ id: expect.stringMatching(/^run_/), status: "completed", value: { a: [1] } });
  expect(out.text.indexOf("\n")).toBe(out.text.length - 1);
});

test("input may come from a file or from standard input", async () => {
  const cwd = folderOf({ "order.json": '{"item": "hat"}' });
  const { plane, lockstep } = await connected({ cwd, stdin: "[1, 2]" });
  settling(plane, () => ({ status: "completed" }));
  expect(await lockstep("run", "booking", "@order.json")).toBe(0);
  expect(await lockstep("call", "add", "-")).toBe(0);
  expect(plane.asked.filter(([method]) => method === "start").map(([, request]) => (request as StartRun).input)).toEqual([
    '{"item":"hat"}',
    "[1,2]",
  ]);
});

test("a failed run ends with 1 and tells what failed, where and why", async () => {
  const { plane, lockstep, out, error } = await connected();
  const failure = {
    code: "CARD_DECLINED",
    message: "the bank declined",
    call: { function: "payment", seq: 3 },
    attempts: 2,
    stack: "Error: x\n    at pay (payments.ts:24:9)\n    at emit (node:events:5:3)\n    at run (file:///somewhere/dist/pod/main.js:1:1)",
    cause: { code: "CAUSE", name: "RangeError", message: "no money" },
  };
  settling(plane, () => ({ status: "failed", failure }));
  expect(await lockstep("run", "booking")).toBe(1);
  expect(out.text).toBe("");
  expect(error.text).toContain("error CARD_DECLINED: the bank declined\n");
  expect(error.text).toContain(
    "in function payment, call 3 after 2 attempts\n  because RangeError: no money\n    at pay (payments.ts:24:9)\n",
  );
  expect(error.text).not.toMatch(/node:events|pod\/main/);
  expect(error.text).toMatch(/`lockstep runs show run_\w+`/);
});

test("with --json a failed run's outcome is data, and the exit code still 1", async () => {
  const { plane, lockstep, out } = await connected();
  settling(plane, () => ({ status: "failed", failure: { code: "X", message: "m" } }));
  expect(await lockstep("run", "booking", "--json")).toBe(1);
  expect(JSON.parse(out.text)).toMatchObject({ status: "failed", failure: { code: "X", message: "m" } });
});

test("a suspended run ends with 1 and says how to go on", async () => {
  const { plane, lockstep, error } = await connected();
  settling(plane, () => ({ status: "suspended", failure: { code: "FUNCTION_FAILED", message: "m" } }));
  expect(await lockstep("run", "booking")).toBe(1);
  expect(error.text).toMatch(/run_\w+ is suspended: `lockstep runs show run_\w+` tells what to decide/);
});

test("a refused expression is shown with a caret under the position", async () => {
  const { plane, lockstep, out, error } = await connected();
  plane.failing.start = new LockstepError("EXPRESSION_INVALID", "expected a number at column 3", { details: { position: 2 } });
  expect(await lockstep("eval", "1+)")).toBe(1);
  expect(error.text).toBe(
    "error EXPRESSION_INVALID: expected a number at column 3\n  1+)\n    ^\n  mend: Mend the text at the position that the message names.\n",
  );
  expect(out.text).toBe("");
  expect(await lockstep("eval", "1+)", "--json")).toBe(1);
  expect(JSON.parse(out.text)).toMatchObject({ error: { code: "EXPRESSION_INVALID", mend: expect.any(String), details: { position: 2 } } });
});

test("run --detach prints the id and does not wait", async () => {
  const { plane, lockstep, out, error } = await connected();
  expect(await lockstep("run", "booking", "{}", "--detach", "--key", "k")).toBe(0);
  const id = out.text.trim();
  expect(id).toMatch(/^run_/);
  expect(await lockstep("run", "booking", "{}", "--detach", "--key", "k", "--json")).toBe(0);
  expect(JSON.parse(out.text.split("\n")[1] as string)).toEqual({ id, existing: true });
  expect(error.text).toContain(`${id} was started before with this key`);
  expect(plane.waiting(id)).toBe(0);
});

test("--timeout ends with 4 and leaves the run", async () => {
  const { plane, lockstep, error } = await connected();
  const result = plane.result.bind(plane);
  plane.result = (id) => result(id, 0);
  expect(await lockstep("run", "booking", "--timeout", "1ms")).toBe(4);
  expect(error.text).toContain("error WAIT_TIMEOUT: run_");
});

test("Ctrl-C ends with 130 and says that the run goes on", async () => {
  const { plane, lockstep, error, interrupt } = await connected();
  const waits = new Promise<void>((resolve) => {
    const result = plane.result.bind(plane);
    plane.result = (id, waitMs) => {
      resolve();
      return result(id, waitMs);
    };
  });
  const ends = lockstep("run", "booking");
  await waits;
  interrupt();
  expect(await ends).toBe(130);
  expect(error.text).toMatch(/^run_\w+ goes on: see `lockstep runs show run_\w+`/);
});

test("nothing listening ends with 3", async () => {
  const { gateway, lockstep, out, error } = await connected();
  await gateway.close();
  expect(await lockstep("pods", "--json")).toBe(3);
  expect(error.text).toMatch(/^error NOT_CONNECTED: no platform answers at .*\n {2}mend: Start one with `lockstep dev <app>`/);
  expect(JSON.parse(out.text)).toMatchObject({ error: { code: "NOT_CONNECTED" } });
});

test.each([
  ["an unknown verb", ["frobnicate"], "unknown command"],
  ["a missing argument", ["eval"], "missing required argument"],
  ["an unknown option", ["pods", "--nope"], "unknown option"],
  ["input that is no JSON", ["call", "f", "{a}"], "the argument is no JSON"],
  ["a file that is not there", ["call", "f", "@gone.json"], "gone.json cannot be read"],
  ["a variable without a value", ["eval", "a", "--var", "a"], "is not of the form name=value"],
  ["a wrong duration", ["eval", "a", "--timeout", "soon"], '--timeout "soon" is no duration'],
  ["a wrong priority", ["call", "f", "--priority", "high"], '--priority "high" is no whole number'],
  ["a wrong status", ["runs", "--status", "odd"], '--status "odd" is none of running'],
  ["a wrong time", ["runs", "--since", "yesterday"], '--since "yesterday" is no time'],
  ["a wrong limit", ["runs", "--limit", "0"], "--limit"],
  ["a wrong address", ["pods", "--url", "4700"], "is no address of a platform"],
  ["a key file that is not there", ["pods", "--api-key-file", "gone"], "--api-key-file cannot be read"],
  ["--app with --url", ["eval", "1", "--app", ".", "--url", "http://localhost:1"], "exclude each other"],
  ["--app with --detach", ["run", "b", "--app", ".", "--detach"], "exclude each other"],
])("%s ends with 2", async (_what, argv, message) => {
  const { lockstep, out, error } = world();
  expect(await lockstep(...argv)).toBe(2);
  expect(error.text).toMatch(/^error USAGE: /);
  expect(error.text).toContain(message);
  expect(out.text).toBe("");
});

test("help and version are data", async () => {
  const { lockstep, out, error } = world();
  expect(await lockstep("--version")).toBe(0);
  expect(out.text).toMatch(/^\d+\.\d+\.\d+\n$/);
  expect(await lockstep("help")).toBe(0);
  expect(out.text).toContain("Exit codes: 0 done;");
  expect(await lockstep("eval", "--help")).toBe(0);
  expect(out.text).toContain("--var <name=value>");
  expect(error.text).toBe("");
});

test("--app runs on a platform of its own, which is stopped in the end", async () => {
  const cwd = folderOf({ "index.ts": application });
  const { plane, lockstep, out, started, stopped } = startable({ cwd });
  settling(plane, () => ({ status: "completed", value: "3" }));
  expect(await lockstep("eval", "1+2", "--app", ".")).toBe(0);
  expect(out.text).toBe("3\n");
  expect(started).toEqual([{ gateway: false, log: expect.any(Function) }]);
  expect(plane.asked.map(([method]) => method)).toEqual(["deploy", "start", "result", "logs"]);
  expect(plane.asked[0]).toEqual(["deploy", expect.objectContaining({ code: expect.stringContaining('"add"') })]);
  expect(stopped()).toBe(1);
});

test("with --app what the code logs is shown on standard error", async () => {
  const cwd = folderOf({ "index.ts": application });
  const { plane, lockstep, error } = startable({ cwd });
  settling(plane, () => ({ status: "completed" }));
  plane.logs = async () => ({
    logs: [{ run: "r", seq: 1, attempt: 2, function: "add", lines: [{ at: 0, level: "warn", text: "hello\nyou" }] }],
    next: 1,
  });
  expect(await lockstep("call", "add", "--app", "index.ts")).toBe(0);
  expect(error.text).toMatch(/^\d\d:\d\d:\d\d\.\d{3} add attempt 2 \| hello\n {4}you\n$/);
});

test("--app with an application that is wrong, or a run that is refused, still stops the platform", async () => {
  const cwd = folderOf({ "broken.ts": "const = 1;", "index.ts": application });
  const { plane, lockstep, error, stopped } = startable({ cwd });
  expect(await lockstep("eval", "1", "--app", "broken.ts")).toBe(1);
  expect(error.text).toMatch(/error APPLICATION_INVALID: application "broken" cannot be bundled:\n.*broken\.ts:1:7: Expected identifier/);
  plane.failing.deploy = new LockstepError("APPLICATION_INVALID", "it exports nothing");
  expect(await lockstep("eval", "1", "--app", ".")).toBe(1);
  delete plane.failing.deploy;
  plane.failing.start = new LockstepError("UNKNOWN_FUNCTION", "no foo");
  expect(await lockstep("eval", "1", "--app", ".")).toBe(1);
  expect(stopped()).toBe(3);
});

test("Ctrl-C with --app ends with 130 and stops the platform", async () => {
  const cwd = folderOf({ "index.ts": application });
  const { plane, lockstep, interrupt, stopped } = startable({ cwd });
  const start = plane.start.bind(plane);
  plane.start = async (request) => {
    const accepted = await start(request);
    setImmediate(interrupt);
    return accepted;
  };
  expect(await lockstep("eval", "1", "--app", ".")).toBe(130);
  expect(stopped()).toBe(1);
});

test("deploy bundles an application and prints its version", async () => {
  const cwd = folderOf({ "shop.ts": application });
  const { plane, lockstep, out, error } = await connected({ cwd });
  expect(await lockstep("deploy", "shop.ts")).toBe(0);
  expect(out.text).toMatch(/^shop [0-9a-f]{16}\n$/);
  expect(error.text).toContain("functions:");
  expect(plane.asked[0]?.[0]).toBe("deploy");
});

test("runs lists with a filter, as a table and as JSON", async () => {
  const { plane, lockstep, out, error } = await connected();
  const done = await plane.put("coordinator", "booking");
  plane.settle(done, { status: "completed" });
  await plane.put("expression", "1+2");
  expect(await lockstep("runs", "--status", "completed,failed", "--name", "booking", "--since", "10m", "--limit", "1")).toBe(0);
  const [head, row] = out.text.split("\n") as [string, string];
  expect(head).toMatch(/^RUN +STATUS +KIND +NAME +ACCEPTED +TOOK +KEY$/);
  expect(row).toMatch(new RegExp(`^${done} +completed +coordinator +booking .* 1 s`));
  expect(error.text).toContain("there are more: --cursor 1");
  const [, filter, limit] = plane.asked.at(-1) as [string, { since: number }, number];
  expect([filter, limit]).toEqual([expect.objectContaining({ status: ["completed", "failed"], name: "booking" }), 1]);
  expect(Math.abs(filter.since - (Date.now() - 600_000))).toBeLessThan(10_000);
  out.text = "";
  expect(await lockstep("runs", "list", "--json")).toBe(0);
  expect(JSON.parse(out.text).runs).toHaveLength(2);
});

test("runs show tells a run and its journal", async () => {
  const { plane, lockstep, out } = await connected();
  const id = await plane.put("coordinator", "booking", '{"item":"hat"}');
  plane.records = [
    { t: "call", seq: 1, at: 1_700_000_000_010, fn: "pay", version: "v", input: '{"amount":5}' },
    { t: "attempt", seq: 1, attempt: 1, at: 1_700_000_000_020, failure: { code: "X", message: "not yet" }, retryAt: 1_700_000_000_120 },
    { t: "done", seq: 1, at: 1_700_000_001_500, value: "true" },
  ];
  expect(await lockstep("runs", "show", id)).toBe(0);
  expect(out.text).toContain(`${id}  coordinator booking  running\n`);
  expect(out.text).toMatch(/input +\{"item":"hat"\}\n/);
  expect(out.text).toMatch(/waiting for +call 1 of pay\n/);
  expect(out.text).toMatch(
    /\+10 ms +call 1 +pay \{"amount":5\}\n +\+20 ms +attempt 1 +attempt 1 failed X: not yet\n +\+1\.5 s +done 1 +true\n/,
  );
  out.text = "";
  expect(await lockstep("runs", "show", id, "--json")).toBe(0);
  expect(JSON.parse(out.text)).toMatchObject({
    id,
    input: { item: "hat" },
    journal: [{ t: "call", input: { amount: 5 } }, {}, { value: true }],
  });
});

test("runs show tells the verdict on what failed, once for attempts that fail alike", async () => {
  const { plane, lockstep, out } = await connected();
  const id = await plane.put("coordinator", "booking");
  const failure = (evidence: string) => ({
    code: "FUNCTION_FAILED",
    message: "no",
    verdict: { class: "storage-unavailable" as const, retryable: true, evidence: [evidence, "log: lost"] },
  });
  const attempt = { t: "attempt" as const, seq: 1, at: 1_700_000_000_020, retryAt: 1_700_000_000_120 };
  plane.records = [
    { ...attempt, attempt: 1, failure: failure("ECONNREFUSED") },
    { ...attempt, attempt: 2, failure: failure("ECONNREFUSED") },
    { ...attempt, attempt: 3, failure: failure("ETIMEDOUT") },
    { t: "finish", at: 1_700_000_000_030, status: "failed", failure: failure("ETIMEDOUT") },
  ];
  expect(await lockstep("runs", "show", id)).toBe(0);
  for (const told of [/ECONNREFUSED/g, /ETIMEDOUT/g]) expect(out.text.match(told)).toHaveLength(1);
  expect(out.text).toMatch(
    /attempt 1 failed.*\n +storage-unavailable\n +- ECONNREFUSED\n +- log: lost\n.*attempt 2 failed.*\n.*attempt 3 failed.*\n +storage/,
  );
});

test("runs cancel, resume and signal say how the run stands then", async () => {
  const { plane, lockstep, out } = await connected();
  const id = await plane.put("coordinator", "booking");
  expect(await lockstep("runs", "signal", id, "approve", '{"by":"Ada"}')).toBe(0);
  expect(await lockstep("runs", "cancel", id, "--reason", "enough", "--force")).toBe(0);
  expect(plane.asked.filter(([method]) => method === "signal" || method === "cancel")).toEqual([
    ["signal", id, "approve", '{"by":"Ada"}'],
    ["cancel", id, { reason: "enough", force: true }],
  ]);
  expect(out.text.split("\n")[0]).toBe(`${id} running`);
  plane.failing.resume = new LockstepError("RUN_NOT_SUSPENDED", "it runs");
  expect(await lockstep("runs", "resume", id)).toBe(1);
});

test("a run that does not exist ends with 1", async () => {
  const { lockstep, error } = await connected();
  expect(await lockstep("runs", "show", "run_00000000000")).toBe(1);
  expect(error.text).toContain("error UNKNOWN_RUN:");
});

test.each([
  ["applications", /^APPLICATION .*\nshop +0123456789abcdef +yes/],
  ["pods", /^POD .*\npod-1 +pay +pay +ready +2\/8 +256 +41 /],
  ["services", /^SERVICE .*\npay +pay +1\/2 /],
  ["layers", /^FUNCTION .*\npay +3 +1 +2 +1 +1\.5 s +1\.5 +2\.0 +40 +4 +2 +shop\n$/],
  [
    "triggers",
    /^STARTS .*\ncoordinator nightly +cron 0 3 \* \* \* UTC +2026-.*\nfunction import +object orders\/incoming\/\* +2026-.* run_0+.* shop\n$/,
  ],
  [
    "triggers",
    /^STARTS .*\ncoordinator nightly +cron 0 3 \* \* \* UTC +2026-.*\nfunction import +object orders\/incoming\/\* +2026-.* run_0+1 +shop\n$/,
  ],
])("%s prints a table, or JSON", async (verb, expected) => {
  const { lockstep, out } = await connected();
  expect(await lockstep(verb)).toBe(0);
  expect(out.text).toMatch(expected);
  out.text = "";
  expect(await lockstep(verb, "--json")).toBe(0);
  expect(JSON.parse(out.text)[verb]).not.toHaveLength(0);
});

const logsOf = (plane: FakeControlPlane, count: number): void => {
  plane.logs = async ({ after: from = 0, limit, run, since = 0 }) => {
    if (from === "latest") return { logs: [], next: count };
    const after = Math.max(from, since - 1);
    const numbers = Array.from({ length: count }, (_, i) => i + 1).filter((n) => n > after && (run === undefined || run.endsWith("1")));
    const page = numbers.slice(0, limit);
    const logs = page.map((n) => ({
      run: "run_1",
      seq: n,
      attempt: 1,
      function: "pay",
      lines: [{ at: n, level: "info" as const, text: `line ${n}` }],
    }));
    return { logs, next: page.at(-1) ?? after };
  };
};

test("logs prints every page", async () => {
  const { plane, lockstep, out } = await connected();
  logsOf(plane, 2_100);
  expect(await lockstep("logs")).toBe(0);
  expect(out.text.match(/\| line \d+\n/g)).toHaveLength(2_100);
  out.text = "";
  expect(await lockstep("logs", "--json", "--since", "1970-01-01T00:00:02.099Z")).toBe(0);
  expect(
    out.text
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line).seq),
  ).toEqual([2_099, 2_100]);
});

test("logs asks for what is wanted, and tells of each execution how it went", async () => {
  const { plane, lockstep, out, error } = await connected();
  const metrics = { durationMs: 6, cpuMs: 2, queueMs: 0, memoryMb: 61.4, coldStart: true, pod: "pod-3" };
  const verdict = { class: "permission" as const, retryable: false, evidence: ["AccessDenied: no (HTTP 403)", "log: refused"] };
  const report = { startedAt: 1_000, endedAt: 1_006, outcome: "fault" as const, metrics, verdict, message: "Access\nDenied" };
  const log = {
    run: "run_1",
    seq: 2,
    attempt: 3,
    function: "pay",
    lines: [{ at: 1_005, level: "error" as const, text: "refused" }],
    report,
  };
  const asked: unknown[] = [];
  plane.logs = async (filter) => {
    asked.push(filter);
    return { logs: [log, { ...log, lines: [], report: { startedAt: 0, endedAt: 1, outcome: "ok" as const } }], next: 2 };
  };
  const run = "run_00000000007";
  const args = ["--run", run, "--function", "pay", "--level", "error", "--text", "Refused", "--since", "1970-01-01T00:00:01Z"];
  expect(await lockstep("logs", ...args)).toBe(0);
  expect(asked).toEqual([{ run, function: "pay", level: "error", text: "Refused", since: 1_000, limit: 1_000 }]);
  const lines = out.text.split("\n").map((line) => line.replace(/^\d\d:\d\d:\d\d/, "…"));
  expect(lines).toEqual([
    "….000 pay attempt 3 START  run_1/2",
    "….005 pay attempt 3 | refused",
    "….006 pay attempt 3 END    run_1/2  permission, not retryable: Access Denied",
    "    - AccessDenied: no (HTTP 403)",
    "    - log: refused",
    "….006 pay attempt 3 REPORT run_1/2  duration 6 ms, cpu 2 ms, memory 61 MiB, queue 0 ms, pod-3, cold start",
    "….000 pay attempt 3 START  run_1/2",
    "….001 pay attempt 3 END    run_1/2  ok",
    "",
  ]);
  out.text = "";
  expect(await lockstep("logs", "--json")).toBe(0);
  expect(JSON.parse(out.text.split("\n")[0] ?? "")).toEqual(log);
  expect(await lockstep("logs", "--level", "grave")).toBe(2);
  expect(error.text).toContain("grave");
});

test("logs --follow shows only what is new, until interrupted", async () => {
  const { plane, lockstep, out, interrupt } = await connected();
  logsOf(plane, 1_000);
  let asked = 0;
  const following = lockstep("logs", "--follow");
  const logs = plane.logs.bind(plane);
  plane.logs = async (filter) => {
    const answer = await logs(filter);
    if (++asked === 1) logsOf(plane, 1_002);
    return answer;
  };
  await out.shows("line 1002");
  interrupt();
  expect(await following).toBe(130);
  expect(out.text.match(/line \d+/g)).toEqual(["line 1001", "line 1002"]);
});

test("start deploys its applications, prints its address, and stops in order", async () => {
  const cwd = folderOf({ "index.ts": application, "shop.ts": application });
  const { plane, lockstep, out, error, started, stopped, interrupt } = startable(
    { cwd, env: { LOCKSTEP_API_KEY: "secret" } },
    "http://127.0.0.1:5",
  );
  const ends = lockstep("start", "--app", "index.ts", "shop.ts", "--data", "here", "--host", "0.0.0.0", "--port", "0");
  await out.shows("http://127.0.0.1:5\n");
  expect(started).toEqual([
    {
      dataDirectory: `${cwd}/here`,
      gateway: { host: "0.0.0.0", port: 0, apiKey: "secret" },
      log: expect.any(Function),
      onFatal: expect.any(Function),
      drills: false,
      applications: expect.any(Promise),
    },
  ]);
  expect(plane.asked.filter(([method]) => method === "deploy")).toHaveLength(2);
  expect(error.text).toMatch(/deployed \S+ [0-9a-f]{16}\ndeployed shop [0-9a-f]{16}\n/);
  expect(stopped()).toBe(0);
  interrupt();
  expect(await ends).toBe(0);
  expect(stopped()).toBe(1);
});

test("start ends with 1 when the journal cannot be written any more", async () => {
  const { lockstep, error, out, started, stopped } = startable({}, "http://127.0.0.1:5");
  const ends = lockstep("start");
  await out.shows("http");
  started[0]?.onFatal?.(new LockstepError("JOURNAL_UNAVAILABLE", "the disk is full"));
  expect(await ends).toBe(1);
  expect(error.text).toContain("error JOURNAL_UNAVAILABLE: the disk is full");
  expect(stopped()).toBe(1);
});

test("dev deploys, shows what happens, and deploys again what changed", async () => {
  const { writeFile } = await import("node:fs/promises");
  const cwd = folderOf({ "index.ts": application });
  const { plane, lockstep, out, error, stopped, interrupt } = startable({ cwd }, "http://127.0.0.1:5");
  logsOf(plane, 0);
  plane.deploy = async ({ application: name, version }): Promise<ApplicationVersion> => ({
    application: name,
    version,
    manifest: { functions: ["add", "multiply", "divide"].map((fn) => ({ name: fn })), coordinators: [] },
    deployedAt: 0,
    current: true,
  });
  const ends = lockstep("dev", ".");
  await out.shows("deployed ");
  await error.shows("curl -s 'http://127.0.0.1:5/v1/expressions?wait=30s'");
  plane.emit(
    { type: "run.accepted", run: "run_1", kind: "coordinator", name: "booking" },
    {
      type: "call.retrying",
      run: "run_1",
      seq: 1,
      function: "pay",
      attempt: 1,
      retryAt: 1_700_000_000_250,
      failure: { code: "X", message: "busy" },
    },
    { type: "run.finished", run: "run_1", name: "booking", status: "completed", durationMs: 33 },
  );
  await out.shows("booking completed in 33 ms run_1");
  expect(out.text).toMatch(/booking accepted run_1\n.* pay attempt 1 failed, again in 250 ms run_1 {2}X: busy\n/);

  out.text = "";
  await writeFile(`${cwd}/index.ts`, `${application}const = 1;\n`);
  await error.shows("Save a change, and it is deployed again.");
  expect(error.text).toMatch(/index\.ts:3:7: Expected identifier/);
  await writeFile(`${cwd}/index.ts`, `${application}export const other = 1;\n`);
  await out.shows("deployed ");
  interrupt();
  expect(await ends).toBe(0);
  expect(stopped()).toBe(1);
});

test("dev ends at once when there is no application at the path", async () => {
  const { lockstep, error, stopped } = startable({ cwd: folderOf({}) }, "http://127.0.0.1:5");
  expect(await lockstep("dev", "gone")).toBe(1);
  expect(error.text).toContain("error APPLICATION_INVALID: there is no file or folder at");
  expect(stopped()).toBe(1);
});

test("what takes over a second shows progress, only on a terminal", async () => {
  const cwd = folderOf({ "index.ts": application });
  const clock: Clock = {
    now: () => 0,
    after: (ms, callback) => {
      if (ms <= 1_000) setImmediate(callback);
      return () => {};
    },
    endOfTurn: (callback) => void setImmediate(callback),
  };
  const onTerminal = startable({ cwd, tty: true, clock });
  logsOf(onTerminal.plane, 0);
  settling(onTerminal.plane, () => ({ status: "completed", value: "1" }));
  expect(await onTerminal.lockstep("eval", "1", "--app", ".")).toBe(0);
  expect(onTerminal.error.text).toContain("starting a private platform for .");
  expect(onTerminal.error.text.endsWith("\r\u001b[2K")).toBe(true);
  expect(onTerminal.out.text).toBe("1\n");
});
