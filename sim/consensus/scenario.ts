import type { Behaviour } from "./byzantine.ts";
import type { Diverging } from "./diverging.ts";

/** Everything that a simulation depends on, as plain data: it can be printed, and the shrinker leaves parts of it away. */
export interface Scenario {
  seed: number;
  faults: number;
  /** Of the replicas' options. */
  tuning: Tuning;
  net: Net;
  /** A commit of the durable log takes up to so long. */
  diskMs: number;
  /** Snapshots of the function's state survive a crash. */
  keepsSnapshots: boolean;
  /** An operation's execution takes up to so long. */
  executeMs: number;
  /** Clocks of replicas are up to so far from the true time, in either direction. */
  skewMs: number;
  clients: ClientPlan[];
  liars: Liar[];
  harms: Harm[];
  /** The function isn't deterministic. */
  diverging?: Diverging;
  /** Any number of replicas may lose their memory at once: then only safety is promised, unless snapshots survive. */
  isMerciless: boolean;
  /** When the last harm ends. From here on, the set has to come forward in spite of its liars. */
  healMs: number;
}

export interface Tuning {
  checkpointEvery: number;
  maxBatchOperations: number;
  batchesInFlight: number;
  batchDelayMs: number;
  progressTimeoutMs: number;
}

/** The network all the time, the last part of the run included. */
export interface Net {
  minMs: number;
  maxMs: number;
  /** The chance of a message to take ten times as long. */
  tail: number;
  loss: number;
  duplicate: number;
  /** Messages of a link arrive in the order in which they were sent, as those of a connection do. */
  isOrdered: boolean;
}

export interface ClientPlan {
  operations: number;
  /** The mean time between two submits; 0: all at once. */
  gapMs: number;
  /** Operations in one submit, at most. */
  burst: number;
}

export interface Liar {
  replica: number;
  behaviours: Behaviour[];
  /** Lies from here on; before, it is correct. */
  fromMs: number;
}

/** Something bad that happens from `atMs` to `untilMs`. Replicas are 0 to n − 1; clients have the numbers from n on. */
export type Harm = { atMs: number; untilMs: number } & (
  | { t: "partition"; groups: number[][] }
  /** Nothing of `from` reaches `to`; the other way is open. */
  | { t: "cut"; from: number; to: number }
  | { t: "loss"; probability: number }
  /** All that this replica or client sends takes so much longer. */
  | { t: "slow"; who: number; delayMs: number }
  /** The process is stopped and goes on later, as if no time had passed. */
  | { t: "pause"; replica: number }
  /** The process dies; what was not on the disk is lost. It comes back under the same key. */
  | { t: "crash"; replica: number }
  /** The process dies with its disk; a new replica under a new key takes its place by a new epoch. */
  | { t: "replace"; replica: number }
  /** The client dies, and its next life opens a session and asks again for what has no certificate. */
  | { t: "restart-client"; client: number }
);

/** Where the second process under one key is in the network. */
export const twinPlaceOf = (index: number): number => 512 + index;

export const promisesProgress = ({ isMerciless, keepsSnapshots }: Scenario): boolean => !isMerciless || keepsSnapshots;

export const describeHarm = (harm: Harm): string => {
  const { t, atMs, untilMs, ...rest } = harm;
  return `${`${Math.round(atMs)}–${Math.round(untilMs)} ms`.padEnd(16)} ${t} ${JSON.stringify(rest)}`;
};

export const describe = (scenario: Scenario): string => {
  const { seed, faults, tuning, net, diskMs, keepsSnapshots, executeMs, skewMs, clients, liars, harms, diverging, isMerciless, healMs } =
    scenario;
  return [
    `seed ${seed}, n = ${3 * faults + 1}, heals at ${Math.round(healMs)} ms`,
    `  replicas ${JSON.stringify({ ...tuning, diskMs, keepsSnapshots, executeMs, skewMs, isMerciless })}`,
    `  network  ${JSON.stringify(net)}`,
    ...clients.map((client, i) => `  client ${3 * faults + 1 + i} ${JSON.stringify(client)}`),
    ...liars.map(({ replica, behaviours, fromMs }) => `  liar ${replica} from ${fromMs} ms: ${behaviours.join(", ")}`),
    ...(diverging === undefined ? [] : [`  diverging ${JSON.stringify(diverging)}`]),
    ...harms.map((harm) => `  ${describeHarm(harm)}`),
  ].join("\n");
};
