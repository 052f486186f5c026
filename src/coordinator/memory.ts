/**
 * The runs in memory: which are there, how they come back from the journal, and when one that only waits leaves.
 *
 * Owns: the map of live runs, loading and eviction. Does not own: what happens to runs (feeder.ts), or their storage (Journal).
 *
 * M1  A run is in memory at most once, also when several ask for it at the same time.
 * M2  A run leaves memory only when the journal knows when to bring it back, and nothing of it executes: of its code only the pod knows, so
 *     the pod is asked, and a pod that doesn't answer keeps the run in memory.
 */
import type { Journal, StoredRun } from "../journal/port.ts";
import { ChurnMap } from "../lib/churn-map.ts";
import type { Clock } from "../lib/clock.ts";
import { LockstepError } from "../lib/errors.ts";
import type { RunId } from "../lib/ids.ts";
import type { JournalRecord } from "../protocol/run.ts";
import { isSuspended, type Live, statusOfLive } from "./live.ts";
import { apply } from "./run-records.ts";
import { createRun, nextTimer, type RunState } from "./run-state.ts";

export interface MemoryPort {
  /** Makes the live run of a stored one and sets its calls, timers and code going again. */
  revive(stored: StoredRun, state: RunState, records: JournalRecord[]): Promise<Live>;
  /** Writes that the run leaves memory, to be woken at `wakeAt`; calls back when that is durable. */
  retire(live: Live, wakeAt: number | undefined, durable: () => void): void;
  /** Asks the pod that executes the run's code whether it only waits; `waits` is the answer. */
  ask(live: Live): void;
  /** Whether somebody waits for its result. */
  isAwaited(run: RunId): boolean;
  failed(error: unknown): void;
  /** Called with each sweep. */
  swept(): void;
  /** A run cannot be brought back: it is left to a person. */
  abandon(run: RunId, error: unknown): void;
}

const SWEEP_MS = 1_000;
const WAKE_BATCH = 1_000;

export class RunMemory {
  readonly #journal: Journal;
  readonly #clock: Clock;
  readonly #evictAfterMs: number;
  readonly #port: MemoryPort;
  readonly #runs = new ChurnMap<RunId, Live>();
  readonly #loading = new Map<RunId, Promise<Live | undefined>>();
  #cancelSweep = () => {};

  constructor(journal: Journal, clock: Clock, evictAfterMs: number, port: MemoryPort) {
    this.#journal = journal;
    this.#clock = clock;
    this.#evictAfterMs = evictAfterMs;
    this.#port = port;
  }

  /** Brings back every run that was under way. Returns how many. */
  async recover(): Promise<number> {
    const ids = await this.#journal.live();
    for (const id of ids) await this.#bringBack(id);
    this.#sweep();
    return ids.length;
  }

  stop(): void {
    this.#cancelSweep();
  }

  get size(): number {
    return this.#runs.size;
  }

  values(): Iterable<Live> {
    return this.#runs.values();
  }

  get(run: RunId): Live | undefined {
    return this.#runs.get(run);
  }

  add(live: Live): void {
    this.#runs.set(live.head.id, live);
  }

  remove(run: RunId): void {
    this.#runs.delete(run);
  }

  /** The run, brought back if it isn't here; `undefined` when it is finished or unknown. */
  async find(run: RunId): Promise<Live | undefined> {
    const live = this.#runs.get(run);
    if (live !== undefined) return live;
    const under = this.#loading.get(run);
    if (under !== undefined) return under;
    const loading = this.#load(run).finally(() => this.#loading.delete(run));
    this.#loading.set(run, loading);
    return loading;
  }

  async #load(run: RunId): Promise<Live | undefined> {
    const stored = await this.#journal.load(run);
    if (stored === undefined || stored.finishedAt !== undefined) return undefined;
    const records = await this.#journal.records(run);
    const state = createRun(stored);
    for (const record of records) apply(state, record);
    return this.#port.revive(stored, state, records);
  }

  /** Evicts what only waits, and wakes what is due soon. */
  #sweep(): void {
    const now = this.#clock.now();
    for (const live of this.#runs.values()) {
      if (!this.#mayLeave(live, now)) continue;
      if (live.hosting === "hosted") this.#port.ask(live);
      else this.#evict(live);
    }
    void this.#wake(now + SWEEP_MS).catch((error: unknown) => this.#port.failed(error));
    this.#port.swept();
    this.#cancelSweep = this.#clock.after(SWEEP_MS, () => this.#sweep(), "upkeep");
  }

  async #wake(until: number): Promise<void> {
    for (const { id } of await this.#journal.dueBy(until, WAKE_BATCH)) await this.#bringBack(id);
  }

  /** One run that can't be brought back must not keep the platform from the others; a journal that can't be read must. */
  async #bringBack(run: RunId): Promise<void> {
    try {
      await this.find(run);
    } catch (error) {
      if (error instanceof LockstepError && error.code === "JOURNAL_UNAVAILABLE") throw error;
      this.#runs.delete(run);
      this.#port.abandon(run, error);
    }
  }

  /** The run's code waits, and has acted on the first `at` records of its journal. */
  waits(run: RunId, at: number): void {
    const live = this.#runs.get(run);
    if (live !== undefined && live.state.next === at && this.#mayLeave(live, this.#clock.now())) this.#evict(live);
  }

  #mayLeave(live: Live, now: number): boolean {
    if (now - live.touchedAt <= this.#evictAfterMs) return false;
    if (statusOfLive(live) !== "waiting" && !isSuspended(live)) return false;
    // What it wants to be told of becomes stale at any time, and is not in the journal.
    if (live.state.watching) return false;
    // What it waits to read becomes fresh at any time, and would be told to what is no longer the run.
    if (live.operations !== undefined && live.operations.size > 0) return false;
    if (live.entries.size > 0 || live.steps.size > 0 || live.hosting === "loading" || this.#port.isAwaited(live.head.id)) return false;
    const wakeAt = nextTimer(live.state);
    return wakeAt === undefined || wakeAt >= now + 2 * SWEEP_MS;
  }

  #evict(live: Live): void {
    this.#port.retire(live, nextTimer(live.state), () => this.#runs.delete(live.head.id));
  }
}
