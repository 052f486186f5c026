import type { PublicKey } from "./crypto.ts";
import type { CertifiedMembership, ReplicaIndex } from "./membership.ts";

/** Bounds and times of a replica; each has a default. All replicas of a set must have the same `checkpointEvery`. */
export interface Limits {
  /** A checkpoint is taken each time that so many numbers have been executed: K. Default 128. */
  checkpointEvery: number;
  /** How far numbers may be ahead of the last stable checkpoint: L. Default 2K. */
  window: number;
  /** Operations in one batch. Default 256. */
  maxBatchOperations: number;
  /** Characters of the requests in one batch; a single request may be larger. Default 1,048,576. */
  maxBatchSize: number;
  /** Batches that the leader has under way before it gathers requests (TOCS 2002, §5.1.4). Default 8. */
  batchesInFlight: number;
  /** How long a batch that is not full waits for more while others are under way. Default 0: not at all. */
  batchDelayMs: number;
  /** How long a backup waits for the oldest request to be ordered before it wants another leader; doubles while there is none. Default 300. */
  progressTimeoutMs: number;
  /** Default 10,000. */
  maxProgressTimeoutMs: number;
  /** How often a replica says what it has while something is outstanding. Default 100. */
  statusEveryMs: number;
  /** The same while nothing is: for who has missed all of it. Default 2,000; 0 for never. */
  idleStatusEveryMs: number;
  /** How long a peer may take to send a page of a checkpoint. Default 500. */
  transferTimeoutMs: number;
  /** How far a leader's clock may be from the replica's own. Default 5,000. */
  maxClockSkewMs: number;
  /** Requests of one client that wait for their order. Default 4,096. */
  maxPendingRequests: number;
  /** Characters of one request. Default 4,194,304. */
  maxRequestSize: number;
  /** Operations whose results are kept. Default 65,536. */
  maxKeptOperations: number;
  /** Characters of the results that are kept: beyond them a replica lets go of its longest at each checkpoint. Default 67,108,864. */
  maxKeptSize: number;
  /** A leader is slow when requests take longer than this and eight times longer than they have taken before. Default 100. */
  slowLeaderMs: number;
}

/** Known mistakes that a replica can be made to make, each at one place: for showing that the simulation finds them. Never in production. */
export type Flaw =
  /** Quorums have 2f members. */
  | "quorumOf2f"
  /** A replica sends its commit for whatever it has accepted, without 2f prepares beside it. */
  | "commitsUnprepared"
  /** A new view believes each claim of having prepared, vouched for by nobody (condition A2 left out). */
  | "noPreparedProof"
  /** Nothing is persisted. */
  | "unsyncedLog"
  /** Backups believe what the leader of a new view has decided. */
  | "noRevalidation"
  /** The client table is not consulted before operations are executed. */
  | "noClientTable"
  /** Transferred pages are installed without their digests being checked. */
  | "uncheckedPages"
  /** A view change leaves out what has prepared. */
  | "forgetfulViewChange"
  /** The leader's time is taken as it is. */
  | "uncheckedTime"
  /** As long as f + 1 say that they have gone on, patience is renewed. */
  | "endlessPatience";

export interface ReplicaOptions {
  /** Of the epoch in which the replica begins. */
  membership: CertifiedMembership;
  /**
   * Whether the set begins with this membership, and so with nothing; else the replica has its state from the others. Default: in epoch 1. A
   * set without state that has lost its quorum is founded again, in a later epoch.
   */
  isFounding?: boolean;
  index: ReplicaIndex;
  /** The replica's own public key. Default: that of `membership` at `index`. */
  key?: PublicKey;
  /** Who certifies memberships. */
  admin: PublicKey;
  /** Whether the replica comes back with its records, so that it must `persist` them first. Default false. */
  durable?: boolean;
  limits?: Partial<Limits>;
  flaws?: Partial<Record<Flaw, true>>;
}

export const withDefaults = (limits: Partial<Limits> = {}): Limits => {
  const checkpointEvery = limits.checkpointEvery ?? 128;
  return {
    checkpointEvery,
    window: 2 * checkpointEvery,
    maxBatchOperations: 256,
    maxBatchSize: 1_048_576,
    batchesInFlight: 8,
    batchDelayMs: 0,
    progressTimeoutMs: 300,
    maxProgressTimeoutMs: 10_000,
    statusEveryMs: 100,
    idleStatusEveryMs: 2_000,
    transferTimeoutMs: 500,
    maxClockSkewMs: 5_000,
    maxPendingRequests: 4_096,
    maxRequestSize: 4_194_304,
    maxKeptOperations: 65_536,
    maxKeptSize: 67_108_864,
    slowLeaderMs: 100,
    ...limits,
  };
};
