import { describe, expect, test } from "vitest";
import { openJournaled } from "../../test/support/journaled-objects.ts";
import { type Clock, systemClock } from "../lib/clock.ts";
import { LockstepError } from "../lib/errors.ts";
import type { ObjectRequest, PutOptions } from "../protocol/objects.ts";
import { CHUNK_BYTES, MAX_WRITES } from "../protocol/requests.ts";
import { bytesOf, chunked, noise } from "../testing/object-store-fixtures.ts";
import { createStepClock } from "../testing/step-clock.ts";
import type { ObjectSession } from "./attempt.ts";
import { BucketRegister } from "./buckets.ts";
import { MemoryBytes } from "./memory.ts";
import type { ObjectPlace } from "./port.ts";
import { ObjectService } from "./service.ts";

interface Options {
  clock?: Clock;
  admit?: (place: ObjectPlace) => void;
  maxObjectBytes?: number;
  journal?: Awaited<ReturnType<typeof openJournaled>>["journal"];
}

const open = async ({ clock = systemClock, admit = () => undefined, maxObjectBytes = 1_000_000, journal }: Options = {}) => {
  const bytes = new MemoryBytes();
  const under = await openJournaled(() => bytes, journal);
  let version = 1_000;
  const rows = { rows: under.journal.state, turn: under.turn, now: () => clock.now(), nextVersion: () => ++version };
  const buckets = new BucketRegister({ ...rows, isDeclared: (bucket) => bucket === "orders", declared: () => ["orders"] });
  const parts = { store: under.store, buckets, clock, admit, report: (error: unknown) => under.reports.push(error) };
  const service = new ObjectService(parts, { maxObjectBytes, stallMs: 30_000, bodyMs: 60_000, publishMs: 30_000 });
  const put = (key: string, text: string, options: PutOptions = {}) => service.put("orders", key, chunked(text), options);
  return { ...under, service, put };
};

const failureOf = async (work: Promise<unknown> | (() => unknown)): Promise<LockstepError> => {
  try {
    await (typeof work === "function" ? work() : work);
  } catch (error) {
    return error as LockstepError;
  }
  throw new Error("nothing was thrown");
};

const codeOf = async (work: Promise<unknown> | (() => unknown)): Promise<string> => (await failureOf(work)).code;

const textOf = async (service: ObjectService, key: string): Promise<string> =>
  (await bytesOf((await service.get("orders", key)).body)).toString();

describe("buckets", () => {
  test("are those of applications and those that were created, which outlive a restart", async () => {
    const { service, journal } = await open();
    await service.createBucket("reports");
    await service.createBucket("reports");
    expect(await service.buckets()).toEqual(["orders", "reports"]);
    const next = await open({ journal: journal.reopen() });
    await next.service.put("reports", "a", chunked("x"), {});
    expect(await codeOf(next.service.put("none", "a", chunked("x"), {}))).toBe("UNKNOWN_BUCKET");
    expect(await codeOf(next.service.list("none", {}))).toBe("UNKNOWN_BUCKET");
  });

  test.each([
    "ab",
    "Orders",
    "a_b",
    "-ab",
    "ab-",
    "a..b",
    "a.-b",
    "192.168.0.1",
    "xn--orders",
    "a/b",
    "..",
    "a".repeat(64),
    "orders-s3alias",
  ])("%s can be none", async (name) => {
    const { service } = await open();
    expect(await codeOf(service.createBucket(name))).toBe("BUCKET_NAME_INVALID");
  });

  test.each(["abc", "a-b.c-d", "0rders9", "a".repeat(63)])("%s can be one", async (name) => {
    const { service } = await open();
    await service.createBucket(name);
    expect(await service.buckets()).toContain(name);
  });
});

describe("what is put is checked:", () => {
  test.each(["", ".", "..", "line\nbreak", "nul\0", "\u007f", "\u0085", "\ud800", "k".repeat(1_025), "ü".repeat(513)])(
    "the key %j",
    async (key) => {
      const { put } = await open();
      expect(await codeOf(put(key, "x"))).toBe("OBJECT_KEY_INVALID");
    },
  );

  test.each([
    [{ contentType: "text/plain\r\nx: y" }, "contentType"],
    [{ contentType: "" }, "contentType"],
    [{ metadata: { "a b": "x" } }, "metadata"],
    [{ metadata: { "lockstep-id": "x" } }, "metadata"],
    [{ metadata: { a: "x\ny" } }, "metadata.a"],
    [{ metadata: { a: "x".repeat(2_048) } }, "metadata"],
    [{ idempotencyKey: " " }, "idempotencyKey"],
  ] as [PutOptions, string][])("%j", async (options, field) => {
    const { put } = await open();
    expect(await failureOf(put("a", "x", options))).toMatchObject({ code: "BAD_REQUEST", details: { field } });
  });

  test("names of metadata are kept in lower case", async () => {
    const { put } = await open();
    expect((await put("a", "x", { metadata: { Author: "K" } })).metadata).toEqual({ author: "K" });
  });

  test("its size, on the way", async () => {
    const { service, journal } = await open({ maxObjectBytes: 1_000 });
    let taken = 0;
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (;;) {
        taken++;
        yield Buffer.alloc(100);
      }
    }
    expect(await codeOf(service.put("orders", "a", endless(), {}))).toBe("PAYLOAD_TOO_LARGE");
    expect(taken).toBe(11);
    expect(await journal.state.list("$objects", "", 10)).toEqual([]);
  });

  test("its time: a body that brings nothing, or takes too long, is given up", async () => {
    const clock = createStepClock(1_000);
    const { service } = await open({ clock });
    const hanging: AsyncIterable<Uint8Array> = { [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => undefined) }) };
    const stalled = failureOf(service.put("orders", "a", hanging, {}));
    await expect.poll(() => clock.timers).toBe(1);
    clock.advance(30_000);
    expect(await stalled).toMatchObject({ code: "BAD_REQUEST", message: "the body brought nothing for 30000 ms" });

    async function* crumbs(): AsyncGenerator<Uint8Array> {
      for (;;) {
        clock.pause(10_000);
        yield Buffer.from("x");
      }
    }
    expect(await failureOf(service.put("orders", "a", crumbs(), {}))).toMatchObject({ message: "the body took too long" });
  });

  test("whether there is room for the runs that it would start", async () => {
    const admit = ({ key }: ObjectPlace): void => {
      if (key.startsWith("in/")) throw new LockstepError("OVERLOADED", "full");
    };
    const { put, service } = await open({ admit });
    await put("a", "x");
    expect(await codeOf(put("in/a", "x"))).toBe("OVERLOADED");
    expect(await codeOf(service.copy({ bucket: "orders", key: "a" }, { bucket: "orders", key: "in/a" }))).toBe("OVERLOADED");
  });
});

test("a condition that does not hold is refused before the body is read", async () => {
  const { put, service } = await open();
  await put("a", "one");
  async function* untouched(): AsyncGenerator<Uint8Array> {
    yield Buffer.from("x");
    throw new Error("it was read");
  }
  expect(await codeOf(service.put("orders", "a", untouched(), { ifNoneMatch: "*" }))).toBe("PRECONDITION_FAILED");
  expect(await codeOf(service.put("orders", "a", untouched(), { ifMatch: '"x"' }))).toBe("PRECONDITION_FAILED");
  expect(await codeOf(service.delete("orders", "a", { ifMatch: '"x"' }))).toBe("PRECONDITION_FAILED");
  expect(await textOf(service, "a")).toBe("one");
});

test("a PUT that is named is made once, also when it is repeated at the same time", async () => {
  const { put, events } = await open();
  const [first, second] = await Promise.all([put("a", "1", { idempotencyKey: "k" }), put("a", "1", { idempotencyKey: "k" })]);
  expect(second).toEqual(first);
  expect((await put("a", "1", { idempotencyKey: "k" })).version).toBe(first.version);
  expect(await events()).toHaveLength(1);
  await put("a", "2");
  expect((await put("a", "1", { idempotencyKey: "k" })).version).not.toBe(first.version);
});

test("listings have cursors, and refuse what is none", async () => {
  const { put, service } = await open();
  for (const key of ["a", "b", "ü/c"]) await put(key, key);
  const first = await service.list("orders", { limit: 2 });
  expect(first.objects.map(({ key }) => key)).toEqual(["a", "b"]);
  const second = await service.list("orders", { limit: 2, cursor: first.cursor as string });
  expect([second.objects.map(({ key }) => key), second.cursor]).toEqual([["ü/c"], undefined]);
  expect(await codeOf(service.list("orders", { cursor: "%%" }))).toBe("BAD_REQUEST");
});

test("a platform that keeps its objects itself takes no notifications", async () => {
  const { service } = await open();
  expect(await codeOf(service.notify({ Records: [] }))).toBe("BAD_REQUEST");
});

describe("an attempt", () => {
  const at = { bucket: "orders", key: "a" };

  const attempt = async (options: Options = {}) => {
    const under = await open(options);
    const session = under.service.session("run_1");
    const ask = async (request: ObjectRequest, as: ObjectSession = session): Promise<Record<string, unknown>> => {
      const { value, data } = await under.service.serve(as, request);
      return { ...(value === "" ? {} : JSON.parse(value)), ...(data === undefined ? {} : { data: Buffer.from(data) }) };
    };
    const put = async (key: string, text: string, more: PutOptions = {}): Promise<number> => {
      const { handle } = await ask({ op: "object-put", bucket: "orders", key, options: more });
      for await (const data of chunked(text)) await ask({ op: "object-write", handle: handle as number, data });
      await ask({ op: "object-close", handle: handle as number });
      return handle as number;
    };
    return { ...under, session, ask, stagePut: put };
  };

  test("stages, and publishes with its events, in order", async () => {
    const { service, session, stagePut, ask, events, put } = await attempt();
    await put("old", "x");
    const first = await stagePut("a", "one");
    const second = await stagePut("b", "two");
    expect(await ask({ op: "object-delete", bucket: "orders", key: "old" })).toEqual({ existed: true });
    const writes = [
      { op: "put", handle: second },
      { op: "delete", bucket: "orders", key: "old" },
      { op: "put", handle: first },
    ] as const;
    expect(service.holds(session, writes)).toBe(true);
    service.publish(session, writes);
    service.close(session);
    expect(await textOf(service, "a")).toBe("one");
    expect(await codeOf(service.get("orders", "old"))).toBe("UNKNOWN_OBJECT");
    const told = (await events()).slice(1);
    expect(told.map((event) => [event.type, (event as { run?: string }).run])).toEqual([
      ["object.put", "run_1"],
      ["object.deleted", "run_1"],
      ["object.put", "run_1"],
    ]);
  });

  test("that fails leaves nothing", async () => {
    const { service, session, stagePut, events } = await attempt();
    await stagePut("a", "one");
    service.close(session);
    expect(await codeOf(service.get("orders", "a"))).toBe("UNKNOWN_OBJECT");
    expect(await events()).toEqual([]);
    expect(await codeOf(service.serve(session, { op: "object-get", bucket: "orders", key: "a" }))).toBe("BAD_REQUEST");
  });

  test("reads in chunks of bounded size, one after the other, to the end", async () => {
    const { service, ask } = await attempt();
    const bytes = noise(600_000);
    await service.put("orders", "a", chunked(bytes, 600_000), {});
    const { handle, info } = await ask({ op: "object-get", ...at });
    expect((info as { size: number }).size).toBe(600_000);
    const read = { op: "object-read", handle: handle as number } as const;
    const data: Buffer[] = [];
    // Several at a time: they are answered in order all the same.
    while (data.at(-1)?.length !== 0) {
      for (const chunk of await Promise.all([ask(read), ask(read)])) data.push(chunk.data as Buffer);
    }
    expect(Buffer.concat(data).equals(bytes)).toBe(true);
    expect(Math.max(...data.map(({ length }) => length))).toBeLessThanOrEqual(CHUNK_BYTES);
    // After the end there is nothing to read, and no handle to keep.
    expect(await codeOf(ask(read))).toBe("BAD_REQUEST");
  });

  test("is told to look again when a condition does not hold any more", async () => {
    const { service, session, stagePut, put, ask } = await attempt();
    const handle = await stagePut("a", "mine", { ifNoneMatch: "*" });
    await put("a", "theirs");
    expect(service.holds(session, [{ op: "put", handle }])).toBe(false);
    expect(await codeOf(ask({ op: "object-put", ...at, options: { ifNoneMatch: "*" } }))).toBe("PRECONDITION_FAILED");
  });

  test("can publish only what it has staged and announced", async () => {
    const { service, session, stagePut, ask } = await attempt();
    const handle = await stagePut("a", "one");
    const { handle: open } = await ask({ op: "object-put", bucket: "orders", key: "b", options: {} });
    for (const writes of [
      [{ op: "put", handle: 99 }],
      [{ op: "put", handle: open as number }],
      [
        { op: "put", handle },
        { op: "put", handle },
      ],
      [{ op: "delete", ...at }],
    ] as Parameters<ObjectService["holds"]>[1][]) {
      expect(await codeOf(() => service.holds(session, writes))).toBe("BAD_REQUEST");
    }
  });

  test("can't write after the end, read what it writes, or use what it has dropped", async () => {
    const { stagePut, ask } = await attempt();
    const handle = await stagePut("a", "one");
    expect(await codeOf(ask({ op: "object-write", handle, data: Buffer.from("x") }))).toBe("BAD_REQUEST");
    expect(await codeOf(ask({ op: "object-read", handle }))).toBe("BAD_REQUEST");
    await ask({ op: "object-drop", handle });
    expect(await codeOf(ask({ op: "object-close", handle }))).toBe("BAD_REQUEST");
  });

  test("that writes more than an object may have is told, and stages nothing", async () => {
    const { ask } = await attempt({ maxObjectBytes: 100 });
    const { handle } = await ask({ op: "object-put", ...at, options: {} });
    const write = () => ask({ op: "object-write", handle: handle as number, data: Buffer.alloc(60) });
    await write();
    await write();
    expect(await codeOf(ask({ op: "object-close", handle: handle as number }))).toBe("PAYLOAD_TOO_LARGE");
  });

  test("can't have more bodies open, objects staged or chunks on their way than the limits say", async () => {
    const { ask } = await attempt();
    const opened = await Promise.allSettled(
      Array.from({ length: 100 }, (_, i) => ask({ op: "object-put", bucket: "orders", key: String(i), options: {} })),
    );
    expect(opened.filter(({ status }) => status === "fulfilled")).toHaveLength(64);
    const flood = await Promise.allSettled(
      Array.from({ length: 100 }, () => ask({ op: "object-write", handle: 1, data: Buffer.alloc(10) })),
    );
    expect(flood.some(({ status }) => status === "rejected")).toBe(true);
  });

  test(`can stage ${MAX_WRITES} objects and no more`, async () => {
    const { stagePut } = await attempt();
    for (let i = 0; i < MAX_WRITES; i++) await stagePut(String(i), "");
    expect(await codeOf(stagePut("one more", ""))).toBe("BAD_REQUEST");
  });

  test("that ends while a body is opened for it keeps nothing open", async () => {
    const { service, session, put, ask } = await attempt();
    await put("a", "one");
    const opening = codeOf(ask({ op: "object-get", ...at }));
    service.close(session);
    expect(await opening).toBe("BAD_REQUEST");
    expect(session.handles.size).toBe(0);
  });

  test("copies an object, which is published like a PUT", async () => {
    const { service, session, put, ask } = await attempt();
    await put("a", "one", { contentType: "text/csv" });
    const { handle, size } = await ask({ op: "object-copy", ...at, to: { bucket: "orders", key: "b" } });
    expect([size, await codeOf(service.get("orders", "b"))]).toEqual([3, "UNKNOWN_OBJECT"]);
    const writes = [{ op: "put", handle: handle as number }] as const;
    service.holds(session, writes);
    service.publish(session, writes);
    service.close(session);
    expect((await service.head("orders", "b")).contentType).toBe("text/csv");
    expect(await codeOf(ask({ op: "object-copy", bucket: "orders", key: "none", to: at }, service.session()))).toBe("UNKNOWN_OBJECT");
  });

  test("hears nothing of what is not there", async () => {
    const { ask } = await attempt();
    expect(await ask({ op: "object-head", ...at })).toEqual({});
    expect(await ask({ op: "object-delete", ...at })).toEqual({ existed: false });
    expect(await ask({ op: "object-list", bucket: "orders" })).toEqual({ objects: [] });
    expect(await codeOf(ask({ op: "object-get", bucket: "none", key: "a" }))).toBe("UNKNOWN_BUCKET");
  });
});
