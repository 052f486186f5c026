import { describe, expect, test } from "vitest";
import type { PodExit } from "../cluster/port.ts";
import { HostReports } from "./host-reports.ts";
import { createLive, type Live } from "./live.ts";
import { createRun } from "./run-state.ts";

const DIED: PodExit = { reason: "exited", detail: "signal SIGKILL", memory: false, output: "" } as PodExit;

const setUp = (...ids: string[]) => {
  const runs = new Map<string, Live>();
  for (const id of ids) {
    const head = {
      id,
      kind: "coordinator" as const,
      name: "booking",
      application: "shop",
      version: "v1",
      input: "",
      acceptedAt: 1,
      priority: 0,
    };
    runs.set(id, createLive(head, createRun(head), undefined, 1));
  }
  const told: string[] = [];
  const driven: unknown[] = [];
  const reports = new HostReports(
    {
      monitor: { judgedRun: (_name, failure) => ({ ...failure, verdict: { class: "execution", retryable: false, evidence: [] } }) },
      turn: { log: () => {} },
    },
    {
      feed: (live, input) => told.push(`${live.head.id} ${input.t === "halt" ? input.failure.code : input.t}`),
      drive: (_, commands) => driven.push(...commands),
      hosting: {
        host: ({ head }: Live) => told.push(`host ${head.id}`),
        unhost: ({ head }: Live) => told.push(`unhost ${head.id}`),
        permit: (_: Live, seq: number) => told.push(`permit ${seq}`),
      } as never,
    },
    { get: (id) => runs.get(id), waits: () => {} },
  );
  return { reports, told, driven, live: (id: string) => runs.get(id)! };
};

describe("the end of a pod", () => {
  test("starts its runs elsewhere, from the second on with half of the company each time", () => {
    const { reports, told, live } = setUp("a", "b", "c", "d");
    reports.lost(["a", "b", "c", "d"], DIED, undefined);
    expect([told, live("a").company]).toEqual([["host a", "host b", "host c", "host d"], Number.POSITIVE_INFINITY]);
    reports.lost(["a", "b", "c", "d"], DIED, undefined);
    expect(live("a").company).toBe(2);
    reports.lost(["a", "b"], DIED, undefined);
    reports.lost(["a"], DIED, undefined);
    expect([live("a").company, live("b").company, live("c").company]).toEqual([1, 1, 2]);
  });

  test("ends a run that has lost five pods alone, and none that only lived beside it", () => {
    const { reports, told } = setUp("a", "b");
    for (let i = 0; i < 9; i++) reports.lost(["a", "b"], DIED, undefined);
    for (let i = 0; i < 5; i++) reports.lost(["b"], DIED, undefined);
    expect(told.filter((each) => !each.startsWith("host"))).toEqual(["b COORDINATOR_CRASHED"]);
  });

  test("ends at once the run that never yielded", () => {
    const { reports, told } = setUp("a", "b");
    reports.lost(["a", "b"], DIED, "b");
    expect(told).toEqual(["host a", "b COORDINATOR_STUCK"]);
  });

  test("counts from nothing again after the run's code has said something", () => {
    const { reports, live } = setUp("a");
    for (let i = 0; i < 3; i++) reports.lost(["a"], DIED, undefined);
    reports.commands("a", [{ t: "sleep", seq: 1, ms: 5 }]);
    expect(live("a")).toMatchObject({ hostLosses: 0, soloLosses: 0, company: Number.POSITIVE_INFINITY });
  });
});

describe("commands", () => {
  test("that end a run in failure are judged, but not those of a cancellation", () => {
    const { reports, driven } = setUp("a");
    const failure = { code: "FUNCTION_FAILED", message: "no" };
    reports.commands("a", [{ t: "finish", failure }]);
    reports.commands("a", [{ t: "finish", failure, cancelled: true }]);
    expect(driven).toEqual([
      { t: "finish", failure: { ...failure, verdict: { class: "execution", retryable: false, evidence: [] } } },
      { t: "finish", failure, cancelled: true },
    ]);
  });

  test("ask leave for a step, which is over when its outcome comes", () => {
    const { reports, told, live } = setUp("a");
    live("a").steps.add(1);
    reports.commands("a", [{ t: "stepping", seq: 2 }]);
    reports.commands("a", [{ t: "step", seq: 1, name: "id", value: "7" }]);
    expect([told, [...live("a").steps]]).toEqual([["permit 2"], []]);
  });

  test("of a run that is gone lead to nothing", () => {
    const { reports, driven } = setUp();
    reports.commands("a", [{ t: "sleep", seq: 1, ms: 5 }]);
    expect(driven).toEqual([]);
  });
});
