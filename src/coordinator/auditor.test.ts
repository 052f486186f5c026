import { expect, test } from "vitest";
import { Auditor } from "./auditor.ts";
import { createLive, type Live } from "./live.ts";
import { step } from "./machine.ts";
import { createRun } from "./run-state.ts";

const setUp = () => {
  const head = {
    id: "run_1",
    kind: "coordinator" as const,
    name: "booking",
    application: "shop",
    version: "v1",
    input: "",
    acceptedAt: 1,
    priority: 0,
  };
  const live: Live = createLive(head, createRun(head), undefined, 0);
  const told: string[] = [];
  const at = { now: 100_000, settled: Number.POSITIVE_INFINITY, connectedMs: 100_000, isHosted: true };
  const feeder = {
    feed: (_: Live, input: { t: string; failure?: { code: string } }) => told.push(`${input.t} ${input.failure?.code}`),
    calls: { enqueue: (_: Live, { seq }: { seq: number }) => told.push(`enqueue ${seq}`) },
    operations: { execute: (_: Live, seq: number) => told.push(`execute ${seq}`) },
    hosting: { host: () => told.push("host"), unhost: () => told.push("unhost") },
  };
  const auditor = new Auditor({
    clock: { now: () => at.now },
    turn: {
      get settledAt() {
        return at.settled;
      },
    },
    memory: { values: () => [live], size: 1 },
    feeder: feeder as never,
    hosts: { isHosted: () => at.isHosted, connectedMs: () => at.connectedMs },
  });
  live.hosting = "hosted";
  const audit = (): [number, string[]] => [auditor.audit().repaired, told.splice(0)];
  const call = (): void =>
    step(live.state, { t: "commands", commands: [{ t: "call", seq: 1, fn: "pay", input: "", version: "v1" }] }, 0, []);
  return { live, at, audit, call };
};

test("a run whose call is in no layer has it enqueued, once it should have been", () => {
  const { live, at, audit, call } = setUp();
  call();
  live.touchedAt = at.now - 999;
  expect(audit()).toEqual([0, []]);
  live.touchedAt = at.now - 1_000;
  expect(audit()).toEqual([1, ["enqueue 1"]]);
  live.entries.set(1, {} as never);
  expect(audit()).toEqual([0, []]);
});

test("nothing begins before the commit that it waits for, however long that takes", () => {
  const { live, at, audit, call } = setUp();
  call();
  live.touchedAt = 5_000;
  at.settled = 5_000;
  expect(audit()).toEqual([0, []]);
  at.settled = 5_001;
  expect(audit()).toEqual([1, ["enqueue 1"]]);
});

test("a run whose code is in no pod has it started", () => {
  const { live, at, audit, call } = setUp();
  call();
  live.entries.set(1, {} as never);
  at.isHosted = false;
  expect(audit()).toEqual([1, ["host"]]);
  at.isHosted = true;
  live.hosting = "loading";
  expect(audit()).toEqual([0, []]);
});

test("a coordinator that waits for nothing and says nothing starts again, and is given up the fifth time", () => {
  const { at, audit } = setUp();
  for (let i = 0; i < 4; i++) {
    expect(audit()).toEqual([1, ["unhost", "host"]]);
    at.now += 20_000;
  }
  expect(audit()).toEqual([1, ["unhost", "halt COORDINATOR_STUCK"]]);
});

test("its silence counts from the moment at which its pod was there, and a step that executes is none", () => {
  const { live, at, audit } = setUp();
  at.connectedMs = 15_000;
  expect(audit()).toEqual([0, []]);
  at.connectedMs = 100_000;
  live.steps.add(1);
  expect(audit()).toEqual([0, []]);
});

test("a run that can't go on by itself is left alone", () => {
  const { live, at, audit, call } = setUp();
  call();
  at.isHosted = false;
  live.state.halted = { code: "REPLAY_DIVERGED", message: "no" };
  expect(audit()).toEqual([0, []]);
});
