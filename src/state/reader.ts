/**
 * What the state store holds now: rows on disk, under what is decided and not yet there.
 *
 * R1  What it gives is durable (A1): when part of it is still on its way to the disk, it waits for that.
 * R2  It takes what is decided before it asks for the rows. So a decision that becomes durable in between is in one of the two. The mark of
 *     a single key is taken then too: an old value never comes with the freshness of the one that has replaced it.
 * R3  Rows of applications change by what the machine decides and by nothing else, so those that were read or written last are kept. The
 *     platform's own are written by others as well, and never kept.
 */
import type { Turn } from "../coordinator/turn.ts";
import type { StateRows } from "../journal/port.ts";
import type { Clock } from "../lib/clock.ts";
import { LockstepError } from "../lib/errors.ts";
import { getOrMake } from "../lib/map.ts";
import { Recent } from "../lib/recent.ts";
import { compareUtf8 } from "../lib/utf8.ts";
import type { Space, Staleness, StateEntry } from "../protocol/state.ts";
import type { Decided, Row, StateMachine } from "./machine.ts";
import type { Transaction } from "./transaction.ts";

export interface ReaderParts {
  rows: StateRows;
  turn: Turn;
  clock: Clock;
  maxValueBytes: number;
}

// The first rows of a listing tell how large values are; until then few are asked for.
const FIRST_ROWS = 16;
const MOST_ROWS = 256;

/** Characters of the rows that are kept. */
const KEPT_CHARS = 4 * 1024 * 1024;
/** What a row takes besides its key and value, about. */
const ROW_CHARS = 100;

const ABSENT: Row = Object.freeze({ version: 0 });

interface Waiter {
  tx: Transaction;
  wake(): void;
}

export class StateReader {
  readonly #parts: ReaderParts;
  readonly #machine: StateMachine;
  readonly #waiters = new Map<string, Set<Waiter>>();
  readonly #kept = new Recent<Row>(KEPT_CHARS, (key, { value = "" }) => key.length + value.length + ROW_CHARS);
  /** How often rows have changed. */
  #changes = 0;

  constructor(parts: ReaderParts, machine: StateMachine) {
    this.#parts = parts;
    this.#machine = machine;
  }

  /** The entry as it is this moment, when it is known without a look at the disk and nothing of it is on its way there. */
  known(space: Space, key: string): StateEntry | undefined {
    const row = this.#kept.get(idOf(space, key));
    if (row === undefined || this.#machine.decided(space, key) !== undefined) return undefined;
    return entryOf(key, row, this.#machine.staleOf(space, key), this.#parts.clock.now());
  }

  async entry(space: Space, key: string): Promise<StateEntry> {
    const decided = this.#machine.decided(space, key);
    const stale = this.#machine.staleOf(space, key);
    const row = decided?.row ?? this.#kept.get(idOf(space, key)) ?? (await this.#load(space, key));
    const entry = entryOf(key, row, stale, this.#parts.clock.now());
    if (decided !== undefined || this.#machine.decided(space, key) !== undefined) await this.#durable();
    return entry;
  }

  async #load(space: Space, key: string): Promise<Row> {
    const changes = this.#changes;
    const row = (await this.#parts.rows.get(space, key)) ?? ABSENT;
    // Rows that have changed meanwhile may be older here than on the disk.
    if (changes === this.#changes && isKept(space)) this.#kept.set(idOf(space, key), row);
    return row;
  }

  /** What was decided is on the disk now. */
  settled(decided: readonly Decided[]): void {
    this.#changes++;
    for (const { space, key, row } of decided) if (row !== undefined && isKept(space)) this.#kept.set(idOf(space, key), row);
  }

  /**
   * Keys with values that begin with `prefix`, after `after`, in order.
   * @throws {LockstepError} PAYLOAD_TOO_LARGE when their values together are larger than one may be
   */
  async page(space: Space, prefix: string, limit: number, after: string | undefined): Promise<StateEntry[]> {
    const { rows, clock, maxValueBytes } = this.#parts;
    const now = clock.now();
    const entries: StateEntry[] = [];
    let bytes = 0;
    let wanted = Math.min(limit, FIRST_ROWS);
    let isWaiting = false;
    for (let from = after, isLast = false; !isLast && entries.length < limit; ) {
      const decided = this.#machine.decidedIn(space, prefix, from);
      isWaiting ||= decided.length > 0;
      const page = await rows.list(space, prefix, wanted, from);
      isLast = page.length < wanted;
      const to = isLast ? undefined : page.at(-1)?.key;
      for (const { key, row } of merged(page, decided, to)) {
        const entry = entryOf(key, row, this.#machine.staleOf(space, key), now);
        if (entry.version === 0 || entries.length === limit) continue;
        entries.push(entry);
        bytes += entry.value.length;
      }
      if (bytes > maxValueBytes) throw tooLarge(maxValueBytes);
      from = to;
      wanted = rowsFor(entries.length, bytes, limit, maxValueBytes);
    }
    if (isWaiting) await this.#durable();
    return entries;
  }

  // ---------------------------------------------------------------- waiting for freshness

  /** Resolves when the key has become fresh, or the transaction has ended. */
  freshness(tx: Transaction, space: Space, key: string): Promise<void> {
    return new Promise((resolve) => {
      const id = `${space}\0${key}`;
      const waiters = getOrMake(this.#waiters, id, () => new Set<Waiter>());
      const waiter = {
        tx,
        wake: () => {
          waiters.delete(waiter);
          if (waiters.size === 0 && this.#waiters.get(id) === waiters) this.#waiters.delete(id);
          resolve();
        },
      };
      waiters.add(waiter);
    });
  }

  refreshed(space: Space, key: string): void {
    for (const waiter of this.#waiters.get(`${space}\0${key}`) ?? []) waiter.wake();
  }

  ended(tx: Transaction): void {
    if (this.#waiters.size === 0) return;
    for (const waiters of [...this.#waiters.values()]) for (const waiter of [...waiters]) if (waiter.tx === tx) waiter.wake();
  }

  #durable(): Promise<void> {
    return new Promise((resolve) => this.#parts.turn.after(resolve));
  }
}

const isKept = (space: Space): boolean => !space.startsWith("$");

const idOf = (space: Space, key: string): string => `${space}\0${key}`;

const entryOf = (key: string, row: Partial<Row> | undefined, stale: Staleness | undefined, now: number): StateEntry => {
  const entry: StateEntry = { key, value: "", version: 0 };
  const isThere = row?.value !== undefined && row.version !== 0 && (row.expiresAt === undefined || row.expiresAt > now);
  if (isThere) {
    entry.value = row.value ?? "";
    entry.version = row.version ?? 0;
    if (row.expiresAt !== undefined) entry.expiresAt = row.expiresAt;
  }
  if (stale !== undefined) entry.stale = stale;
  return entry;
};

/** Rows up to the key `to`, with what is decided in their place. */
const merged = (
  rows: readonly StateEntry[],
  decided: readonly Decided[],
  to: string | undefined,
): { key: string; row?: Partial<Row> }[] => {
  if (decided.length === 0) return rows.map((row) => ({ key: row.key, row }));
  const found = new Map<string, Partial<Row>>(rows.map((row) => [row.key, row]));
  for (const { key, row } of decided) {
    if (row !== undefined && (to === undefined || compareUtf8(key, to) <= 0)) found.set(key, row);
  }
  return [...found].map(([key, row]) => ({ key, row })).sort((a, b) => compareUtf8(a.key, b.key));
};

/** How many rows to ask for next, so that they fit into what is left if they are like those before. */
const rowsFor = (count: number, bytes: number, limit: number, maxBytes: number): number => {
  const each = count === 0 ? 1 : Math.max(1, bytes / count);
  return Math.max(1, Math.min(limit - count, MOST_ROWS, Math.ceil((maxBytes - bytes) / each) + 1));
};

const tooLarge = (limit: number): LockstepError =>
  new LockstepError("PAYLOAD_TOO_LARGE", `the values of the listing are larger than ${limit} bytes together; ask for fewer at a time`, {
    details: { limit },
  });
