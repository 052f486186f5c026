import { requestText } from "./canonical.ts";
import { readPages } from "./client-pages.ts";
import { batchDigest, holdBatch } from "./contents.ts";
import type { Core } from "./core.ts";
import type { DurableRecord, EpochEntry } from "./effects.ts";
import type { Request } from "./messages.ts";
import { NOTHING } from "./ordering.ts";
import { areProven } from "./result-pages.ts";
import { forgoResults } from "./results.ts";
import { claimPrePrepared, NULL, type Slot } from "./slots.ts";
import { adoptState } from "./transfer.ts";
import { openNewView } from "./view-change.ts";

// Coming back with the records of an earlier life: every promise that it made is kept. The function's state comes from the host's disk, or from
// the peers, or by executing everything again where no checkpoint was stable yet.

type Record<T extends DurableRecord["t"]> = Extract<DurableRecord, { t: T }>;

export const recover = (core: Core, records: readonly DurableRecord[]): void => {
  for (const record of records) recall(core, record);
};

const recall = (core: Core, record: DurableRecord): void => {
  switch (record.t) {
    case "membership":
      return recallMembership(core, record);
    case "stable":
      return recallStable(core, record);
    case "results":
      core.recalled.push(...record.results);
      return;
    case "view":
      return recallView(core, record);
    case "requests":
      for (const request of record.requests) recallRequest(core, request);
      return;
    case "pre-prepared":
      return recallPrePrepared(core, record);
    case "prepared":
      if (record.epoch === core.epoch && core.isWithin(record.seq)) {
        const { view, seq, digest } = record;
        const slot = core.log.open(seq);
        slot.prepared = { view, digest };
        slot.commits[core.index] = { view, digest };
      }
      return;
    case "committed":
      if (record.epoch === core.epoch && core.isWithin(record.seq)) core.log.open(record.seq).committed = record.digest;
      return;
  }
};

const recallMembership = (core: Core, { next, previous, base, firstView }: EpochEntry): void => {
  const { log, views } = core;
  log.drop((seq) => seq > base.seq);
  log.top = log.low;
  if (next.membership.epoch !== core.epoch) core.enterMembership(next);
  core.previous = previous;
  core.base = base;
  core.joining = false;
  views.view = firstView;
  views.first = firstView;
  views.active = true;
  views.newView = undefined;
  views.changes.length = 0;
};

const recallStable = (core: Core, { checkpoint, pages, core: texts, results, entering }: Record<"stable">): void => {
  const { log } = core;
  const { seq, digest } = checkpoint;
  core.stable = checkpoint;
  core.checkpoints.clear();
  core.checkpoints.set(seq, { seq, core: texts, coreDigests: pages.slice(0, texts.length), pages, digest, kept: [], results: undefined });
  core.recalled = [...results];
  log.low = seq;
  for (const batch of log.drop((other) => other <= seq)) for (const request of batch.requests) core.pool.unname(request);
  core.state = "restoring";
  if (entering !== undefined) recallMembership(core, entering);
};

const recallView = (core: Core, { epoch, view, active, viewChange, newView }: Record<"view">): void => {
  if (epoch !== core.epoch) return;
  const { views } = core;
  views.view = view;
  views.active = active;
  views.newView = newView;
  if (viewChange !== undefined) views.changes[core.index] = viewChange;
  for (const slot of core.log.slots()) slot.proposal = undefined;
};

const recallRequest = (core: Core, request: Request): void => {
  const text = requestText(request, core.set);
  core.pool.add({ digest: core.crypto.hash(text), request, size: text.length, arrivedAt: 0 }, true);
};

const recallPrePrepared = (core: Core, { epoch, view, seq, batch }: Record<"pre-prepared">): void => {
  if (epoch !== core.epoch || !core.isWithin(seq)) return;
  const slot = core.log.open(seq);
  const digest = batch.seed === NOTHING.seed ? NULL : batchDigest(core, seq, batch);
  if (digest !== NULL) holdBatch(core, digest, seq, batch);
  claimPrePrepared(slot, digest, view);
  if (view === core.view) recallProposal(core, slot, digest);
};

const recallProposal = (core: Core, slot: Slot, digest: string): void => {
  slot.proposal = { digest, accepted: true };
  if (!core.isLeader) slot.prepares[core.index] = { view: core.view, digest };
};

/** After all records. */
export const resume = (core: Core): void => {
  const { log, views, pool } = core;
  log.ordered = log.low;
  log.dispatched = log.low;
  log.executed = log.low;
  log.last = Math.max(log.low, views.newView?.checkpoint.seq ?? 0, views.newView?.slots.at(-1)?.seq ?? 0);
  for (const slot of log.slots()) {
    if (slot.proposal === undefined) continue;
    log.last = Math.max(log.last, slot.seq);
    for (const request of log.batch(slot.proposal.digest)?.requests ?? []) pool.propose(request);
  }
  if (views.active && views.newView !== undefined) openNewView(core, views.newView);
  const own = core.state === "restoring" ? core.checkpoints.get(log.low) : undefined;
  if (own?.pages !== undefined) core.effects.push({ t: "restore", seq: own.seq, pages: own.pages.slice(own.core.length) });
};

/** The host has put the function's pages back in place. */
export const takeRestored = (core: Core, seq: number): void => {
  const own = core.checkpoints.get(seq);
  const read = own === undefined ? undefined : readPages(own.core);
  if (own === undefined || read === undefined) {
    takeMissing(core);
    return;
  }
  adoptState(core, own, read);
  // Else it would lack what it has let go, and name no results at its checkpoints as long as any of that is kept.
  if (areProven(core, core.stable, own.results?.digests ?? [])) forgoResults(core);
};

/** It has not: the peers have them. */
export const takeMissing = (core: Core): void => {
  if (core.state !== "restoring") return;
  core.state = "missing";
  core.broadcast({ t: "fetch-checkpoint", above: 0 });
};
