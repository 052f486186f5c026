import { batchText, leafText, membershipText, outcomeText, seedText, voteText } from "../../src/consensus/canonical.ts";
import type { Certificate, Statement } from "../../src/consensus/certificate.ts";
import type { Digest, PublicKey } from "../../src/consensus/crypto.ts";
import type { DurableRecord, Effect } from "../../src/consensus/effects.ts";
import type { ReplicaIndex } from "../../src/consensus/membership.ts";
import { quorumOf, replicasOf, weakOf } from "../../src/consensus/membership.ts";
import { rootFromPath } from "../../src/consensus/merkle.ts";
import type { Operation, Reply } from "../../src/consensus/messages.ts";
import { Bank } from "./bank.ts";
import type { CryptoWorld } from "./crypto.ts";
import type { Diverging } from "./diverging.ts";
import { differs, shifted, shiftOf, shiftsOf } from "./diverging.ts";
import type { Scenario } from "./scenario.ts";
import { EPOCH_MS } from "./timeline.ts";

export type Property =
  | "agreement"
  | "checkpoints"
  | "validity"
  | "at-most-once"
  | "certificates"
  | "results"
  | "linearizability"
  | "progress"
  | "convergence"
  | "memory"
  | "accusation"
  | "divergence"
  | "order"
  | "time"
  | "seed"
  | "exception"
  | "determinism";

/** A property that doesn't hold. */
export class Violation extends Error {
  readonly property: Property;

  constructor(property: Property, detail: string) {
    super(`${property}: ${detail}`);
    this.property = property;
  }
}

export const violated = (property: Property, detail: string): never => {
  throw new Violation(property, detail);
};

type PrePrepared = Extract<DurableRecord, { t: "pre-prepared" }>;
type Execution = Extract<Effect, { t: "execute" }>;

/** What one client's call went through. */
export interface Call {
  operation: Operation;
  invokedMs: number;
  completedMs: number | undefined;
  statement: Statement | undefined;
  outcome: string | undefined;
  endedMs?: number;
  /** What it came to at each replica, where no 2f + 1 have come to the same. */
  diverged?: readonly { replica: ReplicaIndex; resultHash: Digest; outcome: string }[];
}

/** What correct replicas and clients have done so far, and whether it fits together. Liars' deeds never come here. */
export class Ledger {
  readonly #crypto: CryptoWorld;
  readonly #admin: PublicKey;
  readonly #set: string;
  readonly #diverging: Diverging | undefined;
  readonly #nodes: number;
  readonly #isDisturbed: boolean;
  /** How far an agreed time may be from the true one. */
  readonly #toleranceMs: number;
  /** By epoch and number: what is beyond the end of an epoch is void. With the last view in which it had prepared at a correct replica by then: it was decided in this view or an earlier one. */
  readonly #committed = new Map<string, { digest: Digest; by: string; view: number }>();
  readonly #prepared = new Map<string, number>();
  readonly #executed = new Map<number, { text: string; execution: Execution; by: string }>();
  readonly #orderedAt = new Map<string, number>();
  readonly #roots = new Map<string, { root: Digest; by: string }>();
  readonly #checkpoints = new Map<number, { digest: Digest; by: string }>();
  readonly calls = new Map<string, Call>();

  constructor(crypto: CryptoWorld, admin: PublicKey, set: string, scenario: Scenario) {
    this.#toleranceMs = MAX_CLOCK_SKEW_MS + scenario.skewMs + 1;
    this.#diverging = scenario.diverging;
    this.#nodes = replicasOf(scenario.faults);
    this.#isDisturbed = scenario.harms.length > 0 || scenario.net.loss > 0;
    this.#crypto = crypto;
    this.#admin = admin;
    this.#set = set;
  }

  /** A correct replica has committed: the earliest moment at which a disagreement shows. */
  commits(by: string, epoch: number, seq: number, digest: Digest): void {
    const at = `${epoch}/${seq}`;
    const first = this.#committed.get(at);
    if (first === undefined) {
      const view = this.#prepared.get(`${at} ${digest}`) ?? Number.POSITIVE_INFINITY;
      this.#committed.set(at, { digest, by, view });
    } else if (first.digest !== digest) violated("agreement", `number ${seq}: ${first.by} commits ${first.digest}, ${by} ${digest}`);
  }

  prepares(epoch: number, seq: number, digest: Digest, view: number): void {
    const name = `${epoch}/${seq} ${digest}`;
    this.#prepared.set(name, Math.max(view, this.#prepared.get(name) ?? 0));
  }

  /** What a correct replica votes for has a seed that nobody has chosen, and is what was committed in an earlier view, if anything was. */
  prePrepares(by: string, { epoch, seq, view, batch }: PrePrepared): void {
    const { time, seed, requests } = batch;
    const isNull = seed === "" && time === 0 && requests.length === 0;
    const digest = isNull ? "" : this.#hash(batchText(this.#set, seq, batch));
    const decided = this.#committed.get(`${epoch}/${seq}`);
    if (decided !== undefined && decided.view < view && decided.digest !== digest)
      violated("agreement", `number ${seq}: ${decided.by} has committed ${decided.digest}, ${by} takes ${digest} for view ${view}`);
    if (!isNull && seed !== this.#hash(seedText(this.#set, seq, time, requests)))
      violated("seed", `number ${seq}: ${by} accepts the seed ${seed}`);
  }

  /** Agreement, validity, at-most-once and time, as a correct replica hands a batch to its executor. */
  executes(by: string, execution: Execution, nowMs: number): void {
    const { seq, time, seed, operations } = execution;
    const text = JSON.stringify([time, seed, operations]);
    const first = this.#executed.get(seq);
    if (first !== undefined) {
      if (first.text !== text) violated("agreement", `number ${seq}: ${first.by} executes ${first.text}, ${by} ${text}`);
      return;
    }
    this.#executed.set(seq, { text, execution, by });
    if (!Number.isSafeInteger(time) || time > EPOCH_MS + nowMs + this.#toleranceMs) violated("time", `number ${seq}: ${by} takes ${time}`);
    for (const operation of operations) {
      this.#checkOperation(by, seq, operation);
      if (time < EPOCH_MS + this.calls.get(operation.id)!.invokedMs - this.#toleranceMs)
        violated("time", `number ${seq}: ${by} takes ${time}, before ${operation.id} was made`);
    }
  }

  #checkOperation(by: string, seq: number, { id, key, input }: Operation): void {
    const made = this.calls.get(id)?.operation;
    if (made === undefined) violated("validity", `number ${seq}: ${by} executes ${id}, which no client has asked for`);
    else if (made.key !== key || made.input !== input)
      violated("validity", `number ${seq}: ${by} executes ${id} as ${input}, not ${made.input}`);
    const earlier = this.#orderedAt.get(id);
    if (earlier !== undefined) violated("at-most-once", `${id} is executed at ${earlier} and, by ${by}, at ${seq}`);
    this.#orderedAt.set(id, seq);
  }

  /** Correct replicas vote for one root at each number, and one of each result alone. */
  votes(by: string, { seq, root, single, whole, results }: Reply): void {
    for (const { position, resultHash } of results) this.#comparesWith(`${seq} ${position}`, by, results, resultHash);
    // Who has the state from its peers doesn't know what was settled before: its root has fillers there.
    if (single === true) this.#comparesWith(`${seq} ${results[0]?.position} alone`, by, results, root);
    else if (whole === true) this.#comparesWith(`${seq}`, by, this.#executed.get(seq)?.execution.operations ?? [], root);
  }

  #comparesWith(of: string, by: string, operations: readonly { id: string }[], root: Digest): void {
    if (root === "" || this.#mayDiffer(operations)) return;
    const first = this.#roots.get(of);
    if (first === undefined) this.#roots.set(of, { root, by });
    else if (first.root !== root) violated("results", `number ${of}: ${first.by} votes for ${first.root}, ${by} for ${root}`);
  }

  #mayDiffer(operations: readonly { id: string }[]): boolean {
    const diverging = this.#diverging;
    return diverging !== undefined && operations.some(({ id }) => differs(diverging, id, this.#nodes));
  }

  /** All have answered, and no 2f + 1 the same: only where that is so, and what each is said to have come to is what it has come to. */
  diverged(call: Call, outcomes: readonly { replica: ReplicaIndex; resultHash: Digest; outcome: string }[], nowMs: number): void {
    const { id } = call.operation;
    const counts = this.#diverging === undefined ? [this.#nodes] : [...shiftsOf(this.#diverging, id, this.#nodes).values()];
    // Where some differ, it takes few that were away, or have lost their results, for the others to be too few.
    const isLost = counts.length > 1 && outcomes.some(({ resultHash }) => resultHash === "");
    if (!isLost && Math.max(...counts) >= quorumOf((this.#nodes - 1) / 3))
      violated("divergence", `${id}, in which 2f + 1 agree: ${JSON.stringify(outcomes)}`);
    if (call.statement !== undefined) violated("divergence", `${id} is certified, and is said to have diverged`);
    call.diverged = outcomes;
    call.endedMs = nowMs;
  }

  checkpoints(by: string, seq: number, digest: Digest): void {
    const first = this.#checkpoints.get(seq);
    if (first === undefined) this.#checkpoints.set(seq, { digest, by });
    else if (first.digest !== digest) violated("checkpoints", `number ${seq}: ${first.by} has ${first.digest}, ${by} ${digest}`);
  }

  /** A client has a certificate: it has to be one, and the only one. */
  certified(call: Call, certificate: Certificate, outcome: string, nowMs: number): void {
    const { statement } = certificate;
    const { operation } = call;
    if (statement.operation !== operation.id || statement.key !== operation.key)
      violated("certificates", `${operation.id} got the certificate of ${statement.operation}`);
    if (this.#hash(outcomeText(outcome)) !== statement.resultHash)
      violated("certificates", `${operation.id}: the outcome ${outcome} is not the one that is certified`);
    this.#checkCertificate(certificate);
    const earlier = call.statement;
    if (earlier !== undefined && JSON.stringify(earlier) !== JSON.stringify(statement))
      violated("certificates", `${operation.id} has two: ${JSON.stringify(earlier)} and ${JSON.stringify(statement)}`);
    call.statement = statement;
    call.outcome = outcome;
    call.completedMs ??= nowMs;
  }

  #hash(text: string): Digest {
    return this.#crypto.hash(text);
  }

  #checkCertificate({ membership, statement, path, votes }: Certificate): void {
    const { membership: members } = membership;
    if (!this.#crypto.verify(this.#admin, membershipText(members), membership.signature))
      violated("certificates", `${statement.operation}: the membership is not the admin's`);
    const leaf = this.#hash(leafText(this.#set, statement));
    const root = rootFromPath(leaf, statement.position, path, (text) => this.#hash(text));
    if (root === undefined) return violated("certificates", `${statement.operation}: the path leads nowhere`);
    const signers = votes.filter(({ replica, view, signature }) => {
      const key = members.replicas[replica];
      return key !== undefined && this.#crypto.verify(key, voteText(this.#set, members.epoch, view, statement.sequence, root), signature);
    });
    if (new Set(signers.map(({ replica }) => replica)).size < quorumOf(members.faults))
      violated("certificates", `${statement.operation}: only ${signers.length} votes are valid`);
  }

  /** Replays what was agreed on, in its order, on a machine of its own: results, and the order of calls in real time. */
  replay(): Bank {
    const bank = new Bank();
    let latest = 0;
    for (const seq of [...this.#executed.keys()].sort((a, b) => a - b)) {
      const { time, seed, operations } = this.#executed.get(seq)!.execution;
      if (time < latest) violated("time", `number ${seq} has the time ${time}, after ${latest}`);
      latest = time;
      for (const [position, operation] of operations.entries()) {
        const outcome = bank.apply(operation, time, seed);
        this.#checkResult(operation.id, seq, position, outcome);
      }
    }
    this.#checkRealTime();
    return bank;
  }

  #checkResult(id: string, seq: number, position: number, outcome: string): void {
    const call = this.calls.get(id)!;
    for (const { replica, resultHash, outcome: said } of call.diverged ?? []) {
      const wanted = shifted(outcome, shiftOf(this.#diverging!, id, replica, this.#nodes));
      // Who was away for long after its vote may not have told.
      if (said === "" && (this.#isDisturbed || resultHash === "")) continue;
      if (said !== wanted && !this.#mayBeTaken(id, said, outcome))
        violated("divergence", `${id}: replica ${replica} is said to have come to ${said}, and it was ${wanted}`);
    }
    if (call.statement === undefined) return;
    if (call.statement.sequence !== seq)
      violated("results", `${id} was executed at ${seq}, its certificate says ${JSON.stringify(call.statement)}`);
    if (!this.#mayBe(id, call.outcome!, outcome))
      violated("results", `${id} at ${seq}/${position}: certified is ${call.outcome}, correct would be ${outcome}`);
  }

  /** Where replicas differ, what 2f + 1 have come to; all of them are correct. */
  #mayBe(id: string, certified: string, truth: string): boolean {
    if (this.#diverging === undefined) return certified === truth;
    const quorum = quorumOf((this.#nodes - 1) / 3);
    const isAgreed = [...shiftsOf(this.#diverging, id, this.#nodes)].some(
      ([by, count]) => count >= quorum && certified === shifted(truth, by),
    );
    return isAgreed || this.#mayBeTaken(id, certified, truth);
  }

  /** Who was behind, or has lost its results, takes those that f + 1 others have come to. */
  #mayBeTaken(id: string, said: string, truth: string): boolean {
    if (this.#diverging === undefined) return false;
    const weak = weakOf((this.#nodes - 1) / 3);
    return [...shiftsOf(this.#diverging, id, this.#nodes)].some(([by, count]) => count >= weak && said === shifted(truth, by));
  }

  /** A call that began after another one's end comes after it. */
  #checkRealTime(): void {
    const calls = [...this.calls.values()];
    const done = calls.filter(({ completedMs }) => completedMs !== undefined).sort((a, b) => a.completedMs! - b.completedMs!);
    for (const { operation, statement } of done)
      if (statement !== undefined && !this.#orderedAt.has(operation.id))
        violated("results", `${operation.id} is certified, but no correct replica has executed it`);
    let next = 0;
    let latest = -1;
    let latestId = "";
    for (const { operation, invokedMs } of calls.toSorted((a, b) => a.invokedMs - b.invokedMs)) {
      for (; next < done.length && done[next]!.completedMs! < invokedMs; next++) {
        const at = orderOf(done[next]!.statement!);
        if (at > latest) [latest, latestId] = [at, done[next]!.operation.id];
      }
      const { statement } = this.calls.get(operation.id)!;
      if (statement !== undefined && orderOf(statement) < latest)
        violated("linearizability", `${operation.id} began after the end of ${latestId}, but comes before it`);
    }
  }

  get unfinished(): string[] {
    return [...this.calls.values()]
      .filter(({ completedMs, endedMs }) => completedMs === undefined && endedMs === undefined)
      .map(({ operation }) => operation.id);
  }

  get lastExecuted(): number {
    return Math.max(0, ...this.#executed.keys());
  }
}

/** The replicas' default. */
const MAX_CLOCK_SKEW_MS = 5_000;
const POSITIONS = 65_536;
const orderOf = ({ sequence, position }: Statement): number => sequence * POSITIONS + position;
