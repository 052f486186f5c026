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

/**
 * The fewest servers with which at most `late` of the calls wait for longer than `patience`, counted in service times. `spread` is the
 * service time's squared coefficient of variation (0 constant, 1 exponential).
 */
export const fewestServers = (load: number, patience: number, late: number, spread: number, most: number): number => {
  if (load <= 0) return 0;
  const erlang = new Erlang(load);
  let servers = Math.max(1, Math.floor(load) + 1);
  for (; servers < most; servers++) {
    const decay = (2 * (servers - load) * patience) / (1 + spread);
    if (erlang.waits(servers) * Math.exp(-decay) <= late) break;
  }
  return Math.min(servers, most);
};
