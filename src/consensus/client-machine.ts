/**
 * The client of a replica set: requests, votes, certificates.
 *
 * Owns: the session's numbers, what is asked for, the votes for it. Does not own: keys, the network, whether a result is durable (`settle`).
 *
 *   submit ─► gathered ─► sent ─(again and again)─► 2f + 1 votes ─► certified ─► settle ─► forgotten, here and by the replicas
 *                                      ├─ 2f + 1 have come to the same, under other roots ─► votes on it alone ─► certified
 *                                      └─ all have answered, and differ ─► diverged
 *
 * I1  Nothing is certified without valid signatures of 2f + 1 members of one epoch under one root that has this result.
 * I2  A result is dropped by the replicas only after the host has said that it is durable: before, a client that starts anew asks for it again.
 * I3  Each operation ends once: certified, or diverged.
 */
import type { Json } from "../lib/json.ts";
import { requestText } from "./canonical.ts";
import type { Certificate } from "./certificate.ts";
import type { ClientEffect, ClientEvidence, ClientInput, ClientLimits, ClientTimer, ReplicaClientOptions } from "./client-effects.ts";
import { Held, sizeOf, withoutOutcomes } from "./client-held.ts";
import { Outbox } from "./client-outbox.ts";
import { type Sent, Session } from "./client-session.ts";
import { Silence } from "./client-silence.ts";
import { Singles } from "./client-singles.ts";
import { NUMBERS_AHEAD } from "./client-table.ts";
import { type Ballot, type Certified, Checks, contradicts, hasResult, Votes, wouldAgreeAlone } from "./client-votes.ts";
import type { Crypto } from "./crypto.ts";
import { type CertifiedMembership, quorumOf, type ReplicaIndex } from "./membership.ts";
import type { Operation, Reply, Request, RequestBody } from "./messages.ts";
import { isReply, MOST_SINGLE } from "./shape.ts";

export type { ClientEffect, ClientEvidence, ClientInput, ClientLimits, ClientTimer, ReplicaClientOptions };

const DEFAULTS: ClientLimits = {
  maxOperations: 128,
  maxRequests: 512,
  retryMs: 150,
  maxRetryMs: 2_000,
  maxSize: 1_048_576,
  silenceMs: 1_000,
  maxHeld: 67_108_864,
};

/** An operation that has not ended. */
interface Open {
  readonly id: string;
  readonly sent: Sent;
  readonly votes: Votes;
  /** Since when outcomes that are missing have been asked for. */
  askedAt: number | undefined;
  /** What is held of each replica's replies. */
  readonly held: number[];
  /** The last reply that had a result of it. */
  heardIn: number;
}

/** Outcomes that are missing may be on their way. */
const ASK_AFTER_MS = 10;

/**
 * Rounds of asking for votes on one result alone. A faulty replica that agrees at first, and then doesn't vote, keeps the others waiting no longer
 * than these, about 20 s by default.
 */
const MOST_ROUNDS = 12;

/** What was certified lately, durable or not: a replica that lies is not to get away with it because it votes last. */
const MOST_CERTIFIED = 1_024;

/** As a state machine: `start` once, then `step` for each thing that happens; effects are carried out in their order. */
export class ReplicaClient {
  readonly #options: ReplicaClientOptions;
  readonly #crypto: Crypto;
  readonly #checks: Checks;
  readonly #limits: ClientLimits;
  #membership: CertifiedMembership;
  #effects: ClientEffect[] = [];
  #now = 0;
  /** Whether the session is open. */
  #isOpen = false;
  readonly #outbox: Outbox;
  readonly #open = new Map<string, Open>();
  readonly #session: Session;
  readonly #certified = new Map<string, Certificate>();
  #retryAt: number | undefined;
  readonly #silence: Silence;
  readonly #singles: Singles;
  readonly #held: Held;
  /** Replies so far. */
  #replies = 0;

  constructor(options: ReplicaClientOptions, cryptography: Crypto) {
    this.#options = options;
    this.#crypto = cryptography;
    this.#checks = new Checks(cryptography);
    this.#limits = { ...DEFAULTS, ...options.limits };
    this.#membership = options.membership;
    this.#outbox = new Outbox(this.#limits);
    this.#session = new Session(options.key, options.session);
    this.#silence = new Silence(this.#limits.silenceMs);
    this.#held = new Held(this.#limits.maxHeld);
    this.#singles = new Singles(this.#limits.retryMs, this.#limits.maxRetryMs);
  }

  /** Opens the session. */
  start(now: number): ClientEffect[] {
    this.#now = now;
    this.#send({ t: "session", keep: [...(this.#options.keep ?? [])] });
    return this.#finish();
  }

  step(input: ClientInput, now: number): ClientEffect[] {
    this.#now = Math.max(now, this.#now);
    switch (input.t) {
      case "submit":
        this.#gather(input.operations);
        break;
      case "settle":
        for (const id of input.operations) this.#settle(id);
        this.#sendWaiting();
        break;
      case "reconfigure":
        this.#outbox.close((id) => this.#session.has(id));
        this.#outbox.push({ t: "reconfigure", next: input.next });
        this.#sendWaiting();
        break;
      case "reply":
        if (isReply(input.reply)) this.#hear(input.from, input.reply);
        break;
      case "epoch":
        this.#enter(input.membership);
        break;
      case "begun":
        this.#silence.hear(input.replica);
        break;
      case "timer":
        if (input.timer === "flush") this.#flush();
        else this.#retry();
        break;
    }
    return this.#finish();
  }

  /** Characters that are held of a replica's replies. */
  heldOf(replica: ReplicaIndex): number {
    return this.#held.of(replica);
  }

  /** Operations that have not ended. */
  get pending(): number {
    return this.#open.size + this.#outbox.size;
  }

  #finish(): ClientEffect[] {
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  // ---------------------------------------------------------------- requests

  /** What comes in one turn goes out as one request. */
  #gather(operations: readonly Operation[]): void {
    if (this.#outbox.gather(operations)) this.#effects.push({ t: "timer", timer: "flush", afterMs: 0 });
  }

  #flush(): void {
    this.#outbox.close((id) => this.#session.has(id));
    this.#sendWaiting();
  }

  /** As far as the session is open, and the replicas take its numbers. */
  #sendWaiting(): void {
    const most = Math.min(this.#limits.maxRequests, NUMBERS_AHEAD);
    while (this.#isOpen && this.#outbox.waiting > 0 && this.#session.unsettled < most) this.#send(this.#outbox.shift()!);
  }

  #send(body: RequestBody): void {
    const { number, unsigned, ids } = this.#session.next(body);
    const request = this.#sign(unsigned);
    const afterMs = this.#limits.retryMs;
    const sent = this.#session.keep(number, { request, open: new Set(ids), unsettled: new Set(ids), dueAt: this.#now + afterMs, afterMs });
    for (const id of ids) this.#open.set(id, { id, sent, votes: new Votes(), askedAt: undefined, held: [], heardIn: 0 });
    this.#effects.push({ t: "send", to: this.#all(), request });
    this.#arm(sent.dueAt);
  }

  #sign(unsigned: Omit<Request, "signature">): Request {
    return { ...unsigned, signature: this.#crypto.sign(requestText(unsigned, this.#membership.membership.set)) };
  }

  #all(): ReplicaIndex[] {
    return this.#membership.membership.replicas.map((_, i) => i);
  }

  /** The replicas may forget what is durable here. */
  #settle(id: string): void {
    if (this.#open.has(id)) return;
    this.#session.settle(id);
  }

  // ---------------------------------------------------------------- votes

  #hear(from: ReplicaIndex, given: Reply): void {
    const { epoch, replicas } = this.#membership.membership;
    if (given.replica !== from || given.epoch !== epoch || from >= replicas.length) return;
    this.#silence.hear(from);
    const { reply, share } = this.#fit(from, given);
    for (const result of reply.results) {
      const open = this.#open.get(result.id);
      if (open !== undefined) {
        if (!this.#held.take(open.held, from, share)) continue;
        this.#checkAhead(open.votes, reply);
        open.votes.add(reply, result, this.#checks);
        this.#judge(open, from);
        continue;
      }
      const certificate = this.#certified.get(result.id);
      if (certificate !== undefined) this.#compare({ reply, result }, certificate);
    }
  }

  /** As much of it as there is room for, and how much that is for each operation that it is held for. */
  #fit(from: ReplicaIndex, reply: Reply): { reply: Reply; share: number } {
    this.#replies++;
    let concerned = 0;
    for (const { id } of reply.results) {
      const open = this.#open.get(id);
      if (open === undefined || open.heardIn === this.#replies) continue;
      open.heardIn = this.#replies;
      concerned++;
    }
    if (concerned === 0) return { reply, share: 0 };
    const size = sizeOf(reply);
    if (this.#held.hasRoom(from, size)) return { reply, share: Math.ceil(size / concerned) };
    const short = withoutOutcomes(reply);
    return { reply: short, share: Math.ceil(sizeOf(short) / concerned) };
  }

  /** While the others' votes are on their way there is time for the signature that will be needed when they are here. */
  #checkAhead(votes: Votes, reply: Reply): void {
    if (votes.size >= quorumOf(this.#membership.membership.faults) || votes.has(reply.replica)) return;
    this.#checks.isSigned(this.#membership, reply);
  }

  #judge(open: Open, from: ReplicaIndex): void {
    const { certified, bad } = open.votes.judge(from, this.#membership, this.#checks);
    for (const about of bad) this.#accuse(about, "bad-vote", `its vote on ${open.id} is not signed by it, or has no way to its root`);
    if (certified !== undefined) this.#certify(open, certified);
    else if (open.votes.size === this.#membership.membership.replicas.length) this.#diverge(open);
  }

  #certify(open: Open, certified: Certified): void {
    const { id, votes } = open;
    const { certificate } = certified;
    const outcome = votes.outcome(certificate.statement.resultHash);
    if (outcome === undefined) {
      // Those who were to send it have not: whoever is asked again sends it.
      this.#ask(open);
      return;
    }
    this.#end(open);
    this.#remember(id, certificate);
    for (const ballot of votes.ballots()) this.#compare(ballot, certificate);
    for (const replica of this.#all()) if (!votes.has(replica)) this.#arm(this.#silence.owe(replica, this.#now));
    this.#report(open.sent.request.body, id, certified, outcome);
  }

  #report(body: RequestBody, operation: string, certified: Certified, outcome: Json): void {
    switch (body.t) {
      case "call":
        this.#effects.push({ t: "certified", operation, outcome, ...certified });
        return;
      case "single":
        return;
      case "session":
        this.#isOpen = true;
        this.#settle(operation);
        this.#sendWaiting();
        return;
      case "reconfigure":
        this.#settle(operation);
        this.#effects.push({ t: "reconfigured", epoch: body.next.membership.epoch, certificate: certified.certificate, outcome });
        return;
    }
  }

  #remember(id: string, certificate: Certificate): void {
    this.#certified.set(id, certificate);
    if (this.#certified.size > MOST_CERTIFIED) this.#certified.delete(this.#certified.keys().next().value!);
  }

  /** A signed vote for another result convinces anyone that its replica is faulty. */
  #compare(ballot: Ballot, certificate: Certificate): void {
    if (!contradicts(ballot, certificate)) return;
    const about = ballot.reply.replica;
    if (!this.#checks.isSigned(this.#membership, ballot.reply) || !this.#checks.isUnder(this.#membership, ballot)) {
      this.#accuse(about, "bad-vote", `its vote on ${ballot.result.id} is not signed by it, or has no way to its root`);
      return;
    }
    const { whole: _, ...single } = ballot.reply;
    const reply: Reply = { ...single, results: [{ ...ballot.result, path: this.#checks.pathOf(this.#membership, ballot) }] };
    const detail = `it has signed another result of ${ballot.result.id} than 2f + 1 replicas`;
    this.#effects.push({ t: "evidence", evidence: { about, kind: "wrong-vote", detail, proof: { reply, certificate } } });
  }

  /** All have answered. With their outcomes it can be said where they differ. */
  #diverge(open: Open): void {
    const { ballots, bad } = open.votes.check(this.#membership, this.#checks);
    for (const about of bad) this.#accuse(about, "bad-vote", `its vote on ${open.id} is not signed by it, or has no way to its root`);
    if (bad.length > 0 || this.#asksAlone(open, ballots)) return;
    const outcomes = ballots.map(({ reply: { replica }, result: { resultHash } }) => {
      return { replica, resultHash, outcome: open.votes.outcome(resultHash) ?? "" };
    });
    // Each vote comes here, and the outcomes with the last of them; who keeps its own back keeps the report back no longer than this.
    if (
      outcomes.some(({ resultHash, outcome }) => resultHash !== "" && outcome === "") &&
      this.#now - (open.askedAt ?? this.#now) < this.#limits.silenceMs
    ) {
      if (open.askedAt === undefined) this.#ask(open);
      open.askedAt ??= this.#now;
      return;
    }
    this.#end(open);
    this.#effects.push({ t: "diverged", operation: open.id, outcomes: outcomes.sort((a, b) => a.replica - b.replica) });
  }

  /**
   * 2f + 1 have come to the same, and their roots differ by other results of the batch: they are asked for votes on this one alone. Not when all
   * have given those, or enough of them after a long time, and they make no certificate.
   */
  #asksAlone({ id, votes }: Open, ballots: readonly Ballot[]): boolean {
    const { faults, replicas } = this.#membership.membership;
    const quorum = quorumOf(faults);
    const isAsked = ballots.length === replicas.length && ballots.every((each) => !hasResult(each) || votes.hasSingle(each.reply.replica));
    if (isAsked || !wouldAgreeAlone(ballots, quorum)) return false;
    if (votes.singles >= quorum && this.#singles.rounds(id) > MOST_ROUNDS) {
      for (const replica of this.#all()) {
        if (!votes.hasSingle(replica) && votes.mayHaveResult(replica))
          this.#accuse(replica, "silent", `it has voted on ${id}, and not on it alone, though asked often`);
      }
      return false;
    }
    this.#arm(this.#singles.want(id, this.#now));
    return true;
  }

  /** Enough have answered to agree, though not all. */
  #reconsider(open: Open): void {
    const quorum = quorumOf(this.#membership.membership.faults);
    if (open.votes.size < quorum || open.votes.size === this.#membership.membership.replicas.length) return;
    const { ballots, bad } = open.votes.check(this.#membership, this.#checks);
    for (const about of bad) this.#accuse(about, "bad-vote", `its vote on ${open.id} is not signed by it, or has no way to its root`);
    this.#asksAlone(open, ballots);
  }

  #askAlone(): void {
    const ids = this.#singles.takeDue(this.#now);
    for (let at = 0; at < ids.length; at += MOST_SINGLE) {
      const body: RequestBody = { t: "single", operations: ids.slice(at, at + MOST_SINGLE) };
      this.#effects.push({ t: "send", to: this.#all(), request: this.#sign(this.#session.aside(body)) });
    }
  }

  #end({ id, sent, held }: Open): void {
    this.#held.release(held);
    this.#singles.drop(id);
    this.#open.delete(id);
    sent.open.delete(id);
  }

  #accuse(about: ReplicaIndex, kind: ClientEvidence["kind"], detail: string, forMs?: number): void {
    this.#effects.push({ t: "evidence", evidence: { about, kind, detail, ...(forMs === undefined ? {} : { forMs }) } });
  }

  // ---------------------------------------------------------------- time

  #ask({ sent }: Open): void {
    sent.dueAt = Math.min(sent.dueAt, this.#now + ASK_AFTER_MS);
    this.#arm(sent.dueAt);
  }

  #retry(): void {
    this.#retryAt = undefined;
    for (const sent of this.#session.sent()) {
      if (sent.open.size === 0 || sent.dueAt > this.#now) continue;
      sent.afterMs = Math.min(sent.afterMs * 2, this.#limits.maxRetryMs);
      sent.dueAt = this.#now + sent.afterMs;
      this.#effects.push({ t: "send", to: this.#all(), request: sent.request });
      // Who has not answered by now may be away for good.
      if (sent.afterMs > 2 * this.#limits.retryMs) for (const id of sent.open) this.#reconsider(this.#open.get(id)!);
    }
    this.#askAlone();
    for (const { replica, ms } of this.#silence.overdue(this.#now)) {
      this.#accuse(replica, "silent", `it has sent no vote for ${ms} ms, and the others have`, ms);
    }
    this.#armNext();
  }

  #armNext(): void {
    for (const sent of this.#session.sent()) if (sent.open.size > 0) this.#arm(sent.dueAt);
    this.#arm(this.#silence.due);
    this.#arm(this.#singles.due);
  }

  #arm(due: number): void {
    if (due === Number.POSITIVE_INFINITY || (this.#retryAt !== undefined && this.#retryAt <= due)) return;
    this.#retryAt = due;
    this.#effects.push({ t: "timer", timer: "retry", afterMs: Math.max(0, due - this.#now) });
  }

  /** Votes of members of an earlier epoch can't be added to those of the next. */
  #enter(membership: CertifiedMembership): void {
    if (membership.membership.epoch <= this.#membership.membership.epoch) return;
    this.#membership = membership;
    this.#silence.clear();
    this.#singles.clear();
    for (const open of this.#open.values()) open.votes.clear();
    for (const sent of this.#session.sent()) {
      if (sent.open.size === 0) continue;
      sent.afterMs = this.#limits.retryMs;
      sent.dueAt = this.#now + sent.afterMs;
      this.#effects.push({ t: "send", to: this.#all(), request: sent.request });
    }
    this.#armNext();
  }
}
