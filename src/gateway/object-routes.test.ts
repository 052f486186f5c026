import { request } from "node:http";
import { expect, test, vi } from "vitest";
import { open, type Running } from "../../test/support/gateway.ts";
import { LockstepError } from "../lib/errors.ts";
import { Uploads } from "./uploads.ts";

const AT = "/v1/buckets/orders/objects";

const put = ({ call }: Running, key: string, body: string, headers: Record<string, string> = {}) =>
  call(`${AT}/${key}`, { method: "PUT", body, headers: { "content-type": "text/plain", ...headers } });

test("an object that is put is given back with its type, etag, metadata and version", async () => {
  const running = await open();
  const answer = await put(running, "incoming/1.json", '{"seat":12}', {
    "content-type": "application/json",
    "x-lockstep-meta-author": "kaur",
    "x-lockstep-meta-note": "gr%C3%B6%C3%9Fer als 100 %25",
  });
  expect([answer.status, answer.headers.etag, answer.json]).toEqual([
    200,
    answer.json.etag,
    {
      bucket: "orders",
      key: "incoming/1.json",
      version: "1",
      size: 11,
      etag: expect.stringMatching(/^".+"$/),
      contentType: "application/json",
      metadata: { author: "kaur", note: "größer als 100 %" },
      modifiedAt: 1_700_000_000_000,
    },
  ]);
  const got = await running.raw(`${AT}/incoming/1.json`);
  expect([got.status, got.text]).toEqual([200, '{"seat":12}']);
  expect(got.headers).toMatchObject({
    etag: answer.json.etag,
    "content-type": "application/json",
    "content-length": "11",
    "last-modified": "Tue, 14 Nov 2023 22:13:20 GMT",
    "accept-ranges": "bytes",
    "x-lockstep-version": "1",
    "x-lockstep-meta-author": "kaur",
    "x-lockstep-meta-note": "gr%C3%B6%C3%9Fer als 100 %25",
    "x-content-type-options": "nosniff",
    "content-security-policy": "sandbox",
  });
});

test("HEAD tells the same without the body", async () => {
  const running = await open();
  await put(running, "a", "12345", { "content-type": "text/plain" });
  const got = await running.raw(`${AT}/a`, { method: "HEAD" });
  expect([got.status, got.text, got.headers["content-length"], got.headers["content-type"]]).toEqual([200, "", "5", "text/plain"]);
  const missing = await running.raw(`${AT}/none`, { method: "HEAD" });
  expect([missing.status, missing.text]).toEqual([404, ""]);
});

test.each([
  ["bytes=0-3", 206, "0123", "bytes 0-3/10"],
  ["bytes=4-", 206, "456789", "bytes 4-9/10"],
  ["bytes=-3", 206, "789", "bytes 7-9/10"],
  ["bytes=8-99", 206, "89", "bytes 8-9/10"],
  ["bytes=0-1,4-5", 200, "0123456789", undefined],
  ["lines=1-2", 200, "0123456789", undefined],
  ["bytes=-", 200, "0123456789", undefined],
])("of %s it answers %i with %j", async (range, status, text, contentRange) => {
  const running = await open();
  await put(running, "digits", "0123456789");
  const got = await running.raw(`${AT}/digits`, { headers: { range } });
  expect([got.status, got.text, got.headers["content-range"], got.headers["content-length"]]).toEqual([
    status,
    text,
    contentRange,
    String(text.length),
  ]);
});

test("a range that does not exist is refused, with the size", async () => {
  const running = await open();
  await put(running, "digits", "0123456789");
  const { plane } = running;
  const get = plane.objects.get.bind(plane.objects);
  vi.spyOn(plane.objects, "get").mockImplementation((bucket, key, range) =>
    get(bucket, key, range).catch((error: LockstepError) => {
      throw new LockstepError(error.code, error.message, { details: { size: 10 } });
    }),
  );
  const got = await running.call(`${AT}/digits`, { headers: { range: "bytes=10-" } });
  expect([got.status, got.json.code, got.headers["content-range"]]).toEqual([416, "RANGE_NOT_SATISFIABLE", "bytes */10"]);
});

test("conditions are kept: of GET, of PUT, of DELETE, and of ranges", async () => {
  const running = await open();
  const { etag } = (await put(running, "a", "one")).json;
  const get = (headers: Record<string, string>) => running.raw(`${AT}/a`, { headers });
  expect((await get({ "if-none-match": `"x", ${etag}` })).status).toBe(304);
  expect((await get({ "if-none-match": '"x"' })).status).toBe(200);
  expect((await get({ "if-match": '"x"' })).status).toBe(412);
  expect((await get({ "if-match": "*" })).text).toBe("one");
  expect((await get({ range: "bytes=0-0", "if-range": etag })).text).toBe("o");
  expect((await get({ range: "bytes=0-0", "if-range": '"x"' })).text).toBe("one");
  expect((await put(running, "a", "two", { "if-none-match": "*" })).status).toBe(412);
  expect((await put(running, "a", "two", { "if-match": '"x"' })).status).toBe(412);
  expect((await put(running, "a", "two", { "if-match": etag })).status).toBe(200);
  expect((await put(running, "a", "two", { "if-none-match": '"x"' })).json).toMatchObject({ details: { field: "If-None-Match" } });
  expect((await running.call(`${AT}/a`, { method: "DELETE", headers: { "if-match": etag } })).status).toBe(412);
});

test("an object is deleted, and deleting what isn't there is told", async () => {
  const running = await open();
  await put(running, "a", "one");
  expect((await running.call(`${AT}/a`, { method: "DELETE" })).json).toEqual({ deleted: true });
  expect((await running.call(`${AT}/a`, { method: "DELETE" })).json).toEqual({ deleted: false });
  expect((await running.call(`${AT}/a`)).json.code).toBe("UNKNOWN_OBJECT");
});

test("an object is copied by the name of its source", async () => {
  const running = await open();
  await put(running, "in%20coming/ä", "body", { "content-type": "text/csv" });
  const copied = await running.call(`${AT}/copy`, {
    method: "PUT",
    headers: { "x-lockstep-copy-source": "/orders/in%20coming/%C3%A4" },
  });
  expect([copied.status, copied.json.key, copied.json.contentType]).toEqual([200, "copy", "text/csv"]);
  expect((await running.raw(`${AT}/copy`)).text).toBe("body");
  const wrong = await running.call(`${AT}/copy`, { method: "PUT", headers: { "x-lockstep-copy-source": "orders" } });
  expect(wrong.json).toMatchObject({ code: "BAD_REQUEST", details: { field: "x-lockstep-copy-source" } });
});

test("a PUT is named by Idempotency-Key", async () => {
  const running = await open();
  const asked = vi.spyOn(running.plane.objects, "put");
  await put(running, "a", "one", { "idempotency-key": "put-1" });
  expect(asked.mock.calls[0]?.[3]).toEqual({ contentType: "text/plain", idempotencyKey: "put-1" });
});

test("objects are listed page by page, and what is not known of a listing is refused", async () => {
  const running = await open();
  for (const key of ["a/1", "a/2", "b"]) await put(running, key, key);
  const first = (await running.call(`${AT}?prefix=a/&limit=1`)).json;
  expect([first.objects.map(({ key }: { key: string }) => key), first.cursor]).toEqual([["a/1"], "a/1"]);
  const second = (await running.call(`${AT}?prefix=a/&limit=1&cursor=${first.cursor}`)).json;
  expect([second.objects.map(({ key }: { key: string }) => key), second.cursor]).toEqual([["a/2"], undefined]);
  expect((await running.call(`${AT}?prefx=a`)).json).toMatchObject({ code: "BAD_REQUEST", details: { field: "prefx" } });
});

test("buckets are created and listed", async () => {
  const { call } = await open();
  expect((await call("/v1/buckets/reports", { method: "PUT" })).status).toBe(204);
  expect((await call("/v1/buckets")).json).toEqual({ buckets: ["orders", "reports"] });
  expect((await call("/v1/buckets/none/objects")).json.code).toBe("UNKNOWN_BUCKET");
});

test("notifications of S3 are passed on, also when they are called plain text", async () => {
  const { call, plane } = await open();
  const body = JSON.stringify({ Records: [{ eventName: "ObjectCreated:Put" }] });
  expect((await call("/v1/buckets/notifications", { body, headers: { "content-type": "text/plain" } })).json).toEqual({ events: 1 });
  expect(plane.objects.notified).toEqual([JSON.parse(body)]);
  expect((await call("/v1/buckets/notifications", { body: "no json" })).json.code).toBe("BAD_REQUEST");
});

test.each([
  ["a%2F..%2Fb", "a/../b"],
  ["%2Fabsolute", "/absolute"],
  ["a//b/", "a//b/"],
  ["%F0%9F%99%82%20%2B%26%3D%23%3F%25", "🙂 +&=#?%"],
  ["a".repeat(1_024), "a".repeat(1_024)],
])("the address %s means the key %s", async (path, key) => {
  const running = await open();
  const { status, json } = await put(running, path, "x");
  expect([status, json.key]).toEqual([200, key]);
  expect((await running.raw(`${AT}/${path}`)).text).toBe("x");
});

test("a body of any type, of none, and of no bytes is taken as it is", async () => {
  const running = await open();
  expect((await put(running, "a", "{ no json", { "content-type": "application/json" })).json.size).toBe(9);
  expect((await put(running, "b", "", { "content-type": "image/png", "content-length": "0" })).json).toMatchObject({
    size: 0,
    contentType: "image/png",
  });
  const bare = await running.call(`${AT}/c`, { method: "PUT" });
  expect(bare.json).toMatchObject({ size: 0, contentType: "application/octet-stream" });
  expect((await put(running, "d", "x", { "content-encoding": "gzip" })).json.code).toBe("UNSUPPORTED_MEDIA_TYPE");
});

test("a body is passed on while it still comes, however long it is", async () => {
  const running = await open({ bodyLimitBytes: 1_000 });
  const arrived: number[] = [];
  const first = Promise.withResolvers<void>();
  vi.spyOn(running.plane.objects, "put").mockImplementation(async (bucket, key, body) => {
    for await (const chunk of body) {
      arrived.push(chunk.length);
      first.resolve();
    }
    return { ...INFO, bucket, key, size: arrived.reduce((sum, length) => sum + length, 0) };
  });
  const sent = request(`${running.gateway.url}${AT}/large`, { method: "PUT", agent: false });
  const answered = new Promise<string>((resolve) => {
    sent.on("response", (response) => {
      let text = "";
      response.on("data", (chunk) => {
        text += chunk;
      });
      response.on("end", () => resolve(text));
    });
  });
  sent.write(Buffer.alloc(70_000));
  await first.promise;
  sent.end(Buffer.alloc(1_000_000));
  expect(JSON.parse(await answered).size).toBe(1_070_000);
});

test("a client that goes away in the middle of its body ends it with an error", async () => {
  const running = await open();
  const failed = Promise.withResolvers<unknown>();
  const first = Promise.withResolvers<void>();
  vi.spyOn(running.plane.objects, "put").mockImplementation(async (_bucket, _key, body) => {
    try {
      for await (const _ of body) first.resolve();
    } catch (error) {
      failed.resolve(error);
      throw error;
    }
    return INFO;
  });
  const sent = request(`${running.gateway.url}${AT}/torn`, { method: "PUT", agent: false, headers: { "content-length": "100000" } });
  sent.on("error", () => undefined);
  sent.write(Buffer.alloc(100));
  await first.promise;
  sent.destroy();
  expect(await failed.promise).toMatchObject({ code: "ECONNRESET" });
  expect(running.defects).toEqual([]);
});

test("an object that is found to be torn while it is read is cut off, and never looks whole", async () => {
  const running = await open();
  await put(running, "a", "0123456789");
  const { objects } = running.plane;
  const { info } = await objects.get("orders", "a");
  vi.spyOn(objects, "get").mockResolvedValue({
    info,
    body: (async function* () {
      yield Buffer.from("01234");
      throw new LockstepError("OBJECT_CORRUPT", "torn");
    })(),
  });
  await expect(running.raw(`${AT}/a`)).rejects.toThrow(/aborted|hang up/);
  expect(running.defects).toMatchObject([{ code: "OBJECT_CORRUPT" }]);
});

test.each([
  ["POST", `${AT}/a`, "GET, HEAD, PUT, DELETE"],
  ["DELETE", "/v1/buckets/orders", "PUT"],
])("%s %s is not allowed", async (method, path, allow) => {
  const { call, raw } = await open();
  expect([(await raw(path, { method })).status, (await raw(path, { method })).headers.allow]).toEqual([405, allow]);
  expect((await call("/v1/buckets")).status).toBe(200);
});

test("the limit of time for requests is only raised while a body of an object is under way", () => {
  const server = { requestTimeout: 120 };
  const uploads = new Uploads(120, 7_200);
  uploads.serve(server);
  const [first, second] = [uploads.begin(), uploads.begin()];
  expect(server.requestTimeout).toBe(7_200);
  first();
  expect(server.requestTimeout).toBe(7_200);
  second();
  expect(server.requestTimeout).toBe(120);
});

const INFO = {
  bucket: "orders",
  key: "a",
  version: "1",
  size: 0,
  etag: '"x"',
  contentType: "text/plain",
  metadata: {},
  modifiedAt: 0,
};
