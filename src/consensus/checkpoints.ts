import { checkpointText, membershipText, stateText } from "./canonical.ts";
import type { Core } from "./core.ts";
import type { Ahead, OwnCheckpoint } from "./core-parts.ts";
import type { Digest } from "./crypto.ts";
import type { EpochEntry } from "./effects.ts";
import { leaderOf, type Membership, quorumOf, type ReplicaIndex } from "./membership.ts";
import type { CheckpointVote, PeerMessage, StableCheckpoint } from "./messages.ts";
import { keptOf, resultsOf } from "./own-results.ts";

// Checkpoints (TOCS 2002, §4.3, "garbage collection"): the state after every K numbers, and after each change of the members. What 2f + 1
// replicas have signed is stable: it can be shown to anyone, and everything below it is forgotten.

/** Numbers of one replica whose votes are kept: those of the window, and the last of a replica that is far ahead. */
const MOST_VOTES = 6;

/** Notes the core's part of the state as soon as the number has been executed; the function's pages may come later. */
export const captureState = (core: Core): void => {
  const { log, barrier } = core;
  if (barrier === undefined || log.executed !== barrier) return;
  core.barrier = undefined;
  for (const batch of core.table.trim()) core.repeated.delete(batch);
  const { core: pages, digests } = core.writer.write(core.table, headerAt(core, barrier), core.crypto.hash);
  const kept = keptOf(core.table);
  const results = lacksResults(core) ? undefined : core.resultWriter.write(core, barrier, kept);
  const own: OwnCheckpoint = { seq: barrier, core: pages, coreDigests: digests, pages: undefined, digest: "", kept, results };
  core.checkpoints.set(barrier, own);
  const early = core.snapshots.get(barrier);
  core.snapshots.delete(barrier);
  if (early !== undefined) completeCheckpoint(core, own, early);
};

/** Whether of anything that is kept the hash of its result is not known here, other than where the replica has let it go. */
const lacksResults = ({ lacked, table }: Core): boolean => {
  for (const [id, { kept }] of lacked) if (kept.resultHash === "" && table.kept.get(id) === kept) return true;
  return false;
};

const headerAt = (core: Core, seq: number): Parameters<Core["writer"]["write"]>[1] => {
  const { ending, base, time } = core;
  if (ending?.seq !== seq) {
    const membership = core.crypto.hash(membershipText(core.membership));
    return { seq, time, epoch: core.epoch, membership, firstView: core.views.first, base };
  }
  const next = ending.next.membership;
  return {
    seq,
    time,
    epoch: next.epoch,
    membership: core.crypto.hash(membershipText(next)),
    firstView: firstViewOf(core.membership, next),
    base: { seq, digest: "" },
  };
};

/**
 * An epoch begins in its first view whose leader was a member before: a newcomer has no state yet, and one that was replaced never leads. All
 * replicas find the same, whichever views they have come from.
 */
export const firstViewOf = (before: Membership, next: Membership): number => {
  const stays = next.replicas.map((key, i) => key === before.replicas[i]);
  let view = 0;
  while (stays[leaderOf(view, next.faults)] === false) view++;
  return view;
};

/** What begins for this replica with the stable checkpoint `digest` at `seq`, if that ends the epoch. */
export const entryAfter = (core: Core, seq: number, digest: Digest): EpochEntry | undefined => {
  const { ending, membership, certified } = core;
  if (ending?.seq !== seq) return undefined;
  const { next } = ending;
  return { next, previous: certified, base: { seq, digest }, firstView: firstViewOf(membership, next.membership) };
};

/** The function's pages are written. */
export const takeSnapshot = (core: Core, seq: number, pages: readonly Digest[]): void => {
  const own = core.checkpoints.get(seq);
  if (own !== undefined && own.pages === undefined) completeCheckpoint(core, own, pages);
  // The executor may be faster than the answer to the operations before.
  else if (own === undefined && core.barrier === seq) core.snapshots.set(seq, [...pages]);
};

const completeCheckpoint = (core: Core, own: OwnCheckpoint, pages: readonly Digest[]): void => {
  own.pages = [...own.coreDigests, ...pages];
  own.digest = core.crypto.hash(stateText(core.set, own.seq, own.pages));
  const results = own.results?.digest;
  const signature = core.crypto.sign(checkpointText(core.set, core.epoch, own.seq, own.digest, results));
  const vote: Vote = { replica: core.index, signature, digest: own.digest, ...(results === undefined ? {} : { results }) };
  noteVote(core, own.seq, vote);
  core.broadcast(messageOf(own.seq, vote));
};

type Vote = CheckpointVote & { digest: Digest };

export const messageOf = (seq: number, { replica: _, ...vote }: Vote): Extract<PeerMessage, { t: "checkpoint" }> => ({
  t: "checkpoint",
  seq,
  ...vote,
});

export const takeCheckpoint = (core: Core, from: ReplicaIndex, message: Extract<PeerMessage, { t: "checkpoint" }>): void => {
  const { seq, digest, signature, results } = message;
  if (seq <= core.log.low) {
    refute(core, from, message);
    return;
  }
  if (core.votes[from]?.has(seq)) return;
  if (!core.crypto.verify(core.membership.replicas[from]!, checkpointText(core.set, core.epoch, seq, digest, results), signature)) return;
  noteVote(core, seq, { replica: from, signature, digest, ...(results === undefined ? {} : { results }) });
};

/** A signed vote for another state than the stable one is its own proof. */
const refute = (core: Core, from: ReplicaIndex, { seq, digest, signature, results }: Extract<PeerMessage, { t: "checkpoint" }>): void => {
  const { stable } = core;
  if (seq !== stable.seq || digest === stable.digest || stable.epoch !== core.epoch) return;
  if (!core.crypto.verify(core.membership.replicas[from]!, checkpointText(core.set, core.epoch, seq, digest, results), signature)) return;
  accuseOfVote(core, { replica: from, signature, digest, ...(results === undefined ? {} : { results }) }, stable);
};

const accuseOfVote = (core: Core, vote: Vote, stable: StableCheckpoint): void => {
  const { seq } = stable;
  core.accuse(vote.replica, "wrong-checkpoint", seq, `its state after ${seq} is not the one of 2f + 1 replicas`, [vote, stable]);
};

const noteVote = (core: Core, seq: number, vote: Vote): void => {
  core.votes[vote.replica] ??= new Map();
  const votes = core.votes[vote.replica]!;
  votes.set(seq, vote);
  // A replica that floods only overwrites what it has said itself.
  if (votes.size > MOST_VOTES) votes.delete(votes.keys().next().value!);
  const same = core.votes.flatMap((of) => {
    const other = of?.get(seq);
    if (other === undefined || other.digest !== vote.digest) return [];
    const { digest: _, ...same } = other;
    return [same];
  });
  if (same.length < core.quorum) return;
  learnStable(core, { epoch: core.epoch, seq, digest: vote.digest, votes: same });
};

/** 2f + 1 have proven this state. It is stable here once this replica has it too; else it must catch up, or fetch it. */
export const learnStable = (
  core: Core,
  stable: StableCheckpoint,
  more?: Pick<Ahead, "pages" | "results" | "membership" | "next">,
): void => {
  const { ahead, certified, log, now } = core;
  // Who has lost the state needs it even where nothing is new.
  if (stable.seq < log.low || (stable.seq === log.low && core.state !== "missing") || stable.seq === 0) return;
  // A later one may be stable here alone, so that nobody can give its pages: an earlier one that can be had leads on.
  const isNearer = ahead !== undefined && ahead.pages === undefined && more?.pages !== undefined && stable.seq <= ahead.stable.seq;
  if (ahead !== undefined && !isNearer && ahead.stable.seq >= stable.seq && (ahead.stable.seq > stable.seq || ahead.pages !== undefined))
    return;
  // The time since which this replica has lagged: where checkpoints follow each other quickly, no single one of them is known for long.
  core.ahead = {
    stable,
    pages: undefined,
    results: undefined,
    membership: certified,
    next: undefined,
    since: ahead?.since ?? now,
    ...more,
  };
};

/** Makes stable what is proven and reached. */
export const stabilise = (core: Core): boolean => {
  // The state is being replaced: what is proven of the one that goes would leave numbers out.
  if (core.state !== "present" || core.transfer?.installing === true) return false;
  const stable = core.ahead?.stable;
  const own = stable === undefined ? undefined : core.checkpoints.get(stable.seq);
  if (stable === undefined || own?.pages === undefined || own.digest !== stable.digest) return false;
  makeStable(core, stable, own);
  return true;
};

/** Everything up to a stable checkpoint is forgotten. */
export const makeStable = (core: Core, stable: StableCheckpoint, own: OwnCheckpoint): void => {
  const { seq } = stable;
  for (const votes of core.votes) {
    const vote = votes?.get(seq);
    if (vote !== undefined && vote.digest !== stable.digest && stable.epoch === core.epoch) accuseOfVote(core, vote, stable);
  }
  core.stable = stable;
  core.ahead = undefined;
  core.log.low = seq;
  forget(core, (other) => other <= seq);
  for (const votes of core.votes) for (const at of votes?.keys() ?? []) if (at <= seq) votes.delete(at);
  for (const at of core.checkpoints.keys()) if (at < seq) core.checkpoints.delete(at);
  const entering = entryAfter(core, seq, stable.digest);
  const results = resultsOf(own.kept);
  core.persist({
    t: "stable",
    checkpoint: stable,
    pages: own.pages!,
    core: own.core,
    results,
    ...(entering === undefined ? {} : { entering }),
  });
  core.effects.push({ t: "discard", seq });
  core.notice({ t: "stable", seq });
};

/** Numbers, their batches, and the requests that nothing else needs. */
export const forget = (core: Core, fits: (seq: number) => boolean): void => {
  for (const batch of core.log.drop(fits)) for (const request of batch.requests) core.pool.unname(request);
  for (const [digest, { seqs }] of core.lacking) {
    for (const seq of seqs) if (fits(seq)) seqs.delete(seq);
    if (seqs.size === 0) core.lacking.delete(digest);
  }
  // What was executed meanwhile under other requests waits for nothing.
  for (const [digest, { request }] of core.pool.pendings()) if (core.isMoot(request)) core.pool.order(digest);
};

/** Whether 2f + 1 members have signed this state. */
export const isProven = (core: Core, stable: StableCheckpoint, members: Membership): boolean => {
  const voters = new Set(stable.votes.map(({ replica }) => replica));
  if (voters.size !== stable.votes.length || voters.size < quorumOf(members.faults)) return false;
  return stable.votes.every(({ replica, signature, results }) => {
    const key = members.replicas[replica];
    const text = checkpointText(core.set, stable.epoch, stable.seq, stable.digest, results);
    return key !== undefined && core.crypto.verify(key, text, signature);
  });
};
