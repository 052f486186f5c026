import type { Kept } from "./client-table.ts";
import type { Digest, Signature } from "./crypto.ts";
import type { CertifiedMembership, ReplicaIndex } from "./membership.ts";
import type { MerkleTree } from "./merkle.ts";
import type { NewView, StableCheckpoint, ViewChange } from "./messages.ts";
import type { ResultPages } from "./result-pages.ts";

// What a replica remembers of each thing that it does; `core.ts` has one of each.

/** A number that was given to the executor, until its results are there. */
export interface Execution {
  readonly seq: number;
  readonly fresh: Kept[];
  /** What the executor was asked for: of `fresh` those that are neither refused nor the replicas' own. */
  readonly asked: Kept[];
  outcomes: string[] | undefined;
}

/** One signature for all results of a number. */
export interface BatchVote {
  readonly epoch: number;
  readonly view: number;
  readonly version: string;
  readonly tree: MerkleTree;
  readonly signature: Signature;
}

/** The state after a number, as this replica has it. */
export interface OwnCheckpoint {
  readonly seq: number;
  /** The pages of the client table, and their digests. */
  core: string[];
  coreDigests: Digest[];
  /** All pages, those of the function last; `undefined` until the executor has written them. */
  pages: Digest[] | undefined;
  digest: Digest;
  /** What was kept there: its results are this replica's own, and no part of the pages. */
  kept: readonly Kept[];
  /** `undefined` where this replica does not know all of them. */
  results: ResultPages | undefined;
}

/**
 * An executed operation of which this replica has no result, or its hash and not its text: it has the state, and with it the operation, from
 * its peers.
 */
export interface LackedResult {
  readonly kept: Kept;
  /** Hashes of what each peer says it came to; `""` where it has no result either. */
  readonly said: Map<ReplicaIndex, Digest>;
  rounds: number;
  dueAt: number;
}

/** State that is being fetched from the peers. */
export interface Transfer {
  /** With the votes that its pages follow from. */
  target: StableCheckpoint;
  /** Those of the state, and after them those of the results, once they are known. */
  readonly pages: Digest[];
  readonly states: number;
  /** Whether the list of the pages of results is known; it may be empty. */
  isListed: boolean;
  readonly got: (string | undefined)[];
  /** Pages asked for and not here: of whom, and when. */
  readonly asked: Map<number, { of: ReplicaIndex; at: number }>;
  /** Peers that have not answered in time, or not with what was signed: the others are asked first. */
  readonly slow: Set<ReplicaIndex>;
  readonly membership: CertifiedMembership;
  readonly next: CertifiedMembership | undefined;
  missing: number;
  /** How often more it may be asked in vain for the pages of results that the votes promise. */
  patience: number;
  peer: ReplicaIndex;
  /** A peer has not answered in time. */
  isStuck: boolean;
  /** This replica's own state was another than 2f + 1 replicas': its results are worth nothing either. */
  readonly isWrong: boolean;
  /** All pages are here, and the executor is putting them in place. */
  installing: boolean;
}

/** A stable checkpoint that this replica has not reached. */
export interface Ahead {
  readonly stable: StableCheckpoint;
  /** Without them they are asked for, if they are needed. */
  readonly pages: Digest[] | undefined;
  /** Of the pages of results. */
  readonly results: Digest[] | undefined;
  /** Of the votes. */
  readonly membership: CertifiedMembership;
  readonly next: CertifiedMembership | undefined;
  readonly since: number;
}

/** Where the view stands (TOCS 2002, §4.4). */
export interface Views {
  view: number;
  /** Whether the view has begun here. */
  active: boolean;
  /** The first view of the epoch needs no new-view message. */
  first: number;
  /** The last view change of each replica, valid and of this epoch. */
  readonly changes: (ViewChange | undefined)[];
  /** The view changes that were last found valid. */
  readonly valid: ({ text: string; signature: Signature } | undefined)[];
  /** Whether any have come since the leader has last looked at them. */
  isNews: boolean;
  /** Since when each replica has wanted to leave the current view alone, and how often it was followed. */
  readonly stragglers: ({ view: number; since: number; patienceMs: number } | undefined)[];
  /** The new view that the current view began with. */
  newView: NewView | undefined;
  /** Since when 2f + 1 wait for the new view. */
  waitingSince: number | undefined;
}

/** What the timers know. */
export interface Pace {
  timeoutMs: number;
  /** The request that has waited longest, and since when it has been that one. */
  head: Digest | undefined;
  headSince: number;
  /** While patience stands still: until when it was counted. */
  stoodAt: number | undefined;
  /** How often patience with this head was renewed because others seemed to have gone on. */
  renewals: number;
  /** When each armed timer is due. */
  progressAt: number | undefined;
  statusAt: number | undefined;
  fetchAt: number | undefined;
  batchAt: number | undefined;
  /** What progress looked like at the last status. */
  mark: string;
  saidAt: number;
  /** When each peer's status was last answered. */
  readonly answeredAt: number[];
  readonly provenAt: number[];
  /** How long the last requests were at the head. */
  samples: number[];
  bestMs: number;
  slowBackoffMs: number;
  slowUntil: number;
  ordered: number;
}

/** What comes with a change of the members. */
export interface Ending {
  readonly seq: number;
  readonly next: CertifiedMembership;
}
