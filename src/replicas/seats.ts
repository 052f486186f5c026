/** The seats of a replica set, what happens to them, and what follows (pure); by which rules is in machine.ts. */
import type { PublicKey } from "../consensus/crypto.ts";
import type { Membership, ReplicaIndex } from "../consensus/membership.ts";

/** What a set is for. */
export interface SetSpec {
  set: string;
  application: string;
  function: string;
  /** Whose code is to be executed. */
  version: string;
  faults: number;
  /** Its replicas keep state on disk, and come back with it under their old keys. */
  durable: boolean;
  client: PublicKey;
  /** Where in the input the key of the state is, if it keeps any by key. */
  stateKey?: string;
}

export type SeatState = "empty" | "starting" | "ready" | "serving";

export interface Seat {
  readonly index: ReplicaIndex;
  state: SeatState;
  pod: string | undefined;
  key: PublicKey | undefined;
  address: string;
  /** The replica before it was accused: whoever comes next must not have its key. */
  mustBeNew: boolean;
  /** A fault of it has been told, and it does not work again yet. */
  isFaulty: boolean;
  /** It has begun when the others had executed calls before. */
  isNewcomer: boolean;
  /** It may lack results that the others have, of calls that are not certified yet. */
  isBehind: boolean;
}

export type SetPhase = "down" | "forming" | "serving";

/** Why a seat's replica is given up. */
export type Accusation = "lie" | "equivocation" | "silence" | "slow" | "recovery";

export type SetInput =
  /** Calls wait for the set. */
  | { t: "want" }
  | { t: "acquired"; index: ReplicaIndex; pod: string }
  /** The pod has made or found its key, and listens. */
  | { t: "ready"; pod: string; key: PublicKey; address: string }
  | { t: "gone"; pod: string; detail: string }
  /**
   * A quorum's word, a proof, or this control plane's own eyes say so. `recovery` accuses of nothing. `isFirstResult`, of a lie about a
   * result: whether the replica has agreed with none before.
   */
  | {
      t: "accuse";
      index: ReplicaIndex;
      accusation: Accusation;
      detail: string;
      isDoubtful?: boolean;
      isFirstResult?: boolean;
      forMs?: number;
    }
  /** The replica has come to a result that was certified, for the first time since it sits there. */
  | { t: "agreed"; index: ReplicaIndex }
  /** The replica says that this epoch has begun for it. */
  | { t: "epoch"; pod: string; epoch: number }
  | { t: "view"; pod: string; view: number }
  | { t: "behind"; pod: string; isBehind: boolean }
  /** The code of this version is to be executed, as soon as may be. */
  | { t: "version"; version: string }
  /** The replica has voted, or has the state that it had missed. */
  | { t: "works"; pod: string }
  /** The time for which those that may be faulty are kept on is over. */
  | { t: "insist" }
  /** Nobody needs the set now. */
  | { t: "release" }
  /** Asks again for the pods that there was no room for. */
  | { t: "tick" };

export type SetEffect =
  /** A pod for the seat; `fresh`: nothing that an earlier replica of the seat has left may be used. */
  | { t: "acquire"; index: ReplicaIndex; fresh: boolean }
  /** From now on the set serves under this membership. `isNew`: its replicas begin with nothing. */
  | { t: "open"; membership: Membership; isNew: boolean }
  /** Makes the pod the seat's replica. */
  | { t: "replicate"; pod: string; index: ReplicaIndex; membership: Membership; isFounding: boolean }
  /** Tells the serving replicas who and where the others are. */
  | { t: "announce"; membership: Membership }
  /** Has the next membership ordered by the replicas. */
  | { t: "reconfigure"; membership: Membership }
  /** The membership in force has changed. */
  | { t: "changed"; membership: Membership }
  | { t: "end"; pod: string }
  /** `isLeader`: a fault of type II, otherwise III. `forMs`: how long there has been a sign of it. */
  | { t: "fault"; index: ReplicaIndex; pod: string; what: Accusation | "crash"; isLeader: boolean; detail: string; forMs: number }
  /** One that only may be faulty is kept on until those that are behind have what it has: `insist` comes after a while. */
  | { t: "postponed" }
  | { t: "repaired"; index: ReplicaIndex; pod: string; did: string }
  /** Those who begin anew differ (R5). */
  | { t: "doubted" }
  /** The set serves no longer: calls wait until it is open again. */
  | { t: "closed"; reason: string };

export const emptySeat = (index: ReplicaIndex): Seat => ({
  index,
  state: "empty",
  pod: undefined,
  key: undefined,
  address: "",
  mustBeNew: false,
  isFaulty: false,
  isNewcomer: false,
  isBehind: false,
});

export const vacate = (seat: Seat): void => {
  seat.state = "empty";
  seat.pod = undefined;
  seat.key = undefined;
  seat.address = "";
  seat.isNewcomer = false;
  seat.isBehind = false;
};
