import type { Json } from "../lib/json.ts";
import type { Digest, PublicKey } from "./crypto.ts";
import type { CertifiedMembership, ReplicaIndex } from "./membership.ts";
import type { Batch, NewView, Operation, OwnResult, PeerMessage, Reply, Request, StableCheckpoint, ViewChange } from "./messages.ts";

/**
 * What happens to a replica. Messages come with who sent them, as the connection's keys have proven, and the epoch that the sender was in:
 * `from` is an index of that epoch's membership.
 */
export type Input =
  | { t: "message"; from: ReplicaIndex; epoch: number; message: PeerMessage }
  | { t: "request"; request: Request }
  /** The outcomes of `execute`, one for each operation, in order. */
  | { t: "executed"; seq: number; outcomes: Json[] }
  /** The answer to `snapshot`: the digests of the pages that the function's state was written to. */
  | { t: "snapshotted"; seq: number; pages: Digest[] }
  /** The answer to `read-page`. */
  | { t: "page-read"; seq: number; page: number; to: ReplicaIndex; data: string }
  /** The answer to `install`, and to a `restore` that has found all of its pages. */
  | { t: "installed"; seq: number }
  /** The answer to a `restore` that has not: the state comes from the peers. */
  | { t: "missing"; seq: number }
  | { t: "timer"; timer: TimerName };

/**
 * `progress`: the view change timer. `batch`: a batch that waits for more. `fetch`: contents that are missing. `status`: retransmission.
 * `transfer`: a peer doesn't answer.
 */
export type TimerName = "progress" | "batch" | "fetch" | "status" | "transfer";

/**
 * What a replica must not forget when its process starts anew with its memory lost, if it is to come back as itself. They are given back in
 * their order. A log of them may be shortened: what is needed are the last `entering` as `membership`, the last `stable`, the last `view` of that epoch, and
 * of its numbers above the stable one everything else, with the requests that they name.
 */
export type DurableRecord =
  | { t: "view"; epoch: number; view: number; active: boolean; viewChange?: ViewChange; newView?: NewView }
  | { t: "requests"; requests: Request[] }
  | { t: "pre-prepared"; epoch: number; view: number; seq: number; batch: Batch }
  | { t: "prepared"; epoch: number; view: number; seq: number; digest: Digest }
  | { t: "committed"; epoch: number; seq: number; digest: Digest }
  /**
   * `core` are the contents of the first pages: those of the client table. `results` are this replica's own, of the operations in it. A state that ends an epoch, or brings the replica into another one,
   * is in one record with what follows from it: with the one and without the other nobody could go on, if all are killed at that moment.
   */
  | { t: "stable"; checkpoint: StableCheckpoint; pages: Digest[]; core: string[]; results: OwnResult[]; entering?: EpochEntry }
  /** What peers have said of operations of the last `stable`. The next one has these results too. */
  | { t: "results"; results: OwnResult[] }
  /** `entering` of an earlier `stable`, for a log that is shortened. */
  | ({ t: "membership" } & EpochEntry);

/** The epoch of `next` has begun, after the number `base.seq`, in its first view. */
export interface EpochEntry {
  next: CertifiedMembership;
  previous?: CertifiedMembership;
  base: { seq: number; digest: Digest };
  firstView: number;
}

/** Carried out in their order: what follows a `persist` leaves only when that is durable. */
export type Effect =
  | { t: "persist"; records: DurableRecord[] }
  /** To replicas of that epoch, the sender's own. */
  | { t: "send"; epoch: number; to: ReplicaIndex[]; message: PeerMessage }
  | { t: "reply"; client: PublicKey; reply: Reply }
  /** In the order of the sequence numbers; several may be under way, and the executor takes them one after the other. */
  | { t: "execute"; seq: number; time: number; seed: Digest; operations: Operation[] }
  /** After `execute` of `seq` and before any later one: write the function's state to pages, and keep them until `discard`. */
  | { t: "snapshot"; seq: number }
  | { t: "read-page"; seq: number; page: number; to: ReplicaIndex }
  /** Replace the function's state by these pages, whose digests have been checked. They are kept as the snapshot of `seq`. */
  | { t: "install"; seq: number; pages: string[] }
  /** The same from the host's own disk, if it keeps snapshots there: pages with these digests. */
  | { t: "restore"; seq: number; pages: Digest[] }
  /** Snapshots below `seq` are needed no more. */
  | { t: "discard"; seq: number }
  /** Arms a timer anew; without `afterMs` it is stopped. */
  | { t: "timer"; timer: TimerName; afterMs?: number }
  | { t: "evidence"; evidence: Evidence }
  | { t: "notice"; notice: Notice };

/** What a replica has against another. With `proof` it convinces anyone; without, it is this replica's word. */
export interface Evidence {
  about: ReplicaIndex;
  kind:
    | "equivocation"
    | "wrong-checkpoint"
    | "invalid-view-change"
    | "invalid-new-view"
    | "bad-proposal"
    | "bad-page"
    | "silent-leader"
    | "slow-leader";
  view: number;
  seq: number;
  detail: string;
  proof?: unknown[];
}

/** What the outside may want to know. */
export type Notice =
  | { t: "view-changing"; view: number; reason: string }
  | { t: "view"; view: number; leader: ReplicaIndex }
  | { t: "stable"; seq: number }
  | { t: "transferring"; seq: number }
  | { t: "transferred"; seq: number }
  /** What is executed from here on is executed by the code of `version`: the state is that with which the epoch began. */
  | { t: "epoch"; epoch: number; version: string }
  /** The replica is no member of this epoch: it has nothing more to do. */
  | { t: "retired"; epoch: number };
