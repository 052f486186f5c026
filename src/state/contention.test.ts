import { expect, test } from "vitest";
import { Turn } from "../coordinator/turn.ts";
import { createMemoryJournal } from "../journal/memory.ts";
import type { Journal, StateRows } from "../journal/port.ts";
import type { Staleness } from "../protocol/state.ts";
import { createStepClock } from "../testing/step-clock.ts";
import { type Owner, type StateOutcome, StateService } from "./service.ts";
import { URGENT_AFTER } from "./transaction.ts";

const OLD = "run_00000000001";
const YOUNG = "run_00000000009";

const ownerOf = (seq: number, run = OLD): Owner => ({ space: "shop", run, seq, function: "pay" });

const staleBy = ({ run, seq }: Owner): Staleness => ({ run, call: seq, function: "pay", fault: "execution", message: "no", at: 1 });

/** A state store over a journal in memory. `rows` replaces some of its reads, `committing` is called before each commit. */
const setUp = async ({ rows = {}, committing = () => {} }: { rows?: Partial<StateRows>; committing?: () => void } = {}) => {
  const journal = createMemoryJournal();
  const clock = createStepClock(1_000_000);
  const commit: Journal["commit"] = async (batch) => {
    committing();
    return journal.commit(batch);
  };
  const fail = (error: unknown): never => {
    throw error;
  };
  const turn = new Turn({ commit } as Partial<Journal> as Journal, clock, () => {}, fail);
  const { state: own } = journal;
  const all: StateRows = {
    lastVersion: 0,
    get: (space, key) => own.get(space, key),
    list: (space, prefix, limit, after) => own.list(space, prefix, limit, after),
    stale: () => own.stale(),
    expired: (now, limit) => own.expired(now, limit),
    ...rows,
  };
  const state = new StateService({ rows: all, turn, clock, maxValueBytes: 10_000, ttlMs: () => undefined, failed: fail });
  await state.start();
  const put = async (key: string, value: string, ttlMs?: number): Promise<void> => {
    expect(state.commit(state.begin(ownerOf(99, YOUNG)), [{ key, value, ...(ttlMs === undefined ? {} : { ttlMs }) }])).toBe(true);
    await clock.settle();
  };
  const settled = async <T>(work: Promise<T>): Promise<T> => {
    work.catch(() => undefined);
    await clock.settle();
    return work;
  };
  return { own, clock, turn, state, put, settled };
};

for (const op of [
  { op: "get", key: "hot/1" },
  { op: "list", prefix: "hot/", limit: 10 },
] as const) {
  test(`a coordinator's ${op.op} gets through although each commit writes what it reads`, async () => {
    let writes = 0;
    const store = await setUp({
      committing: () => {
        if (writes++ < 200) store.state.commit(store.state.begin(ownerOf(writes, YOUNG)), [{ key: "hot/1", value: `${writes}` }]);
      },
    });
    await Promise.resolve(store.state.commit(store.state.begin(ownerOf(99, YOUNG)), [{ key: "hot/1", value: "0" }]));
    let seenAfter: number | undefined;
    store.state.execute(ownerOf(1), op, () => {
      seenAfter = writes;
    });
    await store.clock.settle();
    expect(seenAfter).toBeLessThan(20);
  });
}

test("an urgent transaction that waits for a value to be repaired does not keep the repair from being made", async () => {
  const { state, clock, put, settled } = await setUp();
  await put("orders/1", "1");
  state.fault(ownerOf(50, YOUNG), ["payments/1"], staleBy(ownerOf(50, YOUNG)));
  await clock.settle();
  const tx = state.begin(ownerOf(1), URGENT_AFTER);
  await settled(state.read(tx, { op: "get", key: "orders/1" }));
  let isOver = false;
  const waiting = state.read(tx, { op: "get", key: "payments/1", stale: "wait" });
  const over = (): void => {
    isOver = true;
  };
  waiting.then(over, over);
  const outcomes: StateOutcome[] = [];
  state.execute(ownerOf(2, YOUNG), { op: "write", key: "orders/1", value: "2" }, (outcome) => outcomes.push(outcome));
  await clock.settle();
  expect(outcomes).toHaveLength(1);
  expect(isOver).toBe(false);
  const repair = state.begin(ownerOf(51, YOUNG));
  const writes = ["orders/1", "payments/1"].map((key) => ({ key, value: "3" }));
  expect(state.commit(repair, writes)).toBe(true);
  await clock.settle();
  expect(isOver).toBe(true);
  state.abandon(tx);
});

test("a key that is written anew while the end of its time is looked for stays", async () => {
  const found = Promise.withResolvers<void>();
  let isHeld = true;
  const store = await setUp({
    rows: {
      expired: async (now, limit) => {
        const keys = await store.own.expired(now, limit);
        if (keys.length > 0 && isHeld) await found.promise;
        return keys;
      },
    },
  });
  await store.put("sessions/1", "1", 500);
  await store.clock.advance(5_000);
  await store.put("sessions/1", "2");
  isHeld = false;
  found.resolve();
  await store.clock.settle();
  expect(await store.state.get("shop", "sessions/1")).toMatchObject({ value: "2" });
});

test("a value that was replaced while it was read is not shown as fresh", async () => {
  let reading: Promise<void> | undefined;
  const store = await setUp({
    rows: {
      get: async (space, key) => {
        const row = await store.own.get(space, key);
        await reading;
        return row;
      },
    },
  });
  await store.put("orders/1", "1");
  store.state.fault(ownerOf(50), ["orders/1"], staleBy(ownerOf(50)));
  await store.clock.settle();
  const { promise, resolve } = Promise.withResolvers<void>();
  reading = promise;
  const entry = store.state.get("shop", "orders/1");
  await store.put("orders/1", "2");
  resolve();
  const { value, stale } = await store.settled(entry);
  expect([value, stale === undefined]).not.toEqual(["1", true]);
});

test("a call gets through although somebody outside writes what it reads each time", async () => {
  const { state, put, settled, clock } = await setUp();
  await put("sensors/1", "0");
  const told: Promise<unknown>[] = [];
  let conflicts = 0;
  for (; conflicts < 20; conflicts++) {
    const tx = state.begin(ownerOf(1), conflicts);
    await settled(state.read(tx, { op: "get", key: "sensors/1" }));
    told.push(state.write("shop", { key: "sensors/1", value: `${conflicts + 1}` }));
    await clock.settle();
    if (state.commit(tx, [{ key: "totals/1", value: "1" }])) break;
  }
  expect(conflicts).toBe(URGENT_AFTER);
  await settled(Promise.all(told));
  expect(await state.get("shop", "sensors/1")).toMatchObject({ value: `${conflicts + 1}` });
});
