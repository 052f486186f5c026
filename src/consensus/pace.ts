import type { Core } from "./core.ts";
import { suspect } from "./view-change.ts";

// Time. A backup's patience with its leader is for the request that has waited longest: each time that this one is ordered, the next one's
// time begins. So a leader that serves first come first served is never suspected under load, and one that starves a request always is.

/** Requests at the head in a row that must have been slow. */
const SAMPLES = 8;
const SLOWER = 8;
const MOST_BACKOFF_MS = 120_000;
/** How often patience with one request is renewed on the word of others. */
const MOST_RENEWALS = 2;

/** Notes which request has waited longest, and how long the last one did. */
export const watchHead = (core: Core): void => {
  const { pace, pool } = core;
  standStill(core);
  for (let oldest = pool.oldest; oldest !== undefined && core.isMoot(oldest.request); oldest = pool.oldest) pool.order(oldest.digest);
  const head = pool.oldest?.digest;
  if (head === pace.head) return;
  const tookMs = core.now - pace.headSince;
  const wasOrdered = pace.head !== undefined && core.takesPart && pace.stoodAt === undefined;
  pace.head = head;
  pace.headSince = core.now;
  pace.renewals = 0;
  if (!wasOrdered) return;
  if (++pace.ordered % SAMPLES === 0) pace.timeoutMs = Math.max(core.limits.progressTimeoutMs, pace.timeoutMs / 2);
  sample(core, tookMs);
};

/**
 * Patience stands still while no leader may order anything: where execution is slow the window is full at all replicas, and so it is between two
 * epochs; without its state a replica can't tell what it has waited for in vain. It doesn't begin anew, or a leader that fills the window again
 * and again could starve one request for ever.
 */
const standStill = (core: Core): void => {
  const { pace, now } = core;
  if (pace.stoodAt !== undefined) pace.headSince = Math.min(now, pace.headSince + now - pace.stoodAt);
  const mayOrder = core.log.ordered < core.high && core.ending === undefined && core.state === "present";
  pace.stoodAt = mayOrder ? undefined : now;
};

/** A leader just under the timeout would cost almost all of the throughput, and never be replaced. It has its own, growing patience. */
const sample = (core: Core, tookMs: number): void => {
  const { pace, limits } = core;
  pace.samples.push(tookMs);
  if (pace.samples.length < SAMPLES) return;
  const { samples } = pace;
  pace.samples = [];
  const mean = samples.reduce((sum, each) => sum + each, 0) / SAMPLES;
  const slow = Math.max(limits.slowLeaderMs, SLOWER * pace.bestMs);
  pace.bestMs = Math.min(pace.bestMs, mean);
  if (core.isLeader || core.now < pace.slowUntil || !samples.every((each) => each > slow)) return;
  pace.slowUntil = core.now + pace.slowBackoffMs;
  pace.slowBackoffMs = Math.min(2 * pace.slowBackoffMs, MOST_BACKOFF_MS);
  suspect(core, "slow-leader", `requests took ${Math.round(mean)} ms; they have taken ${Math.round(pace.bestMs)} ms`);
};

/** When patience ends; `undefined` while there is nothing to wait for. */
const progressDue = (core: Core): number | undefined => {
  const { pace, views } = core;
  if (core.retired || core.joining) return undefined;
  if (!views.active) return views.waitingSince === undefined ? undefined : views.waitingSince + pace.timeoutMs;
  return pace.head === undefined || core.isLeader || pace.stoodAt !== undefined ? undefined : pace.headSince + pace.timeoutMs;
};

/**
 * Waiting for a new view begins when 2f + 1 want it (TOCS 2002, §4.5.2): who wants it alone would run ahead of the others, from view to view.
 */
const watchViewChange = ({ views, quorum, now }: Core): void => {
  if (views.active || views.waitingSince !== undefined) return;
  let count = 0;
  for (const change of views.changes) if (change !== undefined && change.view >= views.view) count++;
  if (count >= quorum) views.waitingSince = now;
};

export const armProgress = (core: Core): void => {
  const { pace } = core;
  watchViewChange(core);
  const due = progressDue(core);
  if (due === undefined || (pace.progressAt !== undefined && pace.progressAt <= due)) return;
  pace.progressAt = due;
  core.effects.push({ t: "timer", timer: "progress", afterMs: Math.max(0, due - core.now) });
};

export const takeProgressTimer = (core: Core): void => {
  core.pace.progressAt = undefined;
  const due = progressDue(core);
  // It was armed for a request that has been ordered since.
  if (due === undefined || due > core.now) return;
  if (!core.views.active) {
    suspect(core, "silent-leader", "the new view has not come");
    return;
  }
  if (mayBeBehind(core)) {
    core.pace.headSince = core.now;
    core.pace.renewals++;
    return;
  }
  suspect(core, "silent-leader", `a request has waited for ${Math.round(core.now - core.pace.headSince)} ms`);
};

/**
 * f + 1 say that they have gone on in this same view: then its leader does its work, and the request waits only here. But one of them may be
 * correct and the others lie, so that this replica will never get what it would need to follow: their word buys time, and not for ever.
 */
const mayBeBehind = (core: Core): boolean => {
  if (core.transfer !== undefined) return true;
  if (core.pace.renewals >= MOST_RENEWALS && core.flaws.endlessPatience !== true) return false;
  if (core.ahead !== undefined) return true;
  const gone = core.others.filter((other) => {
    const status = core.statuses[other];
    return status?.view === core.view && status.active && status.committed > core.log.ordered;
  });
  return gone.length >= core.weak;
};
