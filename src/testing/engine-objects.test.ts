import type { FunctionContext } from "lockstep";
import { bucket, coordinator, fn, type LockstepError } from "lockstep";
import { createTestPlatform, type TestPlatform } from "lockstep/testing";
import { afterEach, describe, expect, test } from "vitest";

let t: TestPlatform;
const orders = bucket("orders");
const open = async (...application: unknown[]): Promise<TestPlatform> => {
  t = await createTestPlatform({ application: [orders, ...application] as never, patienceMs: 50 });
  return t;
};
afterEach(async () => {
  expect((await t.audit()).repaired).toBe(0);
  await t.stop();
});

const once = { attempts: 1, onExhausted: "fail" } as const;
const keys = async (name = "orders"): Promise<string[]> => (await t.controlPlane.objects.list(name, {})).objects.map(({ key }) => key);
const codeOf = (error: unknown): string => (error as LockstepError).code;

describe("objects in a function", () => {
  test("are put as text, bytes, a stream or JSON, and read back", async () => {
    const put = fn<void, unknown>("put", async (_, ctx) => {
      await ctx.objects.put("orders", "text", "grüße");
      await ctx.objects.put("orders", "bytes", new Uint8Array([1, 2, 3]), { contentType: "application/x-three", metadata: { a: "b" } });
      await ctx.objects.put(
        "orders",
        "stream",
        (async function* () {
          for (let i = 0; i < 5; i++) yield Buffer.alloc(200_000, i);
        })(),
      );
      return ctx.objects.put("orders", "json", { amount: 5 });
    });
    const read = fn<void, unknown>("read", async (_, ctx) => {
      const bytes = await ctx.objects.get("orders", "bytes");
      const stream = await (await ctx.objects.get("orders", "stream")).bytes();
      return {
        text: await (await ctx.objects.get("orders", "text")).text(),
        bytes: [...(await bytes.bytes())],
        info: { size: bytes.info.size, contentType: bytes.info.contentType, metadata: bytes.info.metadata },
        stream: [stream.length, stream[0], stream[999_999]],
        json: await (await ctx.objects.get("orders", "json")).json(),
        part: await (await ctx.objects.get("orders", "json", { start: 2, end: 7 })).text(),
        types: (await ctx.objects.list("orders")).objects.map(({ key, contentType }) => [key, contentType]),
        head: (await ctx.objects.head("orders", "text"))?.size,
        none: await ctx.objects.head("orders", "nothing"),
        missing: await ctx.objects.get("orders", "nothing").catch(codeOf),
        bucket: await ctx.objects.get("nowhere", "nothing").catch(codeOf),
      };
    });
    await open(put, read);
    expect(await t.call(put)).toMatchObject({ size: 12, etag: expect.stringMatching(/^".*"$/) as unknown });
    expect(await t.call(read)).toEqual({
      text: "grüße",
      bytes: [1, 2, 3],
      info: { size: 3, contentType: "application/x-three", metadata: { a: "b" } },
      stream: [1_000_000, 0, 4],
      json: { amount: 5 },
      part: "amount",
      types: [
        ["bytes", "application/x-three"],
        ["json", "application/json"],
        ["stream", "application/octet-stream"],
        ["text", "text/plain; charset=utf-8"],
      ],
      head: 7,
      missing: "UNKNOWN_OBJECT",
      bucket: "UNKNOWN_BUCKET",
    });
  });

  test("are published with the result, with the state that the call wrote", async () => {
    const started: unknown[] = [];
    const react = fn("react", (event: { object: { key: string } }) => void started.push(event.object.key), {
      on: { object: { bucket: "orders", prefix: "done/" } },
    });
    const work = fn<void, unknown>("work", async (_, ctx) => {
      await ctx.objects.put("orders", "done/1", "yes");
      await ctx.state.set("orders/1", "done");
      if (ctx.attempt < 3) throw new Error("after the put");
    });
    await open(work, react);
    await t.call(work);
    expect(await keys()).toEqual(["done/1"]);
    expect(started).toEqual(["done/1"]);
    const puts = (await t.events()).filter(({ type }) => type === "object.put");
    expect(puts).toHaveLength(1);
  });

  test("are deleted and copied with the result", async () => {
    const put = fn<void, unknown>("put", async (_, ctx) => {
      for (const key of ["a", "b"]) await ctx.objects.put("orders", key, key);
    });
    const move = fn(
      "move",
      async (fail: boolean, ctx) => {
        await ctx.objects.copy({ bucket: "orders", key: "a" }, { bucket: "orders", key: "c" });
        await ctx.objects.delete("orders", "a");
        await ctx.objects.delete("orders", "never-was");
        if (fail) throw new Error("no");
      },
      { retry: once },
    );
    await open(put, move);
    await t.call(put);
    await t.call(move, true).catch(() => undefined);
    expect(await keys()).toEqual(["a", "b"]);
    await t.call(move, false);
    expect(await keys()).toEqual(["b", "c"]);
  });

  test("with a condition that does not hold are refused; of two that met, one is", async () => {
    const claim = fn(
      "claim",
      async (who: string, ctx) => {
        const options = { ifNoneMatch: "*" } as const;
        return ctx.objects.put("orders", "lock", who, options).then(() => who, codeOf);
      },
      { retry: once },
    );
    const race = coordinator("race", (ctx) => Promise.all(["a", "b", "c"].map((who) => ctx.call(claim, who))));
    await open(claim, race);
    const results = await t.run(race);
    expect(results.filter((result) => result === "PRECONDITION_FAILED")).toHaveLength(2);
  });

  test("leave nothing open when the attempt is given up", async () => {
    const slow = fn<void, unknown>(
      "slow",
      async (_, ctx) => {
        await ctx.objects.put("orders", "a", "too late");
        await new Promise(() => {});
      },
      { timeoutMs: 500, retry: once },
    );
    await open(slow);
    expect(await t.call(slow).catch(codeOf)).toBe("CALL_TIMEOUT");
    expect(await keys()).toEqual([]);
  });

  test("of another application are denied, unless the definition lists them", async () => {
    const read = async (_: unknown, ctx: FunctionContext) => (await ctx.objects.get("archive", "a")).text();
    const sly = fn("sly", read, { retry: once });
    const open_ = fn("listed", read, { retry: once, permissions: { objects: ["read:archive/*"] } });
    const keep = fn<void, unknown>("keep", async (_, ctx) => void (await ctx.objects.put("archive", "a", "secret")));
    await open(sly, open_);
    await t.deploy([bucket("archive"), keep] as never, "store");
    await t.call(keep);
    const denied = await t.call(sly, 1).catch((error: Error) => error);
    expect(denied).toMatchObject({ code: "ACCESS_DENIED" });
    expect((denied as Error).message).toContain(
      'function "sly" of application "application" may not read object "archive/a", which belongs to application "store": permissions: { objects: ["read:archive/*"] }',
    );
    expect(await t.call(open_, 1)).toBe("secret");
  });

  test("are refused to those whose permissions don't list them", async () => {
    const touch = fn(
      "touch",
      async (op: string, ctx) => {
        if (op === "get") await ctx.objects.get("orders", "in/a");
        if (op === "put") await ctx.objects.put("orders", "in/a", "x");
        if (op === "delete") await ctx.objects.delete("orders", "in/a");
        if (op === "list") await ctx.objects.list("orders");
        if (op === "list in") await ctx.objects.list("orders", { prefix: "in/" });
        if (op === "copy") await ctx.objects.copy({ bucket: "orders", key: "in/a" }, { bucket: "orders", key: "out/b" });
        return "done";
      },
      { retry: once, permissions: { objects: ["read:orders/in/*"] } },
    );
    const put = fn<void, unknown>("put", async (_, ctx) => void (await ctx.objects.put("orders", "in/a", "x")));
    await open(touch, put);
    await t.call(put);
    const outcomes: Record<string, unknown> = {};
    for (const op of ["get", "list in", "put", "delete", "list", "copy"]) outcomes[op] = await t.call(touch, op).catch(codeOf);
    expect(outcomes).toEqual({
      get: "done",
      "list in": "done",
      put: "ACCESS_DENIED",
      delete: "ACCESS_DENIED",
      list: "ACCESS_DENIED",
      copy: "ACCESS_DENIED",
    });
  });
});
