/** What arrives, and how long it takes: counts per interval, from a generator or a trace, and service times. Everything is drawn by seed. */
import type { Random } from "../../src/lib/random.ts";
import { hashText, seeded } from "../../src/lib/random.ts";

export interface Load {
  readonly name: string;
  readonly intervalMs: number;
  /** Calls in each interval. They are spread over it evenly at random. */
  readonly counts: readonly number[];
}

export const GENERATORS = [
  "constant",
  "diurnal",
  "step",
  "burst",
  "flash-crowd",
  "ramp",
  "sparse",
  "on-off",
  "sawtooth",
  "random-walk",
  "self-similar",
  "batches",
  "minutes",
  "surge",
  "noisy-day",
  "spikes",
  "mmpp",
] as const;

export type GeneratorName = (typeof GENERATORS)[number];

export interface GeneratorOptions {
  readonly seed: number;
  /** Calls per second that the shapes are multiples of. */
  readonly rate: number;
  readonly durationS: number;
}

type Shape = (second: number) => number;

export const generate = (name: GeneratorName, { seed, rate, durationS }: GeneratorOptions): Load => {
  const random = seeded(seed ^ hashText(name));
  const shape = SHAPES[name](durationS, random);
  const counts = Array.from({ length: durationS }, (_, second) =>
    poisson(Math.max(0, shape(second)) * (name === "sparse" ? 1 : rate), random),
  );
  return { name, intervalMs: 1_000, counts };
};

/** Multiples of the rate over time; of `sparse`, calls per second. */
const SHAPES: Record<GeneratorName, (durationS: number, random: Random) => Shape> = {
  constant: () => () => 1,
  diurnal: (durationS) => (t) => 1 + 0.8 * Math.sin((4 * Math.PI * t) / durationS - Math.PI / 2),
  step: (durationS) => (t) => (t > durationS / 3 && t < (2 * durationS) / 3 ? 2 : 0.5),
  burst: (durationS, random) => {
    const spells = spellsOf(durationS, random, 60, 240, 5, 20);
    return (t) => (spells(t) ? 3 : 0.25);
  },
  "flash-crowd": (durationS, random) => {
    const start = durationS * (0.2 + 0.2 * random.next());
    const riseS = 20 + 60 * random.next();
    return (t) => 0.3 + (t < start ? 0 : t < start + riseS ? 4 * ((t - start) / riseS) ** 2 : 4 * Math.exp((start + riseS - t) / 180));
  },
  ramp: (durationS) => (t) => (t < 0.7 * durationS ? 0.1 + (2.7 * t) / durationS : 2 * ((durationS - t) / (0.3 * durationS))),
  sparse: () => () => 1 / 40,
  "on-off": (durationS, random) => {
    const spells = spellsOf(durationS, random, 40, 160, 30, 120);
    return (t) => (spells(t) ? 1 : 0);
  },
  sawtooth: () => (t) => 0.2 + (1.8 * (t % 120)) / 120,
  "random-walk": (durationS, random) => {
    const rates = wander(durationS, random);
    return (t) => rates[Math.floor(t / 5)] ?? 0;
  },
  // Sources whose spells have heavy tails add up to traffic that is as bursty over minutes as over seconds.
  "self-similar": (durationS, random) => {
    const sources = Array.from({ length: 15 }, () => paretoSpells(durationS, random, 10, 20));
    return (t) => sources.filter((isOn) => isOn(t)).length / 5;
  },
  batches: () => (t) => 0.5 + (t % 60 === 30 ? 15 : 0),
  minutes: (durationS, random) => {
    const rates = Array.from({ length: Math.ceil(durationS / 60) }, () => lognormal(1, random));
    return (t) => rates[Math.floor(t / 60)] ?? 0;
  },
  surge: (durationS) => (t) => 0.4 + after(t - 0.3 * durationS, 60) * 5 + after(t - 0.7 * durationS, 15) * 8,
  "noisy-day": (durationS, random) => {
    const noise = Array.from({ length: Math.ceil(durationS / 10) }, () => lognormal(0.35, random));
    return (t) => (1 - 0.8 * Math.cos((4 * Math.PI * t) / durationS)) * (noise[Math.floor(t / 10)] ?? 1);
  },
  spikes: (_, random) => {
    const phase = Math.floor(240 * random.next());
    return (t) => ((t + phase) % 240 < 10 ? 6 : 0.5);
  },
  mmpp: (durationS, random) => {
    const rates: number[] = [];
    while (rates.length < durationS) {
      const state = [0.1, 0.5, 1.5, 4][Math.floor(4 * random.next())] ?? 1;
      const spell = Math.ceil(-20 * Math.log(1 - random.next()));
      rates.push(...Array<number>(spell).fill(state));
    }
    return (t) => rates[t] ?? 0;
  },
};

/** What is left of a jump at 0 which fades within about so many seconds. */
const after = (t: number, fadeS: number): number => (t < 0 ? 0 : Math.exp(-t / fadeS));

/** With a mean of 1. */
const lognormal = (variation: number, random: Random): number => {
  const variance = Math.log(1 + variation ** 2);
  return Math.exp(Math.sqrt(variance) * gaussian(random) - variance / 2);
};

/** On and off in turns, for times with the given means and without a variance. */
const paretoSpells = (durationS: number, random: Random, onS: number, offS: number) => {
  const shape = 1.4;
  const draw = (mean: number) => ((mean * (shape - 1)) / shape) * (1 - random.next()) ** (-1 / shape);
  const spells: [number, number][] = [];
  for (let t = -offS * random.next(); t < durationS; ) {
    const from = t + draw(offS);
    t = from + draw(onS);
    spells.push([from, t]);
  }
  return (t: number): boolean => spells.some(([from, to]) => t >= from && t < to);
};

/** A rate that wanders by a quarter or so every 5 s, around its mean. */
const wander = (durationS: number, random: Random): number[] => {
  let log = 0;
  return Array.from({ length: Math.ceil(durationS / 5) }, () => {
    log = 0.97 * log + 0.2 * gaussian(random);
    return 0.8 * Math.exp(log);
  });
};

/** Spells of random length with random pauses between them. */
const spellsOf = (durationS: number, random: Random, pause: number, longestPause: number, spell: number, longestSpell: number) => {
  const spells: [number, number][] = [];
  for (let t = 0; t < durationS; ) {
    const from = t + pause + (longestPause - pause) * random.next();
    t = from + spell + (longestSpell - spell) * random.next();
    spells.push([from, t]);
  }
  return (t: number): boolean => spells.some(([from, to]) => t >= from && t < to);
};

const poisson = (mean: number, random: Random): number => {
  if (mean > 60) return Math.max(0, Math.round(mean + Math.sqrt(mean) * gaussian(random)));
  const floor = Math.exp(-mean);
  let count = 0;
  for (let product = random.next(); product > floor; product *= random.next()) count++;
  return count;
};

const gaussian = (random: Random): number => Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());

/** Multiplied counts; what is left of a call is one by chance, so that the sum stays. */
export const scaled = (load: Load, factor: number, seed: number): Load => {
  if (factor === 1 && load.counts.every(Number.isInteger)) return load;
  const random = seeded(seed ^ 0x5ca1e);
  return { ...load, counts: load.counts.map((count) => Math.floor(count * factor + random.next())) };
};

export const DISTRIBUTIONS = ["lognormal", "exponential", "bimodal", "constant"] as const;

export type Distribution = (typeof DISTRIBUTIONS)[number];

/** Service times with the given mean; `lognormal` has a coefficient of variation of 0.5; of `bimodal` one call in ten takes nine times as long. */
export const serviceTimes = (distribution: Distribution, meanMs: number, random: Random): (() => number) => {
  if (distribution === "constant") return () => meanMs;
  if (distribution === "exponential") return () => -meanMs * Math.log(1 - random.next());
  if (distribution === "bimodal") return () => (random.next() < 0.1 ? 5 : 5 / 9) * meanMs;
  const sigma = Math.sqrt(Math.log(1 + 0.5 ** 2));
  const mu = Math.log(meanMs) - sigma ** 2 / 2;
  return () => Math.exp(mu + sigma * gaussian(random));
};

/** The times of all arrivals, in their order. */
export function* arrivalsOf(load: Load, seed: number): Generator<number> {
  const random = seeded(seed ^ hashText("arrivals"));
  for (let i = 0; i < load.counts.length; i++) {
    const times = Float64Array.from({ length: load.counts[i] ?? 0 }, () => (i + random.next()) * load.intervalMs).sort();
    yield* times;
  }
}
