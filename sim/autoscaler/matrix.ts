/**
 * Many kinds of function under many kinds of load, for judging a policy by more than the cases that it was made with.
 *
 * The split was written down before anything was tuned on it. Constants may be set with an eye on the tuning half; the held-out half shares
 * neither its shapes, nor its seeds, nor its time of a trace, and is for the figures in the documentation alone.
 */
import type { PolicyName } from "../../src/autoscaler/scale.ts";
import { POLICIES, scaleSpec } from "../../src/autoscaler/scale.ts";
import type { Options, Result } from "./simulate.ts";
import { simulate } from "./simulate.ts";
import type { Distribution, GeneratorName, Load } from "./workload.ts";
import { generate, scaled } from "./workload.ts";

export const HALVES = ["tuning", "held-out"] as const;

export type Half = (typeof HALVES)[number];

/** Of a trace, the first half of its time is for tuning. */
export const SPLIT: Record<Half, { readonly generators: readonly GeneratorName[]; readonly seed: number }> = {
  tuning: {
    generators: ["constant", "diurnal", "step", "burst", "flash-crowd", "sparse", "on-off", "self-similar", "batches", "minutes"],
    seed: 1,
  },
  "held-out": { generators: ["ramp", "sawtooth", "random-walk", "surge", "noisy-day", "spikes", "mmpp"], seed: 301 },
};

/** A kind of function, and how its platform starts pods. */
export interface Profile {
  readonly serviceMs: number;
  readonly distribution: Distribution;
  readonly targetMs: number;
  readonly startDelayMs: number;
  readonly slots: number;
  /** Calls that execute at a time, on average over the load. */
  readonly busy: number;
}

const SERVICES_MS = [20, 50, 200, 1_000];
const DELAYS_MS = [50, 500, 5_000];
const SLOTS = [1, 8, 32];
const KINDS: readonly Distribution[] = ["exponential", "lognormal", "bimodal"];
const BUSY = [3, 12, 40];
/** Bounds the time that a cell takes. */
const MOST_PER_S = 200;

/** Each pair of service time, start delay and slots; distributions, loads and targets go round. */
export const profiles = (): Profile[] => {
  const all: Profile[] = [];
  for (const serviceMs of SERVICES_MS)
    for (const startDelayMs of DELAYS_MS)
      for (const slots of SLOTS) {
        const i = all.length;
        const busy = Math.min(BUSY[(i + Math.floor(i / 3)) % 3]!, (MOST_PER_S * serviceMs) / 1_000);
        // The default, but where a call takes that long itself.
        const targetMs = serviceMs < 1_000 ? 1_000 : 5_000;
        all.push({ serviceMs, distribution: KINDS[(i + Math.floor(i / 9)) % 3]!, targetMs, startDelayMs, slots, busy });
      }
  return all;
};

export interface Cell {
  readonly load: string;
  readonly profile: Profile;
  readonly results: Record<PolicyName, Outcome>;
}

export type Outcome = Pick<Result, "requests" | "late" | "unavoidable" | "podSeconds" | "decisions">;

const DURATION_S = 900;
/** Of a trace. */
const WINDOW_S = 2_400;
const MOST_PODS = 400;

export function* matrix(half: Half, traces: readonly Load[], every: number): Generator<Cell> {
  const { generators, seed } = SPLIT[half];
  for (const [i, profile] of profiles().entries()) {
    for (const [g, name] of generators.entries()) {
      if ((i + g) % every !== 0) continue;
      yield cellOf(generate(name, { seed: seed + i, rate: rateOf(profile), durationS: DURATION_S }), profile, seed + i);
    }
    for (const [t, trace] of traces.entries()) {
      if ((i + t) % every !== 0) continue;
      const part = windowOf(trace, half, profile, i, seed);
      if (part.counts.some((count) => count > 0)) yield cellOf(part, profile, seed + i);
    }
  }
}

const rateOf = ({ busy, serviceMs }: Profile): number => (busy * 1_000) / serviceMs;

/** A part of the half of a trace, another one for each profile; busy traces are scaled to what the profile asks for. */
const windowOf = (trace: Load, half: Half, profile: Profile, index: number, seed: number): Load => {
  const middle = Math.floor(trace.counts.length / 2);
  const counts = half === "tuning" ? trace.counts.slice(0, middle) : trace.counts.slice(middle);
  const length = Math.min(counts.length, Math.ceil((WINDOW_S * 1_000) / trace.intervalMs));
  const from = Math.floor(((counts.length - length) * ((index * 7) % 36)) / 35);
  const part = counts.slice(from, from + length);
  const perS = part.reduce((sum, count) => sum + count, 0) / length / (trace.intervalMs / 1_000);
  return scaled({ ...trace, counts: part }, perS > 1 ? rateOf(profile) / perS : 1, seed);
};

const cellOf = (load: Load, profile: Profile, seed: number): Cell => {
  const { serviceMs, distribution, targetMs, startDelayMs, slots } = profile;
  const run = (policy: PolicyName): Outcome => {
    const spec = scaleSpec({ policy, targetMs, startDelayMs, slotsPerPod: slots, max: MOST_PODS });
    const options: Options = { spec, seed, serviceMs, distribution, delayMs: 2, tickMs: 250 };
    const { requests, late, unavoidable, podSeconds, decisions } = simulate(load, options);
    return { requests, late, unavoidable, podSeconds, decisions };
  };
  const results = Object.fromEntries(POLICIES.map((policy) => [policy, run(policy)])) as Record<PolicyName, Outcome>;
  return { load: load.name, profile, results };
};
