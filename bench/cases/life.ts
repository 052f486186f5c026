/** Starts, recovery, memory, replay and expressions: each measures with platforms of its own where it needs them fresh. */
import { setTimeout as delay } from "node:timers/promises";
import { load } from "../lib/http-load.ts";
import type { BenchPlatform } from "../lib/platform.ts";
import { podsOf, residentMb, startBenchPlatform } from "../lib/platform.ts";
import { median } from "../lib/repeat.ts";
import type { Case } from "./case.ts";

interface Started {
  id: string;
}

/** Polls until `check` holds: here the poll itself is not what is measured, or it is finer than the figure. */
const until = async (check: () => Promise<boolean>): Promise<void> => {
  while (!(await check())) await delay(2);
};

const startToResult: Case = {
  name: "start of the platform → first result",
  unit: "ms",
  goal: "≤ 400",
  measure: async () => {
    const startedAt = performance.now();
    const platform = await startBenchPlatform("bench/app");
    await platform.post("/v1/coordinators/chain2/runs?wait=30s", { input: { x: 1 } });
    const elapsed = performance.now() - startedAt;
    await platform.stop();
    return [elapsed];
  },
};

const idleMemory: Case = {
  name: "memory idle, all processes",
  unit: "MiB RSS",
  goal: "≤ 150",
  measure: async () => {
    const platform = await startBenchPlatform("bench/app");
    await until(async () => (await podsOf(platform)).some(({ role, state }) => role === "warm" && state === "ready"));
    await delay(1_000);
    const resident = await residentMb(platform);
    await platform.stop();
    return [resident];
  },
};

const COLD_FUNCTIONS = 20;

const coldFunction: Case = {
  name: "function at zero pods: call → result",
  unit: "ms p50",
  goal: "≤ 12",
  measure: async () => {
    const platform = await startBenchPlatform("bench/cold");
    const times: number[] = [];
    for (let i = 0; i < COLD_FUNCTIONS; i++) {
      await until(async () => (await podsOf(platform)).some(({ role, state }) => role === "warm" && state === "ready"));
      // The pod's liveness thread still starts right after its connection.
      await delay(100);
      const startedAt = performance.now();
      await platform.post(`/v1/functions/cold${i}/calls?wait=30s`, { input: i });
      times.push(performance.now() - startedAt);
    }
    await platform.stop();
    return [median(times)];
  },
};

const replay = (calls: number, goal: string): Case => ({
  name: `replay of a ${calls.toLocaleString("en-US")}-call journal`,
  unit: "ms",
  goal,
  measure: async (platform) => {
    const { id } = await platform.post<Started>("/v1/coordinators/long/runs", { input: { calls } });
    await until(async () => (await platform.get<{ waitingFor: string[] }>(`/v1/runs/${id}`)).waitingFor[0]?.includes("signal") ?? false);
    await until(async () => (await podsOf(platform)).some(({ role, state }) => role === "warm" && state === "ready"));
    const host = (await podsOf(platform)).find(({ role }) => role === "coordinator")!;
    // The pod that holds the coordinator dies: another takes it over from the journal, and only then the signal can be answered.
    process.kill(host.pid, "SIGKILL");
    const startedAt = performance.now();
    await platform.post(`/v1/runs/${id}/signals/go`, { value: 1 });
    await platform.get(`/v1/runs/${id}/result?wait=30s`);
    return [performance.now() - startedAt];
  },
});

/** A balanced tree of distinct numbers, so that no two sub-expressions are the same. */
const expressionOf = (operators: number): string => {
  let parts = Array.from({ length: operators + 1 }, (_, i) => String(i + 1));
  while (parts.length > 1) {
    const next: string[] = [];
    for (let i = 0; i < parts.length; i += 2) next.push(i + 1 < parts.length ? `(${parts[i]}+${parts[i + 1]})` : parts[i]!);
    parts = next;
  }
  return parts[0]!;
};

const expression: Case = {
  name: "expression of 1,023 operators, alone",
  unit: "ms p50 / p99",
  goal: "≤ 40",
  measure: async () => {
    const platform = await startBenchPlatform("examples/arithmetic");
    const body = JSON.stringify({ expression: expressionOf(1_023) });
    const request = () => ({ path: "/v1/expressions?wait=30s", body, expect: { status: 200, body: /"value":524800[,}]/ } });
    const result = await load({ port: platform.port, connections: 1, request, variants: 1, warmupMs: 1_000, count: 100 });
    await platform.stop();
    if (result.errors > 0) throw new Error(result.errorSamples.join("; "));
    return [result.p50Ms, result.p99Ms];
  },
};

const RUNS_IN_FLIGHT = 200;

/** Kills every process with 200 runs in flight, starts again, and measures until the last of them has finished. */
const recovery = (history: number): Case => ({
  name: `kill -9 of everything, ${RUNS_IN_FLIGHT} runs in flight, ${history.toLocaleString("en-US")} runs of history`,
  unit: "ms from start to all done",
  goal: "≤ 1,000",
  measure: async () => {
    let platform = await startBenchPlatform("bench/app");
    await addHistory(platform, history);
    const starts = Array.from({ length: RUNS_IN_FLIGHT }, (_, x) =>
      platform.post<Started>("/v1/coordinators/chain10/runs", { input: { x } }),
    );
    const runs = await Promise.all(starts);
    const pods = await podsOf(platform);
    const died = platform.process.stop("SIGKILL");
    for (const { pid } of pods) killIfAlive(pid);
    await died;
    const startedAt = performance.now();
    platform = await platform.crash();
    const results = await Promise.all(runs.map(({ id }) => platform.get<{ status: string }>(`/v1/runs/${id}/result?wait=30s`)));
    const elapsed = performance.now() - startedAt;
    await platform.stop();
    const unfinished = results.filter(({ status }) => status !== "completed").length;
    if (unfinished > 0) throw new Error(`${unfinished} of ${RUNS_IN_FLIGHT} runs did not complete`);
    return [elapsed];
  },
});

const killIfAlive = (pid: number): void => {
  // A pod that still starts has no pid yet, and 0 would mean this process's own group.
  if (pid <= 0) return;
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    // It may have noticed the end of its control plane and ended already.
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
};

const addHistory = async (platform: BenchPlatform, count: number): Promise<void> => {
  if (count === 0) return;
  const request = (i: number) => ({
    path: "/v1/functions/increment/calls?wait=30s",
    body: JSON.stringify({ input: i }),
    expect: { status: 200 },
  });
  await load({ port: platform.port, connections: 64, request, warmupMs: 0, count });
};

export const lifeCases = (): Case[] => [
  expression,
  replay(1_000, ""),
  replay(10_000, "≤ 300"),
  startToResult,
  coldFunction,
  idleMemory,
  recovery(0),
  recovery(50_000),
];
