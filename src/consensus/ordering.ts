import { seedText } from "./canonical.ts";
import { batchDigest, hasContents, holdBatch } from "./contents.ts";
import type { Core } from "./core.ts";
import type { Digest } from "./crypto.ts";
import type { ReplicaIndex } from "./membership.ts";
import type { Batch, PeerMessage } from "./messages.ts";
import type { Pooled } from "./requests.ts";
import { type Claim, claimPrePrepared, countClaims, NULL, type Slot } from "./slots.ts";

// The normal case (TOCS 2002, §4.3). Three rounds: the leader gives a batch its number in a pre-prepare; 2f prepares beside it keep any other
// batch from preparing at that number in that view; 2f + 1 commits keep it at that number through all later views.

type Message<T extends PeerMessage["t"]> = Extract<PeerMessage, { t: T }>;

/** A batch may name at most so many requests, however few operations they have. */
const MOST_REQUESTS = 1_024;

// ---------------------------------------------------------------- the leader

/** Gives numbers to what waits: at once while few batches are under way; else it gathers more (TOCS 2002, §5.1.4). */
export const propose = (core: Core): void => {
  const { log, pool, limits } = core;
  if (pool.unproposed === 0 || !core.takesPart || !core.isLeader || core.ending !== undefined) return;
  log.last = Math.max(log.last, log.ordered);
  if (!knowsAllBelow(core)) return;
  while (pool.unproposed > 0 && log.last < core.high && log.last - log.ordered < limits.batchesInFlight) {
    const requests = gather(core);
    if (requests.length === 0) return;
    proposeBatch(core, log.last + 1, requests);
  }
};

/** Before a leader has its state, and the contents of what its view began with, it can't tell their times, nor whether the members change. */
const knowsAllBelow = ({ log, state }: Core): boolean => {
  if (state !== "present") return false;
  for (let seq = log.ordered + 1; seq <= log.last; seq++) if (log.at(seq)?.proposal?.accepted !== true) return false;
  return true;
};

/** The next requests, first come first served. A change of the members goes alone, and nothing goes after it until it has been executed. */
const gather = (core: Core): Digest[] => {
  const { pool, limits, log } = core;
  if (isChangeUnderWay(core)) return [];
  const requests: Pooled[] = [];
  let operations = 0;
  let size = 0;
  for (const [digest, pooled] of pool.waiting()) {
    const { body } = pooled.request;
    if (core.isMoot(pooled.request)) {
      pool.order(digest);
      continue;
    }
    const count = body.t === "call" ? body.operations.length : 1;
    const isFull = operations + count > limits.maxBatchOperations || size + pooled.size > limits.maxBatchSize;
    if (requests.length > 0 && (isFull || body.t === "reconfigure" || requests.length >= MOST_REQUESTS)) break;
    requests.push(pooled);
    operations += count;
    size += pooled.size;
    if (body.t === "reconfigure") break;
  }
  if (operations < limits.maxBatchOperations && log.last > log.ordered && !hasWaited(core)) return [];
  return requests.map(({ digest }) => digest);
};

/** While others are under way, a batch that isn't full waits for a moment if that is wished for. */
const hasWaited = (core: Core): boolean => {
  const { pace, limits } = core;
  if (limits.batchDelayMs === 0) return true;
  if (pace.batchAt !== undefined && core.now >= pace.batchAt) {
    pace.batchAt = undefined;
    return true;
  }
  if (pace.batchAt === undefined) {
    pace.batchAt = core.now + limits.batchDelayMs;
    core.effects.push({ t: "timer", timer: "batch", afterMs: limits.batchDelayMs });
  }
  return false;
};

const isChangeUnderWay = ({ log, pool }: Core): boolean => {
  for (let seq = log.executed + 1; seq <= log.last; seq++) {
    const slot = log.at(seq);
    const digest = slot?.committed ?? slot?.proposal?.digest;
    const first = digest === undefined ? undefined : log.batch(digest)?.requests[0];
    if (first !== undefined && pool.body(first)?.request.body.t === "reconfigure") return true;
  }
  return false;
};

const proposeBatch = (core: Core, seq: number, requests: Digest[]): void => {
  const { log } = core;
  const time = Math.max(core.now, latestTime(core, seq));
  const batch: Batch = { time, seed: core.crypto.hash(seedText(core.set, seq, time, requests)), requests };
  const digest = batchDigest(core, seq, batch);
  holdBatch(core, digest, seq, batch);
  for (const request of requests) core.pool.propose(request);
  const slot = log.open(seq);
  slot.proposal = { digest, accepted: false };
  log.last = seq;
  accept(core, slot, batch);
  core.broadcast({ t: "pre-prepare", view: core.view, seq, batch });
  advanceSlot(core, slot);
};

/** The time of the nearest batch below that is known here. */
const latestTime = ({ log, time }: Core, seq: number): number => {
  for (let below = seq - 1; below > log.executed; below--) {
    const slot = log.at(below);
    const digest = slot?.committed ?? slot?.proposal?.digest;
    const batch = digest === undefined ? undefined : log.batch(digest);
    if (batch !== undefined) return Math.max(batch.time, time);
  }
  return time;
};

// ---------------------------------------------------------------- backups

export const takePrePrepare = (core: Core, from: ReplicaIndex, { view, seq, batch }: Message<"pre-prepare">): void => {
  if (view !== core.view || !core.takesPart || from !== core.leader || !core.isWithin(seq)) return;
  const digest = batchDigest(core, seq, batch);
  const slot = core.log.open(seq);
  if (slot.proposal !== undefined) {
    if (slot.proposal.digest !== digest) core.accuse(from, "equivocation", seq, "two batches were proposed for one number in one view");
    return;
  }
  // The numbers of the new view are decided, and it is not the leader's to fill its gaps.
  if (seq <= (core.views.newView?.slots.at(-1)?.seq ?? 0)) return;
  // One that comes late, for what others have told to be decided, has been judged by 2f + 1.
  const fault = slot.committed === digest ? undefined : faultOf(core, seq, batch);
  if (fault !== undefined) {
    core.accuse(from, "bad-proposal", seq, fault);
    return;
  }
  // It may be nobody's fault: what was lost is sent again, and was in time when it was proposed. But it is too late to be agreed to.
  if (slot.committed !== digest && core.flaws.uncheckedTime !== true && batch.time < core.now - core.limits.maxClockSkewMs) return;
  slot.proposal = { digest, accepted: false };
  core.log.last = Math.max(core.log.last, seq);
  holdBatch(core, digest, seq, batch);
  for (const request of batch.requests) core.pool.propose(request);
  tryAccept(core, slot);
};

/** What is wrong with a batch, as far as it can be seen without its requests. */
const faultOf = (core: Core, seq: number, { time, seed, requests }: Batch): string | undefined => {
  if (requests.length === 0) return "the batch is empty";
  if (requests.length > MOST_REQUESTS) return `the batch names ${requests.length} requests; the limit is ${MOST_REQUESTS}`;
  if (new Set(requests).size < requests.length) return "the batch names a request twice";
  if (seed !== core.crypto.hash(seedText(core.set, seq, time, requests))) return "the seed is not the hash of what it stands beside";
  return core.flaws.uncheckedTime === true ? undefined : faultOfTime(core, seq, time);
};

const faultOfTime = (core: Core, seq: number, time: number): string | undefined => {
  const { maxClockSkewMs } = core.limits;
  const before = latestTime(core, seq);
  if (time < before) return `its time ${time} is before ${before}, that of an earlier number`;
  // A leader must not go back behind an earlier leader's time, even one that was almost too late.
  if (time > Math.max(core.now + maxClockSkewMs, before)) return `its time ${time} is more than ${maxClockSkewMs} ms after ${core.now}`;
  return undefined;
};

/** The proposal counts when its contents are here; until then it is parked. */
export const tryAccept = (core: Core, slot: Slot): void => {
  const { proposal } = slot;
  if (proposal === undefined || proposal.accepted || !core.takesPart || !hasContents(core, slot.seq, proposal.digest)) return;
  accept(core, slot, core.log.batch(proposal.digest));
  if (!core.isLeader) {
    slot.prepares[core.index] = { view: core.view, digest: proposal.digest };
    core.broadcast({ t: "prepare", view: core.view, seq: slot.seq, digest: proposal.digest });
  }
  advanceSlot(core, slot);
};

const accept = (core: Core, slot: Slot, batch: Batch | undefined): void => {
  const { digest } = slot.proposal!;
  slot.proposal!.accepted = true;
  claimPrePrepared(slot, digest, core.view);
  if (!core.durable) return;
  if (batch !== undefined) {
    core.persist({ t: "requests", requests: batch.requests.map((request) => core.pool.body(request)!.request) });
  }
  const { epoch, view } = core;
  core.persist({ t: "pre-prepared", epoch, view, seq: slot.seq, batch: batch ?? NOTHING });
};

/** Stands for the null request where a batch is written down. */
export const NOTHING: Batch = { time: 0, seed: NULL, requests: [] };

export const takePrepare = (core: Core, from: ReplicaIndex, { view, seq, digest }: Message<"prepare">): void => {
  if (view < core.view || !core.isWithin(seq)) return;
  const slot = core.log.open(seq);
  if (!record(slot.prepares, from, view, digest)) return;
  noticeEquivocation(core, slot);
  advanceSlot(core, slot);
};

export const takeCommit = (core: Core, from: ReplicaIndex, { view, seq, digest }: Message<"commit">): void => {
  if (!core.isWithin(seq)) return;
  const slot = core.log.open(seq);
  if (record(slot.commits, from, view, digest)) advanceSlot(core, slot);
};

/** The last claim of each replica counts, and of those of one view the first: it has no other to make. */
const record = (claims: (Claim | undefined)[], from: ReplicaIndex, view: number, digest: Digest): boolean => {
  const known = claims[from];
  if (known !== undefined && known.view >= view) return false;
  claims[from] = { view, digest };
  return true;
};

/** When f + 1 backups have prepared another batch than the leader has sent here, one of them is correct. */
const noticeEquivocation = (core: Core, slot: Slot): void => {
  const { proposal, prepares, seq } = slot;
  if (proposal === undefined) return;
  const others = prepares.filter((claim) => claim !== undefined && claim.view === core.view && claim.digest !== proposal.digest);
  if (others.length !== core.weak || core.isLeader || !core.takesPart) return;
  core.accuse(core.leader, "equivocation", seq, `${others.length} replicas were sent another batch for this number`);
};

/** Prepared, and committed, as soon as there are enough of one view (TOCS 2002, §4.3). */
export const advanceSlot = (core: Core, slot: Slot): void => {
  const { proposal } = slot;
  if (proposal?.accepted === true && core.takesPart && slot.prepared?.view !== core.view) {
    const { epoch, view } = core;
    const { digest } = proposal;
    if (isPrepared(core, slot, digest)) {
      slot.prepared = { digest, view };
      core.persist({ t: "prepared", epoch, view, seq: slot.seq, digest });
      voteCommit(core, slot, digest);
    } else if (core.flaws.commitsUnprepared === true) voteCommit(core, slot, digest);
  }
  if (slot.committed === undefined) lookForCommit(core, slot);
};

const voteCommit = (core: Core, { seq, commits }: Slot, digest: Digest): void => {
  const { index, view } = core;
  if (commits[index]?.view === view) return;
  commits[index] = { view, digest };
  core.broadcast({ t: "commit", view, seq, digest });
};

/** The pre-prepare and 2f prepares of backups; the leader has none to send. */
const isPrepared = (core: Core, { prepares }: Slot, digest: Digest): boolean => {
  const { view, leader } = core;
  const ofLeader = prepares[leader];
  const count = countClaims(prepares, view, digest) - (ofLeader?.view === view && ofLeader.digest === digest ? 1 : 0);
  return count >= core.quorum - 1;
};

/** 2f + 1 commits of any one view show that the number is decided, whether or not this replica was in that view. */
const lookForCommit = (core: Core, slot: Slot): void => {
  for (const claim of slot.commits) {
    if (claim === undefined || countClaims(slot.commits, claim.view, claim.digest) < core.quorum) continue;
    commit(core, slot, claim.digest);
    return;
  }
};

const commit = (core: Core, slot: Slot, digest: Digest): void => {
  slot.committed = digest;
  core.persist({ t: "committed", epoch: core.epoch, seq: slot.seq, digest });
};

/** A replica that lags is told what the others have committed; of f + 1 that say the same, one is correct. */
export const takeDecided = (core: Core, from: ReplicaIndex, { slots }: Message<"decided">): void => {
  for (const { seq, digest } of slots) {
    if (!core.isWithin(seq) || core.log.at(seq)?.committed !== undefined) continue;
    const slot = core.log.open(seq);
    slot.decided[from] = digest;
    let count = 0;
    for (const other of slot.decided) if (other === digest) count++;
    if (count >= core.weak) commit(core, slot, digest);
  }
};

/** Whatever is committed without a hole, with its contents, is ordered. */
export const advanceOrder = (core: Core): void => {
  const { log, pool } = core;
  for (let slot = log.at(log.ordered + 1); slot?.committed !== undefined; slot = log.at(log.ordered + 1)) {
    if (!hasContents(core, slot.seq, slot.committed)) return;
    log.ordered = slot.seq;
    for (const request of log.batch(slot.committed)?.requests ?? []) pool.order(request);
  }
};
