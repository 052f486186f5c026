import type { RunId } from "../lib/ids.ts";
import type { Space } from "../protocol/state.ts";

/** Whose transaction it is: call `seq` of a run; 0 is the coordinator itself. */
export interface Owner {
  space: Space;
  run: RunId;
  seq: number;
  function: string;
}

/** Keys that a listing has shown, or would have: those that begin with `prefix`, after `after`, up to `to`. */
export interface Range {
  readonly tx: Transaction;
  readonly prefix: string;
  readonly after: string | undefined;
  /** The last key shown, when the listing ended before the prefix did. */
  to: string | undefined;
}

/** After so many conflicts in a row a transaction is urgent. */
export const URGENT_AFTER = 3;

const MOST_READS_TOLD = 100;

/** An open transaction. Only the machine changes it. */
export class Transaction {
  readonly owner: Owner;
  /** It has lost too often: what it has read nobody of lower rank may change until it ends. */
  isUrgent: boolean;
  /** Something that it has read has changed: it can't commit any more. */
  conflicted = false;
  ended = false;
  /** The first keys of its owner's space that it has read. */
  readonly reads: string[] = [];
  readonly watched: { space: Space; key: string }[] = [];
  readonly ranges: { space: Space; range: Range }[] = [];
  /** Keys and ranges that it watches. */
  size = 0;

  /** @param conflicts how often in a row its owner's transactions have conflicted */
  constructor(owner: Owner, conflicts: number) {
    this.owner = owner;
    this.isUrgent = conflicts >= URGENT_AFTER;
  }

  /**
   * Rank is by the age of the call, of which the order of ids tells: it stays the same when the call is executed again, so that nobody
   * who began later can go before it for ever.
   */
  isBefore({ owner: { run, seq } }: Transaction): boolean {
    return this.owner.run < run || (this.owner.run === run && this.owner.seq < seq);
  }

  /** Remembers that `key` was read. */
  tell(key: string): void {
    if (this.reads.length < MOST_READS_TOLD && !this.reads.includes(key)) this.reads.push(key);
  }
}
