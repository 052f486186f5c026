import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { open } from "../../test/support/gateway.ts";
import { LockstepError } from "../lib/errors.ts";
import type { HookRequest } from "../protocol/control-plane.ts";

const asked = (plane: { asked: unknown[][] }): HookRequest => plane.asked.find(([method]) => method === "hook")?.[1] as HookRequest;

test("a webhook is passed on with the bytes of its body, whatever their type", async () => {
  const { plane, call } = await open();
  const body = Buffer.from([0, 255, 123]);
  const headers = { "content-type": "application/x-odd", "x-event": "push" };
  const answer = await call("/v1/hooks/github/push?a=1&b=2&b=3", { method: "POST", body, headers });
  expect([answer.status, answer.json]).toEqual([202, { runs: [expect.stringMatching(/^run_/)] }]);
  const hook = asked(plane);
  expect(hook).toMatchObject({ method: "POST", path: "github/push", query: { a: "1", b: "2, 3" }, headers });
  expect(Buffer.from(hook.body)).toEqual(body);
});

test.each(["GET", "PUT", "POST"])("%s needs no body", async (method) => {
  const { plane, call } = await open();
  expect((await call("/v1/hooks/ping", { method })).status).toBe(202);
  expect(asked(plane)).toMatchObject({ method, path: "ping", query: {}, body: Buffer.alloc(0) });
});

test("a JSON body is not read on the way, and may be broken", async () => {
  const { plane, call } = await open();
  await call("/v1/hooks/ping", { body: '{"a": 1' });
  expect(Buffer.from(asked(plane).body).toString()).toBe('{"a": 1');
});

test("no API key is needed, which all else needs", async () => {
  const { call } = await open({ apiKey: "secret" });
  expect((await call("/v1/hooks/ping", { method: "POST" })).status).toBe(202);
  expect((await call("/v1/triggers")).status).toBe(401);
});

test("a percent-encoded path is read once", async () => {
  const { plane, call } = await open();
  await call("/v1/hooks/a%20b/%2541", { method: "POST" });
  expect(asked(plane).path).toBe("a b/%41");
});

test("a body that is too long is refused", async () => {
  const { plane, call } = await open({ bodyLimitBytes: 100 });
  expect((await call("/v1/hooks/ping", { body: "x".repeat(101) })).json).toMatchObject({ status: 413, code: "PAYLOAD_TOO_LARGE" });
  expect(plane.asked).toEqual([]);
});

test("a compressed body is refused", async () => {
  const { call } = await open();
  const answer = await call("/v1/hooks/ping", { body: gzipSync("{}"), headers: { "content-encoding": "gzip" } });
  expect(answer.json).toMatchObject({ status: 415, code: "UNSUPPORTED_MEDIA_TYPE" });
});

test.each([
  ["UNKNOWN_ROUTE", 404],
  ["SIGNATURE_INVALID", 401],
  ["OVERLOADED", 429],
  ["BAD_REQUEST", 400],
] as const)("a refusal with %s is answered with %i", async (code, status) => {
  const { plane, call } = await open();
  plane.failing.hook = new LockstepError(code, "because");
  expect((await call("/v1/hooks/ping", { method: "POST" })).json).toMatchObject({ status, code });
});

test("a wrong method is told the right ones", async () => {
  const { plane, call, raw } = await open();
  plane.failing.hook = new LockstepError("METHOD_NOT_ALLOWED", "no", { details: { allow: ["PUT", "GET"] } });
  const answer = await call("/v1/hooks/ping", { method: "POST" });
  expect([answer.status, answer.headers.allow]).toEqual([405, "PUT, GET"]);
  const other = await raw("/v1/hooks/ping", { method: "DELETE" });
  expect([other.status, other.headers.allow]).toEqual([405, "POST, PUT, GET"]);
});

test("JSON bodies of other addresses are read as ever", async () => {
  const { call } = await open();
  expect((await call("/v1/functions/pay/calls", { body: "text", headers: { "content-type": "text/plain" } })).status).toBe(415);
});

test("triggers are listed", async () => {
  const { call } = await open();
  const { status, json } = await call("/v1/triggers");
  expect([status, json.triggers.map((trigger: { name: string }) => trigger.name)]).toEqual([200, ["nightly", "import"]]);
});
