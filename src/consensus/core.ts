import { PageWriter } from "./client-pages.ts";
import { ClientTable, type Kept, type KeptBatch } from "./client-table.ts";
import type { Crypto, Digest, PublicKey, Signature } from "./crypto.ts";
import type { DurableRecord, Effect, Evidence, Notice } from "./effects.ts";
import { type CertifiedMembership, leaderOf, type Membership, quorumOf, type ReplicaIndex, replicasOf, weakOf } from "./membership.ts";
import type { MerkleTree } from "./merkle.ts";
import type { CheckpointVote, NewView, PeerMessage, Request, StableCheckpoint, ViewChange } from "./messages.ts";
import { type Flaw, type Limits, type ReplicaOptions, withDefaults } from "./options.ts";
import { RequestPool } from "./requests.ts";
import { Log } from "./slots.ts";

/** A number that was given to the executor, until its results are there. */
export interface Execution {
  readonly seq: number;
  readonly fresh: Kept[];
  /** What the executor was asked for: of `fresh` those that are neither refused nor the replicas' own. */
  readonly asked: Kept[];
  outcomes: string[] | undefined;
}

/** One signature for all results of a number. */
export interface BatchVote {
  readonly epoch: number;
  readonly view: number;
  readonly tree: MerkleTree;
  readonly signature: Signature;
}

/** The state after a number, as this replica has it. */
export interface OwnCheckpoint {
  readonly seq: number;
  /** The pages of the client table, and their digests. */
  core: string[];
  coreDigests: Digest[];
  /** All pages, those of the function last; `undefined` until the executor has written them. */
  pages: Digest[] | undefined;
  digest: Digest;
}

/** State that is being fetched from the peers. */
export interface Transfer {
  readonly target: StableCheckpoint;
  readonly pages: Digest[];
  readonly got: (string | undefined)[];
  /** Pages asked for and not here: of whom. */
  readonly asked: Map<number, ReplicaIndex>;
  readonly membership: CertifiedMembership;
  readonly next: CertifiedMembership | undefined;
  missing: number;
  peer: ReplicaIndex;
  /** A peer has not answered in time. */
  isStuck: boolean;
  /** All pages are here, and the executor is putting them in place. */
  installing: boolean;
}

/** A stable checkpoint that this replica has not reached. */
export interface Ahead {
  readonly stable: StableCheckpoint;
  /** Without them they are asked for, if they are needed. */
  readonly pages: Digest[] | undefined;
  /** Of the votes. */
  readonly membership: CertifiedMembership;
  readonly next: CertifiedMembership | undefined;
  readonly since: number;
}

/** Where the view stands (TOCS 2002, §4.4). */
export interface Views {
  view: number;
  /** Whether the view has begun here. */
  active: boolean;
  /** The first view of the epoch needs no new-view message. */
  first: number;
  /** The last view change of each replica, valid and of this epoch. */
  readonly changes: (ViewChange | undefined)[];
  /** The view changes that were last found valid. */
  readonly valid: ({ text: string; signature: Signature } | undefined)[];
  /** Whether any have come since the leader has last looked at them. */
  isNews: boolean;
  /** Since when each replica has wanted to leave the current view alone, and how often it was followed. */
  readonly stragglers: ({ view: number; since: number; patienceMs: number } | undefined)[];
  /** The new view that the current view began with. */
  newView: NewView | undefined;
  /** Since when 2f + 1 wait for the new view. */
  waitingSince: number | undefined;
}

/** What the timers know. */
export interface Pace {
  timeoutMs: number;
  /** The request that has waited longest, and since when it has been that one. */
  head: Digest | undefined;
  headSince: number;
  /** When each armed timer is due. */
  progressAt: number | undefined;
  statusAt: number | undefined;
  fetchAt: number | undefined;
  batchAt: number | undefined;
  /** What progress looked like at the last status. */
  mark: string;
  saidAt: number;
  /** When each peer's status was last answered. */
  readonly answeredAt: number[];
  readonly provenAt: number[];
  /** How long the last requests were at the head. */
  samples: number[];
  bestMs: number;
  slowBackoffMs: number;
  slowUntil: number;
  ordered: number;
}

/** What comes with a change of the members. */
export interface Ending {
  readonly seq: number;
  readonly next: CertifiedMembership;
}

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
  /** Votes that were made again for results that are kept. */
  readonly repeated = new WeakMap<KeptBatch, BatchVote>();

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

  enterMembership(certified: CertifiedMembership): void {
    this.previous = this.certified;
    this.certified = certified;
    this.others = peersOf(certified.membership, this.index);
    if (certified.membership.replicas[this.index] !== this.key) this.retired = true;
  }
}

const MOST_ACCUSED = 256;

const peersOf = ({ replicas }: Membership, index: ReplicaIndex): ReplicaIndex[] => replicas.map((_, i) => i).filter((i) => i !== index);
