import { expect, test } from "vitest";
import type { FakeControlPlane } from "../../test/support/fake-control-plane.ts";
import { capture, type World, world } from "../../test/support/fake-io.ts";
import { open, type Running } from "../../test/support/gateway.ts";
import type { PlatformEvent } from "../protocol/events.ts";
import type { JournalRecord } from "../protocol/run.ts";
import { eventLine } from "./event-line.ts";
import { styleOf } from "./style.ts";

const AT = 1_700_000_000_000;
const failure = { code: "FUNCTION_FAILED", message: "no money" };

const connected = async (env: Record<string, string> = {}): Promise<World & Running> => {
  const running = await open();
  return { ...running, ...world({ fetch, env: { LOCKSTEP_URL: running.gateway.url, ...env } }) };
};

const suspended = async (plane: FakeControlPlane): Promise<string> => {
  const id = await plane.put("coordinator", "booking", '{"room":7}');
  plane.settle(id, { status: "suspended", failure });
  return id;
};

test.each([
  [["--retry"], { action: "retry" }],
  [["--retry", "--input", '{"amount":5}', "--call", "3"], { action: "retry", value: '{"amount":5}', call: 3 }],
  [["--with", '{"paid":true}'], { action: "value", value: '{"paid":true}' }],
  [["--with", "null", "--call", "-2"], { action: "value", value: "null", call: -2 }],
  [["--fail"], { action: "fail" }],
  [["--call", "0", "--fail", "the bank is gone"], { action: "fail", reason: "the bank is gone", call: 0 }],
])("runs resolve %j decides, says who did, and tells how the run stands then", async (args, resolution) => {
  const { plane, lockstep, out } = await connected({ USER: "ada" });
  const id = await suspended(plane);
  expect(await lockstep("runs", "resolve", id, ...args)).toBe(0);
  expect(plane.asked.find(([method]) => method === "resolve")).toEqual(["resolve", id, resolution, "ada"]);
  expect(out.text).toBe(`${id} running\n`);
});

test.each([
  [[], "exactly one of --retry, --with <json> and --fail [reason], not none"],
  [["--retry", "--fail"], "exactly one of --retry, --with <json> and --fail [reason], not 2"],
  [["--fail", "--input", "1"], "--input goes only with --retry"],
  [["--with", "{"], "is no JSON"],
  [["--retry", "--call", "x"], "--call"],
])("runs resolve %j is wrong usage", async (args, message) => {
  const { plane, lockstep, error } = await connected();
  const id = await suspended(plane);
  expect(await lockstep("runs", "resolve", id, ...args)).toBe(2);
  expect(error.text).toContain(message);
  expect(plane.asked).toEqual([]);
});

test("a run that is not suspended has nothing to decide", async () => {
  const { plane, lockstep, error } = await connected();
  const id = await plane.put("coordinator", "booking");
  expect(await lockstep("runs", "resolve", id, "--retry")).toBe(1);
  expect(error.text).toContain("error RUN_NOT_SUSPENDED:");
});

test("runs retry tells with --dry-run which runs fit, and then tries them again", async () => {
  const { plane, lockstep, out, error } = await connected();
  const id = await suspended(plane);
  const args = ["runs", "retry", "--status", "suspended", "--function", "pay", "--since", "1h", "--limit", "5"];
  expect(await lockstep(...args, "--dry-run")).toBe(0);
  expect(out.text).toMatch(new RegExp(`^RUN +NAME +FUNCTIONS +FAILURE *\n${id} +booking +pay +FUNCTION_FAILED: no\n$`));
  expect(error.text).toContain("1 run would be tried again; without --dry-run, they are");
  expect(plane.asked.at(-1)).toEqual(["repair", { function: "pay", since: expect.any(Number), limit: 5 }, true]);
  const [, { since }] = plane.asked.at(-1) as [string, { since: number }];
  expect(Math.abs(since - (Date.now() - 3_600_000))).toBeLessThan(10_000);

  out.text = "";
  expect(await lockstep(...args, "--json")).toBe(0);
  expect(JSON.parse(out.text)).toMatchObject({ runs: [{ run: id }], dryRun: false });
  expect(await lockstep("runs", "retry", "--name", "booking")).toBe(0);
  expect(error.text).toContain("no suspended run fits");
});

test("runs retry refuses other statuses and takes no run for granted", async () => {
  const { plane, lockstep, error } = await connected();
  expect(await lockstep("runs", "retry", "--status", "failed")).toBe(2);
  expect(error.text).toContain("only suspended runs can be tried again, not failed ones");
  expect(error.text).toContain("lockstep runs restart <id>");
  expect(await lockstep("runs", "retry", "--dry-run")).toBe(2);
  expect(error.text).toContain("--status suspended for all of them");
  expect(plane.asked).toEqual([]);
});

test("runs restart prints the new run, and how much of the old one it reuses", async () => {
  const { plane, lockstep, out, error } = await connected();
  const id = await suspended(plane);
  expect(await lockstep("runs", "restart", id, "--from", "3")).toBe(0);
  expect(out.text).toMatch(/^run_\w{11}\n$/);
  expect(out.text).not.toContain(id);
  expect(error.text).toContain(`2 outcomes of ${id} reused`);
  out.text = "";
  expect(await lockstep("runs", "restart", id, "--json")).toBe(0);
  expect(JSON.parse(out.text)).toEqual({ id: expect.any(String), reused: 0 });
  expect(plane.asked.filter(([method]) => method === "restart")).toEqual([
    ["restart", id, 3],
    ["restart", id, undefined],
  ]);
  expect(await lockstep("runs", "restart", id, "--from", "0")).toBe(2);
});

test("runs show tells what waits for a decision and how to give it, and what was decided and undone before", async () => {
  const { plane, lockstep, out } = await connected();
  const id = await suspended(plane);
  const recovery = await plane.put("recovery", "function/pay");
  const stalest = { application: "shop", value: "", version: 0 };
  const fault = { run: id, call: 2, function: "pay", fault: "timeout" as const, message: "slow", at: AT };
  plane.state.entries.set("shop orders/2", { ...stalest, key: "orders/2", stale: fault });
  plane.state.entries.set("shop orders/3", { ...stalest, key: "orders/3", stale: { ...fault, run: recovery } });
  plane.records = [
    { t: "restarted", at: AT, of: recovery, from: 2 },
    { t: "call", seq: 1, at: AT, fn: "book", version: "v", input: "7", undoable: true },
    { t: "done", seq: 1, at: AT, value: "true" },
    { t: "call", seq: 2, at: AT, fn: "pay", version: "v", input: "5" },
    { t: "progress", seq: 2, attempt: 1, at: AT, value: "0.5" },
    { t: "recover", seq: 2, attempt: 4, at: AT, failure, recovery },
    { t: "recovered", seq: 2, at: AT + 12, fn: "pay", decision: { t: "retry", afterMs: 2_000, input: "[6]" }, since: AT },
    { t: "recover", seq: 2, attempt: 4, at: AT, failure, recovery },
    { t: "recovered", seq: 2, at: AT, fn: "pay", decision: { t: "escalate", message: "look" }, since: AT },
    { t: "suspend", seq: 2, attempt: 4, at: AT, failure },
    { t: "recovered", seq: 2, at: AT, fn: "pay", decision: { t: "compensate" }, by: "ada" },
    { t: "undo", seq: -1, at: AT },
    { t: "suspend", seq: -1, attempt: 4, at: AT, failure: { code: "X", message: "can't" } },
    { t: "call", seq: 3, at: AT, fn: "mail", version: "v", input: "" },
    { t: "suspend", seq: 3, attempt: 4, at: AT, failure },
    { t: "state", seq: 4, at: AT, op: { op: "write", key: "orders/1", value: '{"a":1}' } },
    { t: "state", seq: 5, at: AT, op: { op: "list", prefix: "orders/", limit: 5 } },
    { t: "stale", at: AT, key: "orders/1", stale: fault },
  ];
  expect(await lockstep("runs", "show", id)).toBe(0);
  const command = `lockstep runs resolve ${id} --call -1 --retry | --with <json> | --fail [reason]`;
  expect(out.text).toContain(
    `to decide\n  compensation of call 1 of book  X: can't\n    ${command}\n  call 3 of mail  FUNCTION_FAILED: no money\n`,
  );
  expect(out.text).toContain(
    [
      "recoveries",
      `  call 2 of pay  retry in 2 s with [6] by ${recovery} after 12 ms`,
      `  call 2 of pay  escalate: look by ${recovery} after 0 ms`,
      "  call 2 of pay  compensate by ada",
      "",
    ].join("\n"),
  );
  expect(out.text).toContain("compensated\n  call 1 of book  not ended\n");
  expect(out.text).toContain(`left stale\n  orders/2  timeout in pay, call 2 of ${id}: slow\n`);
  expect(out.text).not.toContain("orders/3");
  expect(out.text).toContain(`has read what is stale now\n  orders/1  timeout in pay, call 2 of ${id}: slow\n`);
  expect(out.text).toMatch(/restarted +of run_\w+, from call 2\n/);
  expect(out.text).toMatch(/undo -1 +compensates call 1\n/);
  expect(out.text).toMatch(/recover 2 +attempt 4 failed FUNCTION_FAILED, left to run_/);
  expect(out.text).toMatch(/progress 2 +0\.5\n/);
  expect(out.text).toMatch(/recovered 2 +compensate by ada\n/);
  expect(out.text).toMatch(/state 4 +set orders\/1 \{"a":1\}\n/);
  expect(out.text).toMatch(/state 5 +list orders\/\n/);
});

test("a single decision needs no number, and a run that nobody has to decide for tells of none", async () => {
  const { plane, lockstep, out } = await connected();
  const id = await suspended(plane);
  plane.records = [{ t: "suspend", seq: 0, attempt: 1, at: AT, failure: { code: "ESCALATED", message: "look at it" } }];
  expect(await lockstep("runs", "show", id)).toBe(0);
  expect(out.text).toContain(
    `to decide\n  coordinator booking  ESCALATED: look at it\n    lockstep runs resolve ${id} --retry | --with <json> | --fail [reason]\n`,
  );
  out.text = "";
  plane.records.push({ t: "recovered", seq: 0, at: AT, fn: "booking", decision: { t: "retry" }, by: "ada" });
  plane.settle(id, { status: "running" });
  expect(await lockstep("runs", "show", id)).toBe(0);
  expect(out.text).not.toContain("to decide");
  expect(out.text).not.toContain("compensated");
});

test("a recovery that is under way is told of", async () => {
  const { plane, lockstep, out } = await connected();
  const id = await plane.put("function", "pay");
  const recovery = await plane.put("recovery", "function/pay");
  plane.records = [
    { t: "call", seq: 1, at: AT, fn: "pay", version: "v", input: "" },
    { t: "recover", seq: 1, attempt: 1, at: AT, failure, recovery },
  ];
  expect(await lockstep("runs", "show", id)).toBe(0);
  expect(out.text).toContain(`recoveries\n  call 1 of pay  under way in ${recovery}\n`);
});

test("runs show prints the end of a long journal, and all of it with --journal", async () => {
  const { plane, lockstep, out } = await connected();
  const id = await plane.put("coordinator", "booking");
  plane.records = Array.from({ length: 80 }, (_, i): JournalRecord => ({ t: "sleep", seq: i + 1, at: AT, ms: 5, dueAt: AT }));
  expect(await lockstep("runs", "show", id)).toBe(0);
  expect(out.text).toContain("journal  30 earlier records are left out: --journal\n");
  expect(out.text.match(/sleep \d+/g)).toHaveLength(50);
  out.text = "";
  expect(await lockstep("runs", "show", id, "--journal")).toBe(0);
  expect(out.text.match(/sleep \d+/g)).toHaveLength(80);
});

test("the list names the parents of runs that have one", async () => {
  const { plane, lockstep, out } = await connected();
  const parent = await plane.put("coordinator", "booking");
  const id = await plane.put("recovery", "function/pay");
  const list = plane.runs.bind(plane);
  plane.runs = async (...asked) => {
    const page = await list(...asked);
    return { runs: page.runs.map((run) => (run.id === id ? { ...run, parent } : run)) };
  };
  expect(await lockstep("runs", "--kind", "recovery")).toBe(0);
  expect(out.text).toMatch(/ KEY +PARENT\n/);
  expect(out.text).toMatch(new RegExp(`${id} +running +recovery +function/pay .* ${parent}\n`));
});

const plain = styleOf(capture(), {});
const stale = { run: "r", call: 2, function: "pay", fault: "timeout" as const, message: "slow", at: 0 };

test.each<[PlatformEvent, RegExp | undefined]>([
  [{ position: 1, at: 0, type: "run.accepted", run: "r", kind: "recovery", name: "function/pay" }, undefined],
  [
    { position: 1, at: 0, type: "run.recovering", run: "r", name: "b", seq: 2, function: "pay", fault: "timeout", recovery: "r2" },
    / pay recovering from timeout r, r2\n$/,
  ],
  [
    { position: 1, at: 0, type: "run.recovered", run: "r", name: "b", seq: 2, function: "pay", decision: "retry", tookMs: 12 },
    / pay recovered: retry in 12 ms r\n$/,
  ],
  [
    { position: 1, at: 0, type: "run.recovered", run: "r", name: "b", seq: 2, function: "pay", decision: "fail", tookMs: 0, by: "ada" },
    / pay recovered: fail by ada r\n$/,
  ],
  [{ position: 1, at: 0, type: "state.stale", application: "a", key: "orders/1", stale }, / orders\/1 stale: timeout in pay r\n$/],
  [{ position: 1, at: 0, type: "state.fresh", application: "a", key: "orders/1" }, / orders\/1 fresh again\n$/],
  [{ position: 1, at: 0, type: "object.deleted", bucket: "orders", key: "a", version: "1" }, / orders\/a deleted\n$/],
])("the event %j in the log of dev", (event, expected) => {
  const line = eventLine(event, plain);
  if (expected === undefined) expect(line).toBeUndefined();
  else expect(line).toMatch(expected);
});
