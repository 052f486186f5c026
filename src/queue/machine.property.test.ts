import fc from "fast-check";
import { expect, test } from "vitest";
import type { Entry, Layer } from "./machine.ts";
import { Layers } from "./machine.ts";

/** The layers of one function, as slowly and plainly as can be: a list of entries in the order in which they came to wait. */
class Model {
  limit = Number.POSITIVE_INFINITY;
  readonly versions = new Map<string, { delayed: Entry[]; waiting: Entry[]; leased: Entry[]; completed: number; failed: number }>();

  of(version: string) {
    return this.versions.get(version)!;
  }

  open(version: string, limit: number): void {
    if (this.versions.has(version)) return;
    this.limit = limit;
    this.versions.set(version, { delayed: [], waiting: [], leased: [], completed: 0, failed: 0 });
  }

  enqueue(entry: Entry, now: number): void {
    const layer = this.of(entry.version);
    if (entry.notBefore > now) layer.delayed.push(entry);
    else layer.waiting.push(entry);
  }

  wake(version: string, now: number): number | undefined {
    const layer = this.of(version);
    const due = layer.delayed.filter((entry) => entry.notBefore <= now).sort((a, b) => a.notBefore - b.notBefore);
    layer.waiting.push(...due);
    layer.delayed = layer.delayed.filter((entry) => !due.includes(entry));
    return layer.delayed.length === 0 ? undefined : Math.min(...layer.delayed.map((entry) => entry.notBefore));
  }

  get leased(): number {
    return [...this.versions.values()].reduce((sum, { leased }) => sum + leased.length, 0);
  }

  peek(version: string): Entry | undefined {
    if (this.leased >= this.limit) return undefined;
    const { waiting } = this.of(version);
    return waiting.find((entry) => waiting.every((other) => other.priority <= entry.priority));
  }

  take(version: string): Entry | undefined {
    const entry = this.peek(version);
    if (entry === undefined) return undefined;
    this.remove(entry);
    this.of(version).leased.push(entry);
    return entry;
  }

  remove(entry: Entry): "delayed" | "waiting" | "leased" | "gone" {
    const layer = this.of(entry.version);
    for (const state of ["delayed", "waiting", "leased"] as const) {
      if (!layer[state].includes(entry)) continue;
      layer[state] = layer[state].filter((other) => other !== entry);
      return state;
    }
    return "gone";
  }

  settle(entry: Entry, succeeded: boolean): boolean {
    const layer = this.of(entry.version);
    if (!layer.leased.includes(entry)) return false;
    this.remove(entry);
    if (succeeded) layer.completed++;
    else layer.failed++;
    return true;
  }
}

const VERSIONS = ["v1", "v2", "v3"];
const version = fc.constantFrom(...VERSIONS);
const action = fc.record({
  do: fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        t: fc.constant("enqueue" as const),
        priority: fc.integer({ min: -1, max: 1 }),
        delayMs: fc.integer({ min: -5, max: 20 }),
      }),
    },
    { weight: 3, arbitrary: fc.constant({ t: "take" as const }) },
    { weight: 3, arbitrary: fc.record({ t: fc.constant("settle" as const), pick: fc.nat(), succeeded: fc.boolean() }) },
    { weight: 2, arbitrary: fc.record({ t: fc.constant("withdraw" as const), pick: fc.nat() }) },
    { weight: 2, arbitrary: fc.constant({ t: "wake" as const }) },
    { weight: 1, arbitrary: fc.record({ t: fc.constant("open" as const), limit: fc.constantFrom(1, 2, 5, Number.POSITIVE_INFINITY) }) },
  ),
  version,
  elapsedMs: fc.nat(10),
});
type Action = typeof action extends fc.Arbitrary<infer Value> ? Value : never;

/** Does the same to both, and gives what each answered. */
const perform = (layers: Layers, model: Model, all: Entry[], { do: given, version: of }: Action, now: number): [unknown, unknown] => {
  const layer = layers.find("pay", of) as Layer;
  switch (given.t) {
    case "open":
      layers.open("pay", of, given.limit);
      return [undefined, model.open(of, given.limit)];
    case "enqueue": {
      const entry = entryOf(all.length, of, given.priority, now + given.delayMs);
      all.push(entry);
      layer.enqueue(entry, now);
      return [undefined, model.enqueue(entry, now)];
    }
    case "take":
      return [
        [layer.peek(now), layer.take(1, "pod-1", now)],
        [model.peek(of), model.take(of)],
      ];
    case "wake":
      return [layer.wake(now), model.wake(of, now)];
    case "settle":
    case "withdraw": {
      const entry = all[given.pick % Math.max(1, all.length)];
      if (entry === undefined) return [undefined, undefined];
      const its = layers.find("pay", entry.version) as Layer;
      if (given.t === "withdraw") return [its.withdraw(entry), model.remove(entry)];
      return [its.settle(entry, given.succeeded, now), model.settle(entry, given.succeeded)];
    }
  }
};

const entryOf = (seq: number, of: string, priority: number, notBefore: number): Entry => ({
  run: "run_00000000001",
  seq,
  attempt: 1,
  fn: "pay",
  version: of,
  input: "",
  priority,
  timeoutMs: 1_000,
  solo: false,
  notBefore,
  state: "waiting",
  waitingSince: 0,
  lease: 0,
  pod: "",
  leasedAt: 0,
});

const compare = (layers: Layers, model: Model, all: readonly Entry[]): void => {
  for (const layer of layers) {
    const { delayed, waiting, leased, completed, failed } = model.of(layer.version);
    const counted = {
      waiting: layer.waiting,
      delayed: layer.delayed,
      leased: layer.leased,
      completed: layer.completed,
      failed: layer.failed,
    };
    expect(counted).toEqual({ waiting: waiting.length, delayed: delayed.length, leased: leased.length, completed, failed });
    for (const entry of all) {
      if (entry.version !== layer.version) continue;
      const inState = (["delayed", "waiting", "leased"] as const).filter((state) => model.of(layer.version)[state].includes(entry));
      expect(inState.length === 0 ? ["gone"] : inState).toEqual([entry.state]);
    }
  }
  expect(layers.depth).toBe([...model.versions.values()].reduce((sum, { waiting, delayed }) => sum + waiting.length + delayed.length, 0));
};

test("layers do what plain lists would: states, order, limit and counters (I1, I2, I3)", () => {
  fc.assert(
    fc.property(fc.array(action, { maxLength: 80, size: "max" }), fc.constantFrom(1, 3, Number.POSITIVE_INFINITY), (actions, limit) => {
      const layers = new Layers();
      const model = new Model();
      const all: Entry[] = [];
      let now = 0;
      for (const opened of VERSIONS.slice(0, 2)) {
        layers.open("pay", opened, limit);
        model.open(opened, limit);
      }
      for (const each of actions) {
        now += each.elapsedMs;
        if (each.do.t !== "open" && layers.find("pay", each.version) === undefined) continue;
        const before = model.leased;
        const [actual, expected] = perform(layers, model, all, each, now);
        expect(actual).toEqual(expected);
        compare(layers, model, all);
        expect(model.leased).toBeLessThanOrEqual(Math.max(before, model.limit));
      }
    }),
    { numRuns: 300 },
  );
});

test("whatever waits leaves by priority and arrival, however much was withdrawn in between (I3)", () => {
  fc.assert(
    fc.property(fc.array(fc.record({ priority: fc.integer({ min: 0, max: 2 }), withdrawn: fc.boolean() })), (given) => {
      const layer = new Layers().open("pay", "v1");
      const entries = given.map(({ priority }, i) => entryOf(i, "v1", priority, 0));
      for (const entry of entries) layer.enqueue(entry, 0);
      given.forEach(({ withdrawn }, i) => void (withdrawn && layer.withdraw(entries[i]!)));
      const taken: Entry[] = [];
      for (let entry = layer.take(1, "pod-1", 0); entry !== undefined; entry = layer.take(1, "pod-1", 0)) taken.push(entry);
      const kept = entries.filter((_, i) => !given[i]!.withdrawn);
      expect(taken.map(({ seq }) => seq)).toEqual(kept.sort((a, b) => b.priority - a.priority || a.seq - b.seq).map(({ seq }) => seq));
    }),
  );
});
