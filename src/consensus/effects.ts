import type { Json } from "../lib/json.ts";
import type { Digest, PublicKey } from "./crypto.ts";
import type { CertifiedMembership, ReplicaIndex } from "./membership.ts";
import type { Batch, NewView, Operation, PeerMessage, Reply, Request, StableCheckpoint, ViewChange } from "./messages.ts";

/** What happens to a replica. Messages come with who sent them, as the connection's keys have proven. */
export type Input =
  | { t: "message"; from: ReplicaIndex; message: PeerMessage }
  | { t: "request"; request: Request }
  /** The outcomes of `execute`, one for each operation, in order. */
  | { t: "executed"; seq: number; outcomes: Json[] }
  /** The answer to `snapshot`: the digests of the pages that the function's state was written to. */
  | { t: "snapshotted"; seq: number; pages: Digest[] }
  /** The answer to `read-page`. */
  | { t: "page-read"; seq: number; page: number; to: ReplicaIndex; data: string }
  /** The answer to `install`. */
  | { t: "installed"; seq: number }
  | { t: "timer"; timer: TimerName };

/** `progress`: the view change timer. `batch`: a batch that waits for more. `status`: retransmission. `transfer`: a peer doesn't answer. */
export type TimerName = "progress" | "batch" | "status" | "transfer";

/** What a replica must not forget when its process starts anew with its memory lost, if it is to come back as itself. */
export type DurableRecord =
  | { t: "view"; epoch: number; view: number; active: boolean; viewChange?: ViewChange; newView?: NewView }
  | { t: "requests"; requests: Request[] }
  | { t: "pre-prepared"; epoch: number; view: number; seq: number; batch: Batch }
  | { t: "prepared"; epoch: number; view: number; seq: number; digest: Digest }
  | { t: "committed"; seq: number; digest: Digest }
  | { t: "stable"; checkpoint: StableCheckpoint }
  | { t: "membership"; next: CertifiedMembership };

/** Carried out in their order: what follows a `persist` leaves only when that is durable. */
export type Effect =
  | { t: "persist"; records: DurableRecord[] }
  | { t: "send"; to: ReplicaIndex[]; message: PeerMessage }
  | { t: "reply"; client: PublicKey; reply: Reply }
  /** In the order of the sequence numbers; several may be under way, and the executor takes them one after the other. */
  | { t: "execute"; seq: number; time: number; seed: Digest; operations: Operation[] }
  /** After `execute` of `seq` and before any later one: write the function's state to pages, and keep them until `discard`. */
  | { t: "snapshot"; seq: number }
  | { t: "read-page"; seq: number; page: number; to: ReplicaIndex }
  /** Replace the function's state by these pages, whose digests have been checked. */
  | { t: "install"; seq: number; pages: string[] }
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
  | { t: "epoch"; epoch: number };
