import { expect, test, vi } from "vitest";
import { open } from "../../test/support/gateway.ts";
import { createClient } from "./client.ts";
import type { ClientError } from "./errors.ts";

const connected = async () => {
  const { gateway, plane } = await open();
  return { plane, objects: createClient({ url: gateway.url }).objects };
};

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "none",
    (error: ClientError) => error.code,
  );

test("an object is put, told of, read as a whole and in part, copied, listed and deleted", async () => {
  const { objects } = await connected();
  const key = "incoming/../größe 1.json";
  const metadata = { author: "Zoë % 1" };
  const info = await objects.put("orders", key, '{"seat":12}', { contentType: "application/json", metadata });
  expect(info).toMatchObject({ bucket: "orders", key, size: 11, contentType: "application/json", metadata });
  expect(await objects.head("orders", key)).toEqual({ ...info, modifiedAt: 1_700_000_000_000 });
  const got = await objects.get("orders", key);
  expect([got.info, await got.json()]).toEqual([info, { seat: 12 }]);
  const part = await objects.get("orders", key, { range: { start: -3 } });
  expect([part.range, part.info.size, await part.text()]).toEqual([{ start: 8, end: 10 }, 11, "12}"]);
  await objects.copy({ bucket: "orders", key }, { bucket: "orders", key: "copy" });
  expect((await objects.list("orders")).objects.map((object) => object.key)).toEqual(["copy", key]);
  expect([await objects.delete("orders", key), await objects.delete("orders", key)]).toEqual([true, false]);
  expect(await objects.head("orders", key)).toBeUndefined();
  expect(await codeOf(objects.get("orders", key))).toBe("UNKNOWN_OBJECT");
});

test("bytes and streams are put as they are", async () => {
  const { objects } = await connected();
  const bytes = Uint8Array.from({ length: 300_000 }, (_, i) => i);
  await objects.put("orders", "bytes", bytes);
  expect(await (await objects.get("orders", "bytes")).bytes()).toEqual(bytes);
  await objects.put("orders", "stream", new Blob([bytes, bytes]).stream());
  expect((await objects.head("orders", "stream"))?.size).toBe(600_000);
});

test("conditions are kept", async () => {
  const { objects } = await connected();
  const { etag } = await objects.put("orders", "a", "one");
  expect(await codeOf(objects.put("orders", "a", "two", { ifNoneMatch: "*" }))).toBe("PRECONDITION_FAILED");
  expect((await objects.put("orders", "a", "two", { ifMatch: etag })).size).toBe(3);
  expect(await codeOf(objects.delete("orders", "a", { ifMatch: etag }))).toBe("PRECONDITION_FAILED");
});

test("what no header can hold is refused by name, and not taken for a lost connection", async () => {
  const { objects } = await connected();
  const put = (options: object) => objects.put("orders", "1", "x", options);
  await expect(put({ metadata: { "a b": "1" } })).rejects.toMatchObject({ code: "BAD_REQUEST", message: expect.stringContaining("a b") });
  await expect(put({ contentType: "text/plain\r\nx: y" })).rejects.toMatchObject({ code: "BAD_REQUEST" });
  await expect(put({ idempotencyKey: "☃" })).rejects.toMatchObject({ code: "BAD_REQUEST" });
});

test("a name that fetch would take out of the address is refused", async () => {
  const { objects, plane } = await connected();
  const before = plane.asked.length;
  expect(await codeOf(objects.delete("orders", ".."))).toBe("BAD_REQUEST");
  expect(await codeOf(objects.get("..", "a"))).toBe("BAD_REQUEST");
  expect(await codeOf(objects.list("."))).toBe("BAD_REQUEST");
  expect(plane.asked).toHaveLength(before);
});

test("buckets are created and listed", async () => {
  const { objects } = await connected();
  await objects.createBucket("reports");
  expect(await objects.buckets()).toEqual(["orders", "reports"]);
  expect(await codeOf(objects.list("none"))).toBe("UNKNOWN_BUCKET");
});

test("a PUT whose answer is lost is sent again under the same name; a stream is not", async () => {
  const { gateway, plane } = await open();
  const put = vi.spyOn(plane.objects, "put");
  let lost = 1;
  const flaky: typeof fetch = async (...request) => {
    const response = await fetch(...request);
    if (lost-- > 0) throw new TypeError("fetch failed", { cause: Object.assign(new Error("reset"), { code: "ECONNRESET" }) });
    return response;
  };
  const { objects } = createClient({ url: gateway.url, fetch: flaky });
  expect((await objects.put("orders", "a", "one")).size).toBe(3);
  const names = put.mock.calls.map(([, , , options]) => options.idempotencyKey);
  expect(names).toEqual([expect.stringMatching(/^[0-9a-f-]{36}$/), names[0]]);
  lost = 1;
  expect(await codeOf(objects.put("orders", "b", new Blob(["two"]).stream()))).toBe("NOT_CONNECTED");
  expect(put).toHaveBeenCalledTimes(3);
});
