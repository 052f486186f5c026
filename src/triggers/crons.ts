/**
 * The schedules of current versions, and the timer that wakes them.
 *
 * Owns: the rows `cron/…` of the space `$triggers`, one for each schedule that has ticked. Does not own: which ticks are due
 * (cron-machine.ts), what a tick starts (service.ts), durability (Turn).
 *
 * A tick's row and the run that it starts are put into the same commit: neither can be without the other.
 */
import type { Clock } from "../lib/clock.ts";
import type { RunId } from "../lib/ids.ts";
import type { StateChange, StateEntry } from "../protocol/state.ts";
import { dueTicks } from "./cron-machine.ts";
import type { CronTrigger, Subscription } from "./match.ts";
import { nameOfTarget } from "./match.ts";
import { Schedule } from "./schedule.ts";

export interface CronParts {
  clock: Clock;
  /** Puts rows into the commit of this turn. */
  put(changes: readonly StateChange[]): void;
  nextVersion(): number;
  start(subscription: Subscription<CronTrigger>, tick: number): RunId;
  deployedAt(subscription: Subscription<CronTrigger>): number;
  warn(line: string): void;
}

export const SPACE = "$triggers";
export const CRON_PREFIX = "cron/";

/** What the row of a schedule holds. */
export interface CronRow {
  last: number;
  run?: RunId;
}

interface Entry {
  readonly subscription: Subscription<CronTrigger>;
  readonly schedule: Schedule;
  last: number;
  next: number | undefined;
}

/** A tick that is later than this was missed, although the platform was up: the machine slept. */
const LATE_MS = 60_000;
/** So often it is looked whether the wall clock has jumped, which timers don't notice. */
const LOOK_EVERY_MS = 30_000;
const TICKS_AT_ONCE = 100;

export class Crons {
  readonly #parts: CronParts;
  readonly #entries = new Map<string, Entry>();
  readonly #rows = new Map<string, CronRow>();
  #upAt: number | undefined;
  #cancelTimer: (() => void) | undefined;
  #cancelLook: (() => void) | undefined;

  constructor(parts: CronParts) {
    this.#parts = parts;
  }

  /** Takes over what the last life has left. */
  load(rows: readonly StateEntry[]): void {
    for (const { key, value } of rows) this.#rows.set(key, JSON.parse(value) as CronRow);
  }

  /** Ticks from now on, and catches up with what was missed. */
  start(): void {
    this.#upAt = this.#parts.clock.now();
    for (const [key, { last, subscription }] of this.#entries) {
      if (last <= this.#upAt) continue;
      const { kind, name } = subscription.target;
      this.#parts.warn(`the clock is behind the last tick of ${kind} "${name}" (${key}): it waits until ${new Date(last).toISOString()}`);
    }
    this.#wake();
  }

  stop(): void {
    this.#cancelTimer?.();
    this.#cancelLook?.();
    this.#cancelTimer = undefined;
    this.#cancelLook = undefined;
    this.#upAt = undefined;
  }

  /** From now on these schedules hold, and no others. One that was there before keeps its ticks. */
  replace(subscriptions: readonly Subscription<CronTrigger>[]): void {
    const earlier = new Map(this.#entries);
    this.#entries.clear();
    for (const subscription of subscriptions) {
      const key = keyOf(subscription);
      const last = earlier.get(key)?.last ?? this.#rows.get(key)?.last ?? this.#parts.deployedAt(subscription);
      this.#entries.set(key, { subscription, schedule: new Schedule(subscription.trigger), last, next: undefined });
    }
    this.#forget();
    if (this.#upAt !== undefined) this.#wake();
  }

  /** When it ticks next, and what it started last. */
  view(subscription: Subscription<CronTrigger>): { next?: number; last?: { at: number; run?: RunId } } {
    const key = keyOf(subscription);
    const row = this.#rows.get(key);
    const next = this.#entries.get(key)?.next;
    return { ...(next === undefined ? {} : { next }), ...(row === undefined ? {} : { last: lastOf(row) }) };
  }

  /** A schedule that comes back later starts afresh: what happened to it in between was not missed. */
  #forget(): void {
    const gone = [...this.#rows.keys()].filter((key) => !this.#entries.has(key));
    for (const key of gone) this.#rows.delete(key);
    if (gone.length > 0) this.#parts.put(gone.map((key) => ({ space: SPACE, key, version: 0 })));
  }

  #wake(): void {
    const now = this.#parts.clock.now();
    const missedUntil = Math.max(this.#upAt ?? now, now - LATE_MS);
    for (const [key, entry] of this.#entries) {
      if (entry.next === undefined || entry.next <= now) this.#settle(key, entry, now, missedUntil);
    }
    this.#arm(now);
  }

  #settle(key: string, entry: Entry, now: number, missedUntil: number): void {
    const { subscription, schedule } = entry;
    const { catchUp = "latest" } = subscription.trigger;
    const due = dueTicks(schedule, entry.last, now, missedUntil, catchUp, TICKS_AT_ONCE);
    entry.last = due.last;
    entry.next = schedule.next(due.last);
    let run: RunId | undefined;
    for (const tick of due.ticks) run = this.#parts.start(subscription, tick);
    if (run === undefined) return;
    const row: CronRow = { last: due.last, run };
    this.#rows.set(key, row);
    this.#parts.put([{ space: SPACE, key, version: this.#parts.nextVersion(), value: JSON.stringify(row) }]);
  }

  #arm(now: number): void {
    this.#cancelTimer?.();
    this.#cancelLook?.();
    this.#cancelTimer = undefined;
    this.#cancelLook = undefined;
    let next = Number.POSITIVE_INFINITY;
    for (const entry of this.#entries.values()) next = Math.min(next, entry.next ?? next);
    if (next === Number.POSITIVE_INFINITY) return;
    this.#cancelTimer = this.#parts.clock.after(next - now, () => this.#wake());
    if (next - now > LOOK_EVERY_MS) this.#cancelLook = this.#parts.clock.after(LOOK_EVERY_MS, () => this.#wake(), "upkeep");
  }
}

const lastOf = ({ last, run }: CronRow): { at: number; run?: RunId } => ({ at: last, ...(run === undefined ? {} : { run }) });

/** Neither the version nor the catch-up policy is part of it: a redeployed schedule goes on where it was. */
const keyOf = ({ target, trigger }: Subscription<CronTrigger>): string => {
  const { cron, timezone = "UTC" } = trigger;
  return `${CRON_PREFIX}${target.application}/${nameOfTarget(target)}/${timezone} ${cron.trim().split(/\s+/).join(" ")}`;
};
