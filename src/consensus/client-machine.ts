/**
 * The client of a replica set: requests, votes, certificates.
 *
 * Owns: the session's numbers, what is asked for, the votes for it. Does not own: keys, the network, whether a result is durable (`settle`).
 *
 *   submit ─► gathered ─► sent ─(again and again)─► 2f + 1 votes ─► certified ─► settle ─► forgotten, here and by the replicas
 *                                      └─ all have answered, and differ ─► diverged
 *
 * I1  Nothing is certified without valid signatures of 2f + 1 members of one epoch under one root that has this result.
 * I2  A result is dropped by the replicas only after the host has said that it is durable: before, a client that starts anew asks for it again.
 * I3  Each operation ends once: certified, or diverged.
 */
import { Deque } from "../lib/deque.ts";
import type { Json } from "../lib/json.ts";
import { requestText } from "./canonical.ts";
import type { Certificate } from "./certificate.ts";
import { epochId, NUMBERS_AHEAD, sessionId } from "./client-table.ts";
import { type Ballot, Checks, contradicts, Votes } from "./client-votes.ts";
import type { Crypto, Digest, PublicKey } from "./crypto.ts";
import type { CertifiedMembership, ReplicaIndex } from "./membership.ts";
import type { Operation, Reply, Request, RequestBody } from "./messages.ts";
import { isReply } from "./shape.ts";

export interface ReplicaClientOptions {
  membership: CertifiedMembership;
  /** The client's own public key, one of `membership.clients`. */
  key: PublicKey;
  /** Greater than that of each earlier life. */
  session: number;
  /** Operations of earlier lives whose results are not durable yet: the replicas keep what they know of them. Default none. */
  keep?: readonly string[];
  limits?: Partial<ClientLimits>;
}

export interface ClientLimits {
  /** Operations in one request. Default 128. */
  maxOperations: number;
  /** Requests under way; more operations wait. Default 512. */
  maxRequests: number;
  /** When a request is sent again for the first time; doubles. Default 150. */
  retryMs: number;
  /** Default 2,000. */
  maxRetryMs: number;
  /** Characters of one request. Default 1,048,576. */
  maxSize: number;
  /** How long a replica may miss votes that the others have sent. Default 1,000. */
  silenceMs: number;
}

export type ClientTimer = "flush" | "retry";

export type ClientInput =
  | { t: "submit"; operations: readonly Operation[] }
  /** These results are durable at the client: the replicas need to keep them no longer. */
  | { t: "settle"; operations: readonly string[] }
  /** Asks the replicas to go on as the members of the next epoch. Answered by `reconfigured`. */
  | { t: "reconfigure"; next: CertifiedMembership }
  | { t: "reply"; from: ReplicaIndex; reply: Reply }
  /** The set has new members, as the host has learned from them or from the admin. */
  | { t: "epoch"; membership: CertifiedMembership }
  | { t: "timer"; timer: ClientTimer };

export type ClientEffect =
  | { t: "send"; to: ReplicaIndex[]; request: Request }
  | { t: "certified"; operation: string; certificate: Certificate; outcome: Json }
  /** All replicas have answered, and no 2f + 1 of them the same: the function is not deterministic. */
  | { t: "diverged"; operation: string; outcomes: { replica: ReplicaIndex; resultHash: Digest; outcome: Json }[] }
  | { t: "reconfigured"; epoch: number; certificate: Certificate; outcome: Json }
  | { t: "evidence"; evidence: ClientEvidence }
  /** Arms a timer anew; without `afterMs` it is stopped. `flush` after 0 ms is the end of the host's turn. */
  | { t: "timer"; timer: ClientTimer; afterMs?: number };

/** `wrong-vote` convinces anyone by its proof; `bad-vote`, whose signature or path is not valid, and `silent` are this client's word. */
export interface ClientEvidence {
  about: ReplicaIndex;
  kind: "wrong-vote" | "bad-vote" | "silent";
  detail: string;
  /** For a wrong vote: the reply, and the certificate that it contradicts. */
  proof?: { reply: Reply; certificate: Certificate };
}

const DEFAULTS: ClientLimits = {
  maxOperations: 128,
  maxRequests: 512,
  retryMs: 150,
  maxRetryMs: 2_000,
  maxSize: 1_048_576,
  silenceMs: 1_000,
};

/** An operation that has not ended. */
interface Open {
  readonly id: string;
  readonly sent: Sent;
  readonly votes: Votes;
  /** Outcomes that were missing have been asked for. */
  hasAsked: boolean;
}

/** A request that was sent, until its results are settled. */
interface Sent {
  readonly request: Request;
  /** Operations without a result. */
  readonly open: Set<string>;
  /** Operations whose results are not durable. */
  readonly unsettled: Set<string>;
  dueAt: number;
  afterMs: number;
}

/** Outcomes that are missing may be on their way. */
const ASK_AFTER_MS = 10;

/** What was certified lately: those who vote late are still heard. */
const MOST_CERTIFIED = 1_024;

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
  #isGathering = false;
  #number = 0;
  #settled = 0;
  readonly #waiting = new Deque<RequestBody>();
  #gathered: Operation[] = [];
  readonly #open = new Map<string, Open>();
  readonly #sent = new Map<number, Sent>();
  /** Which request an operation belongs to, until it is settled. */
  readonly #numbers = new Map<string, number>();
  readonly #certified = new Map<string, Certificate>();
  #retryAt: number | undefined;
  /** Since when each replica has missed what the others have voted on. */
  readonly #owedSince = new Map<ReplicaIndex, number>();
  readonly #silent = new Set<ReplicaIndex>();

  constructor(options: ReplicaClientOptions, cryptography: Crypto) {
    this.#options = options;
    this.#crypto = cryptography;
    this.#checks = new Checks(cryptography);
    this.#limits = { ...DEFAULTS, ...options.limits };
    this.#membership = options.membership;
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
        this.#gatherRequests();
        this.#waiting.push({ t: "reconfigure", next: input.next });
        this.#sendWaiting();
        break;
      case "reply":
        if (isReply(input.reply)) this.#hear(input.from, input.reply);
        break;
      case "epoch":
        this.#enter(input.membership);
        break;
      case "timer":
        if (input.timer === "flush") this.#flush();
        else this.#retry();
        break;
    }
    return this.#finish();
  }

  /** Operations that have not ended. */
  get pending(): number {
    return this.#open.size + this.#gathered.length + this.#waiting.size;
  }

  #finish(): ClientEffect[] {
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  // ---------------------------------------------------------------- requests

  /** What comes in one turn goes out as one request. */
  #gather(operations: readonly Operation[]): void {
    for (const operation of operations) this.#gathered.push(operation);
    if (this.#isGathering || this.#gathered.length === 0) return;
    this.#isGathering = true;
    this.#effects.push({ t: "timer", timer: "flush", afterMs: 0 });
  }

  #flush(): void {
    this.#isGathering = false;
    this.#gatherRequests();
    this.#sendWaiting();
  }

  #gatherRequests(): void {
    const seen = new Set<string>();
    let operations: Operation[] = [];
    let size = 0;
    for (const operation of this.#gathered) {
      // It is under way already, and will be answered once.
      if (seen.has(operation.id) || this.#numbers.has(operation.id)) continue;
      seen.add(operation.id);
      const length = operation.id.length + operation.key.length + operation.input.length;
      if (operations.length >= this.#limits.maxOperations || (operations.length > 0 && size + length > this.#limits.maxSize)) {
        this.#waiting.push({ t: "call", operations });
        operations = [];
        size = 0;
      }
      operations.push(operation);
      size += length;
    }
    if (operations.length > 0) this.#waiting.push({ t: "call", operations });
    this.#gathered = [];
  }

  /** As far as the session is open, and the replicas take its numbers. */
  #sendWaiting(): void {
    const most = Math.min(this.#limits.maxRequests, NUMBERS_AHEAD);
    while (this.#isOpen && this.#waiting.size > 0 && this.#number - this.#settled < most) this.#send(this.#waiting.shift()!);
  }

  #send(body: RequestBody): void {
    const number = ++this.#number;
    const { key: client, session } = this.#options;
    const unsigned: Omit<Request, "signature"> = { client, session, number, settled: this.#settled, body };
    const signature = this.#crypto.sign(requestText(unsigned, this.#membership.membership.set));
    const request: Request = { ...unsigned, signature };
    const ids = this.#idsOf(body);
    const afterMs = this.#limits.retryMs;
    const sent: Sent = { request, open: new Set(ids), unsettled: new Set(ids), dueAt: this.#now + afterMs, afterMs };
    this.#sent.set(number, sent);
    for (const id of ids) {
      this.#numbers.set(id, number);
      this.#open.set(id, { id, sent, votes: new Votes(), hasAsked: false });
    }
    this.#effects.push({ t: "send", to: this.#all(), request });
    this.#arm(sent.dueAt);
  }

  #idsOf(body: RequestBody): string[] {
    switch (body.t) {
      case "call":
        return body.operations.map(({ id }) => id);
      case "session":
        return [sessionId({ client: this.#options.key, session: this.#options.session })];
      case "reconfigure":
        return [epochId(body.next.membership.epoch, body.next.signature)];
    }
  }

  #all(): ReplicaIndex[] {
    return this.#membership.membership.replicas.map((_, i) => i);
  }

  /** The replicas may forget what is durable here. */
  #settle(id: string): void {
    const number = this.#numbers.get(id);
    if (number === undefined || this.#open.has(id)) return;
    this.#numbers.delete(id);
    this.#certified.delete(id);
    const sent = this.#sent.get(number)!;
    sent.unsettled.delete(id);
    if (sent.unsettled.size > 0) return;
    this.#sent.delete(number);
    while (this.#settled < this.#number && !this.#sent.has(this.#settled + 1)) this.#settled++;
  }

  // ---------------------------------------------------------------- votes

  #hear(from: ReplicaIndex, reply: Reply): void {
    const { epoch, replicas } = this.#membership.membership;
    if (reply.replica !== from || reply.epoch !== epoch || from >= replicas.length) return;
    this.#owedSince.delete(from);
    this.#silent.delete(from);
    for (const result of reply.results) {
      const open = this.#open.get(result.id);
      if (open !== undefined) {
        open.votes.add(reply, result, this.#checks);
        this.#judge(open, from);
        continue;
      }
      const certificate = this.#certified.get(result.id);
      if (certificate !== undefined) this.#compare({ reply, result }, certificate);
    }
  }

  #judge(open: Open, from: ReplicaIndex): void {
    const { certificate, bad } = open.votes.judge(from, this.#membership, this.#checks);
    for (const about of bad) this.#accuse(about, "bad-vote", `its vote on ${open.id} is not signed by it, or has no way to its root`);
    if (certificate !== undefined) this.#certify(open, certificate);
    else if (open.votes.size === this.#membership.membership.replicas.length) this.#diverge(open);
  }

  #certify(open: Open, certificate: Certificate): void {
    const { id, votes } = open;
    const outcome = votes.outcome(certificate.statement.resultHash);
    if (outcome === undefined) {
      // Those who were to send it have not: whoever is asked again sends it.
      this.#ask(open);
      return;
    }
    this.#end(open);
    this.#remember(id, certificate);
    for (const ballot of votes.ballots()) this.#compare(ballot, certificate);
    for (const replica of this.#all()) if (!votes.has(replica)) this.#owe(replica);
    this.#report(open.sent.request.body, id, certificate, outcome);
  }

  #report(body: RequestBody, operation: string, certificate: Certificate, outcome: Json): void {
    switch (body.t) {
      case "call":
        this.#effects.push({ t: "certified", operation, certificate, outcome });
        return;
      case "session":
        this.#isOpen = true;
        this.#settle(operation);
        this.#sendWaiting();
        return;
      case "reconfigure":
        this.#settle(operation);
        this.#effects.push({ t: "reconfigured", epoch: body.next.membership.epoch, certificate, outcome });
        return;
    }
  }

  #owe(replica: ReplicaIndex): void {
    if (this.#owedSince.has(replica)) return;
    this.#owedSince.set(replica, this.#now);
    this.#arm(this.#now + this.#limits.silenceMs);
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
    const reply: Reply = { ...ballot.reply, results: [ballot.result] };
    const detail = `it has signed another result of ${ballot.result.id} than 2f + 1 replicas`;
    this.#effects.push({ t: "evidence", evidence: { about, kind: "wrong-vote", detail, proof: { reply, certificate } } });
  }

  /** All have answered. With their outcomes it can be said where they differ. */
  #diverge(open: Open): void {
    const { ballots, bad } = open.votes.check(this.#membership, this.#checks);
    for (const about of bad) this.#accuse(about, "bad-vote", `its vote on ${open.id} is not signed by it, or has no way to its root`);
    if (bad.length > 0) return;
    const outcomes = ballots.map(({ reply: { replica }, result: { resultHash } }) => {
      return { replica, resultHash, outcome: open.votes.outcome(resultHash) ?? "" };
    });
    if (outcomes.some(({ outcome }) => outcome === "") && !open.hasAsked) {
      open.hasAsked = true;
      this.#ask(open);
      return;
    }
    this.#end(open);
    this.#effects.push({ t: "diverged", operation: open.id, outcomes: outcomes.sort((a, b) => a.replica - b.replica) });
  }

  #end({ id, sent }: Open): void {
    this.#open.delete(id);
    sent.open.delete(id);
  }

  #accuse(about: ReplicaIndex, kind: ClientEvidence["kind"], detail: string): void {
    this.#effects.push({ t: "evidence", evidence: { about, kind, detail } });
  }

  // ---------------------------------------------------------------- time

  #ask({ sent }: Open): void {
    sent.dueAt = Math.min(sent.dueAt, this.#now + ASK_AFTER_MS);
    this.#arm(sent.dueAt);
  }

  #retry(): void {
    this.#retryAt = undefined;
    for (const sent of this.#sent.values()) {
      if (sent.open.size === 0 || sent.dueAt > this.#now) continue;
      sent.afterMs = Math.min(sent.afterMs * 2, this.#limits.maxRetryMs);
      sent.dueAt = this.#now + sent.afterMs;
      this.#effects.push({ t: "send", to: this.#all(), request: sent.request });
    }
    for (const [replica, since] of this.#owedSince) {
      if (this.#now - since < this.#limits.silenceMs || this.#silent.has(replica)) continue;
      this.#silent.add(replica);
      this.#accuse(replica, "silent", `it has sent no vote for ${this.#now - since} ms, and the others have`);
    }
    this.#armNext();
  }

  #armNext(): void {
    for (const sent of this.#sent.values()) if (sent.open.size > 0) this.#arm(sent.dueAt);
    for (const [replica, since] of this.#owedSince) if (!this.#silent.has(replica)) this.#arm(since + this.#limits.silenceMs);
  }

  #arm(due: number): void {
    if (this.#retryAt !== undefined && this.#retryAt <= due) return;
    this.#retryAt = due;
    this.#effects.push({ t: "timer", timer: "retry", afterMs: Math.max(0, due - this.#now) });
  }

  /** Votes of members of an earlier epoch can't be added to those of the next. */
  #enter(membership: CertifiedMembership): void {
    if (membership.membership.epoch <= this.#membership.membership.epoch) return;
    this.#membership = membership;
    this.#owedSince.clear();
    this.#silent.clear();
    for (const open of this.#open.values()) open.votes.clear();
    for (const sent of this.#sent.values()) {
      if (sent.open.size === 0) continue;
      sent.afterMs = this.#limits.retryMs;
      sent.dueAt = this.#now + sent.afterMs;
      this.#effects.push({ t: "send", to: this.#all(), request: sent.request });
    }
    this.#armNext();
  }
}
