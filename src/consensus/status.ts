import { messageOf } from "./checkpoints.ts";
import type { Core } from "./core.ts";
import type { ReplicaIndex } from "./membership.ts";
import type { PeerMessage } from "./messages.ts";
import { isSought } from "./results.ts";
import { sendProof } from "./state-source.ts";

// Retransmission (TOCS 2002, §5.2). Nothing is acknowledged: a replica that gets no further says what it has, and the others send what it
// lacks, each its own messages.

type Status = Extract<PeerMessage, { t: "status" }>;

/** Numbers that one answer concerns. */
const MOST_NUMBERS = 64;

const markOf = ({ log, views }: Core): string => `${views.view} ${views.active} ${log.ordered} ${log.executed} ${log.low}`;

/** Whether anything is expected of the peers. */
const isWaiting = (core: Core): boolean => {
  const { log, pool, views } = core;
  if (core.retired) return false;
  if (pool.pending > 0 || !views.active || core.ahead !== undefined || core.state === "missing" || core.isLate) return true;
  if (log.top > log.ordered) return true;
  // The peers don't have the rest either, and are asked seldom.
  for (const lacked of core.lacked.values()) if (isSought(lacked)) return true;
  for (const own of core.checkpoints.values()) if (own.seq > log.low && own.pages !== undefined) return true;
  return false;
};

export const armStatus = (core: Core): void => {
  const { pace, limits, now } = core;
  const everyMs = isWaiting(core) ? limits.statusEveryMs : limits.idleStatusEveryMs;
  if (everyMs === 0 || core.retired) return;
  const due = now + everyMs;
  if (pace.statusAt !== undefined && pace.statusAt <= due) return;
  pace.statusAt = due;
  pace.mark = markOf(core);
  core.effects.push({ t: "timer", timer: "status", afterMs: everyMs });
};

/** Says what it has, if it has got no further since the timer was armed. */
export const takeStatusTimer = (core: Core): void => {
  const { pace, limits } = core;
  pace.statusAt = undefined;
  if (core.retired) return;
  const isStuck = isWaiting(core) && pace.mark === markOf(core);
  const isIdle = limits.idleStatusEveryMs > 0 && core.now - pace.saidAt >= limits.idleStatusEveryMs;
  if (isStuck || isIdle) sayStatus(core);
  if (core.state === "missing" || core.isLate) core.broadcast({ t: "fetch-checkpoint", above: 0 });
  core.isLate = false;
};

export const sayStatus = (core: Core): void => {
  const { log, views } = core;
  core.pace.saidAt = core.now;
  const { view, active } = views;
  core.broadcast({ t: "status", view, active, stable: log.low, committed: log.ordered, executed: log.executed });
};

/** A peer that asks too often is not answered each time: what it costs to ask must not be less than what it costs to answer. */
export const mayAnswer = ({ now, limits }: Core, from: ReplicaIndex, at: number[]): boolean => {
  if (now - (at[from] ?? Number.NEGATIVE_INFINITY) < limits.statusEveryMs / 2) return false;
  at[from] = now;
  return true;
};

export const takeStatus = (core: Core, from: ReplicaIndex, status: Status): void => {
  core.statuses[from] = status;
  if (core.retired || core.joining || !mayAnswer(core, from, core.pace.answeredAt)) return;
  sendViewMessages(core, from, status);
  if (status.stable < core.log.low) sendProof(core, from);
  else sendVotes(core, from, status.stable);
  sendDecided(core, from, status.committed);
  if (status.view === core.view && status.active && core.views.active) sendRounds(core, from, status.committed);
};

/** Whoever is behind needs the new view; whoever waits for one needs this replica's view change. */
const sendViewMessages = (core: Core, from: ReplicaIndex, { view, active }: Status): void => {
  const { views } = core;
  if (view > views.view || (view === views.view && active)) return;
  if (views.active) {
    if (views.newView !== undefined) core.send(from, { t: "new-view", newView: views.newView });
    return;
  }
  const viewChange = views.changes[core.index];
  if (viewChange !== undefined) core.send(from, { t: "view-change", viewChange });
};

const sendVotes = (core: Core, from: ReplicaIndex, stable: number): void => {
  for (const { seq, digest, pages } of core.checkpoints.values()) {
    const vote = core.votes[core.index]?.get(seq);
    if (seq > stable && pages !== undefined && vote?.digest === digest) {
      core.send(from, messageOf(seq, vote));
    }
  }
};

const sendDecided = (core: Core, from: ReplicaIndex, committed: number): void => {
  const slots: { seq: number; digest: string }[] = [];
  for (let seq = Math.max(committed, core.log.low) + 1; seq <= core.log.top && slots.length < core.limits.window; seq++) {
    const digest = core.log.at(seq)?.committed;
    if (digest !== undefined) slots.push({ seq, digest });
  }
  if (slots.length > 0) core.send(from, { t: "decided", slots });
};

/** This replica's own part in the rounds of the current view. */
const sendRounds = (core: Core, from: ReplicaIndex, committed: number): void => {
  const { log, view, index } = core;
  const first = Math.max(committed, log.low) + 1;
  for (let seq = first; seq <= Math.min(log.top, first + MOST_NUMBERS); seq++) {
    const slot = log.at(seq);
    if (slot?.proposal?.accepted !== true) continue;
    const batch = log.batch(slot.proposal.digest);
    const isOwn = core.isLeader && seq > (core.views.newView?.slots.at(-1)?.seq ?? 0);
    if (isOwn && batch !== undefined) core.send(from, { t: "pre-prepare", view, seq, batch });
    const prepare = slot.prepares[index];
    if (prepare?.view === view) core.send(from, { t: "prepare", view, seq, digest: prepare.digest });
    const commit = slot.commits[index];
    if (commit?.view === view) core.send(from, { t: "commit", view, seq, digest: commit.digest });
  }
};
