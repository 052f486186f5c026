import type { Json } from "../lib/json.ts";
import { getOrMake } from "../lib/map.ts";
import { fillerText, inputText, leafText, membershipText, outcomeText, voteText } from "./canonical.ts";
import { type Kept, type KeptBatch, NOBODY } from "./client-table.ts";
import type { Core } from "./core.ts";
import type { BatchVote, Execution } from "./core-parts.ts";
import type { Digest, PublicKey } from "./crypto.ts";
import { type CertifiedMembership, leaderOf, replicasOf } from "./membership.ts";
import { merklePath, merkleTree, rootOf } from "./merkle.ts";
import type { Reply, ReplyResult, Request } from "./messages.ts";
import { NULL } from "./slots.ts";

// From the order to votes. Numbers are given to the executor in their order, as soon as they are ordered; what they come to arrives later, and
// ordering doesn't wait for it. A client table that is one checkpoint's state must not have seen later numbers, so those wait at a checkpoint.

const OVERLOADED: Json = JSON.stringify({
  failure: { code: "OVERLOADED", message: "The replicas keep as many results as they may. Settle results, then try again." },
});

/** Gives to the executor what may be executed. */
export const dispatch = (core: Core): void => {
  const { log } = core;
  if (core.state !== "present" || core.transfer?.installing === true) return;
  while (log.dispatched < log.ordered && core.barrier === undefined && core.ending === undefined) {
    dispatchNext(core, log.dispatched + 1);
    complete(core);
  }
};

const dispatchNext = (core: Core, seq: number): void => {
  const { log, table } = core;
  const digest = log.at(seq)!.committed!;
  const batch = digest === NULL ? undefined : log.batch(digest)!;
  const execution: Execution = { seq, fresh: [], asked: [], outcomes: undefined };
  log.dispatched = seq;
  if (batch !== undefined) core.time = Math.max(core.time, batch.time);
  for (const name of batch?.requests ?? []) {
    const { request } = core.pool.body(name)!;
    if (!core.isClient(request)) continue;
    const { fresh, refused, known } = table.admit(request, seq, execution.fresh.length);
    for (const kept of fresh) {
      execution.fresh.push(kept);
      if (refused.has(kept)) kept.outcome = OVERLOADED;
      else if (request.body.t !== "call") kept.outcome = executeOwn(core, seq, request);
      else execution.asked.push(kept);
    }
    answerKnown(core, request.client, known);
  }
  core.executing.push(execution);
  if (execution.asked.length === 0) execution.outcomes = [];
  else {
    const operations = execution.asked.map(({ id, key, input }) => ({ id, key, input }));
    core.effects.push({ t: "execute", seq, time: core.time, seed: batch!.seed, operations });
  }
  if (seq % core.limits.checkpointEvery !== 0 && core.ending === undefined) return;
  core.barrier = seq;
  core.effects.push({ t: "snapshot", seq });
};

/** What the replicas execute themselves. */
const executeOwn = (core: Core, seq: number, { body, session }: Request): Json => {
  if (body.t !== "reconfigure") return JSON.stringify({ value: session });
  const fault = faultOfNext(core, body.next);
  if (fault !== undefined) return JSON.stringify({ failure: { code: "INVALID_INPUT", message: fault } });
  core.ending = { seq, next: body.next };
  core.table.retire(body.next.membership.clients);
  return JSON.stringify({ value: body.next.membership.epoch });
};

/** Whether the replicas may go on as these. At most f at a time are replaced: the others have the state. */
const faultOfNext = (core: Core, { membership: next, signature }: CertifiedMembership): string | undefined => {
  const { membership } = core;
  if (core.ending !== undefined) return `epoch ${core.ending.next.membership.epoch} begins already`;
  if (next.set !== membership.set || next.faults !== membership.faults) return "the next membership is of another set";
  if (next.epoch !== membership.epoch + 1) return `epoch ${next.epoch} does not come after epoch ${membership.epoch}`;
  if (next.replicas.length !== core.size || new Set(next.replicas).size !== core.size)
    return `there must be ${core.size} different replicas`;
  const replaced = next.replicas.filter((key, i) => key !== membership.replicas[i]).length;
  if (replaced > membership.faults) return `${replaced} replicas are replaced; at most ${membership.faults} may be at a time`;
  if (!core.crypto.verify(core.admin, membershipText(next), signature)) return "the next membership is not signed by the admin";
  return undefined;
};

/** The outcomes of a number; they come in order, and late ones of a state that was replaced mean nothing. */
export const takeExecuted = (core: Core, seq: number, outcomes: readonly Json[]): void => {
  const execution = core.executing.find(({ outcomes: known }) => known === undefined);
  if (execution?.seq !== seq || outcomes.length !== execution.asked.length) return;
  execution.outcomes = [...outcomes];
  complete(core);
};

/** Completes numbers in their order. */
const complete = (core: Core): void => {
  while (core.executing[0]?.outcomes !== undefined) {
    const execution = core.executing.shift()!;
    execution.asked.forEach((kept, i) => {
      kept.outcome = execution.outcomes![i]!;
    });
    core.log.executed = execution.seq;
    if (execution.fresh.length > 0) completeBatch(core, execution);
  }
};

const completeBatch = (core: Core, { seq, fresh }: Execution): void => {
  const { hash } = core.crypto;
  const leaves: Digest[] = [];
  for (const kept of fresh) {
    kept.inputHash = hash(inputText(kept.input));
    kept.resultHash = hash(outcomeText(kept.outcome));
    kept.isDone = true;
    kept.input = "";
    leaves.push(leafOf(core, kept));
  }
  const { version } = core.membership;
  core.table.keep(seq, version, leaves);
  const vote = makeVote(core, { seq, version, leaves });
  const clients = new Map<PublicKey, Kept[]>();
  for (const kept of fresh) {
    getOrMake(clients, kept.client, () => []).push(kept);
    for (const asker of core.askers.get(kept.id) ?? []) if (asker !== kept.client) getOrMake(clients, asker, () => []).push(kept);
    core.askers.delete(kept.id);
  }
  const withOutcomes = sendsOutcomes(core, seq);
  for (const [client, all] of clients) {
    // The tree's own leaves are the way to its root, and to send the siblings of each would be most of the message.
    const isWhole = all.length === fresh.length;
    const results = all.map((kept) => resultOf(kept, isWhole ? [] : merklePath(vote.tree, kept.position), withOutcomes));
    reply(core, client, seq, vote, results, isWhole);
  }
};

const leafOf = (core: Core, { seq, position, id, key, inputHash, resultHash }: Kept, version = core.membership.version): Digest =>
  core.crypto.hash(leafText(core.set, { operation: id, version, key, inputHash, resultHash, sequence: seq, position }));

const makeVote = (core: Core, { seq, version, leaves }: Omit<KeptBatch, "entries">): BatchVote => {
  const { epoch, view } = core;
  const tree = merkleTree(leaves, core.crypto.hash);
  return { epoch, view, version, tree, signature: core.crypto.sign(voteText(core.set, epoch, view, seq, rootOf(tree))) };
};

/** The leader's outcomes, and those of one more: the others' hashes are enough. */
const sendsOutcomes = (core: Core, seq: number): boolean => {
  const n = replicasOf(core.membership.faults);
  const leader = leaderOf(core.view, core.membership.faults);
  return core.index === leader || core.index === (leader + 1 + (seq % (n - 1))) % n;
};

const resultOf = (kept: Kept, path: Digest[], withOutcome: boolean): ReplyResult => {
  const { id, position, key, inputHash, resultHash } = kept;
  return { id, position, path, key, inputHash, resultHash, outcome: withOutcome ? kept.outcome : "" };
};

const reply = (core: Core, client: PublicKey, seq: number, vote: BatchVote, results: ReplyResult[], isWhole = false): void => {
  if (core.retired || client === NOBODY) return;
  const { epoch, view, version, tree, signature } = vote;
  const message: Reply = { replica: core.index, epoch, view, seq, version, root: rootOf(tree), signature, results };
  if (isWhole) message.whole = true;
  core.effects.push({ t: "reply", client, reply: message });
};

/** Votes again for results that are kept, with their outcomes: whoever asks again has missed something. */
export const answerKnown = (core: Core, client: PublicKey, known: readonly Kept[]): void => {
  const batches = new Map<number, Kept[]>();
  for (const kept of known) {
    if (kept.isDone && (kept.resultHash !== "" || kept.isLost)) getOrMake(batches, kept.seq, () => []).push(kept);
    else if (kept.isDone || kept.client !== client) getOrMake(core.askers, kept.id, () => new Set()).add(client);
  }
  for (const [seq, kept] of batches) {
    const batch = core.table.batches.get(seq);
    if (batch === undefined) continue;
    const vote = repeatedVote(core, batch);
    reply(
      core,
      client,
      seq,
      vote,
      kept.map((each) => resultOf(each, merklePath(vote.tree, each.position), true)),
    );
  }
};

/**
 * Where this replica doesn't know a result of the batch, its root is another than the others', and votes on the rest add up only alone. The
 * signature is of the epoch in which it is made: votes of different epochs are of different members, and don't add up.
 */
const repeatedVote = (core: Core, batch: KeptBatch): BatchVote => {
  const known = core.repeated.get(batch);
  if (known !== undefined && known.epoch === core.epoch) return known;
  const { seq, version, entries } = batch;
  const filler = core.crypto.hash(fillerText());
  const leaves = batch.leaves.map((leaf, position) => {
    const kept = entries.get(position);
    if (leaf !== "") return leaf;
    return kept === undefined ? filler : leafOf(core, kept, version);
  });
  const vote = makeVote(core, { seq, version, leaves });
  core.repeated.set(batch, vote);
  return vote;
};

/** Whoever has asked for an operation whose result has come from the peers now, or won't. */
export const answerAskers = (core: Core, kept: Kept): void => {
  const askers = core.askers.get(kept.id);
  if (askers === undefined) return;
  core.askers.delete(kept.id);
  for (const client of askers) answerKnown(core, client, [kept]);
};
