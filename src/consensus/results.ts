import { leafText, outcomeText } from "./canonical.ts";
import type { Kept } from "./client-table.ts";
import { countSent, maySend } from "./contents.ts";
import type { Core } from "./core.ts";
import type { LackedResult } from "./core-parts.ts";
import type { Digest } from "./crypto.ts";
import { answerAskers } from "./execution.ts";
import type { ReplicaIndex } from "./membership.ts";
import type { OwnResult, PeerMessage } from "./messages.ts";
import type { KnownHashes } from "./result-pages.ts";

// What operations came to is no part of the state that 2f + 1 sign: where the function isn't deterministic, correct replicas differ in it. Who
// has the state from its peers, and has not executed those operations itself, has the hashes that f + 1 have signed beside it, and asks for
// their texts. Where there are none it asks all peers what they say. What f + 1 say is what a correct replica came to, and is voted on; of
// anything else the replica says that it has none, once it is clear that waiting doesn't help.

type Message<T extends PeerMessage["t"]> = Extract<PeerMessage, { t: T }>;

/** Operations in one message, and characters in its answer: what is left is asked for again. */
const MOST_ASKED = 512;
const MOST_SENT = 1_048_576;
/** After so many rounds, 3 s by default, those who have not answered may be faulty. */
const ROUNDS = 8;
const MOST_BACKOFF = 20;

/** Puts back what this replica knew of the operations in the table, and what is proven; the peers are asked for the rest. */
export const recallResults = (core: Core, proven?: KnownHashes): void => {
  const { table, recalled, lacked } = core;
  for (const { id, seq, position, resultHash, outcome } of recalled) {
    const kept = table.batches.get(seq)?.entries.get(position);
    // A set that was founded anew counts its numbers anew. The text may have come after the hash.
    if (kept?.id === id && (kept.resultHash === "" || (kept.resultHash === resultHash && kept.outcome === ""))) {
      know(core, kept, resultHash, outcome);
    }
  }
  core.recalled = [];
  lacked.clear();
  for (const kept of table.kept.values()) {
    if (kept.resultHash === "") believe(core, kept, proven?.get(kept.seq)?.get(kept.position));
    if (kept.outcome === "" && !kept.isLost) lacked.set(kept.id, { kept, said: new Map(), rounds: 0, dueAt: 0 });
  }
};

/** What is empty here is so in what f + 1 have signed: it was let go, by this replica too, and nobody has it. */
export const forgoResults = ({ lacked }: Core): void => {
  for (const [id, { kept }] of lacked) {
    if (kept.resultHash !== "") continue;
    kept.isLost = true;
    lacked.delete(id);
  }
};

/** @param proven `""` where correct replicas have let it go */
const believe = (core: Core, kept: Kept, proven: Digest | undefined): void => {
  if (proven === "") kept.isLost = true;
  else if (proven !== undefined) know(core, kept, proven, "");
};

/** Whether it is asked for often: the text alone is needed by nobody but a client that has it from no other replica. */
export const isSought = ({ kept, rounds }: LackedResult): boolean => !kept.isLost && (kept.resultHash === "" || rounds <= ROUNDS);

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
  core.others.forEach((to, i) => {
    // A text whose hash is known can be had from any of them.
    ask(
      core,
      to,
      due.filter(({ kept, rounds }) => kept.resultHash === "" || (rounds + core.index) % core.others.length === i),
    );
  });
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
  if (kept.isLost || kept.resultHash !== "") return;
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
    if (kept?.isDone !== true || (kept.outcome === "" && !kept.isLost)) continue;
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
  if (!isBelieved(core, lacked, resultHash)) {
    giveUp(core, lacked);
    return false;
  }
  core.lacked.delete(kept.id);
  know(core, kept, resultHash, outcome);
  return true;
};

const isBelieved = ({ weak }: Core, { kept, said }: LackedResult, resultHash: Digest): boolean => {
  if (kept.resultHash !== "") return kept.resultHash === resultHash;
  return resultHash !== "" && [...said.values()].filter((hash) => hash === resultHash).length >= weak;
};
