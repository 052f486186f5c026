import type { PublicKey } from "../consensus/crypto.ts";
import type { Evidence, Notice } from "../consensus/effects.ts";
import type { CertifiedMembership, ReplicaIndex } from "../consensus/membership.ts";
import type { Reply, Request } from "../consensus/messages.ts";
import type { Limits } from "../consensus/options.ts";
import type { Json } from "../lib/json.ts";
import type { LogLine } from "./run.ts";

/**
 * Between the control plane and the pod of one replica. A pod is a replica of one set for ever, so no message names the set again.
 *
 * Order: `replica-prepare` → `replica-ready`; then, with the keys of all in a certified membership, `replicate` → `replica-running`, or
 * `refused` when the bundle can't be loaded. From then on `request` → `votes`. A pod that takes another's place is prepared and told
 * `replicate` with the membership of the epoch that it is first in; the others are told `membership`. So are all before an epoch of another
 * version: where that begins, they go on with its code.
 */
export type ToReplica =
  /** Make a key and listen. With `directory` the replica is durable: its key and its log are there, or are made there. */
  | { t: "replica-prepare"; set: string; index: ReplicaIndex; directory?: string }
  /** Load the bundle, as `load` would, and take part. */
  | {
      t: "replicate";
      index: ReplicaIndex;
      function: string;
      version: string;
      path: string;
      membership: CertifiedMembership;
      /** The set begins with this membership: no other replica has anything that this one lacks. */
      isFounding: boolean;
      /** Whose signature makes a membership. */
      admin: PublicKey;
      /** Where each replica listens, by index; empty where that is not known yet. */
      peers: string[];
      /** An operation's longest execution. */
      timeoutMs: number;
      /** What the heap of user code may grow to. Default: that of the pod. */
      memoryMb?: number;
      limits?: Partial<Limits>;
    }
  /** Who the next epoch's replicas are, where they listen, and what they execute; also when only an address has changed. */
  | { t: "membership"; next: CertifiedMembership; peers: string[]; code: ReplicaCode }
  /** The answer to `replica-lacks`. */
  | { t: "replica-code"; version: string; code: ReplicaCode }
  | { t: "request"; request: Request }
  /** Answered by `replica-inspected`. */
  | { t: "replica-inspect"; id: number }
  /** Drills only: refused by pods whose bootstrap doesn't allow them. */
  | { t: "misbehave"; how: Misbehaviour; peers?: ReplicaIndex[] };

/** What replicas execute in the epochs of one version. */
export interface ReplicaCode {
  /** Of the bundle. */
  path: string;
  /** An operation's longest execution. */
  timeoutMs: number;
  /** What the heap of user code may grow to. Default: that of the pod. */
  memoryMb?: number;
}

/**
 * `lie`: other outcomes than its function's. `equivocate`: as a leader, different proposals to different replicas. `partition`: neither
 * hears nor reaches `peers` (absent: all). `crash`: ends its process as `kill -9` would. `none`: behaves again.
 */
export type Misbehaviour = "none" | "lie" | "equivocate" | "partition" | "crash";

export type FromReplica =
  /** Its public key and where it listens. `restored`: it has the records of an earlier life. */
  | { t: "replica-ready"; key: PublicKey; address: string; restored: boolean }
  | { t: "replica-running"; epoch: number; ms: number }
  /** It is in an epoch of this version, and was never told what that executes. */
  | { t: "replica-lacks"; version: string }
  /** Whether it lacks something of what its peers have executed: the state, or results that are kept. Told when it changes. */
  | { t: "replica-behind"; isBehind: boolean }
  | { t: "votes"; reply: Reply }
  | { t: "replica-notice"; notice: Notice }
  | { t: "evidence"; evidence: Evidence }
  /** What the function logged while it executed the operation `id`; each replica tells it. */
  | { t: "replica-lines"; id: string; lines: LogLine[] }
  /** What it measures and where it stands, for people and benchmarks. */
  | { t: "replica-inspected"; id: number; state: Json };

/** A replica set at work, as it is shown. */
export interface ReplicaSetView {
  /** `application/function@version`; without the version where it keeps state. */
  set: string;
  application: string;
  function: string;
  version: string;
  faults: number;
  /** Whether its replicas keep state on disk. */
  durable: boolean;
  /** `forming`: its replicas begin. `waiting`: fewer than 2f + 1 work, so that calls wait. */
  state: "forming" | "serving" | "waiting";
  /** 0 before it was founded. */
  epoch: number;
  view: number;
  /** Replicas that work. */
  serving: number;
  /** Calls that are not certified yet. */
  underWay: number;
  replicas: {
    index: ReplicaIndex;
    state: "empty" | "starting" | "ready" | "serving";
    pod?: string;
    key?: PublicKey;
    leader: boolean;
  }[];
}
