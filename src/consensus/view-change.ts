import { newViewText, viewChangeText } from "./canonical.ts";
import { isProven, learnStable } from "./checkpoints.ts";
import type { Core } from "./core.ts";
import type { Evidence } from "./effects.ts";
import { leaderOf } from "./membership.ts";
import type { NewView, SlotClaim, ViewChange } from "./messages.ts";
import { type Decision, type DecisionRules, decideNewView } from "./new-view-decision.ts";
import { advanceSlot, tryAccept } from "./ordering.ts";
import { MOST_CLAIMS } from "./slots.ts";

// View changes (TOCS 2002, §4.4 and §5.4). A replica that waits too long says what it has prepared and pre-prepared; from 2f + 1 of these the
// next leader finds what may have been committed, and the view begins with that.

type Unsigned = Omit<ViewChange, "signature">;

/** Leaves the current view, for good. */
export const changeView = (core: Core, view: number, reason: string): void => {
  const { views, pace } = core;
  if (view <= views.view || core.retired || core.joining) return;
  // A view that did not come is no progress: the next one gets more time (TOCS 2002, §4.5.2).
  pace.timeoutMs = Math.min(pace.timeoutMs * 2, core.limits.maxProgressTimeoutMs);
  views.view = view;
  views.active = false;
  views.newView = undefined;
  views.waitingSince = undefined;
  const unsigned = describe(core, view);
  const viewChange: ViewChange = { ...unsigned, signature: core.crypto.sign(viewChangeText(core.set, unsigned)) };
  views.changes[core.index] = viewChange;
  views.isNews = true;
  core.persist({ t: "view", epoch: core.epoch, view, active: false, viewChange });
  core.notice({ t: "view-changing", view, reason });
  core.broadcast({ t: "view-change", viewChange });
};

/** P and Q. */
const describe = (core: Core, view: number): Unsigned => {
  const prepared: SlotClaim[] = [];
  const preprepared: SlotClaim[] = [];
  for (const slot of core.log.slots()) {
    const { seq } = slot;
    if (slot.prepared !== undefined && core.flaws.forgetfulViewChange !== true) prepared.push({ seq, ...slot.prepared });
    for (const claim of slot.preprepared) preprepared.push({ seq, ...claim });
  }
  const checkpoints = [...core.checkpoints.values()].filter(({ seq, pages }) => pages !== undefined && seq > core.log.low);
  return {
    replica: core.index,
    epoch: core.epoch,
    view,
    stable: core.stable,
    checkpoints: checkpoints.map(({ seq, digest }) => ({ seq, digest })),
    prepared,
    preprepared,
  };
};

export const takeViewChange = (core: Core, viewChange: ViewChange): void => {
  const { views } = core;
  const { replica, view } = viewChange;
  if (replica === core.index || view < views.view || (view === views.view && views.active)) return;
  if ((views.changes[replica]?.view ?? -1) >= view || !isValidChange(core, viewChange)) return;
  views.changes[replica] = viewChange;
  views.isNews = true;
  learnStable(core, viewChange.stable);
  joinOthers(core);
};

/** f + 1 want to leave: one of them is correct, and its reason will be this replica's reason soon (TOCS 2002, §4.5.2). */
const joinOthers = (core: Core): void => {
  const { views } = core;
  const later = views.changes.flatMap((change) => (change !== undefined && change.view > views.view ? [change.view] : []));
  if (later.length >= core.weak) changeView(core, Math.min(...later), `${later.length} replicas want another view`);
};

/**
 * A replica that has left a view alone can't come back into it: what it has said of that view is said. It would stay outside, and the set
 * without anyone to spare, until the next change of views. So when its wish has stood for long, the others follow it. One that wishes without
 * need is followed more and more seldom.
 */
export const followStragglers = (core: Core): void => {
  const { views, now } = core;
  if (!core.takesPart) return;
  for (const { replica, view } of views.changes.filter((change) => change !== undefined)) {
    if (view <= views.view || view > views.view + core.size) continue;
    const known = views.stragglers[replica];
    if (known === undefined || known.view !== view) {
      views.stragglers[replica] = { view, since: now, patienceMs: known?.patienceMs ?? PATIENCE * core.limits.progressTimeoutMs };
    } else if (now - known.since >= known.patienceMs) {
      known.patienceMs = Math.min(2 * known.patienceMs, MOST_PATIENCE_MS);
      changeView(core, view, `replica ${replica} has waited outside of the view`);
      return;
    }
  }
};

/** In timeouts. */
const PATIENCE = 10;
const MOST_PATIENCE_MS = 300_000;

/** Whether a replica can have meant this; one that has signed what is impossible is faulty, and that is the proof. */
const isValidChange = (core: Core, viewChange: ViewChange): boolean => {
  const key = core.membership.replicas[viewChange.replica];
  if (key === undefined || viewChange.epoch !== core.epoch) return false;
  const text = viewChangeText(core.set, viewChange);
  // It comes from its sender and again in the new view: it is the same only if all of it is, and not just what is shown as its signature.
  const known = core.views.valid[viewChange.replica];
  if (known?.text === text && known.signature === viewChange.signature) return true;
  if (!core.crypto.verify(key, text, viewChange.signature)) return false;
  const fault = faultOfChange(core, viewChange);
  if (fault === undefined) core.views.valid[viewChange.replica] = { text, signature: viewChange.signature };
  else core.accuse(viewChange.replica, "invalid-view-change", viewChange.stable.seq, fault, [viewChange]);
  return fault === undefined;
};

const faultOfChange = (core: Core, { view, stable, prepared, preprepared }: ViewChange): string | undefined => {
  const isClaim = ({ seq, view: claimed }: SlotClaim): boolean =>
    seq > stable.seq && seq <= stable.seq + core.limits.window && claimed < view && claimed >= 0;
  if (!prepared.every(isClaim) || !preprepared.every(isClaim)) return "a claim is outside of its window or view";
  if (new Set(prepared.map(({ seq }) => seq)).size < prepared.length) return "a number has prepared twice";
  if (new Set(preprepared.map(({ seq, digest }) => `${seq} ${digest}`)).size < preprepared.length) return "a claim is made twice";
  const counts = new Map<number, number>();
  for (const { seq } of preprepared) counts.set(seq, (counts.get(seq) ?? 0) + 1);
  if ([...counts.values()].some((count) => count > MOST_CLAIMS)) return "too many claims for one number";
  return isKnownStable(core, stable) ? undefined : "its stable checkpoint is not proven";
};

/** With its proof, or as what all members of the epoch have begun with, or as what is proven here already. */
const isKnownStable = (core: Core, stable: ViewChange["stable"]): boolean => {
  const { base, epoch } = core;
  if (stable.seq === base.seq) return stable.digest === base.digest;
  if (stable.seq < base.seq || stable.epoch !== epoch) return false;
  const known = [core.stable, core.ahead?.stable].some((other) => other?.seq === stable.seq && other.digest === stable.digest);
  // What is known here is right, but its votes go on to others, who may not know it.
  return known ? stable.votes.length >= core.quorum && isProvenOnce(core, stable) : isProvenOnce(core, stable);
};

/** The same proof comes in many messages: it is verified once. */
const isProvenOnce = (core: Core, stable: ViewChange["stable"]): boolean => {
  // What two proofs share a name by would be believed of both: without results is not the same as with empty ones, which nobody has signed.
  const votes = stable.votes.map(({ replica, signature, results }) => [replica, signature, results ?? null]);
  const name = JSON.stringify([stable.epoch, stable.seq, stable.digest, votes]);
  if (core.proven.has(name)) return true;
  if (!isProven(core, stable, core.membership)) return false;
  if (core.proven.size >= 64) core.proven.clear();
  core.proven.add(name);
  return true;
};

// ---------------------------------------------------------------- the new view

const rulesOf = ({ membership, limits, flaws }: Core): DecisionRules => {
  const rules: DecisionRules = { faults: membership.faults, window: limits.window };
  if (flaws.noPreparedProof === true) rules.noPreparedProof = true;
  if (flaws.quorumOf2f === true) rules.quorumOf2f = true;
  return rules;
};

/** The leader of the view that is wanted begins it as soon as it can tell what belongs into it. */
export const tryNewView = (core: Core): void => {
  const { views } = core;
  if (views.active || !views.isNews || !core.isLeader || core.retired || core.joining) return;
  views.isNews = false;
  const viewChanges = views.changes.filter((change) => change?.view === views.view) as ViewChange[];
  const decision = viewChanges.length < core.quorum ? undefined : decideNewView(viewChanges, rulesOf(core));
  if (decision === undefined) return;
  const { checkpoint, slots } = decision;
  const { seq, digest } = checkpoint;
  const unsigned: Omit<NewView, "signature"> = { epoch: core.epoch, view: views.view, viewChanges, slots, checkpoint: { seq, digest } };
  const newView: NewView = { ...unsigned, signature: core.crypto.sign(newViewText(core.set, unsigned)) };
  begin(core, newView, decision);
  core.broadcast({ t: "new-view", newView });
};

/** Signed by its leader: it may come from anyone. */
export const takeNewView = (core: Core, newView: NewView): void => {
  const { views } = core;
  const { view } = newView;
  if (core.retired || core.joining || newView.epoch !== core.epoch || view < views.view || (view === views.view && views.active)) return;
  const leader = leaderOf(view, core.membership.faults);
  if (leader === core.index || view <= views.first) return;
  if (!core.crypto.verify(core.membership.replicas[leader]!, newViewText(core.set, newView), newView.signature)) return;
  const decision = decisionOf(core, newView);
  if (typeof decision !== "string") {
    begin(core, newView, decision);
    return;
  }
  core.accuse(leader, "invalid-new-view", newView.checkpoint.seq, decision, [newView]);
  // Its leader has shown that it is faulty: there is nothing to wait for.
  if (view === views.view) changeView(core, view + 1, "the new view was not valid");
};

/** Repeats the decision (TOCS 2002, §4.4: "backups verify"). @returns what is wrong with it */
const decisionOf = (core: Core, newView: NewView): Decision | string => {
  const { view, viewChanges, slots, checkpoint } = newView;
  if (core.flaws.noRevalidation === true) {
    const stable = viewChanges.map((change) => change.stable).find(({ seq }) => seq === checkpoint.seq) ?? core.stable;
    return { checkpoint: stable, slots };
  }
  if (new Set(viewChanges.map(({ replica }) => replica)).size < viewChanges.length) return "a replica's view change is there twice";
  for (const change of viewChanges) {
    if (change.view !== view) return "a view change is for another view";
    if (!isValidChange(core, change)) return `the view change of replica ${change.replica} is not valid`;
  }
  const decision = decideNewView(viewChanges, rulesOf(core));
  if (decision === undefined) return "its view changes decide nothing";
  if (decision.checkpoint.seq !== checkpoint.seq || decision.checkpoint.digest !== checkpoint.digest) return "another checkpoint follows";
  const isSame = decision.slots.length === slots.length && decision.slots.every(({ digest }, i) => digest === slots[i]!.digest);
  return isSame && decision.slots.every(({ seq }, i) => seq === slots[i]!.seq) ? decision : "other batches follow from its view changes";
};

/** Enters the view. Its batches are pre-prepared like others, as soon as their contents are here. */
const begin = (core: Core, newView: NewView, { checkpoint, slots }: Decision): void => {
  const { views, log, pool } = core;
  views.view = newView.view;
  views.active = true;
  views.newView = newView;
  views.waitingSince = undefined;
  core.persist({ t: "view", epoch: core.epoch, view: newView.view, active: true, newView });
  learnStable(core, checkpoint);
  for (const slot of log.slots()) slot.proposal = undefined;
  // What an earlier leader has proposed is needed only if it stands in this view too.
  core.lacking.clear();
  core.fetchTurn = 0;
  log.last = Math.max(checkpoint.seq, slots.at(-1)?.seq ?? 0);
  core.pace.headSince = core.now;
  core.pace.renewals = 0;
  core.pace.samples = [];
  pool.reconsider();
  openNewView(core, newView);
  for (const slot of log.slots()) advanceSlot(core, slot);
  core.notice({ t: "view", view: newView.view, leader: core.leader });
};

/** The new view's batches are this view's proposals, as far as they are in the window. */
export const openNewView = (core: Core, newView: NewView): void => {
  for (const { seq, digest } of newView.slots) {
    if (!core.isWithin(seq)) continue;
    const slot = core.log.open(seq);
    if (slot.proposal !== undefined) continue;
    slot.proposal = { digest, accepted: false };
    for (const request of core.log.batch(digest)?.requests ?? []) core.pool.propose(request);
    tryAccept(core, slot);
  }
};

/** A view change for a reason that is this replica's own. */
export const suspect = (core: Core, kind: Evidence["kind"], detail: string): void => {
  core.accuse(core.leader, kind, core.log.ordered + 1, detail);
  changeView(core, core.view + 1, detail);
};
