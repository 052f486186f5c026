import type { Crypto } from "../../../src/consensus/crypto.ts";
import type { ReplicaIndex } from "../../../src/consensus/membership.ts";
import type { PeerMessage, Reply, Request } from "../../../src/consensus/messages.ts";
import type { Json } from "../../../src/lib/json.ts";
import type { Random } from "../../../src/lib/random.ts";

/** Where a liar lies, and all that it has: its own key, what it has seen, and its connections. */
export interface Stage {
  set: string;
  nodes: number;
  me: ReplicaIndex;
  random: Random;
  /** Its own: nobody else's signature can be made with it. */
  crypto: Crypto;
  epoch(): number;
  /** Unix ms, as its clock shows. */
  now(): number;
  send(to: ReplicaIndex, message: PeerMessage, delayMs?: number): void;
  /** Requests that clients have sent to it. */
  requests: Request[];
}

/** A way to lie. What a correct replica would do passes through it, and comes out as what the liar does instead. */
export interface Tactic {
  /** What goes to `to` in place of the message. */
  outgoing?(to: ReplicaIndex, message: PeerMessage): PeerMessage[];
  /** Before the replica inside sees it. */
  incoming?(from: ReplicaIndex, message: PeerMessage): void;
  reply?(reply: Reply): Reply[];
  outcome?(outcome: Json, operation: string): Json;
  page?(data: string): string;
  /** Every `TICK_MS`. */
  tick?(): void;
}

export type Tactics = Record<string, (stage: Stage) => Tactic>;

export const chance = (stage: Stage, probability: number): boolean => stage.random.next() < probability;

export const randomDigest = (stage: Stage): string => stage.crypto.hash(`made up ${stage.random.next()}`);

export const others = (stage: Stage): ReplicaIndex[] => Array.from({ length: stage.nodes }, (_, i) => i).filter((i) => i !== stage.me);

/**
 * Lies that all are told alike: a lie that each hears in another way convinces nobody. One in five is not.
 * @param make from the message and what it is known by
 */
export const alike = <T>(stage: Stage): ((name: string, make: () => T) => T) => {
  const told = new Map<string, T>();
  return (name, make) => {
    const known = told.get(name);
    if (known !== undefined && !chance(stage, 0.2)) return known;
    const lie = make();
    told.set(name, lie);
    return lie;
  };
};
