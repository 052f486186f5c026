import { describe, expect, test } from "vitest";
import type { JournalRecord, RunKind } from "../protocol/run.ts";
import { RunHosting } from "./hosting.ts";
import { createLive } from "./live.ts";
import { createRun } from "./run-state.ts";

const record = (seq: number): JournalRecord => ({ t: "done", seq, at: 1, value: "" });

const setUp = (kind: RunKind = "coordinator") => {
  const parent = kind === "recovery" ? { parent: "run_failed", parentSeq: 1 } : {};
  const head = { id: "run_1", kind, name: "booking", application: "shop", version: "v1", input: "", acceptedAt: 1, priority: 0, ...parent };
  const live = createLive(head, createRun(head), undefined, 1);
  const early: (() => void)[] = [];
  const after: (() => void)[] = [];
  const told: unknown[] = [];
  const journals: Record<string, JournalRecord[]> = {};
  let read: () => void = () => {};
  const hosting = new RunHosting(
    {
      journal: {
        records: (run) =>
          new Promise((resolve) => {
            read = () => resolve(journals[run] ?? []);
          }),
      },
      turn: { early: (effect) => early.push(effect), after: (effect) => after.push(effect), durable: () => Promise.resolve() },
      pathOf: (version) => `/bundles/${version}`,
    },
    {
      begin: (_, { history, about }) => told.push(["begin", history.length, ...(about === undefined ? [] : [about.length])]),
      deliver: (_, { t, ...told_ }) => told.push([t, (told_ as { seq: number }).seq]),
      permit: (_, seq) => told.push(["permit", seq]),
      evict: () => told.push(["evict"]),
    },
    () => told.push(["failed"]),
  );
  const drain = (effects: (() => void)[]): void => {
    for (const effect of effects.splice(0)) effect();
  };
  const commit = (): void => {
    drain(early);
    drain(after);
  };
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 5; i++) {
      read();
      await Promise.resolve();
    }
  };
  return { live, hosting, told, journals, settle, commit, flushEarly: () => drain(early) };
};

describe("the code of a run", () => {
  test("that is new begins before its acceptance is durable", () => {
    const { live, hosting, told, flushEarly } = setUp();
    hosting.hostNew(live);
    flushEarly();
    expect([told, live.hosting]).toEqual([[["begin", 0]], "hosted"]);
  });

  test("begins with its history, and is told what was recorded while that was read, each record once and in order", async () => {
    const { live, hosting, told, journals, settle, commit } = setUp();
    journals.run_1 = [record(1), record(2)];
    hosting.host(live);
    hosting.deliver(live, record(2), 1);
    hosting.deliver(live, record(3), 2);
    hosting.deliver(live, record(4), 3);
    commit();
    expect(told).toEqual([]);
    await settle();
    commit();
    hosting.deliver(live, record(5), 4);
    commit();
    expect(told).toEqual([
      ["begin", 2],
      ["done", 3],
      ["done", 4],
      ["done", 5],
    ]);
  });

  test("doesn't begin when it was ended while its history was read", async () => {
    const { live, hosting, told, settle, commit } = setUp();
    hosting.host(live);
    hosting.unhost(live);
    await settle();
    commit();
    expect(told).toEqual([["evict"]]);
  });

  test("of a recovery is given the journal of what failed, up to its failure", async () => {
    const { live, hosting, told, journals, settle, commit } = setUp("recovery");
    const recover: JournalRecord = { t: "recover", at: 1, seq: 1, attempt: 1, failure: { code: "A", message: "b" }, recovery: "run_1" };
    journals.run_failed = [record(1), recover, record(2)];
    const read = hosting.hostRead(live, []);
    await settle();
    await read;
    commit();
    expect(told).toEqual([["begin", 0, 2]]);
  });

  test("goes on after a suspension only when it is in no pod", () => {
    const { live, hosting } = setUp();
    hosting.rehost(live);
    expect(live.hosting).toBe("loading");
    live.hosting = "hosted";
    hosting.rehost(live);
    expect(live.hosting).toBe("hosted");
  });

  test("is not started when it can't go on", async () => {
    const { live, hosting, told, commit } = setUp();
    live.state.halted = { code: "REPLAY_DIVERGED", message: "no" };
    await hosting.hostRead(live, []);
    hosting.rehost(live);
    commit();
    expect([live.hosting, told]).toEqual(["none", []]);
  });

  test("takes a step only once all that it can depend on is durable", () => {
    const { live, hosting, told, flushEarly, commit } = setUp();
    hosting.permit(live, 3);
    flushEarly();
    expect([told, [...live.steps]]).toEqual([[], [3]]);
    commit();
    expect(told).toEqual([["permit", 3]]);
  });
});
