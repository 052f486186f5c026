/**
 * What transactions read: under a watch, without one where a single key is read alone, and not before it is fresh where that is asked for.
 *
 * Owns: when a read is watched, what is refused of a stale entry or of a transaction that can't commit any more. Does not own: watches and
 * staleness themselves (machine.ts), rows and readers that wait (reader.ts).
 */
import { LockstepError } from "../lib/errors.ts";
import type { Space, Staleness, StaleRead, StateEntry, StateRead } from "../protocol/state.ts";
import { checkKey, checkListing, MOST_READS } from "./checks.ts";
import type { StateMachine } from "./machine.ts";
import type { StateReader } from "./reader.ts";
import type { Owner, Transaction } from "./transaction.ts";

export class TransactionReads {
  readonly #machine: StateMachine;
  readonly #reader: StateReader;
  readonly #yielded: () => void;

  /** @param yielded told when an urgent transaction lets others commit, since it waits itself */
  constructor(machine: StateMachine, reader: StateReader, yielded: () => void) {
    this.#machine = machine;
    this.#reader = reader;
    this.#yielded = yielded;
  }

  /** What `get` would give, at once: a fresh value that takes no look at the disk. `undefined` when it isn't as simple. */
  known(tx: Transaction, key: string): StateEntry | undefined {
    if (tx.conflicted || tx.ended || tx.size >= MOST_READS) return undefined;
    const { space } = tx.owner;
    const entry = this.#reader.known(space, key);
    if (entry === undefined || entry.stale !== undefined) return undefined;
    this.#machine.watch(tx, space, key);
    tx.tell(key);
    return entry;
  }

  async get(tx: Transaction, space: Space, { key, stale: mode = "refuse" }: StateRead & { op: "get" }): Promise<StateEntry> {
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
  async getAlone(tx: Transaction, { key, stale: mode = "refuse" }: StateRead & { op: "get" }): Promise<StateEntry> {
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
        this.#yielded();
      }
      await this.#reader.freshness(tx, space, key);
    }
  }

  async list(tx: Transaction, space: Space, { prefix, limit, after }: StateRead & { op: "list" }): Promise<StateEntry[]> {
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
}

const isOwn = ({ run, seq }: Owner, stale: Staleness): boolean => stale.run === run && stale.call === seq;

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
