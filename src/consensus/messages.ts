import type { Json } from "../lib/json.ts";
import type { Digest, PublicKey, Signature } from "./crypto.ts";
import type { CertifiedMembership, ReplicaIndex } from "./membership.ts";

/** One call of the replicated function. */
export interface Operation {
  /** The call's key `run/seq`: whatever is sent again under it is executed at most once while its result is kept. */
  id: string;
  /** Which state it concerns; empty for a stateless function. */
  key: string;
  input: Json;
}

/**
 * What a client asks for, signed as one: a request's authenticator that verifies at some replicas only can't be made (TOCS 2002, §4.3.1
 * describes that weakness of MACs). It goes to all replicas; a pre-prepare names it by its digest.
 */
export interface Request {
  client: PublicKey;
  /** Grows each time that the client starts anew. */
  session: number;
  /** From 1 in each session, without holes. */
  number: number;
  /** The client has the results of all of this session's requests up to this number: what was kept of them may go. */
  settled: number;
  body: RequestBody;
  signature: Signature;
}

export type RequestBody =
  | { t: "call"; operations: Operation[] }
  /** The first of each session: results of earlier sessions are kept for these operations only. */
  | { t: "session"; keep: string[] }
  /**
   * Asks for a vote on each of these results alone, where the replicas differ in others of the batch. It is not ordered, and takes no number of
   * the session: it stands at the first that is not settled.
   */
  | { t: "single"; operations: string[] }
  /** Ordered alone in its batch; everything after it belongs to the new epoch. */
  | { t: "reconfigure"; next: CertifiedMembership };

/**
 * What a leader proposes for one sequence number. `time` (Unix ms, never less than that of the number before) is what the function's clock
 * shows, `seed` where its random numbers come from: the hash of what it stands beside, so that a leader can't choose it.
 */
export interface Batch {
  time: number;
  seed: Digest;
  requests: Digest[];
}

/** (n, d, v): with digest d, sequence number n prepared or pre-prepared in view v. */
export interface SlotClaim {
  seq: number;
  digest: Digest;
  view: number;
}

/** A replica's signed word for the state after `seq`. */
export interface CheckpointVote {
  replica: ReplicaIndex;
  signature: Signature;
  /** Digest of the results that it has come to (`result-pages.ts`), if it knows them all: signed with the state's, and no part of that. */
  results?: Digest;
}

/** 2f + 1 votes make a checkpoint stable: with them it can be shown to anyone. */
export interface StableCheckpoint {
  epoch: number;
  seq: number;
  digest: Digest;
  votes: CheckpointVote[];
}

/** TOCS 2002, §4.5.1 and §5.4: P and Q of the replica, above its last stable checkpoint; signed instead of acknowledged. */
export interface ViewChange {
  replica: ReplicaIndex;
  epoch: number;
  /** The view that it wants to go to. */
  view: number;
  stable: StableCheckpoint;
  /** Later checkpoints that it has taken. */
  checkpoints: { seq: number; digest: Digest }[];
  prepared: SlotClaim[];
  preprepared: SlotClaim[];
  signature: Signature;
}

export interface NewView {
  epoch: number;
  view: number;
  /** Those that the decision follows from: each backup repeats it. */
  viewChanges: ViewChange[];
  /** The digest of each sequence number from the chosen checkpoint on; `""` is the null request. */
  slots: { seq: number; digest: Digest }[];
  checkpoint: { seq: number; digest: Digest };
  signature: Signature;
}

/** What replicas tell each other. Who sent it is known from the connection's keys, or from the message's signature. */
export type PeerMessage =
  | { t: "pre-prepare"; view: number; seq: number; batch: Batch }
  | { t: "prepare"; view: number; seq: number; digest: Digest }
  | { t: "commit"; view: number; seq: number; digest: Digest }
  | { t: "checkpoint"; seq: number; digest: Digest; signature: Signature; results?: Digest }
  | { t: "view-change"; viewChange: ViewChange }
  | { t: "new-view"; newView: NewView }
  /** What the sender has, so that the others can send what it lacks (TOCS 2002, §5.2). */
  | { t: "status"; view: number; active: boolean; stable: number; committed: number; executed: number }
  /** What the sender has committed, for one who lags: the word of f + 1 is enough, whatever view they are in. */
  | { t: "decided"; slots: { seq: number; digest: Digest }[] }
  /** Asks for the contents of digests. */
  | { t: "fetch"; requests: Digest[]; batches: Digest[] }
  | { t: "content"; requests: Request[]; batches: { seq: number; batch: Batch }[] }
  /** Asks for a stable checkpoint later than `above`, with the list of its pages. */
  | { t: "fetch-checkpoint"; above: number }
  | CheckpointProof
  /** Whose page is another one has no answer. Those of the results come after those of the state. */
  | { t: "fetch-page"; seq: number; page: number; digest: Digest }
  | { t: "page"; seq: number; page: number; data: string }
  /** Asks what these operations came to at the peer: the state says that they were executed, and no more. */
  | { t: "fetch-results"; operations: { seq: number; position: number }[] }
  | { t: "results"; results: OwnResult[] };

export interface CheckpointProof {
  t: "checkpoint-proof";
  stable: StableCheckpoint;
  pages: Digest[];
  /** Of the pages with the hashes of results, if f + 1 of the voters have signed that they are these. */
  results?: Digest[];
  /** That of the votes, for whoever is in another epoch. */
  membership?: CertifiedMembership;
  /** Where the checkpoint is the last of its epoch. */
  next?: CertifiedMembership;
}

/** What a replica says an operation came to: its own word, which is true if f + 1 say it. */
export interface OwnResult {
  id: string;
  seq: number;
  position: number;
  /** `""` where it has none. */
  resultHash: Digest;
  outcome: Json;
}

/** A replica's vote on what a batch came to: one signature for all results (`voteText`), each with its way to the root. */
export interface Reply {
  replica: ReplicaIndex;
  epoch: number;
  view: number;
  seq: number;
  /** Whose code has executed it: where an answer is repeated, maybe that of an earlier epoch. */
  version: string;
  root: Digest;
  signature: Signature;
  /** The root is of a tree with this one result, and fillers at the other places (`merkle.ts`). */
  single?: true;
  /** The results are all that stand in the tree, in their order. The tree follows from them, and their ways to the root are left out. */
  whole?: true;
  results: ReplyResult[];
}

export interface ReplyResult {
  id: string;
  /** Where the leaf is in the batch, and the siblings on its way to the root. */
  position: number;
  path: Digest[];
  key: string;
  inputHash: Digest;
  /** `""`: it was executed, and this replica has no result of it, and can't have one. */
  resultHash: Digest;
  /** The outcome's canonical JSON: `{"value":…}` or `{"failure":…}`. Empty where another replica sends it. */
  outcome: Json;
}
