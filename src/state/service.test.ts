import { describe, expect, test } from "vitest";
import { Turn } from "../coordinator/turn.ts";
import { createMemoryJournal, type MemoryJournal } from "../journal/memory.ts";
import type { Journal } from "../journal/port.ts";
import type { PlatformEvent } from "../protocol/events.ts";
import type { Staleness, StateEntry } from "../protocol/state.ts";
import { createStepClock } from "../testing/step-clock.ts";
import { type Owner, type StateOutcome, StateService } from "./service.ts";

const START = 1_000_000;

const ownerOf = (seq: number, run = "run_00000000001"): Owner => ({ space: "shop", run, seq, function: "pay" });

const staleBy = ({ run, seq }: Owner): Staleness => ({
  run,
  call: seq,
  function: "pay",
  fault: "execution",
  message: "no money",
  at: START,
});

/** A state store over a journal in memory, whose commits wait while `hold` is on. */
const setUp = async (journal: MemoryJournal = createMemoryJournal(), maxValueBytes = 10_000) => {
  const clock = createStepClock(START);
  const published: PlatformEvent[] = [];
  const failed: unknown[] = [];
  let held: (() => void)[] | undefined;
  const commit: Journal["commit"] = async (batch) => {
    if (held !== undefined) await new Promise<void>((resolve) => held?.push(resolve));
    return journal.commit(batch);
  };
  const slow = { commit } as Partial<Journal> as Journal;
  const turn = new Turn(
    slow,
    clock,
    (events) => published.push(...events),
    (error) => failed.push(error),
  );
  const ttlMs = (_: string, table: string) => (table === "sessions" ? 60_000 : undefined);
  const state = new StateService({ rows: journal.state, turn, clock, maxValueBytes, ttlMs, failed: (error) => failed.push(error) });
  await state.start();
  const settled = async <T>(work: Promise<T>): Promise<T> => {
    work.catch(() => undefined);
    await clock.settle();
    return work;
  };
  const get = async (owner: Owner, key: string, stale?: "allow" | "wait"): Promise<StateEntry> => {
    const tx = state.begin(owner);
    const known = state.known(tx, key);
    const text = await settled(state.read(tx, stale === undefined ? { op: "get", key } : { op: "get", key, stale }));
    state.abandon(tx);
    if (known !== undefined) expect(JSON.parse(text)).toEqual(known);
    return JSON.parse(text);
  };
  const put = async (key: string, value: string, owner = ownerOf(99)): Promise<void> => {
    expect(state.commit(state.begin(owner), [{ key, value }])).toBe(true);
    await clock.settle();
  };
  const hold = (): void => {
    held = [];
  };
  const release = async (): Promise<void> => {
    const waiting = held ?? [];
    held = undefined;
    for (const resolve of waiting) resolve();
    await clock.settle();
  };
  const types = () => published.map(({ type }) => type);
  return { journal, clock, turn, state, published, types, failed, settled, get, put, hold, release };
};

const isPending = async (work: Promise<unknown>, settle: () => Promise<void>): Promise<boolean> => {
  let ended = false;
  work.then(
    () => {
      ended = true;
    },
    () => {
      ended = true;
    },
  );
  await settle();
  return !ended;
};

describe("a transaction", () => {
  test("reads what was written, with its version, and nothing of what was not", async () => {
    const { get, put } = await setUp();
    expect(await get(ownerOf(1), "orders/1")).toEqual({ key: "orders/1", value: "", version: 0 });
    await put("orders/1", '"a"');
    await put("orders/1", '"b"');
    expect(await get(ownerOf(1), "orders/1")).toEqual({ key: "orders/1", value: '"b"', version: 2 });
  });

  test("writes nothing when another has changed what it has read, and is told so at its next read", async () => {
    const { state, get, put, settled } = await setUp();
    const tx = state.begin(ownerOf(1));
    await settled(state.read(tx, { op: "get", key: "orders/1" }));
    await put("orders/1", "1");
    await expect(settled(state.read(tx, { op: "get", key: "orders/2" }))).rejects.toMatchObject({ code: "STATE_CONFLICT" });
    expect(state.commit(tx, [{ key: "orders/2", value: "2" }])).toBe(false);
    expect(await get(ownerOf(1), "orders/2")).toMatchObject({ version: 0 });
    expect(state.counters).toEqual({ commits: 1, conflicts: 1 });
  });

  test("conflicts with a key that appears in what it has listed, and not with one beyond the page that it got", async () => {
    const { state, put, settled } = await setUp();
    for (const key of ["orders/1", "orders/3", "orders/5"]) await put(key, "0");
    const [whole, page] = [state.begin(ownerOf(1)), state.begin(ownerOf(2))];
    await settled(state.read(whole, { op: "list", prefix: "orders/", limit: 10 }));
    await settled(state.read(page, { op: "list", prefix: "orders/", limit: 2 }));
    await put("orders/4", "0");
    expect([whole.conflicted, page.conflicted]).toEqual([true, false]);
    await put("orders/2", "0");
    expect(page.conflicted).toBe(true);
  });

  test("writes in several spaces at once, or in none", async () => {
    const { state, journal, clock, settled } = await setUp();
    const also = [{ space: "$s3", writes: [{ key: "seen", value: "1" }] }];
    const lost = state.begin(ownerOf(1));
    await settled(state.read(lost, { op: "get", key: "other" }, "$s3"));
    expect(state.commit(state.begin(ownerOf(2)), [], [{ space: "$s3", writes: [{ key: "other", value: "1" }] }])).toBe(true);
    expect(state.commit(lost, [{ key: "orders/1", value: "1" }], also)).toBe(false);
    expect(state.commit(state.begin(ownerOf(3)), [{ key: "orders/1", value: "1" }], also)).toBe(true);
    await clock.settle();
    expect(await journal.state.get("$s3", "seen")).toMatchObject({ value: "1", version: 3 });
    expect(await journal.state.get("shop", "orders/1")).toMatchObject({ version: 2 });
  });

  test.each([
    ["orders", "STATE_KEY_INVALID"],
    ["orders/", "STATE_KEY_INVALID"],
    ["orders/\0", "STATE_KEY_INVALID"],
    [`orders/${"x".repeat(1_001)}`, "STATE_KEY_INVALID"],
    ["orders/\ud800", "STATE_KEY_INVALID"],
  ])("is refused the key %j", async (key, code) => {
    const { state, settled } = await setUp();
    const tx = state.begin(ownerOf(1));
    await expect(settled(state.read(tx, { op: "get", key }))).rejects.toMatchObject({ code });
    expect(() => state.commit(tx, [{ key, value: "1" }])).toThrow(expect.objectContaining({ code }));
    expect(tx.ended).toBe(false);
  });

  test("is refused what is too large, too long or no time", async () => {
    const { state } = await setUp();
    const commit = (write: object) => state.commit(state.begin(ownerOf(1)), [{ key: "orders/1", value: "1", ...write }]);
    expect(() => commit({ value: "x".repeat(10_001) })).toThrow(expect.objectContaining({ code: "PAYLOAD_TOO_LARGE" }));
    expect(() => commit({ value: "é".repeat(5_001) })).toThrow(expect.objectContaining({ code: "PAYLOAD_TOO_LARGE" }));
    for (const ttlMs of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, "1"]) {
      expect(() => commit({ ttlMs })).toThrow(expect.objectContaining({ code: "BAD_REQUEST" }));
    }
    expect(() => commit({ ifVersion: 1 })).toThrow(expect.objectContaining({ code: "BAD_REQUEST" }));
  });
});

describe("a read", () => {
  test("of what is on its way to the disk waits until it is there (A1)", async () => {
    const { state, clock, hold, release } = await setUp();
    hold();
    state.commit(state.begin(ownerOf(1)), [{ key: "orders/1", value: "1" }]);
    await clock.settle();
    const tx = state.begin(ownerOf(2));
    const one = state.read(tx, { op: "get", key: "orders/1" });
    const all = state.read(tx, { op: "list", prefix: "orders/", limit: 5 });
    expect(await isPending(one, clock.settle)).toBe(true);
    expect(await isPending(all, clock.settle)).toBe(true);
    // What is durable does not wait for it.
    expect(await state.read(tx, { op: "get", key: "orders/2" })).toContain('"version":0');
    await release();
    expect(JSON.parse(await one)).toEqual({ key: "orders/1", value: "1", version: 1 });
    expect(JSON.parse(await all)).toEqual([{ key: "orders/1", value: "1", version: 1 }]);
  });

  test("is answered at once when what it asks for is known, fresh and on the disk", async () => {
    const { state, journal, clock, get, put, hold, release } = await setUp();
    const tx = state.begin(ownerOf(1));
    const known = (of = tx) => state.known(of, "orders/1");
    expect(known()).toBeUndefined();
    await get(ownerOf(2), "orders/1");
    expect(known()).toEqual({ key: "orders/1", value: "", version: 0 });
    expect(tx.reads).toEqual(["orders/1"]);
    hold();
    await put("orders/1", '"a"');
    expect([tx.conflicted, known(), known(state.begin(ownerOf(3)))]).toEqual([true, undefined, undefined]);
    await release();
    const entry = { key: "orders/1", value: '"a"', version: 1 };
    expect([known(), known(state.begin(ownerOf(4))), await journal.state.get("shop", "orders/1")]).toEqual([undefined, entry, entry]);
    state.fault(ownerOf(5), ["orders/1"], staleBy(ownerOf(5)));
    await clock.settle();
    expect(known(state.begin(ownerOf(6)))).toBeUndefined();
  });

  test("of what changes while it is looked up on the disk leaves nothing old behind", async () => {
    const journal = createMemoryJournal();
    const { state, put, settled } = await setUp(journal);
    await put("orders/0", "0");
    const get = journal.state.get.bind(journal.state);
    const rows = Promise.withResolvers<void>();
    journal.state.get = async (space, key) => {
      const row = await get(space, key);
      await rows.promise;
      return row;
    };
    const tx = state.begin(ownerOf(1));
    const read = state.read(tx, { op: "get", key: "orders/1" });
    await put("orders/1", '"new"');
    rows.resolve();
    await expect(settled(read)).rejects.toMatchObject({ code: "STATE_CONFLICT" });
    expect(state.known(state.begin(ownerOf(2)), "orders/1")).toMatchObject({ value: '"new"' });
  });

  test("of the platform's own rows always looks at the disk: others write them too", async () => {
    const { state, journal, turn, clock, settled } = await setUp();
    const tx = state.begin({ ...ownerOf(1), space: "$s3" });
    const read = (): Promise<string> => settled(state.read(tx, { op: "get", key: "seen" }));
    await read();
    turn.state([{ space: "$s3", key: "seen", value: "2", version: state.nextVersion() }]);
    await clock.settle();
    expect(await journal.state.get("$s3", "seen")).toMatchObject({ value: "2" });
    expect([JSON.parse(await read()), state.known(tx, "seen")]).toEqual([{ key: "seen", value: "2", version: 1 }, undefined]);
  });

  test("of a listing shows what is decided in the place of what is on disk, page by page", async () => {
    const { state, put, clock, settled, hold, release } = await setUp();
    const keyAt = (i: number) => `orders/${String(i).padStart(3, "0")}`;
    for (let i = 0; i < 100; i += 2) await put(keyAt(i), String(i));
    hold();
    const writes = [
      { key: keyAt(0) },
      { key: keyAt(31), value: '"new"' },
      { key: keyAt(32), value: '"changed"' },
      { key: keyAt(999), value: "1" },
    ];
    state.commit(state.begin(ownerOf(1)), writes);
    const list = state.read(state.begin(ownerOf(2)), { op: "list", prefix: "orders/", limit: 1_000 });
    await clock.settle();
    await release();
    const entries: StateEntry[] = JSON.parse(await list);
    expect(entries.map(({ key }) => key)).toEqual([
      ...Array.from({ length: 49 }, (_, i) => keyAt(2 * i + 2)).flatMap((key) => (key === keyAt(32) ? [keyAt(31), key] : [key])),
      keyAt(999),
    ]);
    expect(entries.filter(({ value }) => value.startsWith('"'))).toHaveLength(2);
    const page: StateEntry[] = JSON.parse(
      await settled(state.read(state.begin(ownerOf(2)), { op: "list", prefix: "orders/", limit: 3, after: keyAt(30) })),
    );
    expect(page.map(({ key }) => key)).toEqual([keyAt(31), keyAt(32), keyAt(34)]);
  });

  test("of a listing whose values are too large together is refused", async () => {
    const { state, put, settled } = await setUp();
    for (let i = 0; i < 30; i++) await put(`orders/${i}`, JSON.stringify("x".repeat(900)));
    const list = (limit: number) => settled(state.read(state.begin(ownerOf(1)), { op: "list", prefix: "orders/", limit }));
    await expect(list(30)).rejects.toMatchObject({ code: "PAYLOAD_TOO_LARGE" });
    expect(JSON.parse(await list(10))).toHaveLength(10);
    await expect(list(1_001)).rejects.toMatchObject({ code: "BAD_REQUEST" });
    await expect(list(0)).rejects.toMatchObject({ code: "BAD_REQUEST" });
  });

  test("is told of, up to a bound", async () => {
    const { state, settled } = await setUp();
    const tx = state.begin(ownerOf(1));
    for (let i = 0; i < 120; i++) await settled(state.read(tx, { op: "get", key: `orders/${i % 110}` }));
    expect(tx.reads).toEqual(Array.from({ length: 100 }, (_, i) => `orders/${i}`));
  });
});

describe("a key whose writer failed", () => {
  test("is stale until somebody writes it, and reads of it are refused", async () => {
    const { state, clock, get, put, types, published } = await setUp();
    await put("orders/1", "1");
    const told: unknown[] = [];
    state.onStale((...all) => told.push(all));
    const stale = staleBy(ownerOf(1));
    state.fault(ownerOf(1), ["orders/1", "orders/2", "orders/2", "none"], stale);
    await clock.settle();
    await expect(get(ownerOf(2), "orders/1")).rejects.toMatchObject({ code: "STATE_STALE", details: { key: "orders/1", stale } });
    await expect(get(ownerOf(2), "orders/2")).rejects.toMatchObject({ code: "STATE_STALE" });
    expect(await get(ownerOf(2), "orders/1", "allow")).toEqual({ key: "orders/1", value: "1", version: 1, stale });
    expect(await get(ownerOf(2), "orders/2", "allow")).toEqual({ key: "orders/2", value: "", version: 0, stale });
    expect(told).toEqual([
      ["shop", "orders/1", stale],
      ["shop", "orders/2", stale],
    ]);
    state.fault(ownerOf(1), ["orders/1"], stale);
    await put("orders/1", "2");
    expect(await get(ownerOf(2), "orders/1")).toEqual({ key: "orders/1", value: "2", version: 2 });
    expect(types()).toEqual(["state.stale", "state.stale", "state.fresh"]);
    expect(published.at(-1)).toMatchObject({ application: "shop", key: "orders/1" });
  });

  test("may be read by the call that failed, and is fresh when that succeeds", async () => {
    const { state, clock, get, types } = await setUp();
    state.fault(ownerOf(1), ["orders/1", "orders/2"], staleBy(ownerOf(1)));
    await clock.settle();
    expect(await get(ownerOf(1), "orders/1")).toMatchObject({ version: 0 });
    state.commit(state.begin(ownerOf(1)), [{ key: "orders/1", value: "1" }]);
    await clock.settle();
    expect(await get(ownerOf(2), "orders/1")).toEqual({ key: "orders/1", value: "1", version: 1 });
    expect(await get(ownerOf(2), "orders/2")).toEqual({ key: "orders/2", value: "", version: 0 });
    expect(types().sort()).toEqual(["state.fresh", "state.fresh", "state.stale", "state.stale"]);
  });

  test("is fresh when it is declared so, with the value that it has", async () => {
    const { state, clock, get, put } = await setUp();
    await put("orders/1", "1");
    state.fault(ownerOf(1), ["orders/1"], staleBy(ownerOf(1)));
    state.commit(state.begin(ownerOf(2)), [{ key: "orders/1", refresh: true }]);
    await clock.settle();
    expect(await get(ownerOf(2), "orders/1")).toEqual({ key: "orders/1", value: "1", version: 1 });
  });

  test("ends the transactions that have read it as fresh", async () => {
    const { state, put, settled } = await setUp();
    await put("orders/1", "1");
    const tx = state.begin(ownerOf(2));
    await settled(state.read(tx, { op: "get", key: "orders/1" }));
    state.fault(ownerOf(1), ["orders/1"], staleBy(ownerOf(1)));
    expect(state.commit(tx, [{ key: "orders/2", value: "2" }])).toBe(false);
  });

  test("stays stale over a restart, and fresh is told then too", async () => {
    const first = await setUp();
    await first.put("orders/1", "1");
    first.state.fault(ownerOf(1), ["orders/1", "orders/2"], staleBy(ownerOf(1)));
    await first.clock.settle();
    const next = await setUp(first.journal.reopen());
    await expect(next.get(ownerOf(2), "orders/2")).rejects.toMatchObject({ code: "STATE_STALE" });
    expect(await next.state.stale()).toMatchObject([
      { application: "shop", key: "orders/1", version: 1 },
      { application: "shop", key: "orders/2", version: 0 },
    ]);
    next.state.commit(next.state.begin(ownerOf(1)), [{ key: "orders/1", value: "2" }]);
    await next.clock.settle();
    expect(await next.state.stale()).toEqual([]);
    expect(await next.journal.state.get("shop", "orders/2")).toBeUndefined();
    expect(next.types()).toEqual(["state.fresh", "state.fresh"]);
    expect(await next.get(ownerOf(2), "orders/1")).toEqual({ key: "orders/1", value: "2", version: 2 });
  });

  test("can be waited for, and what makes it fresh is no conflict for the one that waits", async () => {
    const { state, clock, put, settled } = await setUp();
    state.fault(ownerOf(1), ["orders/1"], staleBy(ownerOf(1)));
    await clock.settle();
    const [waiting, given] = [state.begin(ownerOf(2)), state.begin(ownerOf(3))];
    const read = state.read(waiting, { op: "get", key: "orders/1", stale: "wait" });
    const up = state.read(given, { op: "get", key: "orders/1", stale: "wait" });
    expect(await isPending(read, clock.settle)).toBe(true);
    state.abandon(given);
    await expect(settled(up)).rejects.toMatchObject({ code: "STATE_CONFLICT" });
    await put("orders/1", "1");
    expect(JSON.parse(await settled(read))).toEqual({ key: "orders/1", value: "1", version: 1 });
    expect(state.commit(waiting, [])).toBe(true);
  });
});

describe("a single operation", () => {
  const executed = async (world: Awaited<ReturnType<typeof setUp>>, op: Parameters<StateService["execute"]>[1]): Promise<StateOutcome> => {
    let outcome: StateOutcome | undefined;
    world.state.execute(ownerOf(0), op, (given) => {
      outcome = given;
    });
    expect(outcome).toBeUndefined();
    await world.clock.settle();
    return outcome as unknown as StateOutcome;
  };

  test("settles in the step that puts its write into the turn, so that both are in one commit (A2)", async () => {
    const world = await setUp();
    const { state, turn, clock, journal } = world;
    const batches: unknown[] = [];
    const commit = journal.commit.bind(journal);
    journal.commit = (batch) => {
      batches.push([batch.state?.length, batch.events.length]);
      return commit(batch);
    };
    state.execute(ownerOf(0), { op: "write", key: "orders/1", value: "1" }, () =>
      turn.event({ type: "platform.audited", checked: 0, repaired: 0 }),
    );
    await clock.settle();
    expect(batches).toEqual([[1, 1]]);
  });

  test("writes when the key has the version that it names, and else tells the one that it has", async () => {
    const world = await setUp();
    const write = (value: string, ifVersion: number) => executed(world, { op: "write", key: "orders/1", value, ifVersion });
    expect(await write("1", 0)).toEqual({ value: '{"key":"orders/1","version":1}', reads: [] });
    expect(await write("2", 0)).toMatchObject({ failure: { code: "STATE_CONFLICT", details: { version: 1, ifVersion: 0 } } });
    expect(await write("2", 1)).toMatchObject({ value: '{"key":"orders/1","version":2}' });
    const read = (await executed(world, { op: "get", key: "orders/1" })) as { value: string; reads: string[] };
    expect([JSON.parse(read.value), read.reads]).toEqual([{ key: "orders/1", value: "2", version: 2 }, ["orders/1"]]);
    expect(await executed(world, { op: "get", key: "orders" })).toMatchObject({ failure: { code: "STATE_KEY_INVALID" } });
  });

  test("waits while a transaction that has lost too often has read the key", async () => {
    const world = await setUp();
    const { state, clock, get, settled } = world;
    const urgent = state.begin(ownerOf(1, "run_00000000000"), 3);
    await settled(state.read(urgent, { op: "get", key: "orders/1" }));
    let outcome: StateOutcome | undefined;
    state.execute(ownerOf(0), { op: "write", key: "orders/1", value: '"late"' }, (given) => {
      outcome = given;
    });
    await clock.settle();
    expect(outcome).toBeUndefined();
    expect(state.commit(state.begin(ownerOf(2)), [{ key: "orders/1", value: '"refused"' }])).toBe(false);
    expect(state.commit(urgent, [{ key: "orders/1", value: '"first"' }])).toBe(true);
    await clock.settle();
    expect(outcome).toMatchObject({ value: '{"key":"orders/1","version":2}' });
    expect(await get(ownerOf(3), "orders/1")).toMatchObject({ value: '"late"' });
  });

  test("that is given up settles nothing and leaves nothing behind", async () => {
    const { state, clock, put } = await setUp();
    state.fault(ownerOf(1), ["orders/1"], staleBy(ownerOf(1)));
    const outcomes: StateOutcome[] = [];
    const giveUp = state.execute(ownerOf(0), { op: "get", key: "orders/1", stale: "wait" }, (outcome) => outcomes.push(outcome));
    await clock.settle();
    giveUp();
    await put("orders/1", "1");
    expect(outcomes).toEqual([]);
  });
});

describe("a key with a time to live", () => {
  test("is gone at its time, and its row soon after", async () => {
    const { state, clock, get, settled, journal, failed } = await setUp();
    state.commit(state.begin(ownerOf(1)), [
      { key: "orders/1", value: "1", ttlMs: 1_500 },
      { key: "sessions/2", value: "3", ttlMs: 1_500 },
      { key: "orders/2", value: "4" },
    ]);
    // Of the table's own time, since it is set from outside.
    await settled(state.write("shop", { key: "sessions/1", value: "2" }));
    await clock.elapse(1_499);
    expect(await get(ownerOf(2), "orders/1")).toMatchObject({ value: "1", expiresAt: START + 1_500 });
    await clock.elapse(1);
    expect(await get(ownerOf(2), "orders/1")).toEqual({ key: "orders/1", value: "", version: 0 });
    expect((await state.list("shop", "", 10)).map(({ key }) => key)).toEqual(["orders/2", "sessions/1"]);
    expect(await journal.state.get("shop", "orders/1")).toBeDefined();
    await clock.elapse(1_000);
    expect(await journal.state.get("shop", "orders/1")).toBeUndefined();
    expect(await journal.state.get("shop", "sessions/2")).toBeUndefined();
    await clock.elapse(60_000);
    expect((await journal.state.list("shop", "", 10)).map(({ key }) => key)).toEqual(["orders/2"]);
    expect(failed).toEqual([]);
  });

  test("keeps its staleness, and what was written anew stays", async () => {
    const { state, clock, journal, hold, release, get } = await setUp();
    state.commit(state.begin(ownerOf(1)), [
      { key: "orders/1", value: "1", ttlMs: 500 },
      { key: "orders/2", value: "1", ttlMs: 500 },
    ]);
    state.fault(ownerOf(1), ["orders/1"], staleBy(ownerOf(1)));
    await clock.elapse(900);
    hold();
    state.commit(state.begin(ownerOf(2)), [{ key: "orders/2", value: "2" }]);
    await clock.elapse(200);
    await release();
    expect(await journal.state.get("shop", "orders/1")).toEqual({
      key: "orders/1",
      value: "",
      version: 0,
      stale: staleBy(ownerOf(1)),
    });
    expect(await get(ownerOf(3), "orders/2")).toMatchObject({ value: "2" });
  });
});

describe("outside of any invocation", () => {
  test("keys are written, read, listed and deleted, each durably", async () => {
    const { state, settled, journal } = await setUp();
    expect(await settled(state.write("shop", { key: "orders/1", value: "1" }))).toEqual({ key: "orders/1", value: "1", version: 1 });
    expect(await journal.state.get("shop", "orders/1")).toMatchObject({ version: 1 });
    await settled(state.write("shop", { key: "orders/2", value: "2" }));
    expect((await state.list("shop", "", 10)).map(({ key }) => key)).toEqual(["orders/1", "orders/2"]);
    expect(await settled(state.write("shop", { key: "orders/1", ifVersion: 1 }))).toEqual({ key: "orders/1", value: "", version: 0 });
    await expect(settled(state.write("shop", { key: "orders/1", value: "1", ifVersion: 1 }))).rejects.toMatchObject({
      code: "STATE_CONFLICT",
    });
    expect(await state.get("shop", "orders/2")).toMatchObject({ value: "2" });
    expect(await state.get("other", "orders/2")).toMatchObject({ version: 0 });
  });

  test("the platform's own keys can't be reached", async () => {
    const { state } = await setUp();
    await expect(state.get("$objects", "orders/1")).rejects.toMatchObject({ code: "BAD_REQUEST" });
    await expect(state.list("$objects", "", 1)).rejects.toMatchObject({ code: "BAD_REQUEST" });
    await expect(state.write("$objects", { key: "orders/1" })).rejects.toMatchObject({ code: "BAD_REQUEST" });
    for (const name of ["", "..", "../shop", "shop/orders"]) {
      await expect(state.write(name, { key: "orders/1", value: "1" })).rejects.toMatchObject({ details: { field: "application" } });
    }
  });
});
