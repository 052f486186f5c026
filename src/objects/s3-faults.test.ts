import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { openInS3, type S3Store } from "../../test/support/s3-objects.ts";
import { S3Server } from "../../test/support/s3-server.ts";
import type { LockstepError } from "../lib/errors.ts";
import type { EventBody } from "../protocol/events.ts";
import { at, bytesOf, change, noise, put, read, remove, stage } from "../testing/object-store-fixtures.ts";

let server: S3Server;
let open: S3Store;

beforeEach(async () => {
  server = await S3Server.start();
  open = await openInS3(server);
});

afterEach(async () => {
  await open.close();
  await server.stop();
});

const codeOf = async (work: Promise<unknown>): Promise<string> => {
  try {
    await work;
    return "none";
  } catch (error) {
    return (error as LockstepError).code;
  }
};

const told = (events: EventBody[]): string[] =>
  events.map((event) => {
    if (event.type === "object.put") return `put ${event.object.key} ${event.object.size}`;
    return event.type === "object.deleted" ? `deleted ${event.key}` : event.type;
  });

const notifyAll = async (): Promise<void> => {
  for (const notification of server.notifications) await open.store.notify(notification);
};

describe("what S3 refuses has a code:", () => {
  test.each([
    ["AccessDenied", 403, "STORAGE_UNAVAILABLE"],
    ["SlowDown", 503, "STORAGE_UNAVAILABLE"],
    ["InternalError", 500, "STORAGE_UNAVAILABLE"],
    ["InvalidBucketName", 400, "BUCKET_NAME_INVALID"],
    ["KeyTooLongError", 400, "OBJECT_KEY_INVALID"],
    ["QuotaExceeded", 400, "STORAGE_FULL"],
    ["XMinioStorageFull", 507, "STORAGE_FULL"],
  ])("%s is %i and %s", async (code, status, expected) => {
    server.fault = () => ({ code, status });
    expect(await codeOf(stage(open.store, at("a"), "x"))).toBe(expected);
    expect(await codeOf(open.store.list("orders", { prefix: "", limit: 1 }))).toBe(expected);
  });

  test("a server that hangs, or cuts connections, is unavailable", async () => {
    await open.close();
    open = await openInS3(server, { timeoutMs: 100 });
    server.fault = () => "hang";
    expect(await codeOf(open.store.head(at("a")))).toBe("STORAGE_UNAVAILABLE");
    server.fault = () => "reset";
    expect(await codeOf(open.store.open(at("a")))).toBe("STORAGE_UNAVAILABLE");
    await server.stop();
    expect(await codeOf(open.store.head(at("a")))).toBe("STORAGE_UNAVAILABLE");
    server = await S3Server.start();
  });

  test("a body that is cut off is an error, and never looks whole", async () => {
    await put(open.store, at("large"), noise(300_000));
    const { body } = await open.store.open(at("large"));
    const stored = server.buckets.get("orders")?.get("large");
    expect(stored).toBeDefined();
    // The server's own connection ends in the middle of the body.
    const chunks = body[Symbol.asyncIterator]();
    await chunks.next();
    await server.stop();
    expect(await codeOf(bytesOf({ [Symbol.asyncIterator]: () => chunks }))).toMatch(/none|STORAGE_UNAVAILABLE/);
    server = await S3Server.start();
  });
});

test("a bucket is made when it is first needed, and made again when it has gone", async () => {
  await put(open.store, at("a"), "1");
  expect([...server.buckets.keys()]).toEqual(["orders"]);
  server.buckets.clear();
  await put(open.store, at("b"), "2");
  expect(await read(open.store, at("b"))).toBe("2");
});

test("an upload that fails leaves nothing in S3", async () => {
  server.fault = ({ operation }) => (operation === "UploadPart" ? { code: "AccessDenied", status: 403 } : undefined);
  expect(await codeOf(stage(open.store, at("a"), "x"))).toBe("STORAGE_UNAVAILABLE");
  expect(server.uploads.size).toBe(0);
});

test("a PUT is carried out when S3 answers again, once, and told once", async () => {
  let failures = 3;
  server.fault = ({ operation }) =>
    operation === "CompleteMultipartUpload" && failures-- > 0 ? { code: "SlowDown", status: 503 } : undefined;
  const info = await put(open.store, at("a"), "one");
  expect(info.size).toBe(3);
  expect(await told(await open.events())).toEqual(["put a 3"]);
  expect(open.reports).toHaveLength(3);
});

test("a PUT whose answer was lost is recognized", async () => {
  let lost = false;
  server.fault = ({ operation }) => {
    if (operation !== "CompleteMultipartUpload" || lost) return undefined;
    lost = true;
    return { after: "reset" };
  };
  await put(open.store, at("a"), "one");
  expect(told(await open.events())).toEqual(["put a 3"]);
  expect(server.operations().filter((operation) => operation === "CompleteMultipartUpload")).toHaveLength(1);
});

describe("killed while S3", () => {
  const kinds = [
    ["has not heard of it", "hang"],
    ["has done it and not said so", { after: "hang" as const }],
  ] as const;

  test.each(kinds)("%s: a PUT is carried out by the next life, and told once", async (_, fault) => {
    server.fault = ({ operation }) => (operation === "CompleteMultipartUpload" ? fault : undefined);
    const staged = await stage(open.store, at("a"), "one");
    change(open.store, { place: at("a"), staged, ifNoneMatch: "*" }).catch(() => undefined);
    await vi.waitFor(() => expect(server.operations()).toContain("CompleteMultipartUpload"));
    server.fault = () => undefined;
    open = await open.crash();
    await vi.waitFor(async () => expect(told(await open.events())).toEqual(["put a 3"]));
    expect(await read(open.store, at("a"))).toBe("one");
    await notifyAll();
    expect(told(await open.events())).toEqual(["put a 3"]);
    open = await open.crash();
    await put(open.store, at("b"), "2");
    expect(told(await open.events())).toEqual(["put a 3", "put b 1"]);
  });

  test.each(kinds)("%s: a deletion is carried out by the next life, and told once", async (_, fault) => {
    await put(open.store, at("a"), "one");
    server.fault = ({ operation }) => (operation === "DeleteObject" ? fault : undefined);
    remove(open.store, at("a")).catch(() => undefined);
    await vi.waitFor(() => expect(server.operations()).toContain("DeleteObject"));
    server.fault = () => undefined;
    open = await open.crash();
    await vi.waitFor(async () => expect(told(await open.events())).toEqual(["put a 3", "deleted a"]));
    expect(await open.store.head(at("a"))).toBeUndefined();
    await notifyAll();
    expect(told(await open.events())).toEqual(["put a 3", "deleted a"]);
  });

  test("waits with several changes of a key: they are made in their order", async () => {
    server.fault = ({ operation }) => (operation === "CompleteMultipartUpload" ? "hang" : undefined);
    const bodies = ["1", "22", "333"];
    const staged = await Promise.all(bodies.map((body) => stage(open.store, at("a"), body)));
    for (const one of staged) change(open.store, { place: at("a"), staged: one }).catch(() => undefined);
    await vi.waitFor(() => expect(server.operations()).toContain("CompleteMultipartUpload"));
    server.fault = () => undefined;
    open = await open.crash();
    await vi.waitFor(async () => expect(told(await open.events())).toEqual(["put a 1", "put a 2", "put a 3"]));
    expect(await read(open.store, at("a"))).toBe("333");
  });
});

test("a call's PUT that S3 refuses after the call has succeeded is told", async () => {
  const staged = await stage(open.store, at("a"), "one");
  server.fault = ({ operation }) => (operation === "CompleteMultipartUpload" ? { code: "AccessDenied", status: 403 } : undefined);
  expect(await codeOf(change(open.store, { place: at("a"), staged, run: "run_1" }))).toBe("STORAGE_UNAVAILABLE");
  expect(await open.events()).toEqual([
    {
      type: "object.refused",
      bucket: "orders",
      key: "a",
      run: "run_1",
      failure: { code: "STORAGE_UNAVAILABLE", message: expect.stringContaining("AccessDenied") },
    },
  ]);
  open = await open.crash();
  expect(await open.events()).toHaveLength(1);
  expect(server.uploads.size).toBe(0);
});

test("uploads that were left behind a day ago are ended, those of today are not", async () => {
  await put(open.store, at("there"), "1");
  await stage(open.store, at("old"), "x");
  await stage(open.store, at("new"), "x");
  for (const upload of server.uploads.values()) if (upload.key === "old") upload.initiated = new Date(Date.now() - 25 * 3_600_000);
  open = await open.crash();
  await vi.waitFor(() => expect([...server.uploads.values()].map(({ key }) => key)).toEqual(["new"]));
});

describe("notifications:", () => {
  /** Somebody else's client. */
  const foreign = async (key: string, body: string, method = "PUT"): Promise<void> => {
    await fetch(`${server.url}/orders/${key}`, method === "PUT" ? { method, body } : { method });
  };

  beforeEach(() => open.store.ensureBucket("orders"));

  test.each([false, true])("of one's own PUTs and deletions nothing follows, however often they come (versions: %s)", async (versioned) => {
    server.versioned = versioned;
    await put(open.store, at("a"), "same");
    await put(open.store, at("a"), "same");
    await remove(open.store, at("a"));
    await notifyAll();
    await notifyAll();
    open = await open.crash();
    await notifyAll();
    expect(told(await open.events())).toEqual(["put a 4", "put a 4", "deleted a"]);
  });

  test.each([false, true])("what others put is told once for each version (versions: %s)", async (versioned) => {
    server.versioned = versioned;
    await foreign("in/b", "one");
    await foreign("in/b", "one");
    await notifyAll();
    await notifyAll();
    open = await open.crash();
    await notifyAll();
    await foreign("in/b", "", "DELETE");
    await notifyAll();
    expect(told(await open.events())).toEqual(["put in/b 3", "put in/b 3", "deleted in/b"]);
  });

  test("one that comes before the PUT's own answer waits for it", async () => {
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const commit = open.journal.commit.bind(open.journal);
    let isLate = false;
    open.journal.commit = async (batch) => {
      if (batch.events.length > 0 && !isLate) {
        isLate = true;
        await held;
      }
      return commit(batch);
    };
    const putting = put(open.store, at("a"), "one");
    await vi.waitFor(() => expect(server.notifications).toHaveLength(1));
    const notifying = notifyAll();
    release();
    await Promise.all([putting, notifying]);
    expect(told(await open.events())).toEqual(["put a 3"]);
  });

  test("what is told of somebody else's bucket, or is no change of an object, is passed over", async () => {
    const record = (eventName: string, bucket: string) => ({
      eventName,
      s3: { bucket: { name: bucket }, object: { key: "a", sequencer: "1" } },
    });
    expect(await open.store.notify({ Service: "Amazon S3", Event: "s3:TestEvent" })).toBe(0);
    expect(await open.store.notify({ Records: [record("s3:ObjectAccessed:Get", "orders")] })).toBe(0);
    await open.close();
    open = await openInS3(server, { bucketPrefix: "acme-" });
    expect(await open.store.notify({ Records: [record("ObjectCreated:Put", "orders")] })).toBe(1);
    expect(await open.events()).toEqual([]);
  });

  test("one that came by way of SNS is understood, and its key with its odd characters", async () => {
    await foreign(encodeURIComponent("größe +1/a b"), "12345");
    const [notification] = server.notifications;
    await open.store.notify({ Type: "Notification", Message: JSON.stringify(notification) });
    expect(await open.events()).toMatchObject([{ type: "object.put", object: { key: "größe +1/a b", size: 5 } }]);
  });

  test.each([
    [null],
    [{ Records: "no" }],
    [{ Records: [{ eventName: 7 }] }],
    [{ Records: [{ eventName: "ObjectCreated:Put", s3: {} }] }],
    [{ Records: [{ eventName: "ObjectCreated:Put", s3: { bucket: { name: "orders" }, object: { key: "%" } } }] }],
    [{ Type: "Notification", Message: "no json" }],
  ])("%j is refused", async (notification) => {
    expect(await codeOf(open.store.notify(notification))).toBe("BAD_REQUEST");
  });
});
