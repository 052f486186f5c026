import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { table } from "../application/definitions.ts";
import { StaleStateError } from "../application/errors.ts";
import { compareUtf8 } from "../lib/utf8.ts";
import type { FromPod } from "../protocol/pod.ts";
import type { StateEntry, StateRead } from "../protocol/state.ts";
import { type Answer, Requests } from "./requests.ts";
import { StateView } from "./state-view.ts";
import { Transaction } from "./transaction.ts";

type Asked = FromPod & { t: "request" };

/** A store that holds `committed`, as the control plane would answer. */
const setUp = (committed: Record<string, unknown> = {}, tables = new Map()) => {
  const asked: StateRead[] = [];
  const stale = new Map<string, object>();
  const entries = (): StateEntry[] =>
    Object.entries(committed)
      .map(([key, value]) => ({
        key,
        value: JSON.stringify(value),
        version: 7,
        ...(stale.has(key) ? { stale: stale.get(key) as never } : {}),
      }))
      .sort((a, b) => compareUtf8(a.key, b.key));
  const answer = (ask: StateRead): unknown => {
    if (ask.op === "list") {
      const { prefix, after, limit } = ask;
      const found = entries().filter(({ key }) => key.startsWith(prefix) && (after === undefined || compareUtf8(key, after) > 0));
      return found.slice(0, limit);
    }
    return entries().find(({ key }) => key === ask.key) ?? { key: ask.key, value: "", version: 0 };
  };
  const requests: Requests = new Requests(3, (message) => {
    const { id, ask } = message as Asked;
    asked.push(ask as StateRead);
    const refused = ask.op === "get" && stale.has(ask.key) && ask.stale !== "allow";
    const failure = refused
      ? JSON.stringify({ code: "STATE_STALE", message: "stale", details: { key: "k", stale: { function: "pay" } } })
      : "";
    const found = answer(ask as StateRead);
    const { value, version, stale: mark } = found as StateEntry;
    const isPlain = ask.op === "get" && !refused && mark === undefined;
    const reply = { t: "reply" as const, lease: 3, id, value: JSON.stringify(found), failure };
    queueMicrotask(() => requests.take(isPlain ? { t: "got", lease: 3, id, value, version } : reply));
  });
  const transaction = new Transaction(requests, 1_000);
  const state = new StateView(transaction, { tables, maxPayloadBytes: 1_000 });
  return { asked, stale, requests, transaction, state };
};

describe("a transaction", () => {
  test("keeps writes until the end, and asks for nothing that it has", async () => {
    const { state, transaction, asked } = setUp({ "a/1": 1 });
    await state.set("a/1", 2, { ttlMs: 50 });
    await state.delete("a/2");
    await state.set("a/1", 3);
    expect([(await state.get("a/1")).value, (await state.get("a/2")).value]).toEqual([3, undefined]);
    expect(asked).toEqual([]);
    expect(transaction.writes).toEqual([{ key: "a/1", value: "3" }, { key: "a/2" }]);
  });

  test("gives values with their versions and freshness", async () => {
    const { state, stale } = setUp({ "a/1": { x: 1 } });
    expect(await state.get("a/1")).toEqual({ key: "a/1", value: { x: 1 }, version: 7, freshness: { stale: false } });
    expect(await state.get("a/2")).toEqual({ key: "a/2", value: undefined, version: 0, freshness: { stale: false } });
    stale.set("a/1", { function: "pay", fault: "timeout" });
    await expect(state.get("a/1")).rejects.toBeInstanceOf(StaleStateError);
    expect(await state.get("a/1", { stale: "allow" })).toMatchObject({ freshness: { stale: true, function: "pay", fault: "timeout" } });
  });

  test("shows a key that it has refreshed as fresh, with its value", async () => {
    const { state, stale, transaction } = setUp({ "a/1": 1 });
    stale.set("a/1", { function: "pay" });
    await state.refresh("a/1");
    expect(await state.get("a/1")).toMatchObject({ value: 1, freshness: { stale: false } });
    expect((await state.list("a/"))[0]).toMatchObject({ value: 1, freshness: { stale: false } });
    expect(transaction.writes).toEqual([{ key: "a/1", refresh: true }]);
    await state.set("a/1", 2);
    await state.refresh("a/1");
    expect(transaction.writes).toEqual([{ key: "a/1", value: "2" }]);
  });

  test("updates a key in the order in which it was asked to, each on what the one before made", async () => {
    const { state, transaction } = setUp({ "a/1": 1 });
    const results = await Promise.all([1, 2, 3].map(() => state.update<number>("a/1", (n) => (n as number) * 2)));
    expect(results).toEqual([2, 4, 8]);
    expect(await state.update<number>("a/1", () => undefined)).toBeUndefined();
    expect(transaction.writes).toEqual([{ key: "a/1" }]);
  });

  test("goes on with a key after an update of it has failed", async () => {
    const { state } = setUp({ "a/1": 1 });
    const failing = state.update("a/1", () => {
      throw new Error("no");
    });
    const next = state.update<number>("a/1", (n) => (n as number) + 1);
    await expect(failing).rejects.toThrow("no");
    expect(await next).toBe(2);
    await expect(state.update("a/1", (async () => 1) as never)).rejects.toThrow("not a promise");
  });

  test("lists what there would be after it, in order, whatever is committed and written (against a model)", async () => {
    const key = fc
      .string({ unit: fc.constantFrom("a", "b", "\u{1F600}", "\uFFFD"), minLength: 1, maxLength: 3 })
      .map((text) => `t/${text}`);
    await fc.assert(
      fc.asyncProperty(
        fc.dictionary(key, fc.integer(), { maxKeys: 20 }),
        fc.array(fc.tuple(key, fc.option(fc.integer(), { nil: undefined })), { maxLength: 20 }),
        fc.integer({ min: 1, max: 8 }),
        fc.option(key, { nil: undefined }),
        async (committed, writes, limit, after) => {
          const { state } = setUp(committed);
          const model = new Map<string, unknown>(Object.entries(committed));
          for (const [at, value] of writes) {
            if (value === undefined) await state.delete(at);
            else await state.set(at, value);
            if (value === undefined) model.delete(at);
            else model.set(at, value);
          }
          const expected = [...model]
            .sort(([a], [b]) => compareUtf8(a, b))
            .filter(([at]) => after === undefined || compareUtf8(at, after) > 0);
          const listed = await state.list("t/", { limit, ...(after === undefined ? {} : { after }) });
          expect(listed.map(({ key: at, value }) => [at, value])).toEqual(expected.slice(0, limit));
        },
      ),
      { numRuns: 300 },
    );
  });

  test("is bounded in what it holds", async () => {
    const { state } = setUp();
    for (let i = 0; i < 4; i++) await state.set(`a/${i}`, "x".repeat(997));
    await expect(state.set("a/5", "x".repeat(997))).rejects.toMatchObject({ code: "PAYLOAD_TOO_LARGE" });
    await state.set("a/3", "short");
    await state.set("a/5", "x".repeat(900));
    await expect(state.set("a/6", "x".repeat(1_001))).rejects.toMatchObject({ code: "PAYLOAD_TOO_LARGE" });
  });

  test("refuses what comes after its end, which a forgotten promise would be", async () => {
    const { state, requests } = setUp();
    requests.end();
    await expect(state.get("a/1")).rejects.toMatchObject({ code: "CALL_CANCELLED" });
    await expect(state.set("a/1", 1)).rejects.toMatchObject({ code: "CALL_CANCELLED" });
  });
});

describe("the view of a table", () => {
  test("has keys of its own, and its time to live", async () => {
    const prices = table<number>("prices", { ttlMs: 500 });
    const { state, transaction } = setUp({ "prices/a": 1, "prices/b": 2, "other/c": 3 });
    const view = state.table(prices);
    expect((await view.list("")).map(({ key, value }) => [key, value])).toEqual([
      ["a", 1],
      ["b", 2],
    ]);
    expect((await view.list("", { after: "a" })).map(({ key }) => key)).toEqual(["b"]);
    expect((await view.get("a")).key).toBe("a");
    await view.set("a", 5);
    await view.set("b", 6, { ttlMs: 9 });
    await view.set("c", 7, { ttlMs: Number.POSITIVE_INFINITY });
    expect(transaction.writes.map(({ key, ttlMs }) => [key, ttlMs])).toEqual([
      ["prices/a", 500],
      ["prices/b", 9],
      ["prices/c", undefined],
    ]);
  });

  test("waits for a schema that takes its time, and writes what it makes", async () => {
    const schema = { "~standard": { version: 1 as const, vendor: "test", validate: async (value: unknown) => ({ value: Number(value) }) } };
    const prices = table<number>("prices", { schema });
    const { state, transaction } = setUp({}, new Map([["prices", prices]]));
    await state.set("prices/a", "5");
    expect(transaction.writes).toEqual([{ key: "prices/a", value: "5" }]);
  });

  test.each([
    ["a key that is no text", (state: never) => (state as { get(key: unknown): Promise<unknown> }).get(5), "STATE_KEY_INVALID"],
    ["a list of no table", (state: never) => (state as { list(key: unknown): Promise<unknown> }).list("orders"), "STATE_KEY_INVALID"],
    [
      "a limit that is none",
      (state: never) => (state as { list(...given: unknown[]): Promise<unknown> }).list("a/", { limit: 0 }),
      "BAD_REQUEST",
    ],
    [
      "a way to read that is none",
      (state: never) => (state as { get(...given: unknown[]): Promise<unknown> }).get("a/1", { stale: "maybe" }),
      "BAD_REQUEST",
    ],
    [
      "an undefined value",
      (state: never) => (state as { set(...given: unknown[]): Promise<unknown> }).set("a/1", undefined),
      "STATE_VALUE_INVALID",
    ],
    [
      "a time to live that is none",
      (state: never) => (state as { set(...given: unknown[]): Promise<unknown> }).set("a/1", 1, { ttlMs: -1 }),
      "STATE_VALUE_INVALID",
    ],
    [
      "a value that JSON can't hold",
      (state: never) => (state as { set(...given: unknown[]): Promise<unknown> }).set("a/1", 1n),
      "RESULT_NOT_JSON",
    ],
  ])("refuses %s", async (_, ask, code) => {
    const { state, asked, transaction } = setUp();
    await expect(ask(state as never)).rejects.toMatchObject({ code });
    expect([asked, transaction.writes]).toEqual([[], []]);
  });
});

describe("requests", () => {
  const textOf = ({ value }: Answer): string => value;

  test("are sent a few at a time, in order, and all are answered", async () => {
    const sent: Asked[] = [];
    const requests = new Requests(3, (message) => sent.push(message as Asked));
    const answers = Promise.all(Array.from({ length: 200 }, (_, i) => requests.ask({ op: "get", key: `a/${i}` }, textOf)));
    expect(sent).toHaveLength(64);
    for (let i = 0; i < sent.length; i++) requests.take({ t: "reply", lease: 3, id: sent[i]!.id, value: `${i}`, failure: "" });
    expect(await answers).toEqual(Array.from({ length: 200 }, (_, i) => `${i}`));
  });

  test("that are answered twice, or were never made, change nothing", async () => {
    const sent: Asked[] = [];
    const requests = new Requests(3, (message) => sent.push(message as Asked));
    const answer = requests.ask({ op: "get", key: "a/1" }, textOf);
    const reply = { t: "reply" as const, lease: 3, id: sent[0]!.id, failure: "" };
    requests.take({ ...reply, id: 99, value: "9" });
    requests.take({ ...reply, value: "1" });
    requests.take({ ...reply, value: "2" });
    expect(await answer).toBe("1");
  });
});
