/**
 * What queueing theory says of a layer before `servers` slots, when `load` of them are busy on average (load = arrival rate × service time).
 */

/** Above this many servers sums are replaced by a normal approximation, so that one decision takes microseconds. */
const MOST_SUMMED = 2_000;

/**
 * How many service times a call takes on average, waiting included, at a utilisation: 1/(1−u) with one server, as in DC2; with more of them,
 * Sakasegawa's approximation, which is the same for one.
 */
export const stretch = (utilisation: number, servers: number): number => {
  const u = Math.min(utilisation, 0.999);
  if (u <= 0) return 1;
  return 1 + u ** (Math.sqrt(2 * (servers + 1)) - 1) / (servers * (1 - u));
};

/** Walks up Erlang's B formula: its value for one server more costs one division. */
export class Erlang {
  readonly #load: number;
  #servers = 0;
  #blocked = 1;

  constructor(load: number) {
    this.#load = load;
  }

  /** The part of calls that have to wait (Erlang C). `servers` must not fall from call to call. */
  waits(servers: number): number {
    if (servers <= this.#load) return 1;
    if (servers > MOST_SUMMED) return manyServers(this.#load, servers);
    while (this.#servers < servers) {
      this.#servers++;
      const weight = this.#load * this.#blocked;
      this.#blocked = weight / (this.#servers + weight);
    }
    return this.#blocked / (1 - (this.#load / servers) * (1 - this.#blocked));
  }
}

/** Halfin and Whitt: 1 / (1 + β·Φ(β)/φ(β)). */
const manyServers = (load: number, servers: number): number => {
  const beta = (servers - load) / Math.sqrt(load);
  if (beta > 6) return 0;
  const density = Math.exp((-beta * beta) / 2) / Math.sqrt(2 * Math.PI);
  return 1 / (1 + (beta * normal(beta)) / density);
};

/** The part of calls that take longer than `times` the mean service time, were they distributed lognormally with that spread. */
export const longerThan = (times: number, spread: number): number => {
  if (times <= 0) return 1;
  const variance = Math.log(1 + Math.max(spread, 1e-6));
  return 1 - normal((Math.log(times) + variance / 2) / Math.sqrt(variance));
};

/** The normal distribution's function, to 0.0002 (Page's logistic approximation). */
const normal = (x: number): number => 1 / (1 + Math.exp(-1.5976 * x - 0.07056 * x ** 3));

/** Lognormal service times are looked at from −2.5 to 4.5 standard deviations, closer than which nothing changes. */
const FROM = -2.5;
const STEP = 0.5;
const STEPS = 15;

/** The parts of a normal distribution around these points. */
const WEIGHTS = Array.from({ length: STEPS }, (_, i) => normal(FROM + (i + 0.5) * STEP) - normal(FROM + (i - 0.5) * STEP));

/** What a call can wait without being late, at each of the points; negative when it is late of itself. Times are in mean service times. */
const patienceOf = (target: number, spread: number): number[] => {
  const variance = Math.log(1 + Math.max(spread, 1e-6));
  const deviation = Math.sqrt(variance);
  return WEIGHTS.map((_, i) => target - Math.exp(deviation * (FROM + i * STEP) - variance / 2));
};

/**
 * Of all calls, those which are late because they wait, and would not be late of themselves. Waits that are not nothing are taken to be
 * exponential with `decay` (in service times), as they are with exponential service times.
 */
const lateByWaiting = (waits: number, decay: number, patience: readonly number[]): number => {
  let late = 0;
  for (let i = 0; i < STEPS; i++) if (patience[i]! > 0) late += WEIGHTS[i]! * Math.exp(-decay * patience[i]!);
  return waits * late;
};

export interface Staffing {
  /** Arrival rate × service time. */
  readonly load: number;
  readonly slotsPerPod: number;
  /** In mean service times. */
  readonly target: number;
  readonly spread: number;
  /** How many pods the part of calls that are late is worth. */
  readonly worth: number;
  readonly most: number;
}

/** Where so many calls are late of themselves, as a part of them, none is spent on the last one that isn't. */
const OF_OWN = 0.1;

/**
 * As many pods as are worth their cost: one more would not bring as many calls in on time as it is worth. That asks for a smaller part of spare
 * pods the more calls there are, for a larger one where the target leaves little time, and takes a pod of many slots as a whole.
 */
export const podsWorth = ({ load, slotsPerPod, target, spread, worth, most }: Staffing): number => {
  if (load <= 0) return 0;
  let pods = Math.floor(load / slotsPerPod) + 1;
  if (pods >= most) return most;
  const erlang = new Erlang(load);
  const patience = patienceOf(target, spread);
  const enough = OF_OWN * longerThan(target, spread);
  const lateWith = (count: number) => {
    const servers = count * slotsPerPod;
    return lateByWaiting(erlang.waits(servers), (2 * (servers - load)) / (1 + spread), patience);
  };
  for (let late = lateWith(pods); pods < most && late > enough; pods++) {
    // No more than all of them could be gained.
    if (worth * late < 1) break;
    const next = lateWith(pods + 1);
    if (worth * (late - next) < 1) break;
    late = next;
  }
  return pods;
};
