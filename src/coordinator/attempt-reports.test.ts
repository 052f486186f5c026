import { expect, test } from "vitest";
import type { Entry } from "../queue/machine.ts";
import type { Outcome } from "../scheduler/service.ts";
import { AttemptReports } from "./attempt-reports.ts";
import { createLive, type Live } from "./live.ts";
import { step } from "./machine.ts";
import { createRun } from "./run-state.ts";

const ENTRY = { run: "run_1", seq: 1, attempt: 1, fn: "pay", version: "v1" } as Entry;
const FAILURE = { code: "FUNCTION_FAILED", message: "no" };

const setUp = (settlement: unknown) => {
  const head = {
    id: "run_1",
    kind: "function" as const,
    name: "pay",
    application: "shop",
    version: "v1",
    input: "",
    acceptedAt: 1,
    priority: 0,
  };
  const live: Live = createLive(head, createRun(head), undefined, 0);
  step(live.state, { t: "commands", commands: [{ t: "call", seq: 1, fn: "pay", input: "", version: "v1" }] }, 0, []);
  live.entries.set(1, ENTRY);
  const told: string[] = [];
  const counters = { callsCompleted: 0, callsFailed: 0 };
  const settle = (): never => {
    told.push("settle");
    return settlement as never;
  };
  const reports = new AttemptReports(
    {
      monitor: { judged: () => told.push("judged") as never, observe: () => told.push("observe") as never },
      invocations: { settle, abandon: () => told.push("abandon") as never },
      turn: { log: ({ lines }) => told.push(`log ${lines.length}`) },
    },
    {
      feed: (_, input) => told.push(`feed ${input.t}`),
      calls: { repeat: () => told.push("repeat"), fail: () => told.push("fail") } as never,
      counters: counters as never,
    },
    { get: (id) => (id === "run_1" ? live : undefined), values: () => [live] },
  );
  return { reports, live, told, counters };
};

const outcome = (more: Partial<Outcome> = {}): Outcome => ({ value: "7", lines: [], ...more });

test("an outcome is settled before its run is told", () => {
  const { reports, live, told, counters } = setUp({ t: "committed" });
  reports.settled(ENTRY, outcome());
  expect([told, counters, live.entries.size]).toEqual([["settle", "observe", "feed succeeded"], { callsCompleted: 1, callsFailed: 0 }, 0]);
});

test("what its settlement says of a failure is what its run is told", () => {
  const { reports, told, counters } = setUp({ t: "failed", failure: FAILURE });
  reports.settled(ENTRY, outcome());
  expect([told, counters]).toEqual([["settle", "observe", "fail"], { callsCompleted: 0, callsFailed: 1 }]);
});

test("an attempt that met a conflict is executed again, and what it has printed is kept", () => {
  const { reports, told, counters } = setUp({ t: "conflict" });
  reports.settled(ENTRY, outcome({ lines: [{ at: 1, level: "info", text: "a" }] }));
  expect([told, counters]).toEqual([["settle", "log 1", "repeat"], { callsCompleted: 0, callsFailed: 0 }]);
});

test("an outcome that nobody wants any more changes nothing", () => {
  const { reports, live, told } = setUp({ t: "committed" });
  reports.settled({ ...ENTRY, run: "run_gone" }, outcome());
  reports.settled({ ...ENTRY, attempt: 2 }, outcome());
  live.state.pending.delete(1);
  reports.settled(ENTRY, outcome());
  expect(told).toEqual(["abandon", "abandon", "judged", "abandon", "judged"]);
});
