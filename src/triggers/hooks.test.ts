import { createHmac } from "node:crypto";
import { describe, expect, test } from "vitest";
import type { LockstepError } from "../lib/errors.ts";
import type { HookRequest } from "../protocol/control-plane.ts";
import { checkSignature, deliveryOf, inputOf } from "./hooks.ts";

const request = (more: Partial<HookRequest> & { text?: string } = {}): HookRequest => ({
  method: "POST",
  path: "orders",
  query: {},
  headers: {},
  body: Buffer.from(more.text ?? ""),
  ...more,
});

const refusal = (attempt: () => unknown): LockstepError => {
  try {
    attempt();
  } catch (error) {
    return error as LockstepError;
  }
  throw new Error("nothing was refused");
};

describe("a signature", () => {
  const secretOf = (name: string): string | undefined => ({ SECRET: "hush", EMPTY: "" })[name];
  const hmac = createHmac("sha256", "hush").update('{"a":1}').digest();
  const signed = (header: string, value: string): HookRequest => request({ text: '{"a":1}', headers: { [header]: value } });
  const check = (given: HookRequest, signature: object): void =>
    checkSignature(given, { path: "orders", signature: { secretEnv: "SECRET", ...signature } }, secretOf);

  test.each([
    ["hexadecimal", hmac.toString("hex")],
    ["hexadecimal in capitals", hmac.toString("hex").toUpperCase()],
    ["base64", hmac.toString("base64")],
    ["base64 for addresses", hmac.toString("base64url")],
    ["hexadecimal with a prefix", `sha256=${hmac.toString("hex")}`],
    ["base64 with a prefix", `sha256=${hmac.toString("base64")}`],
  ])("may be %s", (_, value) => {
    expect(() => check(signed("x-signature-256", value), {})).not.toThrow();
    expect(() => check(signed("x-hub-signature-256", value), { header: "X-Hub-Signature-256" })).not.toThrow();
  });

  test.each<[string, HookRequest, object, string]>([
    ["that is missing", request(), {}, "the header x-signature-256 is missing"],
    [
      "of another secret",
      signed("x-signature-256", createHmac("sha256", "x").update('{"a":1}').digest("hex")),
      {},
      "does not fit the body",
    ],
    ["of another body", { ...signed("x-signature-256", hmac.toString("hex")), body: Buffer.from("{}") }, {}, "does not fit the body"],
    ["that is too short", signed("x-signature-256", hmac.toString("hex").slice(2)), {}, "holds no HMAC-SHA256"],
    ["that is none", signed("x-signature-256", ""), {}, "holds no HMAC-SHA256"],
    ["without a secret", signed("x-signature-256", hmac.toString("hex")), { secretEnv: "NONE" }, "the platform's environment has no NONE"],
    ["with an empty secret", signed("x-signature-256", hmac.toString("hex")), { secretEnv: "EMPTY" }, "has no EMPTY"],
  ])("%s is refused", (_, given, signature, message) => {
    const error = refusal(() => check(given, signature));
    expect(error.code).toBe("SIGNATURE_INVALID");
    expect(error.message).toContain(message);
  });

  test("is not asked for by a trigger without one", () => {
    expect(() => checkSignature(request(), { path: "orders" }, secretOf)).not.toThrow();
  });
});

describe("a delivery", () => {
  test.each<[object, string | undefined, string | undefined]>([
    [{}, undefined, undefined],
    [{ "x-github-delivery": "1" }, undefined, "1"],
    [{ "webhook-id": "msg_1", "x-github-delivery": "2" }, undefined, "msg_1"],
    [{ "idempotency-key": '"k"', "webhook-id": "msg_1" }, undefined, "k"],
    [{ "x-event-id": "e", "webhook-id": "msg_1" }, "X-Event-Id", "e"],
    [{ "webhook-id": "msg_1" }, "X-Event-Id", "msg_1"],
  ])("of %j is told by the header %s: %s", (headers, delivery, expected) => {
    expect(
      deliveryOf(request({ headers: headers as Record<string, string> }), { path: "a", ...(delivery === undefined ? {} : { delivery }) }),
    ).toBe(expected);
  });

  test.each(["", "x".repeat(201), "a\0b"])("that can be no key is refused", (value) => {
    expect(refusal(() => deliveryOf(request({ headers: { "webhook-id": value } }), { path: "a" })).details).toEqual({
      field: "webhook-id",
      in: "header",
    });
  });
});

describe("the input", () => {
  const bodyOf = (type: string, body: Buffer | string): unknown =>
    (JSON.parse(inputOf(request({ headers: { "content-type": type }, body: Buffer.from(body as string) }))) as { body: unknown }).body;

  test.each<[string, Buffer | string, unknown]>([
    ["application/json", '{"a":[1]}', { a: [1] }],
    ["application/json; charset=utf-8", "7", 7],
    ["application/vnd.github+json", "null", null],
    ["application/json", "", null],
    ["text/plain", "hello", "hello"],
    ["application/x-www-form-urlencoded", "a=1", "a=1"],
    ["application/octet-stream", Buffer.from([0, 255]), { base64: "AP8=" }],
    ["application/jsonp", "{}", "{}"],
  ])("of a body of %s: %j", (type, body, expected) => {
    expect(bodyOf(type, body)).toEqual(expected);
  });

  test("keeps a JSON body's own text", () => {
    const input = inputOf(request({ headers: { "content-type": "application/json" }, text: '{"id": 12345678901234567890}' }));
    expect(input).toContain('"body":{"id": 12345678901234567890}}');
  });

  test("tells method, path, query and headers, but no secrets of others", () => {
    const headers = { host: "h", authorization: "Bearer x", cookie: "c", "proxy-authorization": "p" };
    expect(JSON.parse(inputOf(request({ query: { a: "1" }, headers })))).toEqual({
      method: "POST",
      path: "orders",
      query: { a: "1" },
      headers: { host: "h" },
      body: null,
    });
  });

  test.each([
    ['{"a":', "is not JSON"],
    [Buffer.from([0xff]), "is not UTF-8 text"],
    [`${"[".repeat(101)}${"]".repeat(101)}`, "is nested deeper than 100 levels"],
    [`{"a":${'{"a":'.repeat(100)}1${"}".repeat(101)}`, "is nested deeper than 100 levels"],
  ])("of a broken body is refused", (body, message) => {
    const error = refusal(() => bodyOf("application/json", body));
    expect([error.code, error.message.includes(message)]).toEqual(["BAD_REQUEST", true]);
  });

  test("brackets in texts are no depth", () => {
    const text = JSON.stringify({ a: `${"[".repeat(300)}"\\` });
    expect(bodyOf("application/json", text)).toEqual(JSON.parse(text));
  });
});
