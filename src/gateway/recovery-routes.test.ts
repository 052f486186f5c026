import { expect, test } from "vitest";
import type { Running } from "../../test/support/gateway.ts";
import { open } from "../../test/support/gateway.ts";
import { LockstepError } from "../lib/errors.ts";

const failure = { code: "FUNCTION_FAILED", message: "no" };

const withSuspended = async (): Promise<Running & { id: string }> => {
  const running = await open();
  const id = await running.plane.put("coordinator", "booking", '{"room":7}');
  running.plane.settle(id, { status: "suspended", failure });
  return { ...running, id };
};

test.each([
  [{ retry: true }, { action: "retry" }, "api"],
  [{ retry: true, input: null, call: 3, by: "ada" }, { action: "retry", value: "null", call: 3 }, "ada"],
  [{ value: { paid: true }, call: 0 }, { action: "value", value: '{"paid":true}', call: 0 }, "api"],
  [{ value: null }, { action: "value", value: "null" }, "api"],
  [{ value: false, call: -2 }, { action: "value", value: "false", call: -2 }, "api"],
  [{ fail: "the bank is gone" }, { action: "fail", reason: "the bank is gone" }, "api"],
  [{ fail: "" }, { action: "fail" }, "api"],
])("the decision %j is passed on", async (body, resolution, by) => {
  const { plane, call, id } = await withSuspended();
  const answer = await call(`/v1/runs/${id}/resolve`, { body });
  expect([answer.status, answer.json]).toEqual([202, { id, status: "running" }]);
  expect(plane.asked[0]).toEqual(["resolve", id, resolution, by]);
});

test.each([
  [{}, "retry", "exactly one of retry, value, fail"],
  [{ call: 1 }, "retry", "exactly one of retry, value, fail, not 0"],
  [{ retry: true, fail: "no" }, "retry", "exactly one of retry, value, fail, not 2"],
  [{ retry: true, value: 1 }, "retry", "exactly one of retry, value, fail, not 2"],
  [{ retry: false }, "retry", "only have true in retry"],
  [{ value: 1, input: 2 }, "input", "input only beside retry"],
  [{ retry: "yes" }, "retry", "must be true or false"],
  [{ fail: 5 }, "fail", "must be text"],
  [{ value: 1, call: 1.5 }, "call", "must be an integer"],
  [{ retry: true, by: "" }, "by", "must not be empty"],
])("the decision %j is refused with the field's name", async (body, field, message) => {
  const { plane, call, id } = await withSuspended();
  const { json } = await call(`/v1/runs/${id}/resolve`, { body });
  expect(json).toMatchObject({ status: 400, code: "BAD_REQUEST", details: { field } });
  expect(json.detail).toContain(message);
  expect(plane.asked).toEqual([]);
});

test.each(["RUN_NOT_SUSPENDED", "CALL_NOT_FOUND", "UNKNOWN_RUN", "RUN_FINISHED"] as const)(
  "a decision may be refused with %s",
  async (code) => {
    const { plane, call, id } = await withSuspended();
    plane.failing.resolve = new LockstepError(code, "because");
    expect((await call(`/v1/runs/${id}/resolve`, { body: { retry: true } })).json).toMatchObject({ code });
  },
);

test("suspended runs are retried together, by a filter, and first only told", async () => {
  const { plane, call, id } = await withSuspended();
  const filter = { name: "booking", function: "pay", since: 1_700_000_000_000, limit: 5 };
  const dry = await call("/v1/runs/retry", { body: { ...filter, dryRun: true } });
  const runs = [{ run: id, name: "booking", functions: ["pay"], failure: "FUNCTION_FAILED: no" }];
  expect([dry.status, dry.json]).toEqual([200, { runs, dryRun: true }]);
  expect((await call("/v1/runs/retry", { body: filter })).json).toEqual({ runs, dryRun: false });
  expect((await call("/v1/runs/retry", { body: {} })).json).toEqual({ runs: [], dryRun: false });
  expect(plane.asked).toEqual([
    ["repair", filter, true],
    ["repair", filter, false],
    ["repair", {}, false],
  ]);
});

test.each([
  [{ status: "failed" }, "status", "is not known here"],
  [{ limit: 0 }, "limit", "must be an integer from 1 to 10000"],
  [{ since: "1h" }, "since", "must be an integer"],
])("the bulk retry %j is refused", async (body, field, message) => {
  const { json } = await (await open()).call("/v1/runs/retry", { body });
  expect(json).toMatchObject({ code: "BAD_REQUEST", details: { field } });
  expect(json.detail).toContain(message);
});

test("a run is restarted, from a call or from the beginning, and the answer says where the new one is", async () => {
  const { plane, call, id } = await withSuspended();
  const answer = await call(`/v1/runs/${id}/restart`, { body: { from: 4 } });
  expect([answer.status, answer.json]).toEqual([202, { id: expect.stringMatching(/^run_/), reused: 3 }]);
  expect(answer.headers.location).toBe(`/v1/runs/${answer.json.id}`);
  expect((await call(`/v1/runs/${id}/restart`, { method: "POST" })).json.reused).toBe(0);
  expect(plane.asked.filter(([method]) => method === "restart")).toEqual([
    ["restart", id, 4],
    ["restart", id, undefined],
  ]);
  expect((await call(`/v1/runs/${id}/restart`, { body: { from: 0 } })).json).toMatchObject({ details: { field: "from" } });
  plane.failing.restart = new LockstepError("CALL_NOT_FOUND", "because");
  expect((await call(`/v1/runs/${id}/restart`, { body: { from: 9 } })).status).toBe(404);
});

test("the journal's decisions and state operations hold values, not texts of JSON", async () => {
  const { plane, call, id } = await withSuspended();
  const at = 1_700_000_000_000;
  plane.records = [
    { t: "call", seq: 1, at, fn: "pay", version: "v", input: '{"amount":5}', undoable: true },
    { t: "progress", seq: 1, attempt: 1, at, value: "0.5" },
    { t: "recover", seq: 1, attempt: 4, at, failure, recovery: id },
    { t: "recovered", seq: 1, at, fn: "pay", decision: { t: "resume", value: '{"paid":false}' }, by: "ada" },
    { t: "recovered", seq: 1, at, fn: "pay", decision: { t: "retry", afterMs: 5, input: "[1]" } },
    { t: "recovered", seq: 1, at, fn: "pay", decision: { t: "escalate", message: "look" } },
    { t: "reopen", seq: 1, at, notBefore: at, input: "[1]" },
    { t: "state", seq: 2, at, op: { op: "write", key: "orders/1", value: '{"a":1}' } },
    { t: "done", seq: 2, at, value: '{"key":"orders/1","version":3}', reads: ["orders/1"] },
    { t: "compensate", seq: 3, at },
    { t: "undo", seq: -1, at },
    { t: "on-stale", seq: 4, at },
    { t: "stale", at, key: "orders/1", stale: { run: id, call: 1, function: "pay", fault: "timeout", message: "slow", at } },
  ];
  const { json } = await call(`/v1/runs/${id}/journal`);
  expect(json.records[3].decision).toEqual({ t: "resume", value: { paid: false } });
  expect(json.records[4].decision).toEqual({ t: "retry", afterMs: 5, input: [1] });
  expect(json.records[7].op).toEqual({ op: "write", key: "orders/1", value: { a: 1 } });
});
