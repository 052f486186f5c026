import { describe, expect, test } from "vitest";
import { open } from "../../test/support/gateway.ts";
import { exchange } from "../../test/support/http.ts";
import { catalogue, LockstepError } from "../lib/errors.ts";

const CALL = "/v1/functions/pay/calls";

test("an error is a problem document with code, meaning, cure and details", async () => {
  const { plane, call } = await open();
  plane.failing.start = new LockstepError("UNKNOWN_FUNCTION", 'there is no function "pay"', { details: { function: "pay" } });
  const answer = await call(CALL, { body: {} });
  expect(answer.status).toBe(404);
  expect(answer.headers["content-type"]).toMatch("application/problem+json");
  expect(answer.json).toEqual({
    type: "urn:lockstep:error:UNKNOWN_FUNCTION",
    title: catalogue.UNKNOWN_FUNCTION.means,
    status: 404,
    detail: 'there is no function "pay"',
    code: "UNKNOWN_FUNCTION",
    mend: catalogue.UNKNOWN_FUNCTION.mend,
    details: { function: "pay" },
  });
});

describe("a wrong request is refused with the field's name:", () => {
  test.each([
    [CALL, { priority: "3" }, "priority", 'priority in the body must be an integer from -1000000 to 1000000, not "3"'],
    [CALL, { input: 1, inptu: 2 }, "inptu", "inptu in the body is not known here (known: input, key, priority)"],
    [CALL, { key: 7 }, "key", "key in the body must be text, not 7"],
    [CALL, [], "", "the body must be an object, not an array"],
    [CALL, '"text"', "", 'the body must be an object, not "text"'],
    [CALL, "false", "", "the body must be an object, not false"],
    ["/v1/expressions", {}, "expression", "expression in the body is missing"],
    ["/v1/expressions", { expression: "a", variables: [1] }, "variables", "variables in the body must be an object, not an array"],
    ["/v1/applications", { application: "shop" }, "code", "code in the body is missing"],
    ["/v1/runs/run_00000000007/cancel", { force: "yes" }, "force", 'force in the body must be true or false, not "yes"'],
    ["/v1/runs/run_00000000007/resume", { force: true }, "force", "force in the body is not known here (none is known)"],
  ])("%s with %j", async (path, body, field, detail) => {
    const { plane, call } = await open();
    const answer = await call(path, { body });
    expect(answer.json).toMatchObject({ status: 400, code: "BAD_REQUEST", detail, details: { field, in: "body" } });
    expect(plane.asked).toEqual([]);
  });

  const duration = 'must be a duration such as "30s", "500ms", "2m" or a number of seconds';
  test.each([
    ["/v1/runs?limit=0", "limit", "must be an integer from 1 to 1000, not 0"],
    ["/v1/runs?limit=many", "limit", 'must be an integer from 1 to 1000, not "many"'],
    ["/v1/runs?limit=5&limit=6", "limit", "must be an integer from 1 to 1000, not an array"],
    [
      "/v1/runs?status=done",
      "status",
      "must be one or several, separated by commas, of running, waiting, suspended, completed, failed, cancelled, not",
    ],
    ["/v1/runs?kind=cron", "kind", 'must be coordinator, expression, function or recovery, not "cron"'],
    ["/v1/runs?since=yesterday", "since", 'must be Unix milliseconds or an ISO 8601 time such as "2026-01-31T12:00:00Z", not "yesterday"'],
    ["/v1/runs?until=2026-02-30T99:00Z", "until", "is no date that exists: 2026-02-30T99:00Z"],
    ["/v1/runs?coordinator=a&name=b", "coordinator", "stands for kind and name, and cannot be combined with others"],
    ["/v1/runs?coordinator=a&kind=function", "coordinator", "stands for kind and name"],
    ["/v1/runs/run_00000000007/result?wait=long", "wait", `${duration}, not "long"`],
    ["/v1/runs/run_00000000007/result?wait=", "wait", `${duration}, not ""`],
    ["/v1/pods?all=true", "all", "is not known here (none is known)"],
    ["/v1/logs?run=7", "run", 'must be a run id such as run_00jx3v9k2m7, not "7"'],
    ["/v1/events?types=run.accepted,nonsense", "types", "must be one or several, separated by commas, of run.accepted"],
    ["/v1/events?after=-1", "after", 'must be the position of an event, or "latest", not "-1"'],
    ["/v1/events?follow=no", "follow", 'must be true or false, not "no"'],
  ])("%s", async (path, field, detail) => {
    const { call } = await open();
    const { json } = await call(path);
    expect(json).toMatchObject({ status: 400, code: "BAD_REQUEST", details: { field, in: "query" } });
    expect(json.detail).toContain(detail);
    expect(json.detail).toContain(field);
  });

  test.each(["7", "run_", "run_0000000000u", "run_000000000070", "RUN_00000000007", "%00"])("the run id %s", async (id) => {
    const { call } = await open();
    for (const path of [`/v1/runs/${id}`, `/v1/runs/${id}/journal`, `/v1/expressions/${id}`]) {
      expect((await call(path)).json).toMatchObject({ code: "BAD_REQUEST", details: { field: "id", in: "path" } });
    }
  });

  test("a misspelt query is refused before anything is started", async () => {
    const { plane, call } = await open();
    expect((await call(`${CALL}?wiat=30s`, { body: {} })).json.detail).toBe("wiat in the query is not known here (known: wait)");
    expect(plane.asked).toEqual([]);
  });

  test("keys that differ between header and body, or are empty or too long", async () => {
    const { call } = await open();
    const details = { field: "Idempotency-Key", in: "header" };
    const differing = await call(CALL, { body: { key: "a" }, headers: { "idempotency-key": "b" } });
    expect(differing.json).toMatchObject({
      code: "BAD_REQUEST",
      details,
      detail: 'the header Idempotency-Key is "b", but key in the body is "a"',
    });
    for (const key of ['""', "", "k".repeat(501)]) {
      expect((await call(CALL, { body: {}, headers: { "idempotency-key": key } })).json).toMatchObject({ code: "BAD_REQUEST", details });
    }
  });

  test("a Last-Event-ID that is no position", async () => {
    const { call } = await open();
    const { json } = await call("/v1/events?follow=false", { headers: { "last-event-id": "x" } });
    expect(json).toMatchObject({ code: "BAD_REQUEST", details: { field: "Last-Event-ID", in: "header" } });
  });
});

describe("a body is refused", () => {
  test.each([
    ["malformed", "{", "not JSON"],
    ["nested too deeply", `{"input":${"[".repeat(101)}${"]".repeat(101)}}`, "nested deeper than 100 levels"],
    ["null", "null", "not null"],
    ["polluting", '{"input":{"__proto__":{}}}', "input.__proto__ is forbidden"],
    ["beyond doubles", '{"input":{"a":1e999}}', "input.a in the body is a number beyond"],
  ])("when it is %s", async (_, body, detail) => {
    const { plane, call } = await open();
    const { json } = await call(CALL, { body });
    expect(json).toMatchObject({ status: 400, code: "BAD_REQUEST" });
    expect(json.detail).toContain(detail);
    expect(plane.asked).toEqual([]);
  });

  test("when it is larger than the limit, whether it says so or not", async () => {
    const { call, gateway } = await open({ bodyLimitBytes: 1_000 });
    expect((await call(CALL, { body: { input: "x".repeat(2_000) } })).json).toMatchObject({
      status: 413,
      code: "PAYLOAD_TOO_LARGE",
      details: { limit: 1_000 },
    });
    const chunked = `POST ${CALL} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n7d0\r\n${"x".repeat(2_000)}\r\n`;
    expect(await exchange(gateway.port, chunked)).toContain("PAYLOAD_TOO_LARGE");
  });

  test("at another limit when it is a bundle", async () => {
    const { call } = await open({ bodyLimitBytes: 1_000, bundleLimitBytes: 5_000 });
    expect((await call("/v1/applications", { body: { application: "shop", code: "x".repeat(2_000) } })).status).toBe(201);
    expect((await call("/v1/applications", { body: { application: "shop", code: "x".repeat(6_000) } })).json.code).toBe(
      "PAYLOAD_TOO_LARGE",
    );
  });

  test.each([
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/xml",
    "nonsense",
    "application/jsonp",
  ])("when its type is %s", async (type) => {
    const { plane, call } = await open();
    const answer = await call(CALL, { body: "{}", headers: { "content-type": type } });
    expect(answer.json).toMatchObject({ status: 415, code: "UNSUPPORTED_MEDIA_TYPE", detail: expect.stringContaining("application/json") });
    expect(plane.asked).toEqual([]);
  });

  test("when it has no type", async () => {
    const { gateway } = await open();
    const text = await exchange(
      gateway.port,
      `POST ${CALL} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}`,
    );
    expect(text).toContain("UNSUPPORTED_MEDIA_TYPE");
  });

  test("when it is compressed", async () => {
    const { call } = await open();
    const answer = await call(CALL, { body: "{}", headers: { "content-encoding": "gzip" } });
    expect(answer.json).toMatchObject({ code: "UNSUPPORTED_MEDIA_TYPE", detail: expect.stringContaining("gzip") });
  });
});

describe("an address", () => {
  test.each(["/", "/v1", "/v2/runs", "/v1/runs/run_00000000007/", "/v1/functions/pay", "/favicon.ico", "/v1/functions/a/b/calls"])(
    "%s is unknown",
    async (path) => {
      const { raw } = await open();
      const answer = await raw(path);
      expect(answer.headers["content-type"]).toMatch("application/problem+json");
      expect(answer.json).toMatchObject({ status: 404, code: "UNKNOWN_ROUTE", detail: `there is nothing at ${path}` });
    },
  );

  test.each([
    ["GET", CALL, "POST"],
    ["DELETE", "/v1/runs/run_00000000007", "GET"],
    ["PUT", "/v1/applications", "POST, GET"],
    ["POST", "/v1/pods", "GET"],
    ["OPTIONS", "/v1/runs", "GET"],
    ["PATCH", "/healthz", "GET"],
  ])("does not answer %s %s", async (method, path, allow) => {
    const { raw } = await open();
    const answer = await raw(path, { method });
    expect(answer.json).toMatchObject({ status: 405, code: "METHOD_NOT_ALLOWED" });
    expect(answer.headers.allow).toBe(allow);
  });

  test("with a wrong percent-encoding is refused", async () => {
    const { raw } = await open();
    expect((await raw("/v1/runs/%zz")).json).toMatchObject({
      status: 400,
      code: "BAD_REQUEST",
      detail: expect.stringContaining("percent-encoding"),
    });
  });

  test("of absurd length is refused", async () => {
    const { raw } = await open();
    expect((await raw(`/v1/functions/${"x".repeat(2_000)}/calls`, { body: {} })).json.code).toMatch(
      /UNKNOWN_ROUTE|BAD_REQUEST|METHOD_NOT_ALLOWED/,
    );
    expect((await raw(`/v1/functions/${"x".repeat(300)}/calls`, { body: {} })).json).toMatchObject({
      code: "BAD_REQUEST",
      details: { field: "name" },
    });
  });
});

describe("what passes by itself", () => {
  test.each(["OVERLOADED", "SHUTTING_DOWN", "JOURNAL_UNAVAILABLE"] as const)("%s tells when to try again", async (code) => {
    const { plane, call } = await open({ retryAfterSeconds: 3 });
    plane.failing.start = new LockstepError(code, "not now");
    const answer = await call(CALL, { body: {} });
    expect(answer.status).toBe(catalogue[code].status);
    expect(answer.headers["retry-after"]).toBe("3");
  });
});

describe("an unexpected error", () => {
  test.each([
    new TypeError("cannot read secret of undefined"),
    "secret text",
    undefined,
    null,
    Object.assign(new Error("secret"), { code: "ENOSPC" }),
    Object.assign(new Error("secret"), { statusCode: 404, code: "ENOENT" }),
  ])("is answered as INTERNAL without what was thrown: %s", async (thrown) => {
    const { plane, call, defects } = await open();
    plane.failing.start = thrown;
    const answer = await call(CALL, { body: {} });
    expect(answer.json).toMatchObject({ status: 500, code: "INTERNAL", detail: expect.stringContaining(`POST ${CALL}`) });
    expect(answer.text).not.toMatch(/secret|stack|at \w+ \(/);
    expect(defects).toEqual([thrown]);
  });

  test("does not show the query, in which there may be more than the world should know", async () => {
    const { plane, call } = await open();
    plane.failing.runs = new Error("x");
    expect((await call("/v1/runs?key=hunter2")).text).not.toContain("hunter2");
  });

  test("thrown outside of a promise is answered, too", async () => {
    const { plane, call } = await open();
    plane.pods = () => {
      throw new Error("secret");
    };
    expect((await call("/v1/pods")).json.code).toBe("INTERNAL");
  });
});

test("what is no HTTP gets a problem document as well", async () => {
  const { gateway } = await open();
  const text = await exchange(gateway.port, "nonsense\r\n\r\n");
  expect(text).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
  expect(JSON.parse(text.slice(text.indexOf("\r\n\r\n")))).toMatchObject({
    status: 400,
    code: "BAD_REQUEST",
    detail: expect.stringContaining("not HTTP"),
  });
  const large = await exchange(gateway.port, `GET / HTTP/1.1\r\nhost: localhost\r\nx: ${"y".repeat(20_000)}\r\n\r\n`);
  expect(large).toContain("headers are too large");
});
