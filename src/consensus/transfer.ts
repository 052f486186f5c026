import { membershipText, stateText } from "./canonical.ts";
import { forget, isProven, learnStable } from "./checkpoints.ts";
import { PageWriter, type ReadPages, readPages, type StateHeader } from "./client-pages.ts";
import type { Core } from "./core.ts";
import type { Ahead, OwnCheckpoint, Transfer } from "./core-parts.ts";
import type { Digest } from "./crypto.ts";
import type { EpochEntry } from "./effects.ts";
import { enterEpoch } from "./epochs.ts";
import type { CertifiedMembership, ReplicaIndex } from "./membership.ts";
import type { CheckpointProof, PeerMessage, StableCheckpoint } from "./messages.ts";
import { keptOf, resultsOf } from "./own-results.ts";
import { areProven, type KnownHashes, provenResults, readResultPages } from "./result-pages.ts";
import { recallResults } from "./results.ts";

// State transfer (TOCS 2002, §5.3), for a replica that can't reach a stable checkpoint by the log: one that was away, is new, has lost its
// state, or has come to a state of its own. The checkpoint's proof lists the digests of its pages, so no peer needs to be trusted.

type Message<T extends PeerMessage["t"]> = Extract<PeerMessage, { t: T }>;

/** Pages under way at a time. */
const PAGES_AT_ONCE = 4;
/** How often the pages of results are asked for in vain, while all of the state is here: 2 s by default. */
const PATIENCE = 4;

/** A proof from anyone: it proves itself. */
export const takeProof = (core: Core, message: CheckpointProof): void => {
  const { ahead } = core;
  const { stable, pages } = message;
  if (core.retired || stable.seq < core.log.low || core.transfer?.installing === true) return;
  const results = message.results !== undefined && areProven(core, stable, message.results) ? message.results : undefined;
  const isKnown = ahead?.pages !== undefined && ahead.stable.seq >= stable.seq;
  if (isKnown && !addsResults(ahead, stable, results)) return;
  const found = membersOf(core, message);
  if (found === undefined || core.crypto.hash(stateText(core.set, stable.seq, pages)) !== stable.digest) return;
  if (!isProven(core, stable, found.membership.membership)) return;
  if (isKnown) core.ahead = { ...ahead, stable, results };
  else learnStable(core, stable, { pages, results, ...found });
};

const addsResults = (ahead: Ahead, stable: StableCheckpoint, results: Digest[] | undefined): boolean =>
  results !== undefined && ahead.results === undefined && isSame(ahead.stable, stable);

/** Behind one number there are different states in different epochs, where what an earlier one has come to is void. */
const isSame = (a: StableCheckpoint, b: StableCheckpoint): boolean => a.seq === b.seq && a.epoch === b.epoch && a.digest === b.digest;

/** Whose votes they must be, and who goes on after them; `undefined` where it leads to no epoch that this replica can go to. */
const membersOf = (core: Core, message: CheckpointProof): Pick<Ahead, "membership" | "next"> | undefined => {
  const { stable, next } = message;
  // What an earlier epoch has come to above this one's beginning is void, and would stand before what this one comes to.
  if (stable.epoch < core.epoch && !core.joining && stable.seq !== core.base.seq) return undefined;
  const membership = [core.certified, core.previous].find((known) => known?.membership.epoch === stable.epoch) ?? message.membership;
  if (membership === undefined || membership.membership.epoch !== stable.epoch || !isCertified(core, membership)) return undefined;
  if (next !== undefined && (next.membership.epoch !== stable.epoch + 1 || !isCertified(core, next))) return undefined;
  const leadsTo = next?.membership.epoch ?? stable.epoch;
  return leadsTo < core.epoch ? undefined : { membership, next };
};

/** By the admin, and of this set. */
const isCertified = (core: Core, certified: CertifiedMembership): boolean => {
  const { membership, signature } = certified;
  if (certified === core.certified || certified === core.previous) return true;
  if (membership.set !== core.set || membership.faults !== core.membership.faults || membership.replicas.length !== core.size) return false;
  return core.crypto.verify(core.admin, membershipText(membership), signature);
};

const isOvertaken = ({ transfer, state, log }: Core): boolean =>
  transfer !== undefined && !transfer.installing && state === "present" && transfer.target.seq <= log.low;

/** Fetches what can't be reached in another way. */
export const pursue = (core: Core): void => {
  // Meanwhile the log may have led further than the pages would: they would take the replica back.
  if (isOvertaken(core)) core.transfer = undefined;
  const { ahead, transfer } = core;
  if (ahead === undefined || transfer?.installing === true || !mustFetch(core, ahead)) return;
  if (transfer !== undefined) {
    addResults(core, transfer, ahead);
    // The peers go on, and forget the pages of earlier checkpoints.
    if (ahead.pages !== undefined && ahead.stable.seq > transfer.target.seq && transfer.isStuck) startTransfer(core, ahead, ahead.pages);
    return;
  }
  if (ahead.pages !== undefined) startTransfer(core, ahead, ahead.pages);
};

/** Their list may come later than that of the state's pages, from another peer. */
const addResults = (core: Core, transfer: Transfer, { stable, results }: Ahead): void => {
  if (results === undefined || transfer.isListed || !isSame(stable, transfer.target)) return;
  transfer.target = stable;
  transfer.isListed = true;
  transfer.pages.push(...results);
  transfer.got.push(...results.map(() => undefined));
  transfer.missing += results.length;
  askPages(core, transfer);
  if (isComplete(core, transfer)) install(core, transfer);
};

const mustFetch = (core: Core, { stable, since }: Ahead): boolean => {
  if (core.state === "restoring") return false;
  if (core.state === "missing" || stable.epoch > core.epoch) return true;
  const own = core.checkpoints.get(stable.seq);
  // This replica's own state is wrong.
  if (own?.pages !== undefined) return own.digest !== stable.digest;
  // What the log has will be executed; for the rest the log may still come.
  return core.log.ordered < stable.seq && core.now - since >= core.limits.statusEveryMs;
};

const isWrong = ({ checkpoints, state }: Core, { seq, digest }: StableCheckpoint): boolean => {
  const own = checkpoints.get(seq);
  return state === "present" && own?.pages !== undefined && own.digest !== digest;
};

const startTransfer = (core: Core, { stable, results, membership, next }: Ahead, states: Digest[]): void => {
  const pages = [...states, ...(results ?? [])];
  const known = new Map<string, string>();
  core.transfer?.pages.forEach((digest, i) => {
    const data = core.transfer?.got[i];
    if (data !== undefined) known.set(digest, data);
  });
  const got = pages.map((digest) => known.get(digest));
  const missing = got.filter((data) => data === undefined).length;
  const { peer, slow } = core.transfer ?? { peer: core.index, slow: new Set<ReplicaIndex>() };
  core.transfer = {
    target: stable,
    pages,
    states: states.length,
    isListed: results !== undefined,
    got,
    asked: new Map(),
    slow,
    membership,
    next,
    missing,
    patience: core.transfer?.patience ?? PATIENCE,
    peer,
    installing: false,
    isStuck: false,
    isWrong: core.transfer?.isWrong === true || isWrong(core, stable),
  };
  core.notice({ t: "transferring", seq: stable.seq });
  askPages(core, core.transfer);
  armTransfer(core);
  if (isComplete(core, core.transfer)) install(core, core.transfer);
};

/** What the votes promise of results is waited for: what f + 1 have signed can be had as long as those that have the state live. */
const isComplete = (core: Core, transfer: Transfer): boolean => {
  const { got, missing, states, isListed, patience, target } = transfer;
  if (patience > 0) return missing === 0 && (isListed || provenResults(target, core.weak) === undefined);
  return got.every((data, page) => page >= states || data !== undefined);
};

const askPages = (core: Core, transfer: Transfer): void => {
  for (let page = 0; page < transfer.pages.length && transfer.asked.size < PAGES_AT_ONCE; page++) {
    if (transfer.got[page] !== undefined || transfer.asked.has(page)) continue;
    transfer.peer = nextPeer(core, transfer);
    transfer.asked.set(page, { of: transfer.peer, at: core.now });
    core.send(transfer.peer, { t: "fetch-page", seq: transfer.target.seq, page, digest: transfer.pages[page]! });
  }
};

const nextPeer = ({ others }: Core, { peer, slow }: Transfer): ReplicaIndex => {
  const quick = others.filter((other) => !slow.has(other));
  return quick.find((other) => other > peer) ?? quick[0]!;
};

/** Each page that one of them is asked for in vain would cost the whole timeout. */
const avoid = ({ others }: Core, { slow }: Transfer, peer: ReplicaIndex): void => {
  slow.add(peer);
  if (others.every((other) => slow.has(other))) slow.clear();
};

const armTransfer = (core: Core): void => {
  core.effects.push({ t: "timer", timer: "transfer", afterMs: core.limits.transferTimeoutMs });
};

/** What has not come is asked of the next peer. */
export const takeTransferTimer = (core: Core): void => {
  const { transfer } = core;
  if (transfer === undefined || transfer.installing) return;
  const late = [...transfer.asked].filter(([, { at }]) => core.now - at >= core.limits.transferTimeoutMs / 2);
  for (const [page, { of }] of late) {
    transfer.asked.delete(page);
    avoid(core, transfer, of);
  }
  transfer.isStuck = true;
  if (transfer.got.every((data, page) => page >= transfer.states || data !== undefined)) transfer.patience--;
  if (isComplete(core, transfer)) {
    install(core, transfer);
    return;
  }
  const lacksList = !transfer.isListed && provenResults(transfer.target, core.weak) !== undefined;
  core.broadcast({ t: "fetch-checkpoint", above: transfer.target.seq - (lacksList ? 1 : 0) });
  askPages(core, transfer);
  armTransfer(core);
};

export const takePage = (core: Core, from: ReplicaIndex, { seq, page, data }: Message<"page">): void => {
  const { transfer } = core;
  if (transfer === undefined || transfer.installing || transfer.target.seq !== seq) return;
  if (page >= transfer.pages.length || transfer.got[page] !== undefined) return;
  if (core.flaws.uncheckedPages !== true && core.crypto.hash(data) !== transfer.pages[page]) {
    if (transfer.asked.get(page)?.of !== from) return;
    core.accuse(from, "bad-page", seq, `page ${page} of the checkpoint at ${seq} is not the one that was signed`);
    transfer.asked.delete(page);
    avoid(core, transfer, from);
  } else {
    transfer.got[page] = data;
    transfer.asked.delete(page);
    transfer.missing--;
    transfer.isStuck = false;
  }
  askPages(core, transfer);
  if (isComplete(core, transfer)) install(core, transfer);
};

const install = (core: Core, transfer: Transfer): void => {
  const read = readPages(transfer.got as string[]);
  const fits = read !== undefined && read.header.seq === transfer.target.seq && read.header.epoch >= core.epoch;
  if (!fits || !knowsMembers(core, transfer, read.header)) {
    // 2f + 1 have signed a state that this replica can't go on from: it waits for a later one.
    core.transfer = undefined;
    core.ahead = undefined;
    return;
  }
  transfer.installing = true;
  // Whatever is still being executed is of the state that goes.
  core.executing.length = 0;
  core.barrier = undefined;
  core.ending = undefined;
  core.snapshots.clear();
  core.askers.clear();
  core.effects.push({ t: "install", seq: transfer.target.seq, pages: transfer.got.slice(read.count, transfer.states) as string[] });
};

/** The members of the epoch after the checkpoint, which the state names by their digest. */
const knowsMembers = (core: Core, transfer: Transfer, header: { epoch: number; membership: string }): boolean => {
  const members = membersAfter(core, transfer, header.epoch);
  return members !== undefined && core.crypto.hash(membershipText(members.membership)) === header.membership;
};

const membersAfter = (core: Core, { membership, next }: Transfer, epoch: number): CertifiedMembership | undefined =>
  [core.certified, membership, next].find((known) => known?.membership.epoch === epoch);

/** The executor has put the pages in place: the replica goes on from there. */
export const takeInstalled = (core: Core, seq: number): void => {
  const { transfer } = core;
  if (transfer === undefined || !transfer.installing || transfer.target.seq !== seq) return;
  const { target, states, missing } = transfer;
  const pages = transfer.pages.slice(0, states);
  const read = readPages(transfer.got as string[])!;
  core.transfer = undefined;
  core.ahead = undefined;
  const count = read.count;
  const own: OwnCheckpoint = {
    seq,
    core: transfer.got.slice(0, count) as string[],
    coreDigests: pages.slice(0, count),
    pages,
    digest: target.digest,
    kept: [],
    results: undefined,
  };
  // What this replica has come to itself stays its word, if its state was not found wrong.
  if (!transfer.isWrong) core.recalled.push(...resultsOf([...core.table.kept.values()]));
  adoptState(core, own, read, missing === 0 ? readResultPages(transfer.got.slice(states) as string[]) : undefined);
  core.stable = target;
  const entering = entryOf(core, transfer, read.header);
  const results = resultsOf(own.kept);
  core.persist({ t: "stable", checkpoint: target, pages, core: own.core, results, ...(entering === undefined ? {} : { entering }) });
  core.effects.push({ t: "discard", seq });
  core.notice({ t: "transferred", seq });
  if (entering !== undefined) enterEpoch(core, entering);
};

/** The epoch of the state that was fetched, if this replica is not in it yet. */
const entryOf = (core: Core, transfer: Transfer, { epoch, base, firstView }: StateHeader): EpochEntry | undefined => {
  if (epoch <= core.epoch && !core.joining) return undefined;
  const next = membersAfter(core, transfer, epoch)!;
  const { membership: voters, target } = transfer;
  const previous = voters.membership.epoch < epoch ? voters : core.previous;
  const begin = { seq: base.seq, digest: base.digest === "" ? target.digest : base.digest };
  return { next, base: begin, firstView, ...(previous === undefined ? {} : { previous }) };
};

/** The state of a checkpoint is this replica's state now. */
export const adoptState = (core: Core, own: OwnCheckpoint, read: ReadPages, proven?: KnownHashes): void => {
  const { seq } = own;
  const { log } = core;
  core.table = core.emptyTable();
  read.restore(core.table);
  recallResults(core, proven);
  own.kept = keptOf(core.table);
  own.results = core.resultWriter.write(core, seq, own.kept);
  core.writer = new PageWriter();
  core.time = read.header.time;
  core.state = "present";
  core.checkpoints.clear();
  core.checkpoints.set(seq, own);
  for (const votes of core.votes) for (const at of votes?.keys() ?? []) if (at <= seq) votes.delete(at);
  log.low = seq;
  log.dispatched = seq;
  log.executed = seq;
  log.ordered = Math.max(log.ordered, seq);
  log.last = Math.max(log.last, seq);
  forget(core, (other) => other <= seq);
};
