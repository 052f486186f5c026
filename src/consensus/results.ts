import { leafText, outcomeText } from "./canonical.ts";
import type { Kept } from "./client-table.ts";
import { countSent, maySend } from "./contents.ts";
import type { Core } from "./core.ts";
import type { LackedResult } from "./core-parts.ts";
import { answerAskers } from "./execution.ts";
import type { ReplicaIndex } from "./membership.ts";
import type { OwnResult, PeerMessage } from "./messages.ts";

// What operations came to is no part of the state that 2f + 1 sign: where the function isn't deterministic, correct replicas differ in it. Who
// has the state from its peers, and has not executed those operations itself, asks them all. What f + 1 say is what a correct replica came to,
// and is voted on; of anything else the replica says that it has none, once it is clear that waiting doesn't help.

type Message<T extends PeerMessage["t"]> = Extract<PeerMessage, { t: T }>;

/** Operations in one message, and characters in its answer: what is left is asked for again. */
const MOST_ASKED = 512;
const MOST_SENT = 1_048_576;
/** After so many rounds, 3 s by default, those who have not answered may be faulty. */
const ROUNDS = 8;
const MOST_BACKOFF = 20;

/** Puts back what this replica knew of the operations in the table; the peers are asked for the rest. */
export const recallResults = (core: Core): void => {
  const { table, recalled, lacked } = core;
  for (const { id, seq, position, resultHash, outcome } of recalled) {
    const kept = table.batches.get(seq)?.entries.get(position);
    // A set that was founded anew counts its numbers anew.
    if (kept?.id === id && kept.resultHash === "") know(core, kept, resultHash, outcome);
  }
  core.recalled = [];
  lacked.clear();
  for (const kept of table.kept.values()) if (kept.resultHash === "") lacked.set(kept.id, { kept, said: new Map(), rounds: 0, dueAt: 0 });
};

const know = (core: Core, kept: Kept, resultHash: string, outcome: string): void => {
  const { id, key, inputHash, seq, position } = kept;
  const batch = core.table.batches.get(seq)!;
  const { version } = batch;
  const leaf = leafText(core.set, { operation: id, version, key, inputHash, resultHash, sequence: seq, position });
  core.table.fill(kept, { resultHash, outcome, leaf: core.crypto.hash(leaf) });
  core.repeated.delete(batch);
};

/** Asks each peer for what it has not told yet, again and again, until the client has settled it. */
export const fetchResults = (core: Core): void => {
  const { lacked, now, limits, table } = core;
  if (lacked.size === 0 || core.state !== "present" || core.retired || core.joining || core.transfer?.installing === true) return;
  const due: LackedResult[] = [];
  for (const [id, each] of lacked) {
    if (table.kept.get(id) !== each.kept) {
      lacked.delete(id);
      core.askers.delete(id);
    } else if (each.dueAt <= now && due.length < MOST_ASKED) due.push(each);
  }
  if (due.length === 0) return;
  for (const to of core.others) ask(core, to, due);
  for (const each of due) {
    each.rounds++;
    each.dueAt = now + limits.statusEveryMs * Math.min(2 ** Math.floor((each.rounds - 1) / 2), MOST_BACKOFF);
    giveUp(core, each);
  }
};

const ask = (core: Core, to: ReplicaIndex, due: readonly LackedResult[]): void => {
  const operations = due.flatMap(({ kept: { seq, position }, said }) => ((said.get(to) ?? "") === "" ? [{ seq, position }] : []));
  if (operations.length > 0) core.send(to, { t: "fetch-results", operations });
};

/** What a client hears of it then isn't the last word: as long as it is kept the peers are asked. */
const giveUp = (core: Core, { kept, said, rounds }: LackedResult): void => {
  if (kept.isLost) return;
  const { others, membership } = core;
  if (said.size < others.length && (rounds <= ROUNDS || said.size < 2 * membership.faults)) return;
  kept.isLost = true;
  core.repeated.delete(core.table.batches.get(kept.seq)!);
  answerAskers(core, kept);
};

/** Who asks for it has no result of its own to go by: what isn't known yet is not told. */
export const answerFetchResults = (core: Core, to: ReplicaIndex, { operations }: Message<"fetch-results">): void => {
  if (core.state !== "present" || core.transfer?.installing === true || !maySend(core, to)) return;
  const results: OwnResult[] = [];
  let size = 0;
  for (const { seq, position } of operations) {
    const kept = core.table.batches.get(seq)?.entries.get(position);
    if (kept?.isDone !== true || (kept.resultHash === "" && !kept.isLost)) continue;
    if (size > 0 && size + kept.outcome.length > MOST_SENT) break;
    const { id, resultHash, outcome } = kept;
    size += 200 + outcome.length;
    results.push({ id, seq, position, resultHash, outcome });
  }
  countSent(core, to, size);
  if (results.length > 0) core.send(to, { t: "results", results });
};

export const takeResults = (core: Core, from: ReplicaIndex, { results }: Message<"results">): void => {
  const known: OwnResult[] = [];
  for (const result of results) {
    const kept = core.table.batches.get(result.seq)?.entries.get(result.position);
    const lacked = kept?.id === result.id ? core.lacked.get(result.id) : undefined;
    if (lacked !== undefined && lacked.kept === kept && hear(core, from, lacked, result)) known.push(result);
  }
  if (known.length > 0) core.persist({ t: "results", results: known });
  for (const { seq, position } of known) answerAskers(core, core.table.batches.get(seq)!.entries.get(position)!);
};

/** Of what is not believed yet only the hash is kept: the text comes with the word that makes it f + 1. @returns whether this one does */
const hear = (core: Core, from: ReplicaIndex, lacked: LackedResult, { resultHash, outcome }: OwnResult): boolean => {
  const { kept, said } = lacked;
  if (resultHash !== "" && core.crypto.hash(outcomeText(outcome)) !== resultHash) return false;
  said.set(from, resultHash);
  const same = [...said.values()].filter((hash) => hash === resultHash).length;
  if (resultHash === "" || same < core.weak) {
    giveUp(core, lacked);
    return false;
  }
  core.lacked.delete(kept.id);
  know(core, kept, resultHash, outcome);
  return true;
};
