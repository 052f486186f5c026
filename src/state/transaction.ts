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
  /** How often in a row its owner's transactions have conflicted, and which of all transactions it is. */
  readonly conflicts: number;
  readonly order: number;
  /** Something that it has read has changed: it can't commit any more. */
  conflicted = false;
  ended = false;
  /** The first keys of its owner's space that it has read. */
  readonly reads: string[] = [];
  readonly watched = new Map<Space, Set<string>>();
  readonly ranges: { space: Space; range: Range }[] = [];
  /** Keys and ranges that it watches. */
  size = 0;

  constructor(owner: Owner, conflicts: number, order: number) {
    this.owner = owner;
    this.conflicts = conflicts;
    this.order = order;
  }

  /** It has lost too often: what it has read nobody of lower rank may change until it ends. */
  get isUrgent(): boolean {
    return this.conflicts >= URGENT_AFTER;
  }

  /** Those that have lost more often go before others, and then those that began before. */
  isBefore({ conflicts, order }: Transaction): boolean {
    return this.conflicts > conflicts || (this.conflicts === conflicts && this.order < order);
  }

  /** Remembers that `key` was read. */
  tell(key: string): void {
    if (this.reads.length < MOST_READS_TOLD && !this.reads.includes(key)) this.reads.push(key);
  }
}
