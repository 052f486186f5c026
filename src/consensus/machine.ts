import type { Crypto } from "./crypto.ts";
import type { DurableRecord, Effect, Input } from "./effects.ts";
import { type Limits, type ReplicaOptions, withDefaults } from "./options.ts";

/** What is known of a replica from outside: for the host's pulse, for tests and for checkers. */
export interface ReplicaSummary {
  epoch: number;
  view: number;
  /** Whether the view has begun here; else the replica waits for a new view. */
  active: boolean;
  leader: number;
  /** The last stable checkpoint. */
  stable: number;
  /** All numbers up to this one have been committed here. */
  committed: number;
  executed: number;
  transferring: boolean;
  retired: boolean;
  /** What is held in memory, for checks of the bounds. */
  held: { slots: number; requests: number; pending: number; keptOperations: number; votes: number; parked: number };
}

/** One replica of a set as a state machine. `start` once, then `step` for each thing that happens; effects are carried out in their order. */
export class Replica {
  readonly #limits: Limits;

  /** @param records of an earlier life, in the order in which they were persisted */
  constructor(options: ReplicaOptions, _crypto: Crypto, _records: readonly DurableRecord[] = []) {
    this.#limits = withDefaults(options.limits);
  }

  /** @param now Unix ms of the replica's own clock; never less than before */
  start(_now: number): Effect[] {
    return [{ t: "timer", timer: "status", afterMs: this.#limits.statusEveryMs }];
  }

  step(_input: Input, _now: number): Effect[] {
    return [];
  }

  inspect(): ReplicaSummary {
    const held = { slots: 0, requests: 0, pending: 0, keptOperations: 0, votes: 0, parked: 0 };
    const positions = { epoch: 1, view: 0, active: true, leader: 0, stable: 0, committed: 0, executed: 0 };
    return { ...positions, transferring: false, retired: false, held };
  }
}
