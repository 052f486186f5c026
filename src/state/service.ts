/**
 * The state store as the rest of the control plane uses it.
 *
 * Owns: bringing rows from the journal to those that read, and decisions of the machine into the turn; readers that wait until a key is
 * fresh; the end of keys whose time is over. Does not own: what may commit (machine.ts), who may read or write what (src/invocation).
 *
 * A1  What a read shows is durable, and nothing that was decided before the read is missing in it.
 * A2  A write and all that follows from it (staleness, events) are put into the turn at once, in one step with what the caller puts there.
 */
import type { Turn } from "../coordinator/turn.ts";
import type { StateRows } from "../journal/port.ts";
import type { Clock } from "../lib/clock.ts";
import { type Failure, failureOf, LockstepError } from "../lib/errors.ts";
import type { RunId } from "../lib/ids.ts";
import type { Json } from "../lib/json.ts";
import { compareUtf8 } from "../lib/utf8.ts";
import { APPLICATION_NAME } from "../protocol/application.ts";
import type { StatePlane } from "../protocol/control-plane.ts";
import type { Space, Staleness, StaleRead, StateEntry, StateOp, StateRead, StateWrite } from "../protocol/state.ts";
import { checkKey, checkListing, checkWrite, MOST_LISTED, MOST_READS, MOST_WRITES } from "./checks.ts";
import { StateMachine, type Step, type Writes } from "./machine.ts";
import { StateReader } from "./reader.ts";
import type { Owner, Transaction } from "./transaction.ts";

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

export type StateOutcome = { value: Json; reads: string[] } | { failure: Failure };

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
    if (tx.conflicted || tx.ended || tx.size >= MOST_READS) return undefined;
    const { space } = tx.owner;
    const entry = this.#reader.known(space, key);
    if (entry === undefined || entry.stale !== undefined) return undefined;
    this.#machine.watch(tx, space, key);
    tx.tell(key);
    return entry;
  }

  /** Reads one key. Rejects as `read` does. */
  entry(tx: Transaction, ask: StateRead & { op: "get" }): Promise<StateEntry> {
    return this.#get(tx, tx.owner.space, ask);
  }

  /**
   * Gives JSON of a `StateEntry`, or of a list of them. Rejects with STATE_STALE, STATE_KEY_INVALID, BAD_REQUEST, PAYLOAD_TOO_LARGE for a
   * listing or transaction that is too large, and STATE_CONFLICT as soon as the transaction can't commit any more.
   * @param space default: the owner's
   */
  async read(tx: Transaction, ask: StateRead, space: Space = tx.owner.space): Promise<Json> {
    const found = ask.op === "get" ? await this.#get(tx, space, ask) : await this.#list(tx, space, ask);
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
    const operation: Operation = { owner, tx: undefined, state: "open", settle };
    const work = op.op === "write" ? this.#writeAlone(operation, op) : this.#readAlone(operation, op);
    work.catch((error: unknown) => {
      // What `settle` throws, and a journal that can't be read, are no outcomes.
      if (operation.state === "settled" || isUnavailable(error)) this.#parts.failed(error);
      else finish(operation, { failure: failureOf(error, "INTERNAL") });
    });
    return () => {
      if (operation.state === "open") operation.state = "given up";
      if (operation.tx !== undefined) this.abandon(operation.tx);
    };
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
    await this.#writeAlone({ owner, tx: undefined, state: "open", settle: () => undefined }, timed);
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

  // ---------------------------------------------------------------- reading

  async #get(tx: Transaction, space: Space, { key, stale: mode = "refuse" }: StateRead & { op: "get" }): Promise<StateEntry> {
    checkKey(space, key);
    checkRoom(tx);
    // Without a watch: the write that ends the waiting must not end the transaction.
    if (mode === "wait") await this.#untilFresh(tx, space, key);
    checkOpen(tx);
    this.#machine.watch(tx, space, key);
    if (space === tx.owner.space) tx.tell(key);
    const entry = await this.#reader.entry(space, key);
    checkOpen(tx);
    return accepted(tx, entry, mode);
  }

  /** One key alone was as it is read at one moment: it needs no watch, and nobody who writes it can keep it from being read. */
  async #getAlone(tx: Transaction, { key, stale: mode = "refuse" }: StateRead & { op: "get" }): Promise<StateEntry> {
    const { space } = tx.owner;
    checkKey(space, key);
    tx.tell(key);
    for (;;) {
      if (mode === "wait") await this.#untilFresh(tx, space, key);
      checkOpen(tx);
      const entry = await this.#reader.entry(space, key);
      // It may have become stale again just then.
      if (mode !== "wait" || entry.stale === undefined || isOwn(tx.owner, entry.stale)) return accepted(tx, entry, mode);
    }
  }

  async #untilFresh(tx: Transaction, space: Space, key: string): Promise<void> {
    while (this.#strange(tx, space, key) !== undefined) {
      if (tx.isUrgent) {
        this.#machine.yield(tx);
        this.#retryBlocked();
      }
      await this.#reader.freshness(tx, space, key);
    }
  }

  async #list(tx: Transaction, space: Space, { prefix, limit, after }: StateRead & { op: "list" }): Promise<StateEntry[]> {
    checkListing(space, prefix, limit, after);
    checkRoom(tx);
    checkOpen(tx);
    const range = this.#machine.watchRange(tx, space, prefix, after);
    const entries = await this.#reader.page(space, prefix, limit, after);
    checkOpen(tx);
    // Whatever comes after a full page was not shown.
    if (entries.length === limit) range.to = entries.at(-1)?.key;
    if (space === tx.owner.space) for (const { key } of entries) tx.tell(key);
    return entries;
  }

  /** Staleness that another call has caused. */
  #strange(tx: Transaction, space: Space, key: string): Staleness | undefined {
    const stale = this.#machine.staleOf(space, key);
    return stale === undefined || isOwn(tx.owner, stale) || tx.ended || tx.conflicted ? undefined : stale;
  }

  async #readAlone(operation: Operation, op: StateRead): Promise<void> {
    for (let conflicts = 0; ; conflicts++) {
      const tx = this.#begin(operation, conflicts);
      try {
        const value = op.op === "get" ? JSON.stringify(await this.#getAlone(tx, op)) : await this.read(tx, op);
        return finish(operation, { value, reads: tx.reads });
      } catch (error) {
        // What was read has changed before all of it was there: it is read again.
        if (operation.state !== "open" || !tx.conflicted) throw error;
      } finally {
        this.abandon(tx);
      }
    }
  }

  // ---------------------------------------------------------------- writing

  async #writeAlone(operation: Operation, write: StateWrite): Promise<void> {
    const { space } = operation.owner;
    const { ifVersion, ...plain } = write;
    const parts = [{ space, writes: this.#checked(space, [plain]) }];
    for (;;) {
      const tx = this.#begin(operation);
      if (ifVersion === undefined) await undefined;
      else await this.#checkVersion(tx, write.key, ifVersion);
      if (operation.state !== "open") return this.abandon(tx);
      const blocker = this.#machine.blocker(tx, parts);
      if (blocker === undefined && this.#commit(tx, parts)) {
        const version = this.#machine.decided(space, write.key)?.row?.version ?? 0;
        return finish(operation, { value: JSON.stringify({ key: write.key, version }), reads: [] });
      }
      this.abandon(tx);
      if (blocker !== undefined) await this.#released();
    }
  }

  async #checkVersion(tx: Transaction, key: string, wanted: number): Promise<void> {
    const { space } = tx.owner;
    this.#machine.watch(tx, space, key);
    const { version } = await this.#reader.entry(space, key);
    if (version === wanted || tx.ended) return;
    this.abandon(tx);
    const message = `${key} has version ${version}, not ${wanted}`;
    throw new LockstepError("STATE_CONFLICT", message, { details: { key, version, ifVersion: wanted } });
  }

  #begin(operation: Operation, conflicts = 0): Transaction {
    operation.tx = this.begin(operation.owner, conflicts);
    return operation.tx;
  }

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

  #released(): Promise<void> {
    return new Promise((resolve) => this.#blocked.push(resolve));
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

interface Operation {
  owner: Owner;
  tx: Transaction | undefined;
  state: "open" | "settled" | "given up";
  settle(outcome: StateOutcome): void;
}

const finish = (operation: Operation, outcome: StateOutcome): void => {
  if (operation.state !== "open") return;
  operation.state = "settled";
  operation.settle(outcome);
};

const isUnavailable = (error: unknown): boolean => error instanceof LockstepError && error.code === "JOURNAL_UNAVAILABLE";

const tableOf = (key: string): string => key.slice(0, Math.max(0, key.indexOf("/")));

const isOwn = ({ run, seq }: Owner, stale: Staleness): boolean => stale.run === run && stale.call === seq;

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

const checkRoom = (tx: Transaction): void => {
  if (tx.size < MOST_READS) return;
  throw new LockstepError("PAYLOAD_TOO_LARGE", `one invocation may read ${MOST_READS} keys; list them, or divide the work`);
};

const checkOpen = (tx: Transaction): void => {
  if (!tx.conflicted && !tx.ended) return;
  const what = tx.conflicted ? "another call has changed what this invocation has read: it is executed again" : "the invocation has ended";
  throw new LockstepError("STATE_CONFLICT", what);
};

/** The entry, unless it is stale and the reader does not want it then. */
const accepted = (tx: Transaction, entry: StateEntry, mode: StaleRead): StateEntry => {
  if (entry.stale === undefined || mode === "allow" || isOwn(tx.owner, entry.stale)) return entry;
  throw staleError(entry.key, entry.stale);
};

const staleError = (key: string, stale: Staleness): LockstepError =>
  new LockstepError("STATE_STALE", `${key} is stale: "${stale.function}" (${stale.run}/${stale.call}) failed: ${stale.message}`, {
    details: { key, stale },
  });
