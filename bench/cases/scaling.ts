/** What autoscaling costs those who call, and what the death of a pod costs its calls. */
import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import type { ScalingTarget } from "../../src/autoscaler/service.ts";
import { Autoscaler } from "../../src/autoscaler/service.ts";
import type { Entry } from "../../src/queue/machine.ts";
import { Layers } from "../../src/queue/machine.ts";
import type { Pod } from "../../src/scheduler/fleet.ts";
import type { PodSet } from "../../src/scheduler/service.ts";
import type { LoadOptions } from "../lib/http-load.ts";
import { load } from "../lib/http-load.ts";
import type { BenchPlatform } from "../lib/platform.ts";
import { podsOf, startBenchPlatform } from "../lib/platform.ts";
import { median, medianBounds } from "../lib/repeat.ts";
import type { Case } from "./case.ts";

const FUNCTIONS = 50;
const names = Array.from({ length: FUNCTIONS }, (_, i) => `many${i}`);
/** Fifty pods start beside one another. */
const PODS_WITHIN_MS = 120_000;
/** One call in so many goes to another function than the first, so that each has some and is looked at with calls in it. */
const SPREAD = 10;
/** Each with it and without it, in turns, and as many as it takes to tell: what else a machine does is greater than what is looked for. */
const FEWEST_PAIRS = 12;
const MOST_PAIRS = 80;
/** The pairs are enough when the bounds of their median are no further apart. */
const CERTAIN = 0.02;

const checked = async (options: LoadOptions): Promise<Awaited<ReturnType<typeof load>>> => {
  const result = await load(options);
  if (result.errors > 0) throw new Error(`${result.errors} errors: ${result.errorSamples.join("; ")}`);
  return result;
};

const call = (name: string, input: number) => ({
  path: `/v1/functions/${name}/calls?wait=30s`,
  body: JSON.stringify({ input }),
  expect: { status: 200, body: new RegExp(`"value":${input + 1}[,}]`) },
});

/** Off: the number of pods is given. On: a policy decides it, and always in favour of the same number, so that the pods are no difference. */
const scaling = async (platform: BenchPlatform, isOn: boolean): Promise<void> => {
  const rest = isOn ? { scale: { min: 1, max: 2, targetMs: 60_000 } } : { replicas: 1 };
  for (const name of names) await platform.put(`/v1/cluster/services/${name}`, { function: name, ...rest });
};

const allReady = async (platform: BenchPlatform): Promise<void> => {
  const startedAt = performance.now();
  for (;;) {
    const ready = (await podsOf(platform)).filter(({ role, state }) => names.includes(role) && state === "ready").length;
    if (ready === FUNCTIONS) return;
    if (performance.now() - startedAt > PODS_WITHIN_MS) throw new Error(`${ready} of ${FUNCTIONS} functions have one pod that is ready`);
    await delay(100);
  }
};

const autoscaling = (durationMs: number): Case => ({
  name: `one call, c64, autoscaling of ${FUNCTIONS} functions with pods`,
  unit: "runs/s / more CPU a call, % / at most, with a certainty of 97.5 %",
  goal: "< 2 %",
  measure: async () => {
    const platform = await startBenchPlatform("bench/many");
    await scaling(platform, false);
    await allReady(platform);
    const request = (i: number) => call(i % SPREAD === 0 ? (names[(i / SPREAD) % FUNCTIONS] as string) : "many0", i);
    const options = { port: platform.port, connections: 64, request, variants: SPREAD * FUNCTIONS, warmupMs: 0 };
    await checked({ ...options, durationMs: 2_000 });
    const turn = async (isOn: boolean): Promise<Turn> => {
      await scaling(platform, isOn);
      const cpuBefore = cpuMsOf(platform.process.pid);
      const { perSecond, count } = await checked({ ...options, durationMs: durationMs / 6 });
      return { perSecond, cpuMsPerCall: (cpuMsOf(platform.process.pid) - cpuBefore) / count };
    };
    const rates: number[] = [];
    const ratios: number[] = [];
    const isCertain = (): boolean => {
      const [least, most] = medianBounds(ratios);
      return ratios.length >= FEWEST_PAIRS && most - least < CERTAIN;
    };
    for (let i = 0; i < MOST_PAIRS && !isCertain(); i++) {
      const first = await turn(i % 2 === 0);
      const second = await turn(i % 2 !== 0);
      const [on, off] = i % 2 === 0 ? [first, second] : [second, first];
      rates.push(on.perSecond);
      ratios.push(on.cpuMsPerCall / off.cpuMsPerCall);
    }
    await allReady(platform);
    await platform.stop();
    return [median(rates), 100 * (median(ratios) - 1), 100 * (medianBounds(ratios)[1] - 1)];
  },
});

interface Turn {
  perSecond: number;
  /** Of the control plane, which is what bounds its throughput. */
  cpuMsPerCall: number;
}

/** Of its main thread, which does all but I/O. Linux alone tells it. */
const cpuMsOf = (pid: number): number => Number(readFileSync(`/proc/${pid}/schedstat`, "utf8").split(" ")[0]) / 1e6;

// ---------------------------------------------------------------- the autoscaler alone

const CALLS_PER_LOOK = 20;
const LOOK_EVERY_MS = 400;
/** The platform looks this often when it has most to do; a policy's own pause between two looks is longer. */
const BUSIEST_MS = 100;
const LOOKS = 2_000;

const entryOf = (fn: string, seq: number): Entry => ({
  run: "run_00000000001",
  seq,
  attempt: 1,
  fn,
  version: "v1",
  input: "1",
  priority: 0,
  timeoutMs: 60_000,
  solo: false,
  notBefore: 0,
  state: "waiting",
  waitingSince: 0,
  lease: 0,
  pod: "",
  leasedAt: 0,
});

/** By itself, since less than a per cent of a platform's throughput is lost in what else a machine does: cost of one, and how many there are. */
const looks: Case = {
  name: `a look of the autoscaler at ${FUNCTIONS} functions with calls`,
  unit: `µs, median / % of a core, one every ${BUSIEST_MS} ms`,
  goal: "< 2 % of a core",
  measure: async () => {
    const layers = new Layers();
    const targets = names.map((fn): ScalingTarget => {
      const layer = layers.open(fn, "v1");
      const set = { layer, pods: new Map([["p", { state: "ready", coldStartMs: 40 } as Pod]]) } as unknown as PodSet;
      const scale = { min: 1, max: 8, policy: "predictive", targetMs: 500, coolDownMs: 60_000 } as const;
      return { fn, version: "v1", settings: { template: { slots: 64 }, scale, isFixed: false }, desired: 1, set };
    });
    const autoscaler = new Autoscaler<ScalingTarget>({ active: () => targets, scale: () => undefined });
    let [now, seq] = [1_000_000, 0];
    const times: number[] = [];
    for (let look = 0; look < 2 * LOOKS; look++) {
      now += LOOK_EVERY_MS;
      for (const { set } of targets) seq = exercise((set as PodSet).layer, seq, now);
      const startedAt = performance.now();
      autoscaler.look(now);
      // The first half of them warms the code up.
      if (look >= LOOKS) times.push(performance.now() - startedAt);
    }
    const lookMs = median(times);
    return [1_000 * lookMs, (100 * lookMs) / BUSIEST_MS];
  },
};

const exercise = (layer: PodSet["layer"], seq: number, now: number): number => {
  let next = seq;
  for (let i = 0; i < CALLS_PER_LOOK; i++) {
    layer.enqueue(entryOf(layer.fn, ++next), now - 5);
    layer.settle(layer.take(next, "p", now - 3) as Entry, true, now);
  }
  return next;
};

// ---------------------------------------------------------------- pods that die or hang

const KILLS = 20;
const BETWEEN_MS = 400;
const HANGS = 6;
/** The thread that beats in the pod that has come instead has to start. */
const BETWEEN_HANGS_MS = 1_500;

interface Faults {
  faults: { pod?: string; calls: number; repairedAt?: number }[];
}

/** From the signal, not from its detection. */
const redispatch = async (platform: BenchPlatform, harm: "SIGKILL" | "SIGSTOP"): Promise<number | undefined> => {
  const pod = (await podsOf(platform)).find(({ role, state, inFlight }) => role === "hold" && state === "ready" && inFlight > 0);
  if (pod === undefined) return undefined;
  const harmedAt = performance.timeOrigin + performance.now();
  process.kill(pod.pid, harm);
  for (const giveUpAt = performance.now() + 5_000; performance.now() < giveUpAt; await delay(5)) {
    const { faults } = await platform.get<Faults>("/v1/faults?limit=10");
    const fault = faults.find((one) => one.pod === pod.id);
    if (fault?.repairedAt !== undefined) return fault.calls === 0 ? undefined : Math.max(0, fault.repairedAt - harmedAt);
  }
  throw new Error(`no call of ${pod.id}, which got ${harm}, was dispatched again within 5 s`);
};

const underLoad = async (harm: "SIGKILL" | "SIGSTOP", count: number, betweenMs: number): Promise<number[]> => {
  const platform = await startBenchPlatform("bench/many");
  const durationMs = count * (betweenMs + (harm === "SIGKILL" ? BETWEEN_MS : 2_000));
  const options = { port: platform.port, connections: 64, request: (i: number) => call("hold", i), warmupMs: 0, durationMs };
  // Each answer is checked, so that what is lost is an error.
  let isOver = false;
  const loaded = checked(options).finally(() => {
    isOver = true;
  });
  loaded.catch(() => undefined);
  const times: number[] = [];
  while (times.length < count && !isOver) {
    await delay(betweenMs);
    const took = await redispatch(platform, harm);
    if (took !== undefined) times.push(took);
  }
  await loaded;
  await platform.stop();
  return times;
};

const killUnderLoad: Case = {
  name: "kill -9 of a pod under load, c64 → first of its calls dispatched again",
  unit: "ms p50 / most",
  goal: "p50 < 100",
  measure: async () => {
    const times = await underLoad("SIGKILL", KILLS, BETWEEN_MS);
    return [median(times), Math.max(...times)];
  },
};

const hangUnderLoad: Case = {
  name: "a pod that hangs under load, c64 → first of its calls dispatched again",
  unit: "ms p50 / most",
  goal: "p50 < 1,000",
  measure: async () => {
    const times = await underLoad("SIGSTOP", HANGS, BETWEEN_HANGS_MS);
    return [median(times), Math.max(...times)];
  },
};

export const scalingCases = (durationMs: number): Case[] => [autoscaling(durationMs), looks, killUnderLoad, hangUnderLoad];
