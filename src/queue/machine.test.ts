import { describe, expect, test } from "vitest";
import type { Entry } from "./machine.ts";
import { Layers, layerKey } from "./machine.ts";

const entryOf = (seq: number, options: Partial<Entry> = {}): Entry => ({
  run: "run_00000000001",
  seq,
  attempt: 1,
  fn: "pay",
  version: "v1",
  input: "",
  priority: 0,
  timeoutMs: 1_000,
  solo: false,
  notBefore: 0,
  state: "waiting",
  waitingSince: 0,
  lease: 0,
  pod: "",
  leasedAt: 0,
  ...options,
});

const layerOf = (limit?: number) => new Layers().open("pay", "v1", limit);

describe("a layer", () => {
  test("hands out entries by priority, then in the order of arrival", () => {
    const layer = layerOf();
    for (const [seq, priority] of [
      [1, 0],
      [2, 5],
      [3, 0],
      [4, 5],
      [5, -1],
    ] as const)
      layer.enqueue(entryOf(seq, { priority }), 0);
    expect(Array.from({ length: 6 }, () => layer.take(1, "pod-1", 0)?.seq)).toEqual([2, 4, 1, 3, 5, undefined]);
  });

  test("marks what it leases", () => {
    const layer = layerOf();
    layer.enqueue(entryOf(1), 10);
    expect(layer.take(7, "pod-3", 25)).toMatchObject({ state: "leased", lease: 7, pod: "pod-3", leasedAt: 25, waitingSince: 10 });
    expect([layer.waiting, layer.leased]).toEqual([0, 1]);
  });

  test("keeps an entry back until its time, and then puts it behind those that wait already", () => {
    const layer = layerOf();
    layer.enqueue(entryOf(1, { notBefore: 100 }), 0);
    layer.enqueue(entryOf(2, { notBefore: 50 }), 0);
    layer.enqueue(entryOf(3), 0);
    expect([layer.waiting, layer.delayed, layer.wake(49)]).toEqual([1, 2, 50]);
    expect(layer.wake(100)).toBeUndefined();
    expect([layer.waiting, layer.delayed]).toEqual([3, 0]);
    expect([1, 2, 3].map(() => layer.take(1, "pod-1", 100))).toMatchObject([
      { seq: 3, waitingSince: 0 },
      { seq: 2, waitingSince: 100 },
      { seq: 1, waitingSince: 100 },
    ]);
  });

  test("takes an entry whose time has come as one that waits", () => {
    const layer = layerOf();
    const entry = entryOf(1, { notBefore: 100 });
    layer.enqueue(entry, 100);
    expect([entry.state, layer.waiting, layer.wake(100)]).toEqual(["waiting", 1, undefined]);
  });

  test("shows what it would hand out without doing so", () => {
    const layer = layerOf();
    expect(layer.peek(0)).toBeUndefined();
    layer.enqueue(entryOf(1), 0);
    expect([layer.peek(0)?.seq, layer.peek(0)?.seq, layer.waiting]).toEqual([1, 1, 1]);
  });

  test("ends a lease once, and counts how", () => {
    const layer = layerOf();
    for (const seq of [1, 2]) layer.enqueue(entryOf(seq), 0);
    const [first, second] = [layer.take(1, "pod-1", 0)!, layer.take(2, "pod-1", 0)!];
    expect([layer.settle(first, true, 0), layer.settle(first, true, 0), layer.settle(second, false, 0)]).toEqual([true, false, true]);
    expect([layer.completed, layer.failed, layer.leased]).toEqual([1, 1, 0]);
  });

  test("withdraws an entry in each state, and says which it was", () => {
    const layer = layerOf();
    const entries = [entryOf(1), entryOf(2), entryOf(3, { notBefore: 50 })];
    for (const entry of entries) layer.enqueue(entry, 0);
    layer.take(1, "pod-1", 0);
    expect(entries.map((entry) => layer.withdraw(entry))).toEqual(["leased", "waiting", "delayed"]);
    expect(entries.map((entry) => layer.withdraw(entry))).toEqual(["gone", "gone", "gone"]);
    expect([layer.waiting, layer.delayed, layer.leased, layer.completed, layer.failed]).toEqual([0, 0, 0, 0, 0]);
    expect([layer.peek(0), layer.wake(100), layer.settle(entries[0]!, true, 0)]).toEqual([undefined, undefined, false]);
  });

  test("skips withdrawn entries when it tells when the next one is due, and how long the oldest has waited", () => {
    const layer = layerOf();
    const gone = entryOf(1, { notBefore: 50 });
    const old = entryOf(3);
    layer.enqueue(gone, 0);
    layer.enqueue(entryOf(2, { notBefore: 80 }), 0);
    layer.enqueue(old, 0);
    layer.enqueue(entryOf(4, { priority: 1 }), 20);
    layer.enqueue(entryOf(5), 30);
    expect(layer.oldestWaitingMs(40)).toBe(40);
    layer.withdraw(gone);
    layer.withdraw(old);
    expect([layer.wake(10), layer.oldestWaitingMs(40)]).toEqual([80, 20]);
  });

  test("counts arrivals and ends per second over the last ten seconds", () => {
    const layer = layerOf();
    for (let seq = 0; seq < 20; seq++) layer.enqueue(entryOf(seq), 1_000 * seq);
    for (let seq = 0; seq < 5; seq++) layer.settle(layer.take(1, "pod-1", 19_000)!, true, 19_000);
    expect(layer.rates(19_999)).toEqual({ enqueuedPerSecond: 1, completedPerSecond: 0.5 });
    expect(layer.rates(24_000)).toEqual({ enqueuedPerSecond: 0.5, completedPerSecond: 0.5 });
    expect(layer.rates(29_000)).toEqual({ enqueuedPerSecond: 0, completedPerSecond: 0 });
    expect(layer.rates(1e12)).toEqual({ enqueuedPerSecond: 0, completedPerSecond: 0 });
  });
});

describe("the limit of a function", () => {
  test("holds over all its versions, and an end anywhere makes room", () => {
    const layers = new Layers();
    const [old, fresh] = [layers.open("pay", "v1", 2), layers.open("pay", "v2", 2)];
    for (const layer of [old, fresh]) for (const seq of [1, 2]) layer.enqueue(entryOf(seq, { version: layer.version }), 0);
    const [a] = [old.take(1, "pod-1", 0)!, fresh.take(2, "pod-2", 0)];
    expect([old.peek(0), fresh.peek(0), fresh.take(3, "pod-2", 0)]).toEqual([undefined, undefined, undefined]);
    old.settle(a, false, 0);
    expect(fresh.take(4, "pod-2", 0)?.seq).toBe(2);
    expect(old.peek(0)).toBeUndefined();
  });

  test("is that of the newest version", () => {
    const layers = new Layers();
    const old = layers.open("pay", "v1", 1);
    for (const seq of [1, 2, 3]) old.enqueue(entryOf(seq), 0);
    old.take(1, "pod-1", 0);
    expect(old.peek(0)).toBeUndefined();
    layers.open("pay", "v2", 2);
    expect(old.take(2, "pod-1", 0)?.seq).toBe(2);
    layers.open("pay", "v1", 9);
    expect(old.peek(0)).toBeUndefined();
    layers.open("pay", "v3");
    expect(old.peek(0)?.seq).toBe(3);
  });

  test("of one function is no other's", () => {
    const layers = new Layers();
    const [pay, ship] = [layers.open("pay", "v1", 1), layers.open("ship", "v1", 1)];
    pay.enqueue(entryOf(1), 0);
    ship.enqueue(entryOf(2, { fn: "ship" }), 0);
    expect([pay.take(1, "pod-1", 0)?.seq, ship.take(2, "pod-2", 0)?.seq]).toEqual([1, 2]);
  });
});

describe("the layers", () => {
  test("are found by function and version, and counted", () => {
    const layers = new Layers();
    const layer = layers.open("pay", "v1");
    layer.enqueue(entryOf(1), 0);
    layer.enqueue(entryOf(2, { notBefore: 10 }), 0);
    layers.open("ship", "v1").enqueue(entryOf(3), 0);
    layer.take(1, "pod-1", 0);
    expect(layers.open("pay", "v1")).toBe(layer);
    expect(layers.find("pay", "v2")).toBeUndefined();
    expect([...layers].map(({ key }) => key)).toEqual([layerKey("pay", "v1"), layerKey("ship", "v1")]);
    expect(layers.depth).toBe(2);
  });

  test("are closed when they hold nothing, not before", () => {
    const layers = new Layers();
    const layer = layers.open("pay", "v1");
    const entries = [entryOf(1), entryOf(2), entryOf(3, { notBefore: 10 })];
    for (const entry of entries) layer.enqueue(entry, 0);
    layer.take(1, "pod-1", 0);
    for (const entry of entries) {
      layers.close(layer);
      expect(layers.find("pay", "v1")).toBe(layer);
      layer.withdraw(entry);
    }
    layers.close(layer);
    expect(layers.find("pay", "v1")).toBeUndefined();
  });
});
