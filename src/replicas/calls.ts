/**
 * The calls of one replica set: what was submitted and is not certified yet, and the client that gathers the votes.
 *
 * Owns: which calls are under way under which lease, their names, the client's timers. Does not own: who the replicas are (set.ts), what a
 * certificate is (src/consensus), leases themselves (the scheduler).
 *
 * G1  Nothing is answered but with a certificate, or with the word that the replicas have come to different results.
 * G2  A call is submitted under the same name until its outcome is durable in the journal; only then the replicas may forget it.
 * G3  Of calls that nobody waits for any more, only those are held that the replicas may be executing, and of these only so many: beyond that
 *     nothing more is submitted until some of them have ended.
 */

import type { Certificate } from "../consensus/certificate.ts";
import { type ClientEffect, type ClientEvidence, type ClientTimer, ReplicaClient } from "../consensus/client-machine.ts";
import type { Crypto, PublicKey } from "../consensus/crypto.ts";
import type { CertifiedMembership, ReplicaIndex } from "../consensus/membership.ts";
import type { Operation, Reply, Request } from "../consensus/messages.ts";
import type { Clock } from "../lib/clock.ts";
import type { Failure } from "../lib/errors.ts";
import type { Json } from "../lib/json.ts";
import type { ToPod } from "../protocol/pod.ts";
import type { LogLine } from "../protocol/run.ts";
import { undoInput } from "../protocol/undo.ts";
import type { CertifiedAnswer } from "../scheduler/service.ts";
import { type CallLog, CallLogs, newLog } from "./call-logs.ts";
import { divergence } from "./divergence.ts";
import { Gathering } from "./gathering.ts";
import { Proofs } from "./proofs.ts";
import { Timers } from "./timers.ts";

export interface CallParts {
  fn: string;
  clock: Clock;
  crypto: Crypto;
  clientKey: PublicKey;
  /** Which state an input concerns. */
  keyOf(input: Json): string;
  /** Greater than that of each session before. */
  nextSession(): number;
  /** Runs `effect` once all that was recorded before is durable. */
  afterCommit(effect: () => void): void;
  send(index: ReplicaIndex, request: Request): void;
  answer(answer: CertifiedAnswer): void;
  accuse(evidence: ClientEvidence): void;
  /** Told of each certificate: whoever has voted in it is right. */
  agreed(certificate: Certificate): void;
  /** What a correct replica tells of one call's log at the most. */
  maxLogBytes: number;
}

interface Pending {
  readonly operation: Operation;
  readonly submittedAt: number;
  /** `undefined` once nobody waits for it. */
  lease: number | undefined;
  /** The client has it. */
  isSubmitted: boolean;
  readonly log: CallLog;
}

/** Calls that nobody waits for any more and that are not certified, and characters of their inputs. */
const MOST_ABANDONED = 1_024;
const MOST_ABANDONED_CHARACTERS = 67_108_864;

export class SetCalls {
  readonly #parts: CallParts;
  readonly #pending = new Map<string, Pending>();
  readonly #byLease = new Map<number, Pending>();
  readonly #timers: Timers<ClientTimer>;
  readonly #gathering: Gathering;
  readonly #proofs: Proofs;
  readonly #logs: CallLogs;
  /** Names of calls that were answered in this step. */
  #answered: string[] = [];
  readonly #abandoned = { calls: 0, characters: 0 };
  #client: ReplicaClient | undefined;

  constructor(parts: CallParts) {
    this.#parts = parts;
    this.#timers = new Timers(parts.clock);
    const flush = (): void => this.#step({ t: "timer", timer: "flush" });
    this.#gathering = new Gathering(this.#timers, () => this.#pending.size, flush);
    this.#proofs = new Proofs(parts.crypto);
    this.#logs = new CallLogs(parts.maxLogBytes);
  }

  /** Calls that are not certified yet. */
  get underWay(): number {
    return this.#pending.size;
  }

  get isOpen(): boolean {
    return this.#client !== undefined;
  }

  /** @param keep calls of an earlier life whose outcomes are not in the journal: the replicas keep what they know of them */
  open(membership: CertifiedMembership, keep: readonly string[]): void {
    const { crypto, clientKey: key, clock } = this.#parts;
    const session = this.#parts.nextSession();
    this.#client = new ReplicaClient({ membership, key, session, keep: [...new Set([...this.#pending.keys(), ...keep])] }, crypto);
    this.#carryOut(this.#client.start(clock.now()));
    this.#submitWaiting();
  }

  /** What is not certified, and still wanted, is submitted again to those who come next. */
  close(): void {
    this.#client = undefined;
    this.#timers.clear();
    this.#gathering.clear();
    for (const [id, pending] of this.#pending) {
      pending.isSubmitted = false;
      if (pending.lease === undefined) this.#pending.delete(id);
    }
    Object.assign(this.#abandoned, { calls: 0, characters: 0 });
  }

  submit({ lease, run, seq, attempt, input, undo }: ToPod & { t: "invoke" }): void {
    const operation: Operation = {
      id: `${run}/${seq}/${attempt}`,
      key: this.#parts.keyOf(input),
      input: undo === undefined ? input : undoInput(input, undo),
    };
    const known = this.#pending.get(operation.id);
    if (known !== undefined && known.lease === undefined) this.#abandon(known, -1);
    const pending: Pending = known ?? newPending(operation, this.#parts.clock.now());
    pending.lease = lease;
    this.#byLease.set(lease, pending);
    if (known !== undefined) return;
    this.#pending.set(operation.id, pending);
    if (this.#client === undefined || this.#isFull) return;
    this.#submit([pending]);
  }

  /** Nobody waits for it any more. It may be executed all the same: what is ordered can't be called back. */
  abort(lease: number): void {
    const pending = this.#byLease.get(lease);
    if (pending === undefined) return;
    this.#byLease.delete(lease);
    pending.lease = undefined;
    this.#logs.end(pending.log);
    if (pending.isSubmitted) this.#abandon(pending, 1);
    else this.#pending.delete(pending.operation.id);
  }

  get #isFull(): boolean {
    return this.#abandoned.calls >= MOST_ABANDONED || this.#abandoned.characters >= MOST_ABANDONED_CHARACTERS;
  }

  #abandon({ operation }: Pending, by: 1 | -1): void {
    const wasFull = this.#isFull;
    this.#abandoned.calls += by;
    this.#abandoned.characters += by * operation.input.length;
    if (wasFull && !this.#isFull) this.#submitWaiting();
  }

  #submitWaiting(): void {
    const waiting = [...this.#pending.values()].filter(({ isSubmitted }) => !isSubmitted);
    if (waiting.length > 0) this.#submit(waiting);
  }

  #submit(pending: readonly Pending[]): void {
    for (const each of pending) each.isSubmitted = true;
    this.#gathering.add(pending.length);
    this.#step({ t: "submit", operations: pending.map(({ operation }) => operation) });
  }

  heard(from: ReplicaIndex, reply: Reply): void {
    this.#step({ t: "reply", from, reply });
  }

  logged(from: ReplicaIndex, id: string, lines: readonly LogLine[]): void {
    const pending = this.#pending.get(id);
    if (pending?.lease !== undefined) this.#logs.take(pending.log, from, lines);
  }

  reconfigure(next: CertifiedMembership): void {
    this.#step({ t: "reconfigure", next });
  }

  changed(membership: CertifiedMembership): void {
    this.#step({ t: "epoch", membership });
  }

  /** The seat's replica begins to work: what it can't know of it does not owe. */
  begun(replica: ReplicaIndex): void {
    this.#step({ t: "begun", replica });
  }

  #step(input: Parameters<ReplicaClient["step"]>[0]): void {
    if (this.#client !== undefined) this.#carryOut(this.#client.step(input, this.#parts.clock.now()));
  }

  #carryOut(effects: readonly ClientEffect[]): void {
    for (const effect of effects) {
      switch (effect.t) {
        case "send":
          for (const index of effect.to) this.#parts.send(index, effect.request);
          break;
        case "certified":
          this.#parts.agreed(effect.certificate);
          this.#answer(effect.operation, { ...outcomeOf(effect.outcome), certificate: this.#proofs.of(effect) });
          break;
        case "diverged":
          this.#answer(effect.operation, { failure: divergence(this.#parts.fn, effect.outcomes) });
          break;
        case "evidence":
          this.#parts.accuse(effect.evidence);
          break;
        case "timer":
          this.#timer(effect.timer, effect.afterMs);
          break;
        case "reconfigured":
        // The replicas themselves say when the epoch has begun.
      }
    }
    this.#settleAnswered();
    this.#gathering.look();
  }

  #answer(id: string, outcome: Pick<CertifiedAnswer, "value" | "failure" | "certificate">): void {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    if (pending !== undefined && pending.lease === undefined) this.#abandon(pending, -1);
    if (pending?.lease !== undefined) {
      this.#byLease.delete(pending.lease);
      const durationMs = this.#parts.clock.now() - pending.submittedAt;
      this.#parts.answer({ lease: pending.lease, durationMs, lines: this.#logs.end(pending.log), ...outcome });
    }
    this.#answered.push(id);
  }

  /** Waits for a commit of this turn (G2): one that is under way already doesn't have these outcomes. */
  #settleAnswered(): void {
    if (this.#answered.length === 0) return;
    const operations = this.#answered;
    this.#answered = [];
    this.#parts.afterCommit(() => this.#step({ t: "settle", operations }));
  }

  #timer(timer: ClientTimer, afterMs: number | undefined): void {
    if (afterMs === undefined) return this.#timers.cancel(timer);
    if (timer === "flush") return this.#gathering.begin();
    this.#timers.after(timer, afterMs, () => this.#step({ t: "timer", timer }));
  }
}

const newPending = (operation: Operation, submittedAt: number): Pending => ({
  operation,
  submittedAt,
  lease: undefined,
  isSubmitted: false,
  log: newLog(),
});

const VALUE = '{"value":';

const outcomeOf = (outcome: Json): { value: Json } | { failure: Failure } => {
  // Canonical, so that the value's text needs no parsing.
  if (outcome.startsWith(VALUE)) return { value: outcome.slice(VALUE.length, -1) };
  const { failure } = JSON.parse(outcome) as { failure?: Failure };
  return failure === undefined ? { value: "" } : { failure };
};
