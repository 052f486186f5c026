/**
 * The state store as the rest of the control plane uses it.
 *
 * Owns: bringing decisions of the machine into the turn; what is asked from outside of any invocation; the end of keys whose time is over.
 * Does not own: what may commit (machine.ts), what a transaction reads (reads.ts), operations of coordinators (single-operations.ts), rows
 * (reader.ts), who may read or write what (src/invocation).
 *
 * A1  What a read shows is durable, and nothing that was decided before the read is missing in it.
 * A2  A write and all that follows from it (staleness, events) are put into the turn at once, in one step with what the caller puts there.
 */
import type { Turn } from "../coordinator/turn.ts";
import type { StateRows } from "../journal/port.ts";
import type { Clock } from "../lib/clock.ts";
import { LockstepError } from "../lib/errors.ts";
import type { RunId } from "../lib/ids.ts";
import type { Json } from "../lib/json.ts";
import { compareUtf8 } from "../lib/utf8.ts";
import { APPLICATION_NAME } from "../protocol/application.ts";
import type { StatePlane } from "../protocol/control-plane.ts";
import type { Space, Staleness, StateEntry, StateOp, StateRead, StateWrite } from "../protocol/state.ts";
import { checkKey, checkListing, checkWrite, MOST_LISTED, MOST_WRITES } from "./checks.ts";
import { StateMachine, type Step, type Writes } from "./machine.ts";
import { StateReader } from "./reader.ts";
import { TransactionReads } from "./reads.ts";
import { SingleOperations, type StateOutcome, type Transactions } from "./single-operations.ts";
import type { Owner, Transaction } from "./transaction.ts";

export type { StateOutcome } from "./single-operations.ts";
export type { Owner, Transaction } from "./transaction.ts";

export interface StateParts {
  rows: StateRows;
  turn: Turn;
  clock: Clock;
  /** A value, as JSON; a listing's values together. */
  maxValueBytes: number;
  /** How long keys of a table live that are set from outside without a time of their own; `undefined`: for ever. */
  ttlMs(space: Space, table: string): number | undefined;
  /** Told when the journal could not be read. */
  failed(error: unknown): void;
}

type StaleListener = (space: Space, key: string, stale: Staleness) => void;

/** Who writes outside of any run comes after all of them in rank: else a call that reads what is written often might never get through. */
const OUTSIDE: RunId = "~";

const SWEEP_MS = 1_000;
const SWEEP_SLICE = 100;
const NEXT_SLICE_MS = 20;

export class StateService implements StatePlane {
  readonly #parts: StateParts;
  readonly #machine: StateMachine;
  readonly #reader: StateReader;
  readonly #reads: TransactionReads;
  readonly #operations: SingleOperations;
  readonly #staleListeners: StaleListener[] = [];
  /** Called when an urgent transaction ends: those that it kept from committing may try again. */
  #blocked: (() => void)[] = [];
  #stopped = false;
  #cancelSweep = () => {};
  readonly counters = { commits: 0, conflicts: 0 };

  constructor(parts: StateParts) {
    this.#parts = parts;
    this.#machine = new StateMachine(parts.rows.lastVersion);
    this.#reader = new StateReader(parts, this.#machine);
    this.#reads = new TransactionReads(this.#machine, this.#reader, () => this.#retryBlocked());
    const transactions: Transactions = {
      begin: (owner, conflicts) => this.begin(owner, conflicts),
      abandon: (tx) => this.abandon(tx),
      check: ({ space }, writes) => [{ space, writes: this.#checked(space, writes) }],
      commit: (tx, writes) => this.#commit(tx, writes),
      released: () => new Promise((resolve) => this.#blocked.push(resolve)),
      failed: (error) => parts.failed(error),
    };
    this.#operations = new SingleOperations(transactions, this.#machine, this.#reader, this.#reads);
  }

  /** Reads what earlier lives have left stale; to be called before anything else. */
  async start(): Promise<void> {
    this.#machine.load(await this.#parts.rows.stale());
    this.#sweepLater(SWEEP_MS);
  }

  stop(): void {
    this.#stopped = true;
    this.#cancelSweep();
  }

  /** `told` is called in the same step in which a key becomes stale that was fresh: what it records commits with that. */
  onStale(told: StaleListener): void {
    this.#staleListeners.push(told);
  }

  /** A version for a row that somebody else writes: all come from one counter. */
  nextVersion(): number {
    return this.#machine.nextVersion();
  }

  // ---------------------------------------------------------------- transactions

  /**
   * Opens the transaction of an attempt; `commit` or `abandon` ends it.
   * @param conflicts how often in a row the same call's transactions have conflicted: one that has too often goes before others
   */
  begin(owner: Owner, conflicts = 0): Transaction {
    return this.#machine.begin(owner, conflicts);
  }

  /** What `entry` would give, at once: a fresh value that takes no look at the disk. `undefined` when it isn't as simple. */
  known(tx: Transaction, key: string): StateEntry | undefined {
    return this.#reads.known(tx, key);
  }

  /** Reads one key. Rejects as `read` does. */
  entry(tx: Transaction, ask: StateRead & { op: "get" }): Promise<StateEntry> {
    return this.#reads.get(tx, tx.owner.space, ask);
  }

  /**
   * Gives JSON of a `StateEntry`, or of a list of them. Rejects with STATE_STALE, STATE_KEY_INVALID, BAD_REQUEST, PAYLOAD_TOO_LARGE for a
   * listing or transaction that is too large, and STATE_CONFLICT as soon as the transaction can't commit any more.
   * @param space default: the owner's
   */
  async read(tx: Transaction, ask: StateRead, space: Space = tx.owner.space): Promise<Json> {
    const found = ask.op === "get" ? await this.#reads.get(tx, space, ask) : await this.#reads.list(tx, space, ask);
    return JSON.stringify(found);
  }

  /**
   * Ends the transaction. `false`: it conflicts, and nothing is written. What it writes belongs to this turn's commit.
   * @param also writes in other spaces
   * @throws {LockstepError} STATE_KEY_INVALID, BAD_REQUEST, PAYLOAD_TOO_LARGE for writes that can't be; the transaction is still open then
   */
  commit(tx: Transaction, writes: readonly StateWrite[], also: readonly Writes[] = []): boolean {
    const parts = [{ space: tx.owner.space, writes: this.#checked(tx.owner.space, writes) }];
    for (const { space, writes: more } of also) parts.push({ space, writes: this.#checked(space, more) });
    return this.#commit(tx, parts);
  }

  /** Ends the transaction without writing anything. */
  abandon(tx: Transaction): void {
    this.#machine.end(tx);
    this.#ended(tx);
  }

  /** Whether earlier attempts of this call have left keys stale, which its success makes fresh. */
  hasFaulted(cause: Pick<Owner, "run" | "seq">): boolean {
    return this.#machine.hasFaulted(cause);
  }

  /** An attempt has failed: marks these keys in this turn's commit. Those that can't be keys are passed over. */
  fault(owner: Owner, keys: readonly string[], stale: Staleness): void {
    const known = [...new Set(keys)].filter((key) => isKey(owner.space, key));
    if (known.length > 0) this.#put(this.#machine.fault(owner, known, stale));
  }

  /**
   * One operation as a transaction of its own. `settle` is called once, later than this returns, and for a write in the same step in which
   * the write is put into the turn. What a write gives is JSON of `{ key, version }`. Returns what gives the operation up.
   */
  execute(owner: Owner, op: StateOp, settle: (outcome: StateOutcome) => void): () => void {
    return this.#operations.execute(owner, op, settle);
  }

  // ---------------------------------------------------------------- outside of any invocation

  async get(application: string, key: string): Promise<StateEntry> {
    checkApplication(application);
    checkKey(application, key);
    return this.#reader.entry(application, key);
  }

  async list(application: string, prefix: string, limit: number, after?: string): Promise<StateEntry[]> {
    checkApplication(application);
    if (prefix !== "") checkListing(application, prefix, limit, after);
    return this.#reader.page(application, prefix, Math.min(limit, MOST_LISTED), after);
  }

  /** Resolves when the write is durable. It waits for calls that have lost too often against others. */
  async write(application: string, write: StateWrite): Promise<StateEntry> {
    checkApplication(application);
    checkKey(application, write.key);
    const owner = { space: application, run: OUTSIDE, seq: 0, function: "" };
    // Calls know their tables themselves, as their version defines them.
    const ttlMs = write.ttlMs ?? this.#parts.ttlMs(application, tableOf(write.key));
    const timed = ttlMs === undefined ? write : { ...write, ttlMs };
    await this.#operations.write(owner, timed);
    await this.#parts.turn.durable();
    return this.#reader.entry(application, write.key);
  }

  /** The first 1,000. */
  async stale(application?: string): Promise<(StateEntry & { application: string })[]> {
    const marks = this.#machine.stale().filter(({ space }) => (application === undefined ? !space.startsWith("$") : space === application));
    marks.sort((a, b) => compareUtf8(a.space, b.space) || compareUtf8(a.key, b.key));
    marks.length = Math.min(marks.length, MOST_LISTED);
    return Promise.all(marks.map(async ({ space, key }) => ({ application: space, ...(await this.#reader.entry(space, key)) })));
  }

  // ---------------------------------------------------------------- writing

  #checked(space: Space, writes: readonly StateWrite[]): readonly StateWrite[] {
    if (writes.length > MOST_WRITES)
      throw new LockstepError("PAYLOAD_TOO_LARGE", `one transaction writes ${writes.length} times; the limit is ${MOST_WRITES}`);
    return writes.map((write) => {
      checkWrite(space, write, this.#parts.maxValueBytes);
      if (write.ifVersion !== undefined)
        throw new LockstepError("BAD_REQUEST", "ifVersion is for single operations: a transaction has what it has read", {
          details: { field: "ifVersion" },
        });
      // A value that JSON has not is no value.
      if (write.value === undefined || write.value === "") return { key: write.key, refresh: write.refresh === true };
      return write;
    });
  }

  #commit(tx: Transaction, parts: readonly Writes[]): boolean {
    const step = this.#machine.commit(tx, parts, this.#parts.clock.now());
    if (step === undefined) this.counters.conflicts++;
    else {
      this.counters.commits++;
      this.#put(step);
    }
    this.#ended(tx);
    return step !== undefined;
  }

  #put({ changes, decided, events, stale, fresh }: Step): void {
    if (changes.length === 0) return;
    const { turn } = this.#parts;
    turn.state(changes);
    turn.after(() => {
      this.#machine.settle(decided);
      this.#reader.settled(decided);
    });
    for (const event of events) turn.event(event);
    for (const { space, key, stale: mark } of stale) for (const told of this.#staleListeners) told(space, key, mark);
    for (const { space, key } of fresh) this.#reader.refreshed(space, key);
  }

  #ended(tx: Transaction): void {
    this.#reader.ended(tx);
    if (tx.isUrgent) this.#retryBlocked();
  }

  #retryBlocked(): void {
    const blocked = this.#blocked;
    this.#blocked = [];
    for (const retry of blocked) retry();
  }

  // ---------------------------------------------------------------- upkeep

  #sweepLater(delayMs: number): void {
    if (this.#stopped) return;
    this.#cancelSweep = this.#parts.clock.after(delayMs, () => void this.#sweep().catch(this.#parts.failed), "upkeep");
  }

  async #sweep(): Promise<void> {
    const { rows, clock } = this.#parts;
    this.#machine.beginExpiry();
    const expired = await rows.expired(clock.now(), SWEEP_SLICE);
    if (this.#stopped) return;
    this.#put(this.#machine.expire(expired));
    this.#sweepLater(expired.length === SWEEP_SLICE ? NEXT_SLICE_MS : SWEEP_MS);
  }
}

const tableOf = (key: string): string => key.slice(0, Math.max(0, key.indexOf("/")));

const isKey = (space: Space, key: string): boolean => {
  try {
    checkKey(space, key);
    return true;
  } catch (error) {
    if (error instanceof LockstepError) return false;
    throw error;
  }
};

const checkApplication = (application: string): void => {
  if (APPLICATION_NAME.test(application)) return;
  throw new LockstepError("BAD_REQUEST", `application ${JSON.stringify(application)} is no application's name`, {
    details: { field: "application" },
  });
};
