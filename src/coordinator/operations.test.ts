import { describe, expect, test } from "vitest";
import type { Staleness } from "../protocol/state.ts";
import type { StateService } from "../state/service.ts";
import { createLive, type Live } from "./live.ts";
import { StateOperations } from "./operations.ts";
import { createRun } from "./run-state.ts";

const GET = { op: "get", key: "orders/1" } as const;
const STALE: Staleness = { run: "run_9", call: 1, function: "pay", fault: "execution", message: "no", at: 1 };

const setUp = () => {
  const inMemory = new Map<string, Live>();
  const executed: unknown[] = [];
  const settles: Parameters<StateService["execute"]>[2][] = [];
  const fed: unknown[] = [];
  let givenUp = 0;
  const operations = new StateOperations(
    {
      execute: (owner, op, settle) => {
        executed.push([owner, op]);
        settles.push(settle);
        return () => {
          givenUp++;
        };
      },
    },
    { get: (id) => inMemory.get(id) },
    (live, input) => fed.push([live.head.id, input]),
  );
  const add = (id: string, application = "shop"): Live => {
    const head = { id, kind: "coordinator" as const, name: "booking", application, version: "v1", input: "", acceptedAt: 1, priority: 0 };
    const live = createLive(head, createRun(head), undefined, 1);
    inMemory.set(id, live);
    return live;
  };
  return { operations, add, inMemory, executed, settles, fed, givenUp: () => givenUp };
};

describe("an operation", () => {
  test("that was decided is carried out once, in the space of its run's application", () => {
    const { operations, add, executed, settles, fed } = setUp();
    const live = add("run_1");
    live.state.pending.set(1, { t: "state", seq: 1, op: GET });
    operations.execute(live, 1, GET);
    operations.execute(live, 1, GET);
    expect(executed).toEqual([[{ space: "shop", run: "run_1", seq: 1, function: "booking" }, GET]]);
    settles[0]!({ value: "7", reads: ["orders/1"] });
    expect(fed).toEqual([["run_1", { t: "stated", seq: 1, value: "7", reads: ["orders/1"] }]]);
    expect(live.operations?.size).toBe(0);
  });

  test("that nobody awaits any more is not begun, and is given up when it was", () => {
    const { operations, add, executed, givenUp } = setUp();
    const live = add("run_1");
    operations.execute(live, 1, GET);
    expect(executed).toEqual([]);
    live.state.pending.set(1, { t: "state", seq: 1, op: GET });
    operations.execute(live, 1, GET);
    operations.giveUp(live, 1);
    operations.giveUp(live, 1);
    expect([givenUp(), live.operations?.size]).toEqual([1, 0]);
  });
});

test("runs in memory that watch are told what becomes stale in their application, until they end", () => {
  const { operations, add, inMemory, fed } = setUp();
  const finished = add("run_2");
  add("run_1");
  add("run_3", "bank");
  add("run_4");
  for (const run of ["run_1", "run_2", "run_3", "run_4"]) operations.watch(run);
  finished.state.finished = "completed";
  inMemory.delete("run_4");
  operations.toldStale("shop", "orders/1", STALE);
  expect(fed).toEqual([["run_1", { t: "stale", key: "orders/1", stale: STALE }]]);
  add("run_4");
  operations.unwatch("run_1");
  operations.toldStale("shop", "orders/1", STALE);
  expect(fed).toHaveLength(1);
});
