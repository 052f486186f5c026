/**
 * The rules of the state store: which transactions may commit, what follows for those that read, and which keys are stale.
 *
 * Owns: open transactions and what they watch, rows that are decided and not yet durable, staleness and who caused it, the counter of
 * versions. Does not own: rows on disk, time, durability, who waits for what (service.ts).
 *
 *   begin ─► open ──watch──► open ──commit──► ended, its writes decided
 *                │             └─another's commit touches what it watches─► conflicted ──commit──► ended, nothing written
 *                └──end──► ended
 *
 * I1  A transaction commits only when nothing that it has read has changed since: at its commit, it could have read everything at once. So
 *     committed transactions are serializable, in the order of their commits (P4). What it listed counts as read, with what was not there.
 *     The end of a key's time is no change: whoever has read its value before has read it in time.
 * I2  A transaction that conflicted writes nothing.
 * I3  Versions only grow, and no two writes share one.
 * I4  While an urgent transaction is open, no commit of one of lower rank changes what it has read. So of the open ones the first in rank
 *     loses to nobody but a fault, and each call gets through in the end. One that waits for a value to become fresh is urgent no more: what
 *     it keeps from committing may be the repair.
 * I5  A key is stale from the fault of its writer until a write, a refresh, or the success of the call that failed.
 */
import { ChurnMap } from "../lib/churn-map.ts";
import { getOrMake } from "../lib/map.ts";
import { compareUtf8 } from "../lib/utf8.ts";
import type { EventBody } from "../protocol/events.ts";
import type { Space, Staleness, StateChange, StateEntry, StateWrite } from "../protocol/state.ts";
import { Marks } from "./marks.ts";
import { type Owner, type Range, Transaction } from "./transaction.ts";
import { Watchers } from "./watchers.ts";

/** A row as it was decided; without `value` the key has none. */
export interface Row {
  value?: string;
  version: number;
  expiresAt?: number;
}

/** What is on its way to the disk. Without `row` the row is what it was, and only its staleness changes. */
export interface Decided {
  readonly space: Space;
  readonly key: string;
  readonly row?: Row;
}

/** What a decision leads to. All of it belongs into one commit; `decided` is to be given to `settle` when that is durable. */
export interface Step {
  changes: StateChange[];
  decided: Decided[];
  events: EventBody[];
  stale: { space: Space; key: string; stale: Staleness }[];
  fresh: { space: Space; key: string }[];
}

export interface Writes {
  space: Space;
  writes: readonly StateWrite[];
}

/** What is known of one space while something happens in it. */
interface Area {
  readonly watchers: Watchers;
  readonly ranges: Set<Range>;
  readonly decided: ChurnMap<string, Decided>;
}

export class StateMachine {
  readonly #areas = new Map<Space, Area>();
  readonly #marks = new Marks();
  #version: number;
  /** Open transactions that are urgent. */
  #urgent = 0;
  /** Keys that were written since the rows whose time is over were asked for; `undefined` while they are not. */
  #rewritten: Set<string> | undefined;

  /** @param lastVersion the greatest version ever written */
  constructor(lastVersion: number) {
    this.#version = lastVersion;
  }

  nextVersion(): number {
    return ++this.#version;
  }

  /** Takes the marks that earlier lives have left. */
  load(rows: readonly (StateEntry & { space: Space })[]): void {
    for (const { space, key, stale } of rows) if (stale !== undefined) this.#marks.set(space, key, stale);
  }

  // ---------------------------------------------------------------- reading

  /** @param conflicts how often in a row the owner's transactions have conflicted */
  begin(owner: Owner, conflicts: number): Transaction {
    const tx = new Transaction(owner, conflicts);
    if (tx.isUrgent) this.#urgent++;
    return tx;
  }

  /** From now on the transaction keeps nobody from committing. */
  yield(tx: Transaction): void {
    if (!tx.isUrgent) return;
    tx.isUrgent = false;
    if (!tx.ended) this.#urgent--;
  }

  /** From now on a change of the key makes the transaction conflict. */
  watch(tx: Transaction, space: Space, key: string): void {
    if (!this.#area(space).watchers.add(key, tx)) return;
    tx.watched.push({ space, key });
    tx.size++;
  }

  /** The same for all keys of a listing. `to` may be set when the listing has ended. */
  watchRange(tx: Transaction, space: Space, prefix: string, after: string | undefined): Range {
    const range: Range = { tx, prefix, after, to: undefined };
    tx.ranges.push({ space, range });
    tx.size++;
    this.#area(space).ranges.add(range);
    return range;
  }

  /** What is decided of the key and not yet durable. */
  decided(space: Space, key: string): Decided | undefined {
    return this.#areas.get(space)?.decided.get(key);
  }

  /** The same for all keys that begin with `prefix`, after `after`, in their order. */
  decidedIn(space: Space, prefix: string, after: string | undefined): Decided[] {
    const found: Decided[] = [];
    for (const [key, decided] of this.#areas.get(space)?.decided ?? []) {
      if (key.startsWith(prefix) && (after === undefined || compareUtf8(key, after) > 0)) found.push(decided);
    }
    return found.sort((a, b) => compareUtf8(a.key, b.key));
  }

  staleOf(space: Space, key: string): Staleness | undefined {
    return this.#marks.get(space, key);
  }

  stale(): { space: Space; key: string; stale: Staleness }[] {
    return this.#marks.all();
  }

  /** Whether this call has left any key stale. */
  hasFaulted(cause: Pick<Owner, "run" | "seq">): boolean {
    return this.#marks.has(cause);
  }

  // ---------------------------------------------------------------- deciding

  /** The urgent transaction that keeps `tx` from changing these keys, if there is one. */
  blocker(tx: Transaction, parts: readonly Writes[]): Transaction | undefined {
    if (this.#urgent === 0) return undefined;
    for (const { space, writes } of parts) {
      const area = this.#areas.get(space);
      if (area === undefined) continue;
      for (const { key } of writes) {
        const rival = rivalOf(area, key, tx);
        if (rival !== undefined) return rival;
      }
    }
    return undefined;
  }

  /** Ends the transaction; `undefined` when it conflicts, and then nothing is written. */
  commit(tx: Transaction, parts: readonly Writes[], now: number): Step | undefined {
    const loses = tx.conflicted || tx.ended || this.blocker(tx, parts) !== undefined;
    this.end(tx);
    if (loses) {
      tx.conflicted = true;
      return undefined;
    }
    const step = emptyStep();
    for (const { space, writes } of parts) for (const write of writes) this.#write(step, space, write, now);
    // The call has succeeded after all: what it left stale, and has not written now, it did not have to.
    for (const { space, key } of this.#marks.of(tx.owner)) this.#freshen(step, space, key, true);
    return step;
  }

  /** The owner's attempt has failed: these keys are stale from now on. */
  fault(owner: Owner, keys: readonly string[], stale: Staleness): Step {
    const step = emptyStep();
    for (const key of keys) this.#mark(step, owner.space, key, stale);
    return step;
  }

  /** The rows whose time is over are asked for: until `expire` it is noted which are written anew. */
  beginExpiry(): void {
    this.#rewritten = new Set();
  }

  /** Removes rows whose time is over, unless they have been written anew. */
  expire(keys: readonly { space: Space; key: string }[]): Step {
    const step = emptyStep();
    const rewritten = this.#rewritten;
    this.#rewritten = undefined;
    for (const { space, key } of keys) {
      // What was written since the rows were read may be on the disk by now.
      if (this.decided(space, key) !== undefined || rewritten?.has(nameOf(space, key))) continue;
      // Nobody conflicts: the key has read as absent since its time.
      this.#decide(step, { space, key, row: { version: 0 } });
      const stale = this.#marks.get(space, key);
      step.changes.push(stale === undefined ? { space, key, version: 0 } : { space, key, version: 0, stale });
    }
    return step;
  }

  /** The transaction watches nothing any more. */
  end(tx: Transaction): void {
    if (tx.ended) return;
    tx.ended = true;
    if (tx.isUrgent) this.#urgent--;
    for (const { space, key } of tx.watched) this.#area(space).watchers.delete(key, tx);
    for (const { space, range } of tx.ranges) this.#area(space).ranges.delete(range);
  }

  /** What was decided is durable. */
  settle(decided: readonly Decided[]): void {
    for (const one of decided) {
      const { decided: pending } = this.#area(one.space);
      // A later decision about the same key is still on its way.
      if (pending.get(one.key) === one) pending.delete(one.key);
    }
  }

  /** Whether nothing is open and nothing on its way: for tests of what is left behind. */
  get isIdle(): boolean {
    const areas = [...this.#areas.values()];
    return this.#urgent === 0 && areas.every(({ watchers, ranges, decided }) => watchers.size + ranges.size + decided.size === 0);
  }

  #write(step: Step, space: Space, { key, value, ttlMs, refresh }: StateWrite, now: number): void {
    if (refresh === true) {
      this.#freshen(step, space, key, true);
      return;
    }
    const row: Row = { version: this.nextVersion() };
    if (value !== undefined) {
      row.value = value;
      if (ttlMs !== undefined) row.expiresAt = now + ttlMs;
    }
    step.changes.push({ space, key, ...row });
    this.#decide(step, { space, key, row });
    this.#freshen(step, space, key, false);
    this.#touch(space, key);
  }

  /** @param alone whether nothing else of the row changes */
  #freshen(step: Step, space: Space, key: string, alone: boolean): void {
    if (!this.#marks.delete(space, key)) return;
    if (alone) {
      step.changes.push({ space, key, version: 0, keep: true });
      this.#decideMark(step, space, key);
      this.#touch(space, key);
    }
    step.fresh.push({ space, key });
    if (isApplication(space)) step.events.push({ type: "state.fresh", application: space, key });
  }

  #mark(step: Step, space: Space, key: string, stale: Staleness): void {
    const earlier = this.#marks.get(space, key);
    this.#marks.set(space, key, stale);
    step.changes.push({ space, key, version: 0, keep: true, stale });
    this.#decideMark(step, space, key);
    // For those who have read it, it matters who has caused it: the same call may read what another may not.
    if (earlier?.run !== stale.run || earlier.call !== stale.call) this.#touch(space, key);
    if (earlier !== undefined) return;
    step.stale.push({ space, key, stale });
    if (isApplication(space)) step.events.push({ type: "state.stale", application: space, key, stale });
  }

  #decideMark(step: Step, space: Space, key: string): void {
    const row = this.decided(space, key)?.row;
    this.#decide(step, row === undefined ? { space, key } : { space, key, row });
  }

  #decide(step: Step, decided: Decided): void {
    this.#rewritten?.add(nameOf(decided.space, decided.key));
    this.#area(decided.space).decided.set(decided.key, decided);
    step.decided.push(decided);
  }

  #touch(space: Space, key: string): void {
    const area = this.#areas.get(space);
    if (area === undefined) return;
    for (const tx of area.watchers.of(key)) tx.conflicted = true;
    for (const range of area.ranges) if (covers(range, key)) range.tx.conflicted = true;
  }

  #area(space: Space): Area {
    return getOrMake(this.#areas, space, emptyArea);
  }
}

const nameOf = (space: Space, key: string): string => `${space}\0${key}`;

const emptyArea = (): Area => ({ watchers: new Watchers(), ranges: new Set(), decided: new ChurnMap() });

const emptyStep = (): Step => ({ changes: [], decided: [], events: [], stale: [], fresh: [] });

/** The platform's own spaces say nothing of themselves. */
const isApplication = (space: Space): boolean => !space.startsWith("$");

const goesBefore = (other: Transaction, tx: Transaction): boolean => other !== tx && other.isUrgent && other.isBefore(tx);

const rivalOf = ({ watchers, ranges }: Area, key: string, tx: Transaction): Transaction | undefined => {
  for (const other of watchers.of(key)) if (goesBefore(other, tx)) return other;
  for (const range of ranges) if (goesBefore(range.tx, tx) && covers(range, key)) return range.tx;
  return undefined;
};

const covers = ({ prefix, after, to }: Range, key: string): boolean =>
  key.startsWith(prefix) && (after === undefined || compareUtf8(key, after) > 0) && (to === undefined || compareUtf8(key, to) <= 0);
