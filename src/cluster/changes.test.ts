import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Change } from "../protocol/cluster.ts";
import { Changes } from "./changes.ts";

type Told = Change<"pod", number>;

const BASE = 1_000;
const textOf = (item: number): string => String(item);
const state = (entries: Record<string, number>): Map<string, number> => new Map(Object.entries(entries));
const brief = (told: readonly Told[]): [string, number?][] => told.map((one) => (one.type === "reset" ? ["reset"] : [one.type, one.pod]));

/** What somebody knows who applies what it is told. Items are unique here, so an item tells which thing it is. */
class Watcher {
  readonly known = new Set<number>();
  position = 0;

  take(told: readonly Told[]): void {
    for (const one of told) {
      expect(one.position).toBeGreaterThan(this.position);
      this.position = one.position;
      if (one.type === "reset") this.known.clear();
      else if (one.type === "deleted") this.known.delete(keyOf(one.pod));
      else {
        if (one.type === "modified") expect(this.known.has(keyOf(one.pod))).toBe(true);
        this.known.add(keyOf(one.pod));
      }
    }
  }
}

const keyOf = (item: number): number => Math.floor(item / 10);

describe("changes", () => {
  test("are told once each, in order, and only when something is different", () => {
    const changes = new Changes<"pod", number>("pod", BASE);
    expect(brief(changes.update(state({ a: 10, b: 20 }), textOf))).toEqual([
      ["added", 10],
      ["added", 20],
    ]);
    expect(changes.update(state({ a: 10, b: 20 }), textOf)).toEqual([]);
    expect(brief(changes.update(state({ b: 21, c: 30 }), textOf))).toEqual([
      ["deleted", 10],
      ["modified", 21],
      ["added", 30],
    ]);
    expect(changes.position).toBe(BASE + 6);
  });

  test("begin with a reset for whoever knows nothing, knows an earlier life, or more than there is", () => {
    const changes = new Changes<"pod", number>("pod", BASE);
    changes.update(state({ a: 10 }), textOf);
    changes.update(state({ a: 11, b: 20 }), textOf);
    for (const position of [0, 5, BASE, BASE + 100]) {
      expect(brief(changes.after(position))).toEqual([["reset"], ["added", 11], ["added", 20]]);
    }
    expect(changes.after(changes.position)).toEqual([]);
  });

  test("tell whoever comes back how things are, and nothing of what came and went meanwhile", () => {
    const changes = new Changes<"pod", number>("pod", BASE);
    changes.update(state({ a: 10, b: 20 }), textOf);
    const { position } = changes;
    changes.update(state({ a: 11, c: 30 }), textOf);
    changes.update(state({ a: 12 }), textOf);
    expect(brief(changes.after(position))).toEqual([
      ["deleted", 20],
      ["modified", 12],
    ]);
  });

  test("show what doesn't count as it is now", () => {
    const changes = new Changes<"pod", number>("pod", BASE);
    changes.update(state({ a: 10 }), () => "same");
    expect(changes.update(state({ a: 19 }), () => "same")).toEqual([]);
    expect(brief(changes.after(0))).toEqual([["reset"], ["added", 19]]);
  });

  test("of too many things that are gone are forgotten, and whoever knew those begins anew", () => {
    const changes = new Changes<"pod", number>("pod", BASE);
    changes.update(state({ stays: 7 }), textOf);
    const { position } = changes;
    for (let i = 1; i <= 1_001; i++) {
      changes.update(state({ stays: 7, [`p${i}`]: i * 10 }), textOf);
      changes.update(state({ stays: 7 }), textOf);
    }
    changes.update(state({ stays: 7, last: 20_000 }), textOf);
    expect(brief(changes.after(position))).toEqual([["reset"], ["added", 7], ["added", 20_000]]);
  });

  test("applied by watchers that come and go lead all of them to what is (C1)", () => {
    const step = fc.oneof(
      fc.record({ t: fc.constant("now" as const), now: fc.dictionary(fc.constantFrom("1", "2", "3", "4", "5"), fc.nat(9)) }),
      fc.record({ t: fc.constant("read" as const), who: fc.nat(2) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const changes = new Changes<"pod", number>("pod", BASE);
        const watchers = [new Watcher(), new Watcher(), new Watcher()];
        let live = new Map<string, number>();
        for (const one of steps) {
          if (one.t === "read") {
            const watcher = watchers[one.who] as Watcher;
            watcher.take(changes.after(watcher.position));
          } else {
            live = new Map(Object.entries(one.now).map(([key, item]) => [key, Number(key) * 10 + item]));
            changes.update(live, textOf);
          }
        }
        for (const watcher of watchers) {
          watcher.take(changes.after(watcher.position));
          expect([...watcher.known].sort()).toEqual([...live.keys()].map(Number).sort());
        }
      }),
    );
  });
});
