import { describe, expect, test } from "vitest";
import type { AcceptedRun, StoredRun } from "../journal/port.ts";
import { Admission, type NewRun } from "./admission.ts";

const request = (more: Partial<NewRun> = {}): NewRun => ({
  kind: "coordinator",
  name: "booking",
  input: "1",
  application: "shop",
  version: "v1",
  ...more,
});

const setUp = ({ runs = 0, waiting = 0 } = {}) => {
  const accepted: AcceptedRun[] = [];
  /** What is on disk, by key. */
  const stored = new Map<string, AcceptedRun>();
  const effects: (() => void)[] = [];
  const counters = { refused: 0 };
  let ids = 0;
  const admission = new Admission(
    {
      journal: { findByKey: async (_kind, _name, key) => stored.get(key) as StoredRun | undefined, records: async () => [] },
      registry: { homeOfFunction: () => undefined },
      turn: { after: (effect) => effects.push(effect), durable: async () => {} },
      ids: { next: () => `run_${++ids}` },
      clock: { now: () => 1_000 },
    },
    { maxLiveRuns: 2, maxWaitingCalls: 5 },
    {
      accept: (head) => accepted.push(head),
      restart: async (head) => {
        accepted.push(head);
      },
      counters: counters as never,
    },
    { size: runs },
    { depth: waiting },
  );
  /** Writes what was accepted, and answers. */
  const commit = async (): Promise<void> => {
    await settled();
    for (const head of accepted) if (head.key !== undefined && !stored.has(head.key)) stored.set(head.key, head);
    for (const effect of effects.splice(0)) effect();
    await settled();
  };
  return { admission, accepted, counters, commit };
};

const settled = async (): Promise<void> => {
  for (let i = 0; i < 10; i++) await Promise.resolve();
};

describe("room", () => {
  test.each([
    { runs: 2, waiting: 0 },
    { runs: 0, waiting: 5 },
  ])("for no more runs: $runs live, $waiting calls waiting", async (load) => {
    const { admission, accepted, counters } = setUp(load);
    await expect(admission.start(request())).rejects.toMatchObject({ code: "OVERLOADED" });
    expect([accepted, counters.refused]).toEqual([[], 1]);
  });

  test("is not asked for by what events start, since its event is recorded already", () => {
    const { admission, accepted } = setUp({ runs: 2 });
    expect([admission.trigger(request()), accepted.length]).toEqual(["run_1", 1]);
  });
});

describe("a start", () => {
  test("is answered once it is durable", async () => {
    const { admission, commit } = setUp();
    let answer: unknown;
    void admission.start(request()).then((given) => {
      answer = given;
    });
    await settled();
    expect(answer).toBeUndefined();
    await commit();
    expect(answer).toEqual({ id: "run_1", existing: false });
  });

  test("with a key that others use at the same time starts one run", async () => {
    const { admission, accepted, commit } = setUp();
    const starts = Promise.all([1, 2, 3].map(() => admission.start(request({ key: "k" }))));
    await commit();
    expect(await starts).toEqual([
      { id: "run_1", existing: false },
      { id: "run_1", existing: true },
      { id: "run_1", existing: true },
    ]);
    expect(accepted).toHaveLength(1);
  });

  test("with a key that has started something else is refused", async () => {
    const { admission, commit } = setUp();
    const first = admission.start(request({ key: "k" }));
    await commit();
    await first;
    await expect(admission.start(request({ key: "k", input: "2" }))).rejects.toMatchObject({ code: "IDEMPOTENCY_CONFLICT" });
  });

  test("follows one with the same key that was refused", async () => {
    const { admission, accepted, commit } = setUp({ runs: 2 });
    const refused = admission.start(request({ key: "k" }));
    const next = admission.start(request({ key: "k" }));
    await expect(refused).rejects.toMatchObject({ code: "OVERLOADED" });
    await expect(next).rejects.toMatchObject({ code: "OVERLOADED" });
    await commit();
    expect(accepted).toEqual([]);
  });
});
