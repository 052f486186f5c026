/**
 * Operations of their own: each is a transaction with one read or one write, begun anew until it is done.
 *
 * Owns: when one is tried again, and that its outcome is told once or not at all. Does not own: what may commit (machine.ts), the turn
 * (service.ts).
 *
 * A write waits for the end of urgent transactions that it would make conflict.
 */
import { type Failure, failureOf, LockstepError } from "../lib/errors.ts";
import type { Json } from "../lib/json.ts";
import type { StateOp, StateRead, StateWrite } from "../protocol/state.ts";
import type { StateMachine, Writes } from "./machine.ts";
import type { StateReader } from "./reader.ts";
import type { TransactionReads } from "./reads.ts";
import type { Owner, Transaction } from "./transaction.ts";

export type StateOutcome = { value: Json; reads: string[] } | { failure: Failure };

/** The state service, as it is used here. */
export interface Transactions {
  begin(owner: Owner, conflicts?: number): Transaction;
  abandon(tx: Transaction): void;
  /** @throws {LockstepError} for writes that can't be */
  check(owner: Owner, writes: readonly StateWrite[]): readonly Writes[];
  commit(tx: Transaction, parts: readonly Writes[]): boolean;
  /** Resolves when an urgent transaction has ended. */
  released(): Promise<void>;
  /** Told when the journal could not be read. */
  failed(error: unknown): void;
}

export class SingleOperations {
  readonly #transactions: Transactions;
  readonly #machine: StateMachine;
  readonly #reader: StateReader;
  readonly #reads: TransactionReads;

  constructor(transactions: Transactions, machine: StateMachine, reader: StateReader, reads: TransactionReads) {
    this.#transactions = transactions;
    this.#machine = machine;
    this.#reader = reader;
    this.#reads = reads;
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
      if (operation.state === "settled" || isUnavailable(error)) this.#transactions.failed(error);
      else finish(operation, { failure: failureOf(error, "INTERNAL") });
    });
    return () => {
      if (operation.state === "open") operation.state = "given up";
      if (operation.tx !== undefined) this.#transactions.abandon(operation.tx);
    };
  }

  /** Resolves once the write is decided, and put into the turn. */
  write(owner: Owner, write: StateWrite): Promise<void> {
    return this.#writeAlone({ owner, tx: undefined, state: "open", settle: () => undefined }, write);
  }

  async #readAlone(operation: Operation, op: StateRead): Promise<void> {
    for (let conflicts = 0; ; conflicts++) {
      const tx = this.#begin(operation, conflicts);
      try {
        const found = op.op === "get" ? await this.#reads.getAlone(tx, op) : await this.#reads.list(tx, tx.owner.space, op);
        return finish(operation, { value: JSON.stringify(found), reads: tx.reads });
      } catch (error) {
        // What was read has changed before all of it was there: it is read again.
        if (operation.state !== "open" || !tx.conflicted) throw error;
      } finally {
        this.#transactions.abandon(tx);
      }
    }
  }

  async #writeAlone(operation: Operation, write: StateWrite): Promise<void> {
    const { space } = operation.owner;
    const { ifVersion, ...plain } = write;
    const parts = this.#transactions.check(operation.owner, [plain]);
    for (;;) {
      const tx = this.#begin(operation);
      if (ifVersion === undefined) await undefined;
      else await this.#checkVersion(tx, write.key, ifVersion);
      if (operation.state !== "open") return this.#transactions.abandon(tx);
      const blocker = this.#machine.blocker(tx, parts);
      if (blocker === undefined && this.#transactions.commit(tx, parts)) {
        const version = this.#machine.decided(space, write.key)?.row?.version ?? 0;
        return finish(operation, { value: JSON.stringify({ key: write.key, version }), reads: [] });
      }
      this.#transactions.abandon(tx);
      if (blocker !== undefined) await this.#transactions.released();
    }
  }

  async #checkVersion(tx: Transaction, key: string, wanted: number): Promise<void> {
    const { space } = tx.owner;
    this.#machine.watch(tx, space, key);
    const { version } = await this.#reader.entry(space, key);
    if (version === wanted || tx.ended) return;
    this.#transactions.abandon(tx);
    const message = `${key} has version ${version}, not ${wanted}`;
    throw new LockstepError("STATE_CONFLICT", message, { details: { key, version, ifVersion: wanted } });
  }

  #begin(operation: Operation, conflicts = 0): Transaction {
    operation.tx = this.#transactions.begin(operation.owner, conflicts);
    return operation.tx;
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
