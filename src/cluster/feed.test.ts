import { expect, test } from "vitest";
import type { Change } from "../protocol/cluster.ts";
import { createStepClock } from "../testing/step-clock.ts";
import { Feed } from "./feed.ts";

interface Thing {
  id: string;
  calls: number;
}

const setUp = () => {
  const clock = createStepClock(1_000);
  const things = new Map<string, Thing>();
  const hints = new Set<() => void>();
  let looks = 0;
  const feed = new Feed({
    field: "pod",
    base: 0,
    clock,
    list: () => {
      looks++;
      return [...things.values()].map((thing) => ({ ...thing }));
    },
    keyOf: ({ id }: Thing) => id,
    textOf: ({ id }: Thing) => id,
    hints: (look) => {
      hints.add(look);
      return () => void hints.delete(look);
    },
  });
  const told: string[] = [];
  const listen = () =>
    feed.onEvents((changes: readonly Change<"pod", Thing>[]) => {
      for (const one of changes) told.push(one.type === "reset" ? "reset" : `${one.type} ${one.pod.id}`);
    });
  const hint = (): void => {
    for (const look of hints) look();
  };
  const put = (id: string): void => void things.set(id, { id, calls: 0 });
  return { clock, things, feed, told, listen, hint, put, hints, looks: () => looks };
};

test("those who watch are told soon without a hint, and at once, by one look, with many", () => {
  const { clock, told, listen, hint, put, looks } = setUp();
  listen();
  put("a");
  clock.advance(100);
  expect(told).toEqual(["added a"]);
  put("b");
  const before = looks();
  for (let i = 0; i < 5; i++) hint();
  clock.turns();
  expect([told, looks() - before]).toEqual([["added a", "added b"], 1]);
});

test("while nobody watches nobody looks, and who comes back is told what has changed in between", async () => {
  const { clock, things, feed, told, listen, put, hints, looks } = setUp();
  put("a");
  put("b");
  const stop = listen();
  const known = (await feed.events(0)).at(-1)?.position as number;
  stop();
  expect([clock.timers, hints.size]).toEqual([0, 0]);
  const before = looks();
  things.delete("a");
  put("c");
  clock.advance(60_000);
  expect(looks()).toBe(before);
  listen();
  const missed = await feed.events(known);
  expect(missed.map((one) => one.type !== "reset" && `${one.type} ${one.pod.id}`)).toEqual(["deleted a", "added c"]);
  expect(told.slice(-2)).toEqual(["deleted a", "added c"]);
  expect(feed.position()).toBe(missed.at(-1)?.position);
});

test("a hint that outlives the last watcher does nothing", () => {
  const { clock, listen, hint, put, told } = setUp();
  const stop = listen();
  put("a");
  hint();
  stop();
  stop();
  clock.turns();
  expect(told).toEqual([]);
});
