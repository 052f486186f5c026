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

/** Multiplied counts; what is left of a call is one by chance. */
export const scaled = (load: Load, factor: number, seed: number): Load => {
  if (factor === 1) return load;
  const random = seeded(seed ^ 0x5ca1e);
  return { ...load, counts: load.counts.map((count) => Math.floor(count * factor + random.next())) };
};

export const DISTRIBUTIONS = ["lognormal", "exponential", "constant"] as const;

export type Distribution = (typeof DISTRIBUTIONS)[number];

/** Service times with the given mean; of `lognormal` the coefficient of variation is 0.5. */
export const serviceTimes = (distribution: Distribution, meanMs: number, random: Random): (() => number) => {
  if (distribution === "constant") return () => meanMs;
  if (distribution === "exponential") return () => -meanMs * Math.log(1 - random.next());
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
