/** Paths under load: requests by HTTP in a closed loop, each waiting for its result. */
import type { LoadRequest } from "../lib/http-load.ts";
import { load } from "../lib/http-load.ts";
import type { BenchPlatform } from "../lib/platform.ts";
import type { Case } from "./case.ts";

const chain10 = (x: number): number => {
  let value = x;
  for (let i = 0; i < 5; i++) value = (value + 1) * 2;
  return value;
};

const request =
  (path: string, input: (i: number) => unknown, expected: (i: number) => number) =>
  (i: number): LoadRequest => ({
    path: `/v1/${path}?wait=30s`,
    body: JSON.stringify({ input: input(i) }),
    expect: { status: 200, body: new RegExp(`"value":${expected(i)}[,}]`) },
  });

const work = {
  "one call": request(
    "functions/increment/calls",
    (i) => i,
    (i) => i + 1,
  ),
  "one call with state": request(
    "functions/remember/calls",
    (i) => i,
    (i) => i + 1,
  ),
  "certified call": request(
    "functions/certified/calls",
    (i) => i,
    (i) => i + 1,
  ),
  "chain-2": request(
    "coordinators/chain2/runs",
    (i) => ({ x: i }),
    (i) => (i + 1) * 2,
  ),
  "chain-10": request("coordinators/chain10/runs", (i) => ({ x: i }), chain10),
  "fan-32": request(
    "coordinators/fan32/runs",
    (i) => ({ x: i }),
    (i) => 32 * i + 528,
  ),
  inside: request(
    "coordinators/inside/runs",
    () => ({ calls: 1_000 }),
    () => 500_500,
  ),
};

const throughput = (name: keyof typeof work, connections: number, goal: string, durationMs: number, factor = 1): Case => ({
  name: `${name}, c${connections}`,
  unit: factor === 1 ? "runs/s" : "calls/s",
  goal,
  measure: async (platform) => {
    const result = await load({ port: platform.port, connections, request: work[name], warmupMs: 1_000, durationMs });
    if (result.errors > 0) throw new Error(`${result.errors} errors: ${result.errorSamples.join("; ")}`);
    return [result.perSecond * factor];
  },
});

const alone = (name: keyof typeof work, goal: string, count: number): Case => ({
  name: `${name}, alone`,
  unit: "ms p50 / p99",
  goal,
  measure: async (platform: BenchPlatform) => {
    const result = await load({ port: platform.port, connections: 1, request: work[name], warmupMs: 500, count });
    if (result.errors > 0) throw new Error(`${result.errors} errors: ${result.errorSamples.join("; ")}`);
    return [result.p50Ms, result.p99Ms];
  },
});

/** More keys than calls in flight, so that hardly two of them meet. */
const KEYS = 5_000;

/** Both in turns, since the machine is not as fast in one minute as in the next. */
const withState = (connections: number, durationMs: number): Case => ({
  name: `one call with one state read and one write, c${connections}`,
  unit: "runs/s / part of the plain call's",
  goal: "≥ 0.75 of it",
  measure: async (platform) => {
    const perSecond = { "one call": 0, "one call with state": 0 };
    for (let turn = 0; turn < 4; turn++) {
      const name = turn % 2 === 0 ? "one call" : "one call with state";
      const options = { port: platform.port, connections, request: work[name], variants: KEYS };
      const result = await load({ ...options, warmupMs: turn < 2 ? 1_000 : 200, durationMs: durationMs / 2 });
      if (result.errors > 0) throw new Error(`${result.errors} errors: ${result.errorSamples.join("; ")}`);
      perSecond[name] += result.perSecond / 2;
    }
    return [perSecond["one call with state"], perSecond["one call with state"] / perSecond["one call"]];
  },
});

/** A call that four replicas certify and the same on a pod's word, in turns. */
const certified = (connections: number, durationMs: number): Case => ({
  name: `certified call (n = 4), c${connections}, and the same uncertified`,
  unit: "calls/s / calls/s",
  goal: "≥ 5,000",
  measure: async (platform) => {
    const perSecond = { "certified call": 0, "one call": 0 };
    for (let turn = 0; turn < 4; turn++) {
      const name = turn % 2 === 0 ? "certified call" : "one call";
      const options = { port: platform.port, connections, request: work[name] };
      const result = await load({ ...options, warmupMs: turn < 2 ? 1_500 : 200, durationMs: durationMs / 2 });
      if (result.errors > 0) throw new Error(`${result.errors} errors: ${result.errorSamples.join("; ")}`);
      perSecond[name] += result.perSecond / 2;
    }
    return [perSecond["certified call"], perSecond["one call"]];
  },
});

export const throughputCases = (durationMs: number): Case[] => [
  throughput("chain-2", 512, "≥ 6,600", durationMs),
  throughput("chain-2", 64, "", durationMs),
  alone("chain-2", "≤ 1.0 / 3", 1_000),
  throughput("chain-10", 64, "≥ 1,500", durationMs),
  alone("chain-10", "", 300),
  throughput("fan-32", 32, "≥ 1,200", durationMs),
  alone("fan-32", "≤ 2.5", 500),
  certified(256, durationMs),
  alone("certified call", "≤ 4 (p50)", 1_000),
  throughput("one call", 64, "≥ 10,000", durationMs),
  alone("one call", "", 1_000),
  withState(64, durationMs),
  alone("one call with state", "", 1_000),
  throughput("inside", 16, "≥ 40,000", durationMs, 1_000),
];
