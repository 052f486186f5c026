import { networkInterfaces } from "node:os";
import { describe, expect, test } from "vitest";
import { open } from "../../test/support/gateway.ts";
import { ask, exchange } from "../../test/support/http.ts";

const CALL = "/v1/functions/pay/calls";
const KEY = "a-long-enough-key";
const bearer = { authorization: `Bearer ${KEY}` };

describe("without an API key", () => {
  test.each(["0.0.0.0", "::", "192.168.1.5", "lockstep.example", "127.0.0.1.example", "1127.0.0.1"])(
    "listening at %s is refused",
    async (host) => {
      const refusal = open({ host });
      await expect(refusal).rejects.toMatchObject({ code: "ACCESS_DENIED", message: expect.stringContaining("set an API key") });
    },
  );

  test.each(["127.0.0.1", "localhost", "127.8.8.8"])("listening at %s is fine", async (host) => {
    const { gateway } = await open({ host });
    expect((await ask(gateway.url, "/v1/pods")).status).toBe(200);
  });
});

test.each(["", "two words", "Schlüssel", "line\nbreak"])("the API key %j is refused", async (apiKey) => {
  await expect(open({ apiKey })).rejects.toMatchObject({ code: "BAD_REQUEST", details: { field: "apiKey" } });
});

test.each([-1, 65_536, 1.5, Number.NaN])("the port %s is refused", async (port) => {
  await expect(open({ port })).rejects.toMatchObject({ code: "BAD_REQUEST", details: { field: "port" } });
});

describe("with an API key", () => {
  test("every address but those for supervisors needs it", async () => {
    const { call, raw, plane } = await open({ apiKey: KEY });
    const paths = ["/v1/runs", "/v1/events", "/v1/pods", "/metrics", "/v1/openapi.json", "/v1/runs/run_00000000007"];
    for (const path of paths) {
      const answer = await call(path);
      expect(answer.json).toMatchObject({ status: 401, code: "UNAUTHENTICATED" });
      expect(answer.headers["www-authenticate"]).toBe("Bearer");
    }
    expect((await call(CALL, { body: {} })).status).toBe(401);
    expect((await raw("/nowhere")).status).toBe(401);
    expect((await call("/healthz")).status).toBe(200);
    expect((await call("/readyz")).status).toBe(200);
    expect(plane.asked).toEqual([]);
  });

  test("the right key opens, however the scheme is written", async () => {
    const { call } = await open({ apiKey: KEY });
    expect((await call(CALL, { body: {}, headers: bearer })).status).toBe(202);
    expect((await call("/v1/pods", { headers: { authorization: `bearer   ${KEY} ` } })).status).toBe(200);
  });

  test.each([
    "Bearer wrong",
    `Bearer ${KEY}x`,
    `Bearer ${KEY.slice(0, -1)}`,
    "Bearer ",
    "Bearer",
    KEY,
    `Basic ${KEY}`,
    `Bearer ${KEY} ${KEY}`,
  ])("%s does not open, and is not repeated", async (authorization) => {
    const { call } = await open({ apiKey: KEY });
    const answer = await call("/v1/pods", { headers: { authorization } });
    expect(answer.status).toBe(401);
    expect(answer.text).not.toContain(KEY);
  });

  test("listening at all addresses is fine, and the one that a request came in on is a known name", async () => {
    const { gateway } = await open({ host: "0.0.0.0", apiKey: KEY });
    const own = Object.values(networkInterfaces())
      .flat()
      .find((address) => address?.family === "IPv4" && !address.internal);
    const address = own?.address ?? "127.0.0.1";
    const base = `http://${address}:${gateway.port}`;
    expect((await ask(base, "/v1/pods", { headers: bearer })).status).toBe(200);
    expect((await ask(base, "/v1/pods", { headers: { ...bearer, host: "10.99.99.99" } })).status).toBe(403);
  });
});

describe("the Host header", () => {
  test.each(["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:4700", "[::1]", "[::1]:4700", "lockstep.internal:80"])(
    "%s is known",
    async (host) => {
      const { call } = await open({ allowedHosts: ["Lockstep.internal"] });
      expect((await call("/v1/pods", { headers: { host } })).status).toBe(200);
      expect((await call("/v1/pods", { headers: { host } })).status).toBe(200);
    },
  );

  test.each([
    "evil.example",
    "evil.example:4700",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "localhost@evil.example",
    "[::1",
    "a b",
  ])("%j is refused", async (host) => {
    const { call, plane } = await open();
    await call("/v1/pods", { headers: { host: "localhost" } });
    for (const path of [CALL, "/healthz"]) {
      const answer = await call(path, { method: path === CALL ? "POST" : "GET", headers: { host } });
      expect(answer.json).toMatchObject({ status: 403, code: "ACCESS_DENIED" });
    }
    expect(plane.asked).toEqual([]);
  });
});

test("a request without a Host header is refused", async () => {
  const { gateway } = await open();
  expect(await exchange(gateway.port, "GET /v1/pods HTTP/1.0\r\n\r\n")).toContain("the Host header is missing");
  expect(await exchange(gateway.port, "GET /v1/pods HTTP/1.1\r\nhost: \r\nconnection: close\r\n\r\n")).toContain("ACCESS_DENIED");
});

describe("a web page", () => {
  test.each(["https://evil.example", "http://localhost:3000", "null", "http://127.0.0.1"])("of %s is refused", async (origin) => {
    const { call, plane } = await open();
    const answer = await call(CALL, { body: {}, headers: { origin } });
    expect(answer.json).toMatchObject({ status: 403, code: "ACCESS_DENIED" });
    expect(answer.headers).not.toHaveProperty("access-control-allow-origin");
    expect(plane.asked).toEqual([]);
  });

  test.each(["cross-site", "same-site"])("that is %s is refused even where browsers send no origin", async (site) => {
    const { call } = await open();
    expect((await call("/v1/runs", { headers: { "sec-fetch-site": site } })).json.code).toBe("ACCESS_DENIED");
  });

  test.each(["same-origin", "none"])("that is %s, and one of this platform's own, may call", async (site) => {
    const { call, gateway } = await open();
    expect((await call("/v1/runs", { headers: { "sec-fetch-site": site } })).status).toBe(200);
    const own = { host: `localhost:${gateway.port}`, origin: `http://localhost:${gateway.port}` };
    expect((await call(CALL, { body: {}, headers: own })).status).toBe(202);
  });

  test("of an allowed origin may call and read the answer", async () => {
    const { call, raw } = await open({ allowedOrigins: ["https://console.example"] });
    const headers = { origin: "https://console.example", "sec-fetch-site": "cross-site" };
    const answer = await call(CALL, { body: {}, headers });
    expect(answer.status).toBe(202);
    expect(answer.headers).toMatchObject({ "access-control-allow-origin": "https://console.example", vary: "Origin" });
    const refused = await call(CALL, { body: { priority: "x" }, headers });
    expect([refused.status, refused.headers["access-control-allow-origin"]]).toEqual([400, "https://console.example"]);
    expect((await raw("/v1/runs", { headers: { origin: "https://console.example.evil" } })).status).toBe(403);
  });

  test("of an allowed origin gets its preflight answered, without a key", async () => {
    const { raw } = await open({ allowedOrigins: ["https://console.example"], apiKey: KEY });
    const preflight = { origin: "https://console.example", "access-control-request-method": "POST" };
    const answer = await raw(CALL, { method: "OPTIONS", headers: preflight });
    expect(answer.status).toBe(204);
    expect(answer.headers["access-control-allow-methods"]).toBe("GET, HEAD, POST, PUT, DELETE");
    expect(answer.headers["access-control-allow-headers"]).toContain("Authorization");
    expect((await raw(CALL, { method: "OPTIONS", headers: { ...preflight, origin: "https://evil.example" } })).status).toBe(403);
  });
});
