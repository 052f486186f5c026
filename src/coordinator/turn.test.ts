import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Batch, Journal } from "../journal/port.ts";
import type { PlatformEvent } from "../protocol/events.ts";
import type { JournalRecord } from "../protocol/run.ts";
import { createStepClock } from "../testing/step-clock.ts";
import { Turn } from "./turn.ts";

const RUN = "run_00000000001";
const OTHER = "run_00000000002";

const done = (seq: number): JournalRecord => ({ t: "done", seq, at: 1, value: "" });
const call = (seq: number): JournalRecord => ({ t: "call", seq, at: 1, fn: "pay", version: "v1", input: "" });

/** A turn over a journal whose commits end when the test says so. */
const setUp = () => {
  const clock = createStepClock(1_000);
  const commits: { batch: Batch; end(): Promise<void>; fail(error: Error): Promise<void> }[] = [];
  const published: PlatformEvent[][] = [];
  const failed: unknown[] = [];
  const released: string[] = [];
  let position = 0;
  const commit = (batch: Batch): Promise<number> =>
    new Promise((resolve, reject) => {
      const first = position + 1;
      position += batch.events.length;
      commits.push({
        batch: structuredClone(batch),
        end: () => {
          resolve(first);
          return clock.settle();
        },
        fail: (error) => {
          reject(error);
          return clock.settle();
        },
      });
    });
  const turn = new Turn(
    { commit } as Partial<Journal> as Journal,
    clock,
    (events) => published.push(events),
    (error) => failed.push(error),
  );
  const release = (name: string) => turn.after(() => released.push(name));
  return { clock, turn, commits, published, failed, released, release };
};

describe("an effect", () => {
  test("waits for the commit of what was recorded before it (T1)", async () => {
    const { clock, turn, commits, released, release } = setUp();
    turn.append(RUN, 0, done(1), true);
    release("answer");
    expect(commits).toHaveLength(0);
    await clock.settle();
    expect([commits.length, released]).toEqual([1, []]);
    expect(commits[0]!.batch.appended).toEqual([{ run: RUN, from: 0, records: [done(1)] }]);
    await commits[0]!.end();
    expect(released).toEqual(["answer"]);
  });

  test("leaves at the end of the turn when nothing has to be durable before it", async () => {
    const { clock, turn, commits, released, release } = setUp();
    turn.append(RUN, 0, call(1), false);
    release("dispatch");
    expect(released).toEqual([]);
    await clock.settle();
    expect([released, commits.length]).toEqual([["dispatch"], 0]);
  });

  test("that records something and releases another waits again", async () => {
    const { clock, turn, commits, released, release } = setUp();
    turn.append(RUN, 0, done(1), true);
    turn.after(() => {
      released.push("first");
      turn.append(RUN, 1, done(2), true);
      release("second");
    });
    await clock.settle();
    await commits[0]!.end();
    expect([released, commits.length]).toEqual([["first"], 2]);
    await commits[1]!.end();
    expect(released).toEqual(["first", "second"]);
  });

  test("leaves in the order in which effects were asked for", async () => {
    const { clock, turn, commits, released, release } = setUp();
    release("a");
    turn.append(RUN, 0, done(1), true);
    release("b");
    turn.append(OTHER, 0, done(1), true);
    release("c");
    await clock.settle();
    await commits[0]!.end();
    expect(released).toEqual(["a", "b", "c"]);
  });
});

describe("a commit", () => {
  test("holds all that one turn of the event loop has changed, one entry for each run", async () => {
    const { clock, turn, commits } = setUp();
    const head = { id: RUN, kind: "function" as const, name: "f", application: "a", version: "v", input: "", acceptedAt: 1, priority: 0 };
    turn.accept(head);
    turn.append(RUN, 4, call(1), false);
    turn.append(OTHER, 0, done(1), true);
    turn.append(RUN, 5, done(1), true);
    turn.change({ id: OTHER, status: "completed", live: false });
    turn.log({ run: RUN, seq: 1, attempt: 1, function: "f", lines: [] });
    turn.purge(["run_00000000009"], 7);
    await clock.settle();
    expect(commits).toHaveLength(1);
    expect(commits[0]!.batch).toEqual({
      accepted: [head],
      appended: [
        { run: RUN, from: 4, records: [call(1), done(1)] },
        { run: OTHER, from: 0, records: [done(1)] },
      ],
      changed: [{ id: OTHER, status: "completed", live: false }],
      events: [],
      logs: [{ run: RUN, seq: 1, attempt: 1, function: "f", lines: [] }],
      purged: ["run_00000000009"],
      trimEventsTo: 7,
    });
  });

  test("gathers what arrives while another one is under way (group commit)", async () => {
    const { clock, turn, commits, released, release } = setUp();
    turn.append(RUN, 0, done(1), true);
    await clock.settle();
    for (let i = 0; i < 5; i++) {
      turn.append(RUN, 1 + i, done(2 + i), true);
      release(`answer ${i}`);
      await clock.settle();
    }
    expect(commits).toHaveLength(1);
    await commits[0]!.end();
    expect([commits.length, released]).toEqual([2, []]);
    expect(commits[1]!.batch.appended).toEqual([{ run: RUN, from: 1, records: [2, 3, 4, 5, 6].map(done) }]);
    await commits[1]!.end();
    expect(released).toHaveLength(5);
    expect([turn.commits, turn.records]).toEqual([2, 6]);
  });

  test("publishes its events when they are on disk, at their positions", async () => {
    const { clock, turn, commits, published } = setUp();
    for (const at of [1, 2]) {
      clock.pause(1);
      turn.event({ type: "platform.audited", checked: at, repaired: 0 });
    }
    turn.append(RUN, 0, done(1), true);
    await clock.settle();
    expect(published).toEqual([]);
    await commits[0]!.end();
    expect(published).toEqual([
      [
        { position: 1, at: 1_001, type: "platform.audited", checked: 1, repaired: 0 },
        { position: 2, at: 1_002, type: "platform.audited", checked: 2, repaired: 0 },
      ],
    ]);
  });

  test("is not made when there is nothing to keep", async () => {
    const { clock, commits, release } = setUp();
    release("nothing");
    await clock.elapse(1_000);
    expect(commits).toHaveLength(0);
  });
});

describe("what nothing depends on", () => {
  test.each<[string, (turn: Turn) => void]>([
    ["a call that was scheduled", (turn) => turn.append(RUN, 0, call(1), false)],
    ["an event", (turn) => turn.event({ type: "platform.audited", checked: 1, repaired: 0 })],
    ["log lines", (turn) => turn.log({ run: RUN, seq: 1, attempt: 1, function: "f", lines: [] })],
  ])("%s waits for a little while, then gets a commit of its own (T2)", async (_, make) => {
    const { clock, turn, commits } = setUp();
    make(turn);
    await clock.elapse(4);
    expect(commits).toHaveLength(0);
    await clock.elapse(1);
    expect(commits).toHaveLength(1);
  });

  test("shares the next commit, and none follows", async () => {
    const { clock, turn, commits } = setUp();
    turn.append(RUN, 0, call(1), false);
    await clock.elapse(2);
    turn.append(RUN, 1, done(1), true);
    await clock.settle();
    expect(commits[0]!.batch.appended).toEqual([{ run: RUN, from: 0, records: [call(1), done(1)] }]);
    await commits[0]!.end();
    await clock.elapse(100);
    expect([commits.length, clock.timers]).toEqual([1, 0]);
  });

  test("that arrives while a commit is under way is not forgotten", async () => {
    const { clock, turn, commits } = setUp();
    turn.append(RUN, 0, done(1), true);
    await clock.settle();
    turn.append(RUN, 1, call(2), false);
    await clock.settle();
    await commits[0]!.end();
    expect(commits).toHaveLength(1);
    await clock.elapse(5);
    expect(commits[1]!.batch.appended).toEqual([{ run: RUN, from: 1, records: [call(2)] }]);
  });
});

describe("a failure", () => {
  test("of a commit is reported once, and nothing is released or committed any more (T3)", async () => {
    const { clock, turn, commits, released, release, failed, published } = setUp();
    const error = new Error("disk full");
    turn.append(RUN, 0, done(1), true);
    turn.event({ type: "platform.audited", checked: 1, repaired: 0 });
    release("answer");
    await clock.settle();
    turn.append(RUN, 1, done(2), true);
    release("answer of the next");
    await commits[0]!.fail(error);
    turn.append(RUN, 2, done(3), true);
    release("later");
    await clock.elapse(1_000);
    expect([failed, released, published, commits.length]).toEqual([[error], [], [], 1]);
  });

  test("of an effect stops everything too: what it had to do is undone in memory only", async () => {
    const { clock, turn, released, release, failed } = setUp();
    const error = new Error("defect");
    release("before");
    turn.after(() => {
      throw error;
    });
    release("after");
    await clock.settle();
    release("later");
    await clock.settle();
    expect([released, failed]).toEqual([["before"], [error]]);
  });

  test("does not keep the turn from closing", async () => {
    const { clock, turn, commits } = setUp();
    turn.append(RUN, 0, done(1), true);
    await clock.settle();
    const closing = turn.close();
    await commits[0]!.fail(new Error("disk full"));
    await closing;
    await turn.close();
  });
});

describe("closing", () => {
  test("makes durable what was recorded, then takes part in nothing any more", async () => {
    const { clock, turn, commits, released, release } = setUp();
    turn.append(RUN, 0, call(1), false);
    let closed = false;
    const closing = turn.close().then(() => {
      closed = true;
    });
    await clock.settle();
    expect([commits.length, closed]).toEqual([1, false]);
    await commits[0]!.end();
    await closing;
    turn.append(RUN, 1, done(1), true);
    release("late");
    await clock.elapse(1_000);
    expect([commits.length, released]).toEqual([1, []]);
  });
});

test("that all is durable is told only when it is", async () => {
  const { clock, turn, commits } = setUp();
  turn.append(RUN, 0, call(1), false);
  let durable = false;
  const wait = turn.durable().then(() => {
    durable = true;
  });
  await clock.settle();
  expect([commits.length, durable]).toEqual([1, false]);
  await commits[0]!.end();
  await wait;
  expect(commits[0]!.batch.appended).toHaveLength(1);
});

const action = fc.oneof(
  { weight: 4, arbitrary: fc.record({ t: fc.constant("record" as const), run: fc.constantFrom(RUN, OTHER), urgent: fc.boolean() }) },
  { weight: 3, arbitrary: fc.constant({ t: "effect" as const }) },
  { weight: 2, arbitrary: fc.constant({ t: "turn" as const }) },
  { weight: 3, arbitrary: fc.constant({ t: "end" as const }) },
  { weight: 1, arbitrary: fc.record({ t: fc.constant("wait" as const), ms: fc.nat(6) }) },
);

/** Keeps the books of what was recorded, what is on disk, and which effects have left. */
const setUpStory = () => {
  const { clock, turn, commits } = setUp();
  const made = new Map<string, number>();
  const onDisk = new Map<string, number>();
  const urgent: [string, number][] = [];
  const counts = { ended: 0, effects: 0, left: 0 };
  const record = (run: string, isUrgent: boolean): void => {
    const index = made.get(run) ?? 0;
    made.set(run, index + 1);
    if (isUrgent) urgent.push([run, index]);
    turn.append(run, index, done(index), isUrgent);
  };
  const effect = (): void => {
    const needs = [...urgent];
    const order = counts.effects++;
    turn.after(() => {
      expect(counts.left++).toBe(order);
      for (const [run, index] of needs) expect(onDisk.get(run) ?? 0).toBeGreaterThan(index);
    });
  };
  const end = async (): Promise<void> => {
    const commit = commits[counts.ended];
    if (commit === undefined) return;
    counts.ended++;
    for (const { run, from, records } of commit.batch.appended) {
      expect(from).toBe(onDisk.get(run) ?? 0);
      onDisk.set(run, from + records.length);
    }
    await commit.end();
  };
  const endAll = async (): Promise<void> => {
    await clock.elapse(10);
    while (counts.ended < commits.length) await end();
  };
  return { clock, record, effect, end, endAll, made, onDisk, counts };
};

test("whatever happens when, no effect leaves before the records on which it depends, and records stay in order (T1)", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(action, { maxLength: 40, size: "max" }), async (actions) => {
      const { clock, record, effect, end, endAll, made, onDisk, counts } = setUpStory();
      for (const each of actions) {
        if (each.t === "record") record(each.run, each.urgent);
        else if (each.t === "effect") effect();
        else if (each.t === "turn") await clock.settle();
        else if (each.t === "wait") await clock.elapse(each.ms);
        else await end();
      }
      await endAll();
      await endAll();
      expect(counts.left).toBe(counts.effects);
      expect(onDisk).toEqual(made);
    }),
    { numRuns: 200 },
  );
});
