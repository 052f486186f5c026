import { PageWriter } from "./client-pages.ts";
import { ClientTable, type Kept, type KeptBatch } from "./client-table.ts";
import type { Ahead, BatchVote, Ending, Execution, LackedResult, OwnCheckpoint, Pace, Transfer, Views } from "./core-parts.ts";
import type { Crypto, Digest, PublicKey } from "./crypto.ts";
import type { DurableRecord, Effect, Evidence, Notice } from "./effects.ts";
import { type CertifiedMembership, leaderOf, type Membership, quorumOf, type ReplicaIndex, replicasOf, weakOf } from "./membership.ts";
import type { CheckpointVote, OwnResult, PeerMessage, Reply, Request, StableCheckpoint } from "./messages.ts";
import { type Flaw, type Limits, type ReplicaOptions, withDefaults } from "./options.ts";
import { RequestPool } from "./requests.ts";
import { ResultWriter } from "./result-pages.ts";
import { Log } from "./slots.ts";

/**
 * What the parts of a replica share: who it is, what it knows, and the effects of this step.
 *
 * Owns: the data. Does not own: the rules, which are functions of it in the files beside this one. They don't call each other in circles:
 * each records what has happened, and `machine.ts` draws the consequences in a fixed order.
 */
export class Core {
  readonly crypto: Crypto;
  readonly limits: Limits;
  readonly flaws: Partial<Record<Flaw, true>>;
  readonly admin: PublicKey;
  readonly key: PublicKey;
  readonly index: ReplicaIndex;
  readonly durable: boolean;
  now = 0;
  effects: Effect[] = [];

  certified: CertifiedMembership;
  /** Of the epoch before: its votes made the state that this epoch began with. */
  previous: CertifiedMembership | undefined;
  /** The state that the epoch began with. */
  base: { seq: number; digest: Digest } = { seq: 0, digest: "" };
  others: ReplicaIndex[];
  retired = false;
  /** A newcomer that has no state yet takes no part. */
  joining: boolean;
  /** Without state nothing is executed: it comes from the host's disk, or from the peers. */
  state: "present" | "restoring" | "missing";

  readonly log = new Log();
  readonly pool = new RequestPool();
  table: ClientTable;
  readonly views: Views = {
    view: 0,
    active: true,
    first: 0,
    changes: [],
    valid: [],
    isNews: false,
    stragglers: [],
    newView: undefined,
    waitingSince: undefined,
  };
  readonly pace: Pace;

  // Execution
  readonly executing: Execution[] = [];
  /** Nothing later is executed before this number has been. */
  barrier: number | undefined;
  /** Of the last number executed: time never runs backwards. */
  time = 0;
  ending: Ending | undefined;

  // Checkpoints
  stable: StableCheckpoint;
  readonly checkpoints = new Map<number, OwnCheckpoint>();
  /** Valid votes above the stable checkpoint, of each replica. */
  readonly votes: Map<number, CheckpointVote & { digest: Digest }>[] = [];
  /** Proven by others, and not reached here yet. */
  ahead: Ahead | undefined;
  writer = new PageWriter();
  readonly resultWriter = new ResultWriter();
  /** The function's pages that were written before the answers to what they contain came. */
  readonly snapshots = new Map<number, Digest[]>();
  /** Proofs of stable checkpoints that were found good. */
  readonly proven = new Set<string>();
  transfer: Transfer | undefined;

  /** Contents that are missing: for which numbers. */
  readonly lacking = new Map<Digest, { kind: "request" | "batch"; seqs: Set<number> }>();
  fetchTurn = 0;
  /** What was sent to each peer lately on its own wish. */
  readonly sent: ({ since: number; size: number } | undefined)[] = [];
  /** The last status of each peer. */
  readonly statuses: (Extract<PeerMessage, { t: "status" }> | undefined)[] = [];
  /** Others are in an epoch that this replica knows nothing of. */
  isLate = false;
  /** Of the next epoch, from those who are in it already. */
  early: { from: ReplicaIndex; epoch: number; message: PeerMessage }[] = [];
  /** Whom to answer besides the client that asked first, until the operation has been executed. */
  readonly askers = new Map<string, Set<PublicKey>>();
  /** Operations whose results the peers are asked for, by id. */
  readonly lacked = new Map<string, LackedResult>();
  /** Results of an earlier life. */
  recalled: OwnResult[] = [];
  /** Votes that were made again for results that are kept. */
  readonly repeated = new WeakMap<KeptBatch, BatchVote>();
  /** The same for votes on one result alone, and how many each client was sent lately. */
  readonly singles = new WeakMap<Kept, Reply>();
  readonly sentSingles = new Map<PublicKey, { since: number; count: number }>();

  readonly #accused = new Set<string>();

  constructor(options: ReplicaOptions, cryptography: Crypto) {
    this.crypto = cryptography;
    this.limits = withDefaults(options.limits);
    this.flaws = options.flaws ?? {};
    this.admin = options.admin;
    this.index = options.index;
    this.certified = options.membership;
    this.key = options.key ?? options.membership.membership.replicas[options.index]!;
    this.durable = options.durable === true && this.flaws.unsyncedLog !== true;
    this.others = peersOf(this.membership, this.index);
    this.joining = !(options.isFounding ?? this.epoch === 1);
    this.state = this.joining ? "missing" : "present";
    this.table = this.emptyTable();
    this.stable = { epoch: this.epoch, seq: 0, digest: "", votes: [] };
    this.pace = {
      timeoutMs: this.limits.progressTimeoutMs,
      head: undefined,
      headSince: 0,
      stoodAt: undefined,
      renewals: 0,
      progressAt: undefined,
      statusAt: undefined,
      fetchAt: undefined,
      batchAt: undefined,
      mark: "",
      saidAt: 0,
      answeredAt: [],
      provenAt: [],
      samples: [],
      bestMs: Number.POSITIVE_INFINITY,
      slowBackoffMs: 2_000,
      slowUntil: 0,
      ordered: 0,
    };
  }

  get membership(): Membership {
    return this.certified.membership;
  }

  get set(): string {
    return this.membership.set;
  }

  get epoch(): number {
    return this.membership.epoch;
  }

  get size(): number {
    return replicasOf(this.membership.faults);
  }

  get quorum(): number {
    return this.flaws.quorumOf2f === true ? 2 * this.membership.faults : quorumOf(this.membership.faults);
  }

  get weak(): number {
    return weakOf(this.membership.faults);
  }

  get view(): number {
    return this.views.view;
  }

  get leader(): ReplicaIndex {
    return leaderOf(this.views.view, this.membership.faults);
  }

  get isLeader(): boolean {
    return this.leader === this.index;
  }

  /** Whether the replica takes part in ordering. */
  get takesPart(): boolean {
    return this.views.active && !this.retired && !this.joining;
  }

  /** The high water mark (TOCS 2002, §4.3). */
  get high(): number {
    return this.log.low + this.limits.window;
  }

  isWithin(seq: number): boolean {
    return seq > this.log.low && seq <= this.high;
  }

  emptyTable(): ClientTable {
    return new ClientTable(this.limits, this.flaws.noClientTable !== true);
  }

  send(to: ReplicaIndex, message: PeerMessage): void {
    this.effects.push({ t: "send", epoch: this.epoch, to: [to], message });
  }

  broadcast(message: PeerMessage): void {
    this.effects.push({ t: "send", epoch: this.epoch, to: this.others, message });
  }

  /** Before what depends on it. */
  persist(record: DurableRecord): void {
    if (!this.durable) return;
    const last = this.effects.at(-1);
    if (last?.t === "persist") last.records.push(record);
    else this.effects.push({ t: "persist", records: [record] });
  }

  /** Each thing once: who repeats it floods nobody with the news of it. */
  accuse(about: ReplicaIndex, kind: Evidence["kind"], seq: number, detail: string, proof?: unknown[]): void {
    const name = `${about} ${kind} ${this.view} ${seq}`;
    if (this.#accused.has(name)) return;
    if (this.#accused.size >= MOST_ACCUSED) this.#accused.clear();
    this.#accused.add(name);
    const evidence: Evidence = { about, kind, view: this.view, seq, detail };
    if (proof !== undefined) evidence.proof = proof;
    this.effects.push({ t: "evidence", evidence });
  }

  notice(notice: Notice): void {
    this.effects.push({ t: "notice", notice });
  }

  isClient({ client }: Pick<Request, "client">): boolean {
    return this.membership.clients.includes(client);
  }

  /** Whether no leader has to order it: it has been executed, its session is over, or its client is none of this epoch. */
  isMoot(request: Request): boolean {
    return this.table.isStale(request) || !this.isClient(request);
  }

  enterMembership(certified: CertifiedMembership): void {
    this.previous = this.certified;
    this.certified = certified;
    this.others = peersOf(certified.membership, this.index);
    if (certified.membership.replicas[this.index] !== this.key) this.retired = true;
  }
}

const MOST_ACCUSED = 256;

const peersOf = ({ replicas }: Membership, index: ReplicaIndex): ReplicaIndex[] => replicas.map((_, i) => i).filter((i) => i !== index);
