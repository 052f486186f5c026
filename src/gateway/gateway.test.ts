import { describe, expect, test, vi } from "vitest";
import { open } from "../../test/support/gateway.ts";
import { LockstepError } from "../lib/errors.ts";
import { testCertificate, testSet } from "../testing/certificates.ts";
import { certificateText, verifyCertificate } from "../verify/index.ts";

const HOUR_MS = 3_600_000;
const failure = {
  code: "FUNCTION_FAILED",
  message: 'no "stock"',
  call: { function: "pay", seq: 1 },
  attempts: 4,
  cause: { code: "X", message: "y" },
};

describe("starting", () => {
  test("a call of a function is accepted with its id, status and address, and its input passed on as JSON text", async () => {
    const { plane, call } = await open();
    const answer = await call("/v1/functions/pay/calls", { body: { input: { to: "Zoë", amount: 1.5 }, priority: 3 } });
    expect(answer.status).toBe(202);
    expect(answer.json).toEqual({ id: expect.stringMatching(/^run_/), status: "running", existing: false });
    expect(answer.headers.location).toBe(`/v1/runs/${answer.json.id}`);
    expect(answer.headers["content-type"]).toBe("application/json; charset=utf-8");
    expect(plane.asked).toEqual([
      ["start", { kind: "function", name: "pay", input: '{"to":"Zoë","amount":1.5}', key: undefined, priority: 3 }],
    ]);
  });

  test("a coordinator is started by its own address", async () => {
    const { plane, call } = await open();
    expect((await call("/v1/coordinators/booking/runs", { body: { input: [1, "two", null] } })).status).toBe(202);
    expect(plane.asked).toEqual([
      ["start", { kind: "coordinator", name: "booking", input: '[1,"two",null]', key: undefined, priority: undefined }],
    ]);
  });

  test("an expression is started with its variables", async () => {
    const { plane, call } = await open();
    await call("/v1/expressions", { body: { expression: "(a+b)*2", variables: { a: 1, b: 2 }, key: "k" } });
    await call("/v1/expressions", { body: { expression: "1+1" } });
    expect(plane.asked).toEqual([
      ["start", { kind: "expression", name: "(a+b)*2", input: '{"a":1,"b":2}', key: "k" }],
      ["start", { kind: "expression", name: "1+1", input: "{}", key: undefined }],
    ]);
  });

  test("an absent input is told apart from null", async () => {
    const { plane, call } = await open();
    await call("/v1/functions/pay/calls", { body: {} });
    await call("/v1/functions/pay/calls", { body: { input: null } });
    expect(plane.asked.map(([, request]) => (request as { input: string }).input)).toEqual(["", "null"]);
  });

  test("a body may be left out, with or without a content type", async () => {
    const { plane, call } = await open();
    expect((await call("/v1/functions/pay/calls", { method: "POST" })).status).toBe(202);
    const headers = { "content-type": "application/json", "content-length": "0" };
    expect((await call("/v1/functions/pay/calls", { method: "POST", headers })).status).toBe(202);
    expect(plane.asked).toHaveLength(2);
  });

  test("a key may stand in the body or in the header, with or without quotation marks", async () => {
    const { call } = await open();
    const first = await call("/v1/functions/pay/calls", { body: { key: "k-1" } });
    const second = await call("/v1/functions/pay/calls", { body: {}, headers: { "idempotency-key": "k-1" } });
    const third = await call("/v1/functions/pay/calls", { body: { key: "k-1" }, headers: { "idempotency-key": '"k-1"' } });
    expect(first.json.existing).toBe(false);
    expect(second.json).toEqual({ id: first.json.id, status: "running", existing: true });
    expect(third.json).toEqual(second.json);
  });

  test("a known key shows how its run stands, not that it is running", async () => {
    const { plane, call } = await open();
    const first = await call("/v1/functions/pay/calls", { body: { key: "k" } });
    plane.settle(first.json.id, { status: "completed", value: "1" });
    const second = await call("/v1/functions/pay/calls", { body: { key: "k" } });
    expect(second.status).toBe(202);
    expect(second.json).toEqual({ id: first.json.id, status: "completed", existing: true });
  });

  test.each([
    [{ status: "completed", value: '{"total": 42}' }, { value: { total: 42 } }],
    [{ status: "completed", value: "" }, {}],
    [{ status: "failed", failure }, { failure }],
    [{ status: "suspended", failure }, { failure }],
    [
      { status: "cancelled", failure: { code: "RUN_CANCELLED", message: "enough" } },
      { failure: { code: "RUN_CANCELLED", message: "enough" } },
    ],
  ] as const)("with wait, %o is answered with 200", async (result, shown) => {
    const { plane, call } = await open();
    const pending = call("/v1/functions/pay/calls?wait=30s", { body: {} });
    await vi.waitUntil(() => plane.asked.some(([method]) => method === "result"), { interval: 1 });
    const [, run, waitMs] = plane.asked.find(([method]) => method === "result") as [string, string, number];
    plane.settle(run, result);
    const answer = await pending;
    expect(answer.status).toBe(200);
    expect(answer.json).toEqual({ id: run, status: result.status, ...shown, existing: false });
    expect(waitMs).toBe(30_000);
  });

  test("with wait, a run that goes on is answered with 202", async () => {
    const { plane, call } = await open();
    vi.spyOn(plane, "result").mockImplementation(async (id) => ({ id, status: "waiting" }));
    const answer = await call("/v1/coordinators/booking/runs?wait=50ms", { body: {} });
    expect(answer.status).toBe(202);
    expect(answer.json).toEqual({ id: expect.any(String), status: "waiting", existing: false });
  });

  test.each([
    ["30s", 30_000],
    ["500ms", 500],
    ["2m", 60_000],
    ["1.5", 1_500],
    ["7", 7_000],
    ["24h", 60_000],
  ])("a wait of %s means %i ms, a minute at most", async (wait, ms) => {
    const { plane, call } = await open();
    const result = vi.spyOn(plane, "result").mockImplementation(async (id) => ({ id, status: "completed" }));
    await call(`/v1/functions/pay/calls?wait=${wait}`, { body: {} });
    expect(result).toHaveBeenCalledExactlyOnceWith(expect.any(String), ms);
  });
});

describe("runs", () => {
  test("are listed with all filters", async () => {
    const { plane, call } = await open();
    await plane.put("function", "pay");
    const since = "2026-01-31T12:00:00%2B01:00";
    const answer = await call(
      `/v1/runs?status=failed,suspended&kind=function&name=pay&key=k&since=${since}&until=1790000000000&limit=5&cursor=0`,
    );
    expect(answer.json.runs).toHaveLength(1);
    const filter = {
      status: ["failed", "suspended"],
      kind: "function",
      name: "pay",
      key: "k",
      since: Date.UTC(2026, 0, 31, 11),
      until: 1_790_000_000_000,
    };
    expect(plane.asked.at(-1)).toEqual(["runs", filter, 5, "0"]);
  });

  test("are listed a hundred at a time, with a cursor to the next page", async () => {
    const { plane, call } = await open();
    for (let i = 0; i < 101; i++) await plane.put("function", "pay");
    const first = await call("/v1/runs");
    expect(first.json.runs).toHaveLength(100);
    const second = await call(`/v1/runs?cursor=${first.json.cursor}`);
    expect(second.json.runs).toHaveLength(1);
    expect(second.json).not.toHaveProperty("cursor");
  });

  test("of a coordinator are listed by one parameter", async () => {
    const { plane, call } = await open();
    await call("/v1/runs?coordinator=booking&since=2026-01-31");
    const filter = {
      kind: "coordinator",
      name: "booking",
      since: Date.UTC(2026, 0, 31),
      status: undefined,
      key: undefined,
      until: undefined,
    };
    expect(plane.asked.at(-1)).toEqual(["runs", filter, 100, undefined]);
  });

  test("are shown with input and value as they are", async () => {
    const { plane, call } = await open();
    const id = await plane.put("coordinator", "booking", '{"seat":"12A"}');
    const unfinished = await call(`/v1/runs/${id}`);
    expect(unfinished.json).toMatchObject({
      id,
      kind: "coordinator",
      status: "running",
      input: { seat: "12A" },
      waitingFor: ["call 1 of pay"],
    });
    expect(unfinished.json).not.toHaveProperty("value");
    plane.settle(id, { status: "completed", value: '[1,{"two":"\\u2028"}]' });
    const finished = await call(`/v1/runs/${id}`);
    expect(finished.json).toMatchObject({
      status: "completed",
      value: [1, { two: "\u2028" }],
      finishedAt: 1_700_000_001_000,
      waitingFor: [],
    });
    plane.settle(id, { status: "failed", failure });
    expect((await call(`/v1/runs/${id}`)).json.failure).toEqual(failure);
  });

  test("give their result at once or after a wait", async () => {
    const { plane, call } = await open();
    const id = await plane.put("function", "pay");
    const early = await call(`/v1/runs/${id}/result`);
    expect([early.status, early.json]).toEqual([202, { id, status: "running" }]);
    const pending = call(`/v1/runs/${id}/result?wait=1m`);
    await vi.waitUntil(() => plane.waiting(id) === 1, { interval: 1 });
    plane.settle(id, { status: "completed", value: '"done"' });
    const late = await pending;
    expect([late.status, late.json]).toEqual([200, { id, status: "completed", value: "done" }]);
  });

  test("show their journal, record by record", async () => {
    const { plane, call } = await open();
    const id = await plane.put("coordinator", "booking");
    const at = 1_700_000_000_000;
    const metrics = { durationMs: 1.5, cpuMs: 1, queueMs: 0.1, memoryMb: 40, coldStart: false, pod: "pod-1" };
    plane.records = [
      { t: "call", seq: 1, at, fn: "pay", version: "v", input: '{"a":1}', options: { timeoutMs: 5, retry: { attempts: 2 } } },
      { t: "call", seq: 2, at, fn: "pay", version: "v", input: "" },
      { t: "attempt", seq: 1, attempt: 1, at, failure, retryAt: at + 5 },
      { t: "done", seq: 1, at, attempt: 2, value: '"paid"', metrics },
      { t: "done", seq: 2, at, failure },
      { t: "sleep", seq: 3, at, ms: 5, dueAt: at + 5 },
      { t: "signal", seq: 4, at, name: "go", dueAt: at + HOUR_MS },
      { t: "signalled", name: "go", at, value: "" },
      { t: "signalled", name: "go", at, value: "null" },
      { t: "step", seq: 5, at, name: "s" },
      { t: "child", seq: 6, at, coordinator: "c", input: "7", detached: true, child: id },
      { t: "withdraw", seq: 7, at, target: 4 },
      { t: "suspend", at, seq: 1, attempt: 4, failure },
      { t: "resume", at },
      { t: "cancel", at, reason: "enough" },
      { t: "finish", at, status: "completed", value: "[]" },
    ];
    const { json } = await call(`/v1/runs/${id}/journal`);
    expect(json.id).toBe(id);
    expect(json.records).toHaveLength(16);
    expect(json.records[0]).toEqual({ ...plane.records[0], input: { a: 1 } });
    expect(json.records[1]).toEqual({ t: "call", seq: 2, at, fn: "pay", version: "v" });
    expect(json.records[3]).toEqual({ t: "done", seq: 1, at, attempt: 2, value: "paid", metrics });
    expect(json.records[7]).toEqual({ t: "signalled", name: "go", at });
    expect(json.records[8]).toEqual({ t: "signalled", name: "go", at, value: null });
    expect(json.records[15].value).toEqual([]);
  });

  test("show the certificates of their calls, with the functions that were called", async () => {
    const { plane, call } = await open();
    const id = await plane.put("coordinator", "booking");
    const at = 1_700_000_000_000;
    const set = testSet();
    const [paid, refunded] = [`${id}/1/1`, `${id}/-1/1`].map((operation) => testCertificate(set, [{ operation }]));
    plane.records = [
      { t: "call", seq: 1, at, fn: "pay", version: "v", input: "" },
      { t: "call", seq: 2, at, fn: "ship", version: "v", input: "" },
      { t: "done", seq: 1, at, attempt: 1, value: "1", certificate: certificateText(paid!) },
      { t: "done", seq: 2, at, attempt: 1, value: "2" },
      { t: "undo", seq: -1, at },
      { t: "done", seq: -1, at: at + 5, attempt: 1, value: "", certificate: certificateText(refunded!) },
    ];
    const { status, json } = await call(`/v1/runs/${id}/certificates`);
    expect([status, json]).toEqual([
      200,
      {
        id,
        certificates: [
          { call: 1, function: "pay", at, certificate: paid },
          { call: -1, function: "pay", at: at + 5, certificate: refunded },
        ],
      },
    ]);
    expect(verifyCertificate(json.certificates[0].certificate, { adminKey: set.adminKey }).ok).toBe(true);
    expect((await call(`/v1/runs/${id}/journal`)).json.records[2]).toMatchObject({ t: "done", certificate: paid });
    plane.records = [];
    expect((await call(`/v1/runs/${id}/certificates`)).json).toEqual({ id, certificates: [] });
    expect((await call("/v1/runs/run_00000000099/certificates")).status).toBe(404);
  });

  test("of expressions are shown as such", async () => {
    const { plane, call } = await open();
    const id = await plane.put("expression", "(a+b)*2", '{"a":1,"b":2}');
    plane.settle(id, { status: "completed", value: "6" });
    const { json } = await call(`/v1/expressions/${id}`);
    expect(json).toEqual({ id, expression: "(a+b)*2", variables: { a: 1, b: 2 }, status: "completed", value: 6 });
    const other = await plane.put("function", "pay");
    expect((await call(`/v1/expressions/${other}`)).json).toMatchObject({ status: 404, code: "UNKNOWN_RUN" });
  });

  test("take signals, with a value or without", async () => {
    const { plane, call } = await open();
    const id = await plane.put("coordinator", "booking");
    const answer = await call(`/v1/runs/${id}/signals/go%20on`, { body: { value: { by: "me" } } });
    expect([answer.status, answer.text]).toEqual([204, ""]);
    await call(`/v1/runs/${id}/signals/go`, { method: "POST" });
    expect(plane.asked).toEqual([
      ["signal", id, "go on", '{"by":"me"}'],
      ["signal", id, "go", ""],
    ]);
  });

  test("are cancelled with a reason, gently or by force", async () => {
    const { plane, call } = await open();
    const id = await plane.put("coordinator", "booking");
    const answer = await call(`/v1/runs/${id}/cancel`, { body: { reason: "sold out", force: true } });
    expect([answer.status, answer.json]).toEqual([202, { id, status: "running" }]);
    await call(`/v1/runs/${id}/cancel`, { method: "POST" });
    expect(plane.asked.filter(([method]) => method === "cancel")).toEqual([
      ["cancel", id, { reason: "sold out", force: true }],
      ["cancel", id, { reason: "cancelled by request", force: undefined }],
    ]);
  });

  test("are resumed when they are suspended", async () => {
    const { plane, call } = await open();
    const id = await plane.put("coordinator", "booking");
    expect((await call(`/v1/runs/${id}/resume`, { method: "POST" })).json.code).toBe("RUN_NOT_SUSPENDED");
    plane.settle(id, { status: "suspended", failure });
    const answer = await call(`/v1/runs/${id}/resume`, { method: "POST" });
    expect([answer.status, answer.json]).toEqual([202, { id, status: "running" }]);
  });
});

describe("the platform", () => {
  test("takes a bundle and names its version by the content", async () => {
    const { plane, call } = await open();
    const code = "exports.x = 'ü';";
    const answer = await call("/v1/applications", { body: { application: "shop", code } });
    expect(answer.status).toBe(201);
    expect(answer.json).toMatchObject({ application: "shop", version: "36daa1320412f543", current: true });
    expect(plane.asked).toEqual([["deploy", { application: "shop", version: "36daa1320412f543", code }]]);
    expect((await call("/v1/applications", { body: { application: "shop", code, version: "36daa1320412f543" } })).status).toBe(201);
  });

  test("refuses a bundle that arrived other than it was sent", async () => {
    const { plane, call } = await open();
    const answer = await call("/v1/applications", { body: { application: "shop", code: "x", version: "0123456789abcdef" } });
    expect(answer.json).toMatchObject({ code: "BAD_REQUEST", details: { field: "version" } });
    expect(plane.asked).toEqual([]);
  });

  test("lists applications, pods and layers", async () => {
    const { call } = await open();
    expect((await call("/v1/applications")).json.applications).toHaveLength(1);
    expect((await call("/v1/pods")).json.pods).toHaveLength(3);
    expect((await call("/v1/layers")).json.layers[0]).toMatchObject({ function: "pay", dead: 1 });
  });

  test("shows logs by run and function, page by page", async () => {
    const { plane, call } = await open();
    const { json } = await call("/v1/logs?run=run_00000000007&function=pay&limit=20&after=5");
    expect(json.next).toBe(12);
    expect(json.logs[0].lines[0].text).toBe('said "hello"\nand more');
    expect(plane.asked).toEqual([["logs", { run: "run_00000000007", function: "pay", limit: 20, after: 5 }]]);
    await call("/v1/logs");
    expect(plane.asked.at(-1)).toEqual(["logs", { limit: 100 }]);
  });

  test("searches logs by level, text and time, and tells where they end", async () => {
    const { plane, call } = await open();
    await call("/v1/logs?level=warn&text=card%20%22declined%22&since=2026-01-31&after=latest");
    const filter = { level: "warn", text: 'card "declined"', since: Date.UTC(2026, 0, 31), after: "latest", limit: 100 };
    expect(plane.asked.at(-1)).toEqual(["logs", filter]);
    for (const [query, field] of [
      ["level=grave", "level"],
      ["text=", "text"],
      [`text=${"x".repeat(201)}`, "text"],
      ["since=1h", "since"],
      ["after=newest", "after"],
      ["after=-1", "after"],
    ])
      expect(await call(`/v1/logs?${query}`)).toMatchObject({ status: 400, json: { code: "BAD_REQUEST", details: { field } } });
  });

  test("tells that it is alive, and whether it is ready and why not", async () => {
    const { plane, call } = await open();
    expect((await call("/healthz")).json).toEqual({ status: "ok" });
    expect((await call("/readyz")).json).toEqual({ ready: true });
    plane.notReadyBecause = "the journal is being recovered";
    const answer = await call("/readyz");
    expect([answer.status, answer.json]).toEqual([503, { ready: false, reason: "the journal is being recovered" }]);
    expect(answer.headers["retry-after"]).toBe("1");
  });
});

test("two gateways cannot listen at the same port, and the second says so", async () => {
  const { gateway } = await open();
  const second = open({ port: gateway.port });
  await expect(second).rejects.toThrow(LockstepError);
  await expect(second).rejects.toMatchObject({ code: "ADDRESS_UNAVAILABLE", message: expect.stringContaining(String(gateway.port)) });
});
