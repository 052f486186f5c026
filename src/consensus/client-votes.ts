import type { Json } from "../lib/json.ts";
import type { BatchCertificate } from "./batch-certificate.ts";
import { leafText, outcomeText, voteText } from "./canonical.ts";
import type { Certificate, Statement, Vote } from "./certificate.ts";
import type { Crypto, Digest } from "./crypto.ts";
import { type CertifiedMembership, quorumOf, type ReplicaIndex } from "./membership.ts";
import { type MerkleTree, merklePath, merkleTree, rootFromPath, rootOf } from "./merkle.ts";
import type { Reply, ReplyResult } from "./messages.ts";

// The votes for one operation, until 2f + 1 say the same (TOCS 2002, §4.3: a client of MACs needs f + 1 replies to know a result; who wants to
// show it to others needs 2f + 1 signatures, so that any two certificates share a correct replica).

/** A replica's answer about one operation. */
export interface Ballot {
  readonly reply: Reply;
  readonly result: ReplyResult;
}

/** A certificate, and the one of its whole batch if the votes were for that. */
export interface Certified {
  certificate: Certificate;
  batch?: BatchCertificate;
}

export interface Judged {
  certified?: Certified;
  /** Replicas whose vote was no vote: its signature or its path is wrong. */
  bad: ReplicaIndex[];
}

/** Checks of signatures and trees, remembered: one of each stands for all results of a batch. */
export class Checks {
  readonly #crypto: Crypto;
  readonly #known = new Map<string, boolean>();
  /** The same by reply: each of its results asks. */
  readonly #signed = new WeakMap<Reply, { membership: CertifiedMembership; isGood: boolean }>();
  /** Of whole replies; `undefined` where it is another root's. */
  readonly #trees = new WeakMap<Reply, { tree: MerkleTree | undefined }>();
  readonly #batches = new WeakMap<Reply, { membership: CertifiedMembership; replies: Reply[]; batch: BatchCertificate }>();

  constructor(cryptography: Crypto) {
    this.#crypto = cryptography;
  }

  /** Whether the replica has signed that root. */
  isSigned(membership: CertifiedMembership, reply: Reply): boolean {
    const known = this.#signed.get(reply);
    if (known?.membership === membership) return known.isGood;
    const isGood = this.#verify(membership, reply);
    this.#signed.set(reply, { membership, isGood });
    return isGood;
  }

  #verify({ membership }: CertifiedMembership, { replica, epoch, view, seq, root, signature }: Reply): boolean {
    const name = `${replica} ${epoch} ${view} ${seq} ${root} ${signature}`;
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    const key = membership.replicas[replica];
    const isGood = key !== undefined && this.#crypto.verify(key, voteText(membership.set, epoch, view, seq, root), signature);
    if (this.#known.size >= 4_096) this.#known.clear();
    this.#known.set(name, isGood);
    return isGood;
  }

  /** Whether the result is under the root. */
  isUnder(certified: CertifiedMembership, ballot: Ballot): boolean {
    const { reply, result } = ballot;
    if (reply.whole === true) return reply.results[result.position] === result && this.#treeOf(certified, reply) !== undefined;
    const leaf = this.#leaf(certified, reply, result);
    return rootFromPath(leaf, result.position, result.path, this.#crypto.hash) === reply.root;
  }

  /** The result's way to the root, if it is under it. */
  pathOf(certified: CertifiedMembership, { reply, result }: Ballot): Digest[] {
    const tree = reply.whole === true ? this.#treeOf(certified, reply) : undefined;
    return tree === undefined ? result.path : merklePath(tree, result.position);
  }

  /** @param shown a ballot that is under its root, and `ballots` good votes for that root */
  certify(membership: CertifiedMembership, shown: Ballot, ballots: readonly Ballot[]): Certified {
    const { reply, result } = shown;
    const statement = statementOf(reply, result);
    const path = this.pathOf(membership, shown);
    const batch = reply.whole === true ? this.#batchOf(membership, reply, ballots) : undefined;
    const votes = batch?.votes ?? votesOf(ballots);
    const certificate: Certificate = { format: "lockstep-certificate/1", membership, statement, path, votes };
    return batch === undefined ? { certificate } : { certificate, batch };
  }

  /** One for all results that the same replies certify. */
  #batchOf(membership: CertifiedMembership, reply: Reply, ballots: readonly Ballot[]): BatchCertificate {
    const known = this.#batches.get(reply);
    if (known?.membership === membership && ballots.every((ballot, i) => ballot.reply === known.replies[i])) return known.batch;
    const { version, seq: sequence, results } = reply;
    const batch: BatchCertificate = { membership, version, sequence, results, votes: votesOf(ballots) };
    this.#batches.set(reply, { membership, replies: ballots.map((ballot) => ballot.reply), batch });
    return batch;
  }

  #treeOf(certified: CertifiedMembership, reply: Reply): MerkleTree | undefined {
    const known = this.#trees.get(reply);
    if (known !== undefined) return known.tree;
    const leaves = reply.results.map((result) => this.#leaf(certified, reply, result));
    const tree = merkleTree(leaves, this.#crypto.hash);
    const found = { tree: rootOf(tree) === reply.root ? tree : undefined };
    this.#trees.set(reply, found);
    return found.tree;
  }

  #leaf({ membership }: CertifiedMembership, reply: Reply, result: ReplyResult): Digest {
    return this.#crypto.hash(leafText(membership.set, statementOf(reply, result)));
  }

  /** Whether this is what the result's hash is of. */
  isOutcome(outcome: Json, resultHash: Digest): boolean {
    return outcome !== "" && this.#crypto.hash(outcomeText(outcome)) === resultHash;
  }
}

const statementOf = ({ seq, version }: Reply, { id, key, inputHash, resultHash, position }: ReplyResult): Statement => ({
  operation: id,
  version,
  key,
  inputHash,
  resultHash,
  sequence: seq,
  position,
});

/** Whether both vote for the same statement under the same root; the ways to the root may differ, and only one has to lead there. */
const agree = (a: Ballot, b: Ballot): boolean => a.reply.root === b.reply.root && stateSame(a, b);

/** Whether both have come to the same, whatever else is under their roots. */
const stateSame = ({ reply: a, result: x }: Ballot, { reply: b, result: y }: Ballot): boolean =>
  a.seq === b.seq &&
  a.version === b.version &&
  x.resultHash === y.resultHash &&
  x.inputHash === y.inputHash &&
  x.position === y.position &&
  x.key === y.key;

/** Not so where the replica knows that the operation was executed, and has no result of it. */
export const hasResult = ({ result }: Ballot): boolean => result.resultHash !== "";

/** Whether votes on this result alone would make a certificate, and those that there are do not. */
export const wouldAgreeAlone = (all: readonly Ballot[], quorum: number): boolean => {
  const ballots = all.filter(hasResult);
  const isQuorum = (same: (a: Ballot, b: Ballot) => boolean): boolean =>
    ballots.some((a) => ballots.filter((b) => same(a, b)).length >= quorum);
  return isQuorum(stateSame) && !isQuorum(agree);
};

export class Votes {
  readonly #ballots = new Map<ReplicaIndex, Ballot>();
  /** Votes on this result alone, once they were asked for. They don't add up with the others: their roots differ. */
  #singles: Map<ReplicaIndex, Ballot> | undefined;
  /** One of each replica: what it makes up is not kept beside what it made up before. */
  readonly #outcomes = new Map<ReplicaIndex, { of: Digest; text: Json }>();

  /** The last answer of each replica counts; what another has said can't be changed. */
  add(reply: Reply, result: ReplyResult, checks: Checks): void {
    const earlier = this.#ballots.get(reply.replica);
    if (result.resultHash === "" && (reply.single === true || (earlier !== undefined && hasResult(earlier)))) return;
    if (reply.single === true) {
      this.#singles ??= new Map();
      this.#singles.set(reply.replica, { reply, result });
    } else this.#ballots.set(reply.replica, { reply, result });
    const { outcome, resultHash } = result;
    if (outcome === "") return;
    const known = this.outcome(resultHash);
    if (known !== outcome && !checks.isOutcome(outcome, resultHash)) return;
    // Also what another has sent before: that one may say something else next.
    this.#outcomes.set(reply.replica, { of: resultHash, text: known ?? outcome });
  }

  has(replica: ReplicaIndex): boolean {
    return this.#ballots.has(replica);
  }

  /** It has not said that it has none. */
  mayHaveResult(replica: ReplicaIndex): boolean {
    const ballot = this.#ballots.get(replica);
    return ballot === undefined || hasResult(ballot);
  }

  get size(): number {
    return this.#ballots.size;
  }

  /** The ballots of another epoch are of other members. */
  clear(): void {
    this.#ballots.clear();
    this.#singles = undefined;
  }

  /** How many have voted on this result alone. */
  get singles(): number {
    return this.#singles?.size ?? 0;
  }

  hasSingle(replica: ReplicaIndex): boolean {
    return this.#singles?.has(replica) === true;
  }

  outcome(resultHash: Digest): Json | undefined {
    for (const { of, text } of this.#outcomes.values()) if (of === resultHash) return text;
    return undefined;
  }

  /** A certificate, if there is one; signatures are checked only when there may be. What the last vote says is the likeliest. */
  judge(replica: ReplicaIndex, certified: CertifiedMembership, checks: Checks): Judged {
    const bad: ReplicaIndex[] = [];
    for (const ballots of this.#singles === undefined ? [this.#ballots] : [this.#ballots, this.#singles]) {
      const found = this.#judge(ballots, replica, certified, checks, bad);
      if (found !== undefined) return { certified: found, bad };
    }
    return { bad };
  }

  #judge(
    ballots: Map<ReplicaIndex, Ballot>,
    replica: ReplicaIndex,
    certified: CertifiedMembership,
    checks: Checks,
    bad: ReplicaIndex[],
  ): Certified | undefined {
    const quorum = quorumOf(certified.membership.faults);
    if (ballots.size < quorum) return undefined;
    let rest = [...ballots.values()].filter(hasResult);
    const last = ballots.get(replica);
    let candidate = last !== undefined && hasResult(last) ? last : rest[0];
    while (candidate !== undefined && rest.length >= quorum) {
      const wanted: Ballot = candidate;
      const same = rest.filter((ballot) => agree(ballot, wanted));
      const found = same.length < quorum ? undefined : this.#certify(ballots, same, certified, checks, bad);
      if (found !== undefined) return found;
      rest = rest.filter((ballot) => !same.includes(ballot));
      candidate = rest[0];
    }
    return undefined;
  }

  #certify(
    ballots: Map<ReplicaIndex, Ballot>,
    same: Ballot[],
    certified: CertifiedMembership,
    checks: Checks,
    bad: ReplicaIndex[],
  ): Certified | undefined {
    const shown = same.find((ballot) => checks.isUnder(certified, ballot));
    const good: Ballot[] = [];
    for (const ballot of same) {
      if (shown !== undefined && checks.isSigned(certified, ballot.reply)) good.push(ballot);
      else {
        bad.push(ballot.reply.replica);
        ballots.delete(ballot.reply.replica);
      }
    }
    const quorum = quorumOf(certified.membership.faults);
    return good.length < quorum ? undefined : checks.certify(certified, shown!, good.slice(0, quorum));
  }

  /** Leaves out those whose votes are none. @returns the others */
  check(certified: CertifiedMembership, checks: Checks): { ballots: Ballot[]; bad: ReplicaIndex[] } {
    const ballots = [...this.#ballots.values()].filter((each) => checks.isSigned(certified, each.reply) && checks.isUnder(certified, each));
    const bad = [...this.#ballots.keys()].filter((replica) => !ballots.some(({ reply }) => reply.replica === replica));
    for (const replica of bad) this.#ballots.delete(replica);
    return { ballots, bad };
  }

  ballots(): Iterable<Ballot> {
    return [...this.#ballots.values(), ...(this.#singles?.values() ?? [])];
  }
}

const votesOf = (ballots: readonly Ballot[]): Vote[] =>
  ballots.map(({ reply: { replica, view, signature } }): Vote => ({ replica, view, signature })).sort((a, b) => a.replica - b.replica);

/** Whether a ballot is for another result of the same batch than the certified one: no correct replica signs two roots for one number. */
export const contradicts = ({ reply, result }: Ballot, { membership, statement }: Certificate): boolean => {
  if (reply.epoch !== membership.membership.epoch || reply.seq !== statement.sequence) return false;
  return (
    result.id === statement.operation &&
    result.resultHash !== "" &&
    (result.resultHash !== statement.resultHash || result.inputHash !== statement.inputHash)
  );
};
