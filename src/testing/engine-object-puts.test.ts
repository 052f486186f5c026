import { readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import * as sdk from "lockstep";
import { expect, test } from "vitest";
import { bucket, coordinator, fn } from "../application/definitions.ts";
import type { LockstepError } from "../lib/errors.ts";
import type { PlatformEvent } from "../protocol/events.ts";
import { chunked } from "./object-store-fixtures.ts";
import { createTestPlatform, type TestPlatform } from "./test-platform.ts";

const orders = bucket("orders");

const put = (platform: TestPlatform, key: string, text: string) =>
  platform.ask((plane) => plane.objects.put("orders", key, chunked(text), { contentType: "application/json" }));

const textOf = async (platform: TestPlatform, key: string): Promise<string> => {
  const { body } = await platform.ask((plane) => plane.objects.get("orders", key));
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
};

const events = async (platform: TestPlatform, type: PlatformEvent["type"]): Promise<PlatformEvent[]> =>
  (await platform.ask((plane) => plane.events(0, 1_000))).filter((event) => event.type === type);

const finished = async (platform: TestPlatform): Promise<unknown[]> => {
  const { runs } = await platform.ask((plane) => plane.runs({}, 1_000));
  return Promise.all(runs.reverse().map(async ({ id }) => (await platform.ask((plane) => plane.result(id, 60_000))).value));
};

test("a PUT starts the run that waits for such objects, with the object in its input", async () => {
  const confirm = coordinator(
    "confirm",
    async (_, input: { object: { key: string; size: number } }) => [input.object.key, input.object.size],
    { on: { object: { bucket: "orders", prefix: "incoming/", suffix: ".json" } } },
  );
  const platform = await createTestPlatform({ application: { orders, confirm } });
  await put(platform, "incoming/1.json", "{}");
  await put(platform, "incoming/readme.txt", "no");
  await put(platform, "elsewhere/2.json", "no");
  await put(platform, "incoming/3.json", "[]");
  expect(await finished(platform)).toEqual(['["incoming/1.json",2]', '["incoming/3.json",2]']);
  await platform.stop();
});

test("what a function puts is visible, and starts runs, only once its call has succeeded", async () => {
  let fails = true;
  const seen: (string | undefined)[] = [];
  const write = fn<void, number>(
    "write",
    async (_, ctx) => {
      await ctx.objects.put("orders", "incoming/a.json", { attempt: ctx.attempt });
      seen.push((await ctx.objects.head("orders", "incoming/a.json"))?.key);
      if (fails) {
        fails = false;
        throw new Error("at the end");
      }
      return ctx.attempt;
    },
    { retry: { attempts: 3, backoff: { initialMs: 10 } } },
  );
  const started = coordinator("started", async (_, input: { object: { etag: string } }) => input.object.etag, {
    on: { object: { bucket: "orders" } },
  });
  const platform = await createTestPlatform({ application: { orders, write, started } });
  expect(await platform.call(write)).toBe(2);
  await platform.settle();
  expect(seen).toEqual([undefined, undefined]);
  expect(JSON.parse(await textOf(platform, "incoming/a.json"))).toEqual({ attempt: 2 });
  const [event, ...more] = await events(platform, "object.put");
  expect(more).toEqual([]);
  expect(event).toMatchObject({ object: { key: "incoming/a.json" }, run: expect.stringMatching(/^run_/) });
  expect((await platform.ask((plane) => plane.runs({ name: "started" }, 10))).runs).toHaveLength(1);
  await platform.stop();
});

test("a function reads, copies, lists and deletes", async () => {
  const tidy = fn<void, unknown>("tidy", async (_, ctx) => {
    const order = await (await ctx.objects.get("orders", "incoming/1")).json<{ seat: number }>();
    await ctx.objects.copy({ bucket: "orders", key: "incoming/1" }, { bucket: "orders", key: "done/1" });
    await ctx.objects.delete("orders", "incoming/1");
    await ctx.objects.put("orders", "large", new Uint8Array(1_000_000).fill(7), { metadata: { Kind: "blob" } });
    const { objects } = await ctx.objects.list("orders", { prefix: "incoming/" });
    return [order.seat, objects.map(({ key }) => key)];
  });
  const platform = await createTestPlatform({ application: { orders, tidy } });
  await put(platform, "incoming/1", '{"seat":12}');
  await put(platform, "incoming/2", "x");
  expect(await platform.call(tidy)).toEqual([12, ["incoming/1", "incoming/2"]]);
  expect(await textOf(platform, "done/1")).toBe('{"seat":12}');
  const { objects } = await platform.ask((plane) => plane.objects.list("orders", {}));
  expect(objects.map(({ key, size }) => [key, size])).toEqual([
    ["done/1", 11],
    ["incoming/2", 1],
    ["large", 1_000_000],
  ]);
  expect(objects[2]?.metadata).toEqual({ kind: "blob" });
  expect(await events(platform, "object.deleted")).toMatchObject([{ key: "incoming/1", run: expect.any(String) }]);
  await platform.stop();
});

test("a function whose condition does not hold any more when its call commits is executed again", async () => {
  const attempts: string[] = [];
  const append = fn<void, string>("append", async (_, ctx) => {
    const before = await ctx.objects.get("orders", "log");
    const text = await before.text();
    await ctx.objects.put("orders", "log", `${text}+mine`, { ifMatch: before.info.etag });
    attempts.push(text);
    if (attempts.length === 1) await put(platform, "log", "theirs");
    return text;
  });
  const platform: TestPlatform = await createTestPlatform({ application: { orders, append }, patienceMs: 50 });
  await put(platform, "log", "first");
  expect(await platform.call(append)).toBe("theirs");
  expect(attempts).toEqual(["first", "theirs"]);
  expect(await textOf(platform, "log")).toBe("theirs+mine");
  await platform.stop();
});

test("a function learns that its condition does not hold, that a bucket or an object is missing, and that a name can be none", async () => {
  const careless = fn<void, string[]>("careless", async (_, ctx) => {
    const codeOf = (work: Promise<unknown>) =>
      work.then(
        () => "none",
        (error: unknown) => (error as LockstepError).code,
      );
    return [
      await codeOf(ctx.objects.put("orders", "a", "x", { ifNoneMatch: "*" })),
      await codeOf(ctx.objects.get("orders", "none")),
      await codeOf(ctx.objects.put("orders", "line\nbreak", "x")),
      await codeOf(ctx.objects.put("orders", "a", "x", { metadata: { "no name": "x" } })),
    ];
  });
  const platform = await createTestPlatform({ application: { orders, careless } });
  await put(platform, "a", "x");
  expect(await platform.call(careless)).toEqual(["PRECONDITION_FAILED", "UNKNOWN_OBJECT", "OBJECT_KEY_INVALID", "BAD_REQUEST"]);
  await platform.stop();
});

const started = fn("started", async (input: { object: { version: string } }) => input.object.version, {
  on: { object: { bucket: "orders" } },
});

const counts = async (platform: TestPlatform): Promise<number[]> => {
  const { objects } = await platform.ask((plane) => plane.objects.list("orders", {}));
  const { runs } = await platform.ask((plane) => plane.runs({}, 10));
  return [objects.length, (await events(platform, "object.put")).length, runs.length];
};

for (const point of ["before", "after"] as const) {
  test(`a PUT, its event and its run are one commit: a crash ${point} it leaves ${point === "before" ? "nothing" : "all"}`, async () => {
    const platform = await createTestPlatform({ application: { orders, started } });
    platform.crashAtCommit(1, point);
    platform.controlPlane.objects.put("orders", "a", chunked("1"), {}).catch(() => undefined);
    await platform.settle();
    expect(platform.crashes).toBe(1);
    expect(await counts(platform)).toEqual(point === "before" ? [0, 0, 0] : [1, 1, 1]);
    await platform.stop();
  });

  test(`a PUT that is named, and repeated when the platform died ${point} a commit, is one PUT`, async () => {
    for (const commits of [1, 2, 3]) {
      const platform = await createTestPlatform({ application: { orders, started } });
      platform.crashAtCommit(commits, point);
      const named = () => platform.ask((plane) => plane.objects.put("orders", "a", chunked("1"), { idempotencyKey: "put-1" }));
      expect((await named()).version).toBe((await named()).version);
      await platform.settle();
      expect(await counts(platform)).toEqual([1, 1, 1]);
      await platform.stop();
    }
  });
}

test("the application of docs/objects.md does what the page says", async () => {
  const page = readFileSync(new URL("../../docs/objects.md", import.meta.url), "utf8");
  const [, text = ""] = /^```ts\n(.*?)^```$/ms.exec(page) ?? [];
  const script = stripTypeScriptTypes(text)
    .replaceAll(/^import .*$/gm, "")
    .replaceAll("export ", "");
  const load = new Function(...Object.keys(sdk), `${script}; return { orders, confirm, confirmOrder };`);
  const platform = await createTestPlatform({ application: load(...Object.values(sdk)) });
  await put(platform, "incoming/17.json", '{"id":"17","seats":2}');
  expect(await finished(platform)).toEqual(["2"]);
  expect(JSON.parse(await textOf(platform, "confirmed/17.json"))).toEqual({ id: "17", seats: 2, confirmed: true });
  const { objects } = await platform.ask((plane) => plane.objects.list("orders", {}));
  expect(objects.map(({ key, metadata }) => [key, metadata.by])).toEqual([["confirmed/17.json", expect.stringMatching(/^run_.*\/1$/)]]);
  await platform.stop();
});
