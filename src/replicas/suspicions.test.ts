import { describe, expect, it } from "vitest";
import type { Evidence } from "../consensus/effects.ts";
import { Suspicions } from "./suspicions.ts";

const lie = (about: number): Evidence => ({ about, kind: "bad-proposal", view: 1, seq: 5, detail: "runs backwards" });
const late = (about: number, view: number): Evidence => ({ about, kind: "silent-leader", view, seq: 0, detail: "no progress" });

describe("suspicions", () => {
  it("believe f + 1 replicas, and tell it once", () => {
    const suspicions = new Suspicions(1);
    expect(suspicions.heard(0, lie(2), 0)).toBeUndefined();
    expect(suspicions.heard(1, lie(2), 1)).toEqual({ about: 2, accusation: "lie", detail: "runs backwards" });
    expect(suspicions.heard(3, lie(2), 2)).toBeUndefined();
  });

  it("believe nobody who only repeats himself, or speaks of himself", () => {
    const suspicions = new Suspicions(1);
    for (let i = 0; i < 5; i++) expect(suspicions.heard(0, lie(2), i)).toBeUndefined();
    expect(suspicions.heard(2, lie(2), 9)).toBeUndefined();
  });

  it("need more voices where more replicas may lie", () => {
    const suspicions = new Suspicions(2);
    expect(suspicions.heard(0, lie(2), 0)).toBeUndefined();
    expect(suspicions.heard(1, lie(2), 0)).toBeUndefined();
    expect(suspicions.heard(4, lie(2), 0)).toBeDefined();
  });

  it("give up a leader that is late in three views within a minute, not in one", () => {
    const suspicions = new Suspicions(1);
    const told = (view: number, at: number) => [0, 1].map((from) => suspicions.heard(from, late(2, view), at)).find(Boolean);
    expect(told(2, 0)).toBeUndefined();
    expect(told(6, 1_000)).toBeUndefined();
    expect(told(10, 2_000)).toMatchObject({ accusation: "silence" });
    expect(told(14, 3_000)).toBeUndefined();
    expect(told(18, 120_000)).toBeUndefined();
    expect(told(22, 240_000)).toBeUndefined();
  });

  it("believe one that has seen two proposals when another one misses them in the same view", () => {
    const seen = (view: number): Evidence => ({ about: 2, kind: "equivocation", view, seq: 3, detail: "two batches" });
    const first = new Suspicions(1);
    expect(first.heard(0, seen(2), 0)).toBeUndefined();
    expect(first.heard(1, late(2, 6), 1)).toBeUndefined();
    expect(first.heard(1, late(2, 2), 2)).toEqual({ about: 2, accusation: "equivocation", detail: "two batches", isDoubtful: true });
    const second = new Suspicions(1);
    expect(second.heard(0, late(2, 2), 0)).toBeUndefined();
    expect(second.heard(3, late(2, 2), 0)).toBeUndefined();
    expect(second.heard(1, seen(2), 1)).toMatchObject({ accusation: "equivocation" });
    expect(second.heard(1, seen(2), 2)).toBeUndefined();
  });

  it("are certain of an equivocation that f + 1 replicas have seen", () => {
    const seen: Evidence = { about: 2, kind: "equivocation", view: 2, seq: 3, detail: "two batches" };
    const suspicions = new Suspicions(1);
    expect(suspicions.heard(0, seen, 0)).toBeUndefined();
    expect(suspicions.heard(1, seen, 1)).toEqual({ about: 2, accusation: "equivocation", detail: "two batches" });
  });

  it("don't believe one replica that says all of it", () => {
    const suspicions = new Suspicions(1);
    expect(suspicions.heard(0, { ...late(2, 2), kind: "equivocation" }, 0)).toBeUndefined();
    expect(suspicions.heard(0, late(2, 2), 0)).toBeUndefined();
    expect(suspicions.heard(0, { ...late(2, 2), kind: "slow-leader" }, 0)).toBeUndefined();
  });

  it("keep the word of those who say little though another says whatever comes to its mind", () => {
    const suspicions = new Suspicions(1);
    expect(suspicions.heard(0, lie(3), 0)).toBeUndefined();
    for (let view = 0; view < 10_000; view++) {
      for (const about of [0, 1, 2])
        suspicions.heard(3, { ...late(about, view), kind: view % 2 === 0 ? "slow-leader" : "equivocation" }, view);
    }
    expect(suspicions.heard(1, lie(3), 10_001)).toMatchObject({ about: 3, accusation: "lie" });
  });

  it("count a view once, however often one that is part of its accusers makes its own word forgotten", () => {
    const suspicions = new Suspicions(1);
    expect(suspicions.heard(0, late(2, 6), 0)).toBeUndefined();
    for (let time = 0; time < 5; time++) {
      expect(suspicions.heard(3, late(2, 6), time)).toBeUndefined();
      for (let view = 100; view < 300; view++) suspicions.heard(3, late(1, view), time);
    }
  });

  it("don't add what is said of a view to what was said of that number in an earlier epoch, and remember a lie", () => {
    const suspicions = new Suspicions(1);
    expect(suspicions.heard(0, { about: 2, kind: "equivocation", view: 2, seq: 3, detail: "two batches" }, 0)).toBeUndefined();
    expect(suspicions.heard(0, lie(3), 0)).toBeUndefined();
    suspicions.begin();
    expect(suspicions.heard(1, late(2, 2), 1)).toBeUndefined();
    expect(suspicions.heard(1, lie(3), 1)).toMatchObject({ about: 3, accusation: "lie" });
  });

  it("forget what was said of a replica, and by it, when its seat has another one", () => {
    const suspicions = new Suspicions(1);
    suspicions.heard(0, lie(2), 0);
    suspicions.heard(2, lie(3), 0);
    suspicions.forget(2);
    expect(suspicions.heard(1, lie(2), 1)).toBeUndefined();
    expect(suspicions.heard(0, lie(3), 1)).toBeUndefined();
    expect(suspicions.heard(1, lie(3), 1)).toBeDefined();
  });
});
