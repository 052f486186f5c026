import { describe, expect, test } from "vitest";
import type { AcceptedRun, StoredRun } from "../journal/port.ts";
import { childHead, RunFamily } from "./family.ts";
import { createLive, type Live } from "./live.ts";
import { createRun } from "./run-state.ts";

const headOf = (id: string, more: Partial<AcceptedRun> = {}): AcceptedRun => ({
  id,
  kind: "coordinator",
  name: "booking",
  application: "shop",
  version: "v1",
  input: "",
  acceptedAt: 1,
  priority: 5,
  ...more,
});
const liveOf = (head: AcceptedRun): Live => createLive(head, createRun(head), undefined, 1);

const setUp = () => {
  const inMemory = new Map<string, Live>();
  const stored = new Map<string, Partial<StoredRun>>();
  const woken: string[] = [];
  const effects: (() => void)[] = [];
  const fed: unknown[] = [];
  const errors: unknown[] = [];
  const family = new RunFamily(
    {
      journal: { load: async (id) => stored.get(id) as StoredRun | undefined },
      turn: { wake: (run) => woken.push(run), after: (effect) => effects.push(effect) },
      ids: { next: () => "run_next" },
      clock: { now: () => 1_000 },
    },
    { get: (id) => inMemory.get(id), find: async (id) => (id === "run_unread" ? Promise.reject(new Error("disk")) : liveOf(headOf(id))) },
    (live, input) => fed.push([live.head.id, input]),
    (error) => errors.push(error),
  );
  const add = (live: Live): Live => {
    inMemory.set(live.head.id, live);
    return live;
  };
  const commit = async (): Promise<void> => {
    for (const effect of effects.splice(0)) effect();
    await Promise.resolve();
    await Promise.resolve();
  };
  return { family, add, stored, woken, fed, errors, commit };
};

describe("the end of a child", () => {
  const child = headOf("run_child", { parent: "run_parent", parentSeq: 2 });

  test("is told to a parent in memory at once, and so in the same commit", () => {
    const { family, add, fed, woken } = setUp();
    add(liveOf(headOf("run_parent")));
    family.tellParent(child, { value: "7" });
    expect([fed, woken]).toEqual([[["run_parent", { t: "child", seq: 2, value: "7" }]], []]);
  });

  test("wakes a parent that isn't, and is told once that is durable", async () => {
    const { family, fed, woken, commit } = setUp();
    family.tellParent(child, { value: "7" });
    expect([fed, woken]).toEqual([[], ["run_parent"]]);
    await commit();
    expect(fed).toEqual([["run_parent", { t: "child", seq: 2, value: "7" }]]);
  });

  test("of which nobody waits for is told to nobody", () => {
    const { family, fed, woken } = setUp();
    family.tellParent(headOf("run_detached", { parent: "run_parent" }), { value: "7" });
    expect([fed, woken]).toEqual([[], []]);
  });

  test("that is a recovery is told as its decision", () => {
    const { family, add, fed } = setUp();
    add(liveOf(headOf("run_parent")));
    family.tellParent({ ...child, kind: "recovery" }, { value: '{"t":"compensate"}' });
    expect(fed).toEqual([
      ["run_parent", { t: "recovered", seq: 2, recovery: "run_child", next: "run_next", decision: { t: "compensate" } }],
    ]);
  });

  test("stops the platform when its parent can't be read", async () => {
    const { family, errors, commit } = setUp();
    family.tellParent({ ...child, parent: "run_unread" }, { value: "7" });
    await commit();
    expect(errors).toEqual([new Error("disk")]);
  });
});

describe("a run that comes back asks", () => {
  test("how the children ended that it waits for", async () => {
    const { family, add, stored, fed } = setUp();
    const live = add(liveOf(headOf("run_parent")));
    for (const [seq, child] of [
      [1, "run_done"],
      [2, "run_failed"],
      [3, "run_open"],
      [4, "run_here"],
    ] as const) {
      live.state.pending.set(seq, { t: "child", seq, coordinator: "refund", child });
    }
    stored.set("run_done", { ...headOf("run_done"), finishedAt: 5, value: "7" });
    stored.set("run_failed", {
      ...headOf("run_failed"),
      finishedAt: 5,
      failure: { code: "A", message: "b", call: { function: "f", seq: 9 } },
    });
    stored.set("run_open", headOf("run_open"));
    add(liveOf(headOf("run_here")));
    await family.ask(live);
    expect(fed).toEqual([
      ["run_parent", { t: "child", seq: 1, value: "7" }],
      ["run_parent", { t: "child", seq: 2, failure: { code: "A", message: 'child "booking" (run_failed): b' } }],
    ]);
  });

  test("how the recovery ended that it waits for", async () => {
    const { family, stored, fed } = setUp();
    const live = liveOf(headOf("run_parent"));
    live.state.recovering = { recovery: "run_recovery", failure: { code: "A", message: "b" }, tries: 1 };
    stored.set("run_recovery", { ...headOf("run_recovery", { kind: "recovery" }), finishedAt: 5, value: '{"t":"compensate"}' });
    await family.ask(live);
    expect(fed).toMatchObject([["run_parent", { t: "recovered", seq: 0, recovery: "run_recovery", decision: { t: "compensate" } }]]);
  });

  test("whether its parent still awaits it, and is cancelled when not", async () => {
    const { family, add, stored, fed } = setUp();
    const parent = add(liveOf(headOf("run_parent")));
    const ofParent = liveOf(headOf("run_child", { parent: "run_parent", parentSeq: 2 }));
    parent.state.pending.set(2, { t: "child", seq: 2, coordinator: "refund", child: "run_child" });
    await family.ask(ofParent);
    stored.set("run_away", headOf("run_away"));
    await family.ask(liveOf(headOf("run_child", { parent: "run_away", parentSeq: 2 })));
    expect(fed).toEqual([]);
    parent.state.pending.delete(2);
    await family.ask(ofParent);
    stored.set("run_away", { ...headOf("run_away"), finishedAt: 5 });
    await family.ask(liveOf(headOf("run_orphan", { parent: "run_away", parentSeq: 2 })));
    expect(fed).toMatchObject([
      ["run_child", { t: "cancel" }],
      ["run_orphan", { t: "cancel" }],
    ]);
  });
});

test("a child is of the version that its parent's version calls, and knows its parent's command unless it is detached", () => {
  const home = { application: "shop", version: "v2", manifest: { functions: [], coordinators: [] }, deployedAt: 1, current: true };
  const registry = { homeOfCoordinator: () => home };
  const effect = { t: "start-child", seq: 3, child: "run_child", coordinator: "refund", input: "1", detached: false } as const;
  const parent = liveOf(headOf("run_parent"));
  const head = childHead(parent, effect, registry, 9);
  expect(head).toEqual({
    ...headOf("run_child"),
    name: "refund",
    version: "v2",
    input: "1",
    acceptedAt: 9,
    parent: "run_parent",
    parentSeq: 3,
  });
  expect(childHead(parent, { ...effect, detached: true }, registry, 9)).not.toHaveProperty("parentSeq");
});
