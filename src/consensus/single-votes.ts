import { requestText, voteText } from "./canonical.ts";
import type { Kept } from "./client-table.ts";
import type { Core } from "./core.ts";
import type { PublicKey } from "./crypto.ts";
import { fillerPath, rootFromPath } from "./merkle.ts";
import type { Reply, Request } from "./messages.ts";

// One signature stands for all results of a batch: where replicas differ in one of them, their roots differ, and the others can't be certified.
// Whoever has asked for those is given a vote on each alone, under a root that has the same leaf at the same place and fillers elsewhere: such
// roots are the same at all who have come to the same result, and a certificate of them is like every other.

/** Results that one client is sent votes on alone, in the time between two status messages. */
const MOST_IN_A_WHILE = 512;

/** Votes on what was executed and is kept. It changes nothing that is replicated, and it is not ordered. */
export const answerSingle = (core: Core, request: Request, operations: readonly string[]): void => {
  const { client } = request;
  if (core.retired || !isCurrent(core, request)) return;
  const text = requestText(request, core.set);
  if (text.length > core.limits.maxRequestSize || budgetOf(core, client).count >= MOST_IN_A_WHILE) return;
  if (!core.crypto.verify(client, text, request.signature)) return;
  const budget = budgetOf(core, client);
  // Each request costs its signature at least; what is left out is asked for again.
  budget.count++;
  for (const id of new Set(operations)) {
    const kept = core.table.kept.get(id);
    if (kept?.isDone !== true || kept.resultHash === "") continue;
    if (budget.count >= MOST_IN_A_WHILE) return;
    budget.count++;
    const vote = voteOn(core, kept);
    if (vote !== undefined) core.effects.push({ t: "reply", client, reply: vote });
  }
};

/** Of the session that is open: what was asked for in earlier ones may be sent again by anyone who has seen it. */
const isCurrent = (core: Core, request: Request): boolean =>
  core.isClient(request) && core.table.clients.get(request.client)?.session === request.session;

const budgetOf = ({ sentSingles, now, limits }: Core, client: PublicKey): { since: number; count: number } => {
  const known = sentSingles.get(client);
  if (known !== undefined && now - known.since < limits.statusEveryMs) return known;
  const budget = { since: now, count: 0 };
  sentSingles.set(client, budget);
  return budget;
};

/** Signed once in each epoch: votes of different epochs are of different members, and don't add up. */
const voteOn = (core: Core, kept: Kept): Reply | undefined => {
  const known = core.singles.get(kept);
  if (known !== undefined && known.epoch === core.epoch) return known;
  const { id, seq, position, key, inputHash, resultHash } = kept;
  const batch = core.table.batches.get(seq);
  const leaf = batch?.leaves[position];
  if (batch === undefined || leaf === undefined) return undefined;
  const { hash } = core.crypto;
  const path = fillerPath(batch.leaves.length, position, hash);
  const root = rootFromPath(leaf, position, path, hash)!;
  const { epoch, view, index: replica } = core;
  const signature = core.crypto.sign(voteText(core.set, epoch, view, seq, root));
  // The outcome's text came with the batch's vote, or comes again with it.
  const results = [{ id, position, path, key, inputHash, resultHash, outcome: "" }];
  const vote: Reply = { replica, epoch, view, seq, version: batch.version, root, signature, single: true, results };
  core.singles.set(kept, vote);
  return vote;
};
