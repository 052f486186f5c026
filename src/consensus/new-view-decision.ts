import type { Digest } from "./crypto.ts";
import { quorumOf, weakOf } from "./membership.ts";
import type { SlotClaim, StableCheckpoint, ViewChange } from "./messages.ts";
import { NULL } from "./slots.ts";

// What a new view begins with, as a function of the view changes that the leader has chosen: the decision procedure of TOCS 2002, §5.4 (the
// protocol without signatures on its prepares, whose claims nobody can prove). The leader computes it, and each backup again.

export interface Decision {
  checkpoint: StableCheckpoint;
  /** The digest of each number after the checkpoint, without holes. */
  slots: { seq: number; digest: Digest }[];
}

export interface DecisionRules {
  faults: number;
  /** L */
  window: number;
  /** Planted mistakes: claims of having prepared need no vouchers; the quorum is too small. */
  noPreparedProof?: true;
  quorumOf2f?: true;
}

/** @returns undefined while there are too few view changes to decide every number */
export const decideNewView = (changes: readonly ViewChange[], rules: DecisionRules): Decision | undefined => {
  const quorum = rules.quorumOf2f === true ? 2 * rules.faults : quorumOf(rules.faults);
  if (changes.length < quorum) return undefined;
  const checkpoint = latestCheckpoint(changes);
  const claims = indexClaims(changes);
  const slots: Decision["slots"] = [];
  let last = checkpoint.seq;
  for (let seq = checkpoint.seq + 1; seq <= Math.min(checkpoint.seq + rules.window, claims.last); seq++) {
    const digest = decideSlot(claims.at.get(seq), changes.length, quorum, rules);
    if (digest === undefined) return undefined;
    slots.push({ seq, digest });
    if (digest !== NULL) last = seq;
  }
  // Null requests fill gaps. What is free after the last batch is left to the new view.
  return { checkpoint, slots: slots.slice(0, last - checkpoint.seq) };
};

/**
 * The latest proven one. Where checkpoints were shown without proof, f + 1 would have to vouch for it, and 2f + 1 to be able to go on from it;
 * 2f + 1 signatures are both.
 */
const latestCheckpoint = (changes: readonly ViewChange[]): StableCheckpoint =>
  changes.map(({ stable }) => stable).reduce((latest, stable) => (stable.seq > latest.seq ? stable : latest));

interface SlotClaims {
  /** One of each replica at most: it has prepared once in its last view. */
  prepared: SlotClaim[];
  preprepared: SlotClaim[][];
}

const indexClaims = (changes: readonly ViewChange[]): { at: Map<number, SlotClaims>; last: number } => {
  const at = new Map<number, SlotClaims>();
  let last = 0;
  const open = (seq: number): SlotClaims => {
    const known = at.get(seq);
    if (known !== undefined) return known;
    const claims: SlotClaims = { prepared: [], preprepared: changes.map(() => []) };
    at.set(seq, claims);
    return claims;
  };
  changes.forEach(({ prepared, preprepared }, replica) => {
    for (const claim of prepared) {
      open(claim.seq).prepared.push(claim);
      last = Math.max(last, claim.seq);
    }
    for (const claim of preprepared) open(claim.seq).preprepared[replica]!.push(claim);
  });
  return { at, last };
};

/** `NULL` for a number at which nothing can have committed; `undefined` while more view changes are needed. */
const decideSlot = (claims: SlotClaims | undefined, count: number, quorum: number, rules: DecisionRules): Digest | undefined => {
  const prepared = claims?.prepared ?? [];
  for (const claim of [...prepared].sort(latestFirst)) {
    // A1: 2f + 1 have prepared nothing else there in that view or a later one. Two digests can't both have prepared in one view, so a batch
    // that has committed, and was prepared by f + 1 correct replicas, leaves too few for any other.
    const against = prepared.filter(({ view, digest }) => view > claim.view || (view === claim.view && digest !== claim.digest)).length;
    if (count - against < quorum) continue;
    // A2: f + 1 have pre-prepared it in that view or a later one, so one correct replica has, and its contents are to be had. It stands for A3.
    if (rules.noPreparedProof === true || vouchers(claims!, claim) >= weakOf(rules.faults)) return claim.digest;
  }
  // B: 2f + 1 have prepared nothing there.
  return count - prepared.length >= quorum ? NULL : undefined;
};

const latestFirst = (a: SlotClaim, b: SlotClaim): number => b.view - a.view || (a.digest < b.digest ? -1 : 1);

const vouchers = ({ preprepared }: SlotClaims, { digest, view }: SlotClaim): number =>
  preprepared.filter((claims) => claims.some((claim) => claim.digest === digest && claim.view >= view)).length;
