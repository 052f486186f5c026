/**
 * The turn: collects what everything that arrived in one turn of the event loop changes, makes it durable in one commit, and only then
 * lets its effects out (sends, replies, dispatch).
 *
 * Owns: the batch and the order "persist, then send". Does not own: what is recorded or sent.
 *
 * T1  An effect is released after the commit of every record that was made before it and must be durable (P1).
 * T2  Records that nothing depends on yet (a call that was scheduled) wait for the next commit, at most `lazyMs`.
 * T3  When a commit fails, nothing is released any more: memory and disk have parted, and only a restart mends that.
 */
import type { AcceptedRun, Batch, Journal, RunChange } from "../journal/port.ts";
import type { Clock } from "../lib/clock.ts";
import type { RunId } from "../lib/ids.ts";
import type { CallLog } from "../protocol/control-plane.ts";
import type { EventBody, PlatformEvent } from "../protocol/events.ts";
import type { JournalRecord } from "../protocol/run.ts";
import type { StateChange } from "../protocol/state.ts";

const LAZY_MS = 5;

type Appended = Batch["appended"][number];

const emptyBatch = (): Batch => ({ accepted: [], appended: [], changed: [], events: [], logs: [], purged: [] });

export class Turn {
  readonly #journal: Journal;
  readonly #clock: Clock;
  readonly #publish: (events: PlatformEvent[]) => void;
  readonly #failed: (error: unknown) => void;
  #batch = emptyBatch();
  #appended = new Map<RunId, Appended>();
  #early: (() => void)[] = [];
  #effects: (() => void)[] = [];
  #urgent = false;
  #scheduled = false;
  #flushing = false;
  #lazy = false;
  #dead = false;
  #settledAt = 0;
  #died = () => {};
  #observe: (event: EventBody, at: number) => void = () => {};
  commits = 0;
  records = 0;

  constructor(journal: Journal, clock: Clock, publish: (events: PlatformEvent[]) => void, failed: (error: unknown) => void) {
    this.#journal = journal;
    this.#clock = clock;
    this.#publish = publish;
    this.#failed = failed;
  }

  accept(head: AcceptedRun): void {
    this.#batch.accepted.push(head);
    this.#require();
  }

  /** Adds a record; `urgent` when something that leaves depends on it. */
  append(run: RunId, index: number, record: JournalRecord, urgent: boolean): void {
    const entry = this.#appended.get(run);
    if (entry !== undefined) entry.records.push(record);
    else {
      const fresh: Appended = { run, from: index, records: [record] };
      this.#appended.set(run, fresh);
      this.#batch.appended.push(fresh);
    }
    this.records++;
    if (urgent) this.#require();
    else this.#schedule();
  }

  change(change: RunChange): void {
    this.#batch.changed.push(change);
    this.#require();
  }

  /** Makes a run that sleeps in the journal live, so that recovery loads it. */
  wake(run: RunId): void {
    this.#batch.woken ??= [];
    this.#batch.woken.push(run);
    this.#require();
  }

  /** Rows of the state store, which commit with all else of this turn. */
  state(changes: readonly StateChange[]): void {
    this.#batch.state ??= [];
    this.#batch.state.push(...changes);
    this.#require();
  }

  event(body: EventBody): void {
    const at = this.#clock.now();
    this.#batch.events.push({ at, body });
    this.#schedule();
    this.#observe(body, at);
  }

  /** `observe` is told of each event when it is made: what it records then commits with the event. */
  observe(observe: (event: EventBody, at: number) => void): void {
    this.#observe = observe;
  }

  log(log: CallLog): void {
    this.#batch.logs.push(log);
    this.#schedule();
  }

  purge(runs: readonly RunId[], trimEventsTo: number | undefined): void {
    for (const run of runs) this.#batch.purged.push(run);
    if (trimEventsTo !== undefined) this.#batch.trimEventsTo = trimEventsTo;
    this.#require();
  }

  trimLogs(to: number): void {
    this.#batch.trimLogsTo = to;
    this.#require();
  }

  /**
   * Runs `effect` at the end of this turn, before its commit. Only for what reaches nobody but a coordinator's code: whatever that code
   * asks for in reply is carried out after the commit, because nothing is received while it lasts, or waits in the next batch (T1).
   */
  early(effect: () => void): void {
    this.#early.push(effect);
    this.#schedule();
  }

  /** Runs `effect` once all that was recorded before is as durable as it must be. */
  after(effect: () => void): void {
    this.#effects.push(effect);
    this.#schedule();
  }

  /** All effects of what was recorded before this time (Unix ms) are out. */
  get settledAt(): number {
    return this.#flushing || this.#scheduled ? this.#settledAt : Number.POSITIVE_INFINITY;
  }

  /** Resolves when everything recorded so far is on disk. */
  durable(): Promise<void> {
    this.#require();
    return new Promise((resolve) => this.after(resolve));
  }

  /** Makes everything recorded so far durable, then takes part in nothing any more: what still happens is told by the next life's recovery. */
  async close(): Promise<void> {
    if (this.#dead) return;
    // When the journal fails now, `durable` would never resolve.
    const death = new Promise<void>((resolve) => {
      this.#died = resolve;
    });
    await Promise.race([this.durable(), death]);
    this.#dead = true;
  }

  #require(): void {
    this.#urgent = true;
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#clock.endOfTurn(() => {
      this.#scheduled = false;
      // While a commit is under way, whatever arrives gathers for the next one (group commit): the loop below finds it.
      if (!this.#flushing) void this.#flush();
    });
  }

  async #flush(): Promise<void> {
    if (this.#dead) return;
    this.#flushing = true;
    try {
      while (this.#early.length + this.#effects.length > 0 || this.#urgent) {
        const begunAt = this.#clock.now();
        await this.#sendEarly();
        const effects = this.#effects;
        this.#effects = [];
        if (this.#urgent) await this.#commit();
        for (const effect of effects) effect();
        this.#settledAt = begunAt;
      }
      this.#commitLater();
    } catch (error) {
      this.#dead = true;
      this.#died();
      this.#failed(error);
    } finally {
      this.#flushing = false;
    }
  }

  async #sendEarly(): Promise<void> {
    if (this.#early.length === 0) return;
    const early = this.#early;
    this.#early = [];
    for (const effect of early) effect();
    // Connections write what was sent in a microtask; a commit that blocks the thread must not come before that.
    await undefined;
  }

  async #commit(): Promise<void> {
    const batch = this.#batch;
    this.#batch = emptyBatch();
    // A map that is emptied keeps what it held alive for a while (churn-map.ts).
    this.#appended = new Map();
    this.#urgent = false;
    const first = await this.#journal.commit(batch);
    this.commits++;
    if (batch.events.length > 0) this.#publish(batch.events.map(({ at, body }, i) => ({ position: first + i, at, ...body })));
  }

  #commitLater(): void {
    const { appended, events, logs } = this.#batch;
    if (this.#lazy || appended.length + events.length + logs.length === 0) return;
    this.#lazy = true;
    this.#clock.after(LAZY_MS, () => {
      this.#lazy = false;
      if (this.#batch.appended.length + this.#batch.events.length + this.#batch.logs.length > 0) this.#require();
    });
  }
}
