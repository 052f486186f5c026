import { entryAfter, forget } from "./checkpoints.ts";
import type { Core } from "./core.ts";
import type { EpochEntry } from "./effects.ts";
import type { CertifiedMembership } from "./membership.ts";

// A change of the members. It has a number like any request; the checkpoint at that number is the old members' last word, and the new epoch
// begins for a replica when that is stable. What the old epoch has agreed on above it is void: no replica has executed it.

/** The checkpoint that ends the epoch is stable here. */
export const endEpoch = (core: Core): boolean => {
  const entry = entryAfter(core, core.log.low, core.stable.digest);
  if (entry === undefined) return false;
  tellOthers(core, entry.next);
  enterEpoch(core, entry);
  return true;
};

/** Who is replaced has nothing to say in the next epoch, and the others may lack its vote on this one's end. */
const tellOthers = ({ effects, epoch, others, stable, certified, checkpoints, index, key }: Core, next: CertifiedMembership): void => {
  const pages = checkpoints.get(stable.seq)?.pages;
  if (pages === undefined || next.membership.replicas[index] === key) return;
  effects.push({ t: "send", epoch, to: others, message: { t: "checkpoint-proof", stable, pages, membership: certified, next } });
};

/** It is durable with the state from which this replica goes on. */
export const enterEpoch = (core: Core, { next, previous, base, firstView }: EpochEntry): void => {
  voidAbove(core, core.log.low);
  if (next !== core.certified) core.enterMembership(next);
  core.previous = previous;
  core.ending = undefined;
  core.joining = false;
  core.isLate = false;
  core.ahead = undefined;
  core.base = base;
  resetViews(core, firstView);
  for (const votes of core.votes) votes?.clear();
  core.statuses.length = 0;
  // Behind the same index there may be another replica now.
  for (const lacked of core.lacked.values()) lacked.said.clear();
  core.notice(core.retired ? { t: "retired", epoch: core.epoch } : { t: "epoch", epoch: core.epoch, version: core.membership.version });
};

/** Requests of the void numbers wait for a number again. */
const voidAbove = (core: Core, seq: number): void => {
  const { log, pool } = core;
  const requests = log.slots().flatMap((slot) => (slot.committed === undefined ? [] : (log.batch(slot.committed)?.requests ?? [])));
  for (const request of requests) pool.reopen(request);
  forget(core, (other) => other > seq);
  log.top = seq;
  log.ordered = seq;
  log.last = seq;
  pool.reconsider();
};

const resetViews = (core: Core, firstView: number): void => {
  const { views, pace } = core;
  views.view = firstView;
  views.first = firstView;
  views.active = true;
  views.newView = undefined;
  views.waitingSince = undefined;
  views.changes.length = 0;
  views.valid.length = 0;
  views.stragglers.length = 0;
  pace.timeoutMs = core.limits.progressTimeoutMs;
  pace.headSince = core.now;
};
