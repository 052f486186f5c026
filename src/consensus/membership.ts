import type { PublicKey, Signature } from "./crypto.ts";

/** A replica's place in its set: 0 to n − 1. The leader of view v is the replica v mod n (TOCS 2002, §4.1). */
export type ReplicaIndex = number;

/** Who makes up a replica set in one epoch. Replacing a replica makes the next epoch. */
export interface Membership {
  /** By `setNameOf`. */
  set: string;
  application: string;
  function: string;
  /** Whose code the replicas execute in this epoch. */
  version: string;
  /** From 1, and one more with each change of the members or of the version. A replaced replica's key counts in no later epoch. */
  epoch: number;
  /** How many replicas may fail in any way: f. There are 3f + 1. */
  faults: number;
  /** Each replica's key, by its index. */
  replicas: PublicKey[];
  /** The keys whose requests the replicas take: that of the control plane. */
  clients: PublicKey[];
}

/** A membership as the admin has signed it: nobody else decides who is in a set. */
export interface CertifiedMembership {
  membership: Membership;
  /** Of `membershipText(membership)` by the admin's key. */
  signature: Signature;
}

/** `application/function@version`; without the version where the set keeps state, which outlives versions. */
export const setNameOf = (
  { application, function: fn, version }: Pick<Membership, "application" | "function" | "version">,
  keepsState: boolean,
): string => (keepsState ? `${application}/${fn}` : `${application}/${fn}@${version}`);

export const replicasOf = (faults: number): number => 3 * faults + 1;

/** 2f + 1: any two quorums share a correct replica, and the correct replicas alone are one (TOCS 2002, §4.2). */
export const quorumOf = (faults: number): number => 2 * faults + 1;

/** f + 1: at least one of so many is correct. */
export const weakOf = (faults: number): number => faults + 1;

export const leaderOf = (view: number, faults: number): ReplicaIndex => view % replicasOf(faults);
