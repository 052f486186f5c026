/**
 * Admission: how runs begin.
 *
 * Owns: whether there is room for one more, idempotency keys, the ids of new runs. Does not own: what beginning a run means (feeder.ts),
 * whether its target exists (Registry, asked by the control plane).
 */
import type { Registry } from "../application/registry.ts";
import type { Journal, StoredRun } from "../journal/port.ts";
import type { Clock } from "../lib/clock.ts";
import { LockstepError } from "../lib/errors.ts";
import type { RunId, RunIds } from "../lib/ids.ts";
import type { Json } from "../lib/json.ts";
import type { RunKind } from "../protocol/run.ts";
import type { Scheduler } from "../scheduler/service.ts";
import type { RunFeeder } from "./feeder.ts";
import type { RunMemory } from "./memory.ts";
import { cutBefore, restartedRecord } from "./restart.ts";
import type { Turn } from "./turn.ts";

/** A run to be accepted: its target is known to exist. */
export interface NewRun {
  kind: RunKind;
  name: string;
  input: Json;
  application: string;
  version: string;
  key?: string;
  priority?: number;
}

export interface AdmissionParts {
  journal: Pick<Journal, "findByKey" | "records">;
  registry: Pick<Registry, "homeOfFunction">;
  turn: Pick<Turn, "after" | "durable">;
  ids: Pick<RunIds, "next">;
  clock: Pick<Clock, "now">;
}

export interface AdmissionLimits {
  /** Runs that may be under way; above it new ones are refused with OVERLOADED. */
  maxLiveRuns: number;
  /** Calls that may wait in layers before new runs are refused. */
  maxWaitingCalls: number;
}

const RETRY_AFTER_MS = 1_000;

export class Admission {
  readonly #parts: AdmissionParts;
  readonly #limits: AdmissionLimits;
  readonly #feeder: Pick<RunFeeder, "accept" | "restart" | "counters">;
  readonly #memory: Pick<RunMemory, "size">;
  readonly #scheduler: Pick<Scheduler, "depth">;
  /** Starts with an idempotency key that are under way: the next with the same key follows when their run is on disk. */
  readonly #starting = new Map<string, Promise<unknown>>();

  constructor(
    parts: AdmissionParts,
    limits: AdmissionLimits,
    feeder: Pick<RunFeeder, "accept" | "restart" | "counters">,
    memory: Pick<RunMemory, "size">,
    scheduler: Pick<Scheduler, "depth">,
  ) {
    this.#parts = parts;
    this.#limits = limits;
    this.#feeder = feeder;
    this.#memory = memory;
    this.#scheduler = scheduler;
  }

  /** Resolves once the run is on disk (P1). @throws {LockstepError} OVERLOADED, IDEMPOTENCY_CONFLICT */
  start(request: NewRun): Promise<{ id: RunId; existing: boolean }> {
    const { key, kind, name } = request;
    if (key === undefined) return this.#accept(request);
    const starting = keyOf(kind, name, key);
    const earlier = this.#starting.get(starting) ?? Promise.resolve();
    const start = () => this.#startOnce(request, key);
    const mine = earlier.then(start, start);
    this.#starting.set(starting, mine);
    return mine.finally(() => this.#starting.get(starting) === mine && this.#starting.delete(starting));
  }

  /**
   * Accepts a run of the same target and input as `of`, which goes on from what that one did before command `from`; without `from`, from
   * nothing. Resolves once it is on disk.
   * @throws {LockstepError} CALL_NOT_FOUND, OVERLOADED, REPLAY_DIVERGED
   */
  async restart(of: StoredRun, home: { application: string; version: string }, from?: number): Promise<{ id: RunId; reused: number }> {
    const { clock, ids, turn, journal, registry } = this.#parts;
    await turn.durable();
    const records = await journal.records(of.id);
    const cut = from === undefined ? undefined : cutBefore(records, from, (fn) => registry.homeOfFunction(fn, home.version)?.version);
    if (from !== undefined && cut === undefined) {
      throw new LockstepError("CALL_NOT_FOUND", `run ${of.id} has no call ${from}`, { details: { call: from } });
    }
    this.admit();
    const acceptedAt = clock.now();
    const { kind, name, input, priority } = of;
    const head = { ...home, id: ids.next(acceptedAt), kind, name, input, priority, acceptedAt };
    const first = restartedRecord({ run: of.id, acceptedAt: of.acceptedAt }, records[0], cut, acceptedAt);
    await this.#feeder.restart(head, [first, ...(cut?.records ?? [])]);
    await turn.durable();
    return { id: head.id, reused: cut?.reused ?? 0 };
  }

  /** Accepts a run in this turn, with whatever else the turn commits, and without admission. */
  trigger(request: NewRun): RunId {
    const acceptedAt = this.#parts.clock.now();
    const id = this.#parts.ids.next(acceptedAt);
    this.#feeder.accept({ ...request, id, acceptedAt, priority: request.priority ?? 0 });
    return id;
  }

  /** @throws {LockstepError} OVERLOADED when no more is taken from outside */
  admit(): void {
    const runs = this.#memory.size;
    const calls = this.#scheduler.depth;
    if (runs < this.#limits.maxLiveRuns && calls < this.#limits.maxWaitingCalls) return;
    this.#feeder.counters.refused++;
    throw new LockstepError("OVERLOADED", `${runs} runs are under way and ${calls} calls wait`, {
      details: { retryAfterMs: RETRY_AFTER_MS },
    });
  }

  async #accept(request: NewRun): Promise<{ id: RunId; existing: boolean }> {
    this.admit();
    const { clock, ids, turn } = this.#parts;
    const acceptedAt = clock.now();
    const id = ids.next(acceptedAt);
    this.#feeder.accept({ ...request, id, acceptedAt, priority: request.priority ?? 0 });
    return new Promise((resolve) => turn.after(() => resolve({ id, existing: false })));
  }

  async #startOnce(request: NewRun, key: string): Promise<{ id: RunId; existing: boolean }> {
    const earlier = await this.#parts.journal.findByKey(request.kind, request.name, key);
    if (earlier === undefined) return this.#accept(request);
    if (earlier.input === request.input) return { id: earlier.id, existing: true };
    const message = `key "${key}" started ${earlier.id} with another input`;
    throw new LockstepError("IDEMPOTENCY_CONFLICT", message, { details: { run: earlier.id } });
  }
}

const keyOf = (kind: RunKind, name: string, key: string): string => `${kind}/${name}/${key}`;
