import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Entry } from "./machine.ts";
import { Layers } from "./machine.ts";
import { keyOf } from "./turns.ts";

let serial = 0;
const entryOf = (input: unknown, options: Partial<Entry> = {}): Entry => ({
  run: "run_00000000001",
  seq: ++serial,
  attempt: 1,
  fn: "pay",
  version: "v1",
  input: JSON.stringify(input) ?? "",
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

const takeAll = (layer: ReturnType<Layers["open"]>, now: number): Entry[] => {
  const taken: Entry[] = [];
  for (let entry = layer.take(1, "pod-1", now); entry !== undefined; entry = layer.take(1, "pod-1", now)) taken.push(entry);
  return taken;
};

const nextOf = (layers: Layers, now: number): number =>
  Math.min(...[...layers].map((layer) => layer.throttledUntil(now) ?? Number.POSITIVE_INFINITY));

const expectPace = (begun: readonly number[], perSecond: number): void => {
  const burst = Math.max(1, perSecond);
  begun.forEach((from, i) => {
    for (let j = i; j < begun.length; j++) {
      expect(j - i + 1).toBeLessThanOrEqual(((begun[j]! - from) * perSecond) / 1_000 + burst + 1e-6);
    }
  });
};

describe("a limit per second", () => {
  test("lets one second's worth begin at once, then one whenever its time has come, and tells when that is", () => {
    const layer = new Layers().open("pay", "v1", undefined, { perSecond: 4 });
    for (let i = 0; i < 10; i++) layer.enqueue(entryOf(i), 1_000);
    expect(takeAll(layer, 1_000).length).toBe(4);
    expect([layer.throttledUntil(1_000), layer.throttledUntil(1_100), layer.peek(1_249)]).toEqual([1_250, 1_250, undefined]);
    expect(takeAll(layer, 1_250).length).toBe(1);
    expect(takeAll(layer, 9_000).length).toBe(4);
    expect(takeAll(layer, 9_250).length).toBe(1);
    expect(layer.throttledUntil(9_250)).toBeUndefined();
  });

  test("may be less than one", () => {
    const layer = new Layers().open("pay", "v1", undefined, { perSecond: 0.5 });
    for (let i = 0; i < 3; i++) layer.enqueue(entryOf(i), 0);
    expect(takeAll(layer, 0).length).toBe(1);
    expect(layer.throttledUntil(0)).toBe(2_000);
    expect([takeAll(layer, 1_999).length, takeAll(layer, 2_000).length, takeAll(layer, 100_000).length]).toEqual([0, 1, 1]);
  });

  test("is one for all versions of the function, and the newest decides", () => {
    const layers = new Layers();
    const old = layers.open("pay", "v1", undefined, { perSecond: 2 });
    const fresh = layers.open("pay", "v2", undefined, { perSecond: 1 });
    for (const layer of [old, fresh]) for (let i = 0; i < 3; i++) layer.enqueue(entryOf(i, { version: layer.version }), 0);
    expect([takeAll(old, 0).length, takeAll(fresh, 0).length, takeAll(fresh, 1_000).length, takeAll(old, 1_000).length]).toEqual([
      1, 0, 1, 0,
    ]);
    layers.open("pay", "v3");
    expect([takeAll(old, 1_000).length, old.isLimited]).toEqual([2, false]);
  });

  test("goes on when the clock is set back", () => {
    const layer = new Layers().open("pay", "v1", undefined, { perSecond: 1 });
    for (let i = 0; i < 2; i++) layer.enqueue(entryOf(i), 1e9);
    expect(takeAll(layer, 1e9).length).toBe(1);
    expect(layer.throttledUntil(1_000)).toBe(2_000);
    expect(takeAll(layer, 2_000).length).toBe(1);
  });

  test("says nothing of calls that wait for something else", () => {
    const layer = new Layers().open("pay", "v1", 1, { perSecond: 1 });
    expect(layer.throttledUntil(0)).toBeUndefined();
    for (let i = 0; i < 2; i++) layer.enqueue(entryOf(i), 0);
    takeAll(layer, 0);
    expect(layer.throttledUntil(0)).toBeUndefined();
  });

  test("holds in every window of time, and uses up what it allows", () => {
    const story = fc.array(fc.record({ elapsedMs: fc.nat(700), arriving: fc.nat(4), version: fc.constantFrom("v1", "v2") }), {
      maxLength: 60,
    });
    const pace = fc.oneof(fc.integer({ min: 1, max: 20 }), fc.double({ min: 0.1, max: 20, noNaN: true }));
    fc.assert(
      fc.property(story, pace, (steps, perSecond) => {
        const layers = new Layers();
        for (const version of ["v1", "v2"]) layers.open("pay", version, undefined, { perSecond });
        const begun: number[] = [];
        let now = 1_000_000;
        const settle = () => {
          for (const layer of layers) begun.push(...takeAll(layer, now).map(() => now));
        };
        /** As the scheduler does: it looks again when it was told to. */
        const sleep = (until: number) => {
          for (let next = nextOf(layers, now); next <= until; next = nextOf(layers, now)) {
            expect(next, "it would be looked at again and again").toBeGreaterThan(now);
            const before = begun.length;
            now = next;
            settle();
            expect(begun.length, "nothing begins at the time that was told").toBeGreaterThan(before);
          }
          now = until;
        };
        for (const { elapsedMs, arriving, version } of steps) {
          sleep(now + elapsedMs);
          for (let i = 0; i < arriving; i++) layers.find("pay", version)!.enqueue(entryOf(i, { version }), now);
          settle();
        }
        expectPace(begun, perSecond);
      }),
      { numRuns: 200 },
    );
  });
});

describe("a fairness key", () => {
  const fairly = () => new Layers().open("pay", "v1", undefined, { key: "customer.id" });
  const of = (id: unknown, options: Partial<Entry> = {}) => entryOf({ customer: { id } }, options);
  const idsOf = (entries: readonly Entry[]) => entries.map(({ input }) => JSON.parse(input).customer.id);

  test("lets its values take turns, each in the order of arrival, within one priority", () => {
    const layer = fairly();
    const big = [of("big"), of("big"), of("big"), of("big")];
    const entries = [...big, of("small"), of("late", { priority: 1 }), of("late", { priority: 1 }), of("small")];
    for (const entry of entries) layer.enqueue(entry, 0);
    const taken = takeAll(layer, 0);
    expect(idsOf(taken)).toEqual(["late", "late", "big", "small", "big", "small", "big", "big"]);
    expect(taken.filter((entry) => big.includes(entry))).toEqual(big);
  });

  test("whose first calls were withdrawn doesn't lose its turn", () => {
    const layer = fairly();
    const entries = [of("a"), of("b"), of("b"), of("a"), of("c"), of("c")];
    for (const entry of entries) layer.enqueue(entry, 0);
    for (const i of [1, 4, 5]) layer.withdraw(entries[i]!);
    expect(idsOf(takeAll(layer, 0))).toEqual(["a", "b", "a"]);
    expect([layer.waiting, layer.peek(0)]).toEqual([0, undefined]);
  });

  test("tells how long the oldest of all its values' calls has waited", () => {
    const layer = fairly();
    const entries = [of("a"), of("b"), of("b")];
    entries.forEach((entry, i) => {
      layer.enqueue(entry, 10 * i);
    });
    layer.take(1, "pod-1", 30);
    expect(layer.oldestWaitingMs(30)).toBe(20);
    layer.withdraw(entries[1]!);
    expect(layer.oldestWaitingMs(30)).toBe(10);
  });

  test("knows who has waited the longest also when much came and went since", () => {
    const layer = fairly();
    layer.enqueue(of("low", { priority: -1 }), 0);
    for (let at = 1; at < 1_000; at++) {
      const entry = of(`${at % 7}`, { priority: -1 });
      layer.enqueue(entry, at);
      if (at % 10 > 0) layer.withdraw(entry);
    }
    expect(layer.oldestWaitingMs(2_000)).toBe(2_000);
    expect(takeAll(layer, 2_000).length).toBe(100);
    expect(layer.oldestWaitingMs(2_000)).toBe(0);
  });

  test.each([
    ["text and numbers are told apart", { id: "1" }, "id", '"1"'],
    ["a number", { id: 1 }, "id", "1"],
    ["null is none", { id: null }, "id", ""],
    ["an object is none", { id: { a: 1 } }, "id", ""],
    ["an item of a list", { ids: ["a", "b"] }, "ids.1", '"b"'],
    ["nothing there", { other: 1 }, "id.deeper", ""],
    ["what every object inherits", {}, "constructor.name", ""],
    ["text has no fields", "abc", "length", ""],
    ["long values count by their beginning", { id: "x".repeat(1_000) }, "id", `"${"x".repeat(255)}`],
    ["a large input", { id: 1, more: "x".repeat(70_000) }, "id", ""],
  ])("%s", (_, input, path, key) => {
    expect(keyOf(JSON.stringify(input), path.split("."))).toBe(key);
  });

  test("of an input that is absent or no JSON is none", () => {
    expect([keyOf("", ["id"]), keyOf("{", ["id"])]).toEqual(["", ""]);
  });

  test("starves nobody: while a value waits, no other begins twice (I3)", () => {
    const action = fc.oneof(
      { weight: 5, arbitrary: fc.record({ t: fc.constant("enqueue" as const), id: fc.integer({ min: 0, max: 5 }) }) },
      { weight: 4, arbitrary: fc.constant({ t: "take" as const }) },
      { weight: 1, arbitrary: fc.record({ t: fc.constant("withdraw" as const), pick: fc.nat() }) },
    );
    fc.assert(
      fc.property(fc.array(action, { maxLength: 120, size: "max" }), (story) => {
        const layer = fairly();
        const fair = new Bystander();
        for (const each of story) {
          if (each.t === "enqueue") layer.enqueue(fair.enqueued(of(each.id), each.id), 0);
          else if (each.t === "take") fair.taken(layer.take(1, "pod-1", 0));
          else if (fair.waiting.length > 0) layer.withdraw(fair.withdrawn(each.pick));
        }
        expect(takeAll(layer, 0).length).toBe(fair.waiting.length);
      }),
      { numRuns: 300 },
    );
  });
});

/** Knows who waits, and for each value that does, which others have begun since it came or had its turn. */
class Bystander {
  waiting: { entry: Entry; id: number }[] = [];
  readonly #passed = new Map<number, Set<number>>();

  enqueued(entry: Entry, id: number): Entry {
    this.waiting.push({ entry, id });
    if (!this.#passed.has(id)) this.#passed.set(id, new Set());
    return entry;
  }

  withdrawn(pick: number): Entry {
    const { entry } = this.waiting[pick % this.waiting.length]!;
    this.#remove(entry);
    return entry;
  }

  taken(entry: Entry | undefined): void {
    expect(entry === undefined).toBe(this.waiting.length === 0);
    const found = this.waiting.find((one) => one.entry === entry);
    if (found === undefined) return;
    expect(this.waiting.find(({ id }) => id === found.id)?.entry, "an earlier call of the same value was passed").toBe(entry);
    this.#passed.set(found.id, new Set());
    for (const [id, others] of this.#passed) {
      if (id === found.id) continue;
      expect(others.has(found.id), `${found.id} has begun twice while ${id} waited`).toBe(false);
      others.add(found.id);
    }
    this.#remove(found.entry);
  }

  #remove(entry: Entry): void {
    this.waiting = this.waiting.filter((one) => one.entry !== entry);
    for (const id of [...this.#passed.keys()]) if (!this.waiting.some((one) => one.id === id)) this.#passed.delete(id);
  }
}
