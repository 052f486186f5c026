import type { RunId } from "../lib/ids.ts";
import type { Json } from "../lib/json.ts";
import type { FaultClass } from "../lib/verdict.ts";

/**
 * Whose data a key belongs to: an application's name, or one of the platform's own spaces, whose names begin with `$` and which no
 * application's can.
 */
export type Space = string;

/** Why a value can't be trusted: the call that should have written it failed. */
export interface Staleness {
  run: RunId;
  /** The call's `seq`; 0 for the coordinator itself. */
  call: number;
  /** Its function, or coordinator. */
  function: string;
  fault: FaultClass;
  message: string;
  /** Unix ms. */
  at: number;
}

/**
 * What a key holds. `value` is `""` and `version` 0 for a key that nobody has written (it can be stale all the same: its first writer
 * failed). Versions come from one counter of the whole store: they only grow, and no two writes share one.
 */
export interface StateEntry {
  key: string;
  value: Json;
  version: number;
  stale?: Staleness;
  /** Unix ms. */
  expiresAt?: number;
}

/** What a read of a stale value does: rejects with STATE_STALE, gives the value, or waits until the key is fresh. */
export type StaleRead = "refuse" | "allow" | "wait";

export type StateRead =
  | { op: "get"; key: string; stale?: StaleRead }
  /** Keys that begin with `prefix`, in order of their UTF-8 bytes, those after the key `after`. */
  | { op: "list"; prefix: string; limit: number; after?: string };

/** One write. Without `value` the key is deleted. `refresh` leaves the value and declares it right. */
export interface StateWrite {
  key: string;
  value?: Json;
  ttlMs?: number;
  /** Refused with STATE_CONFLICT unless the key has this version then (0: is absent). */
  ifVersion?: number;
  refresh?: boolean;
}

/** A coordinator's single operation: a transaction of its own. */
export type StateOp = StateRead | ({ op: "write" } & StateWrite);

/** A row as a commit changes it. Without `value` and `stale` the row goes. */
export interface StateChange {
  space: Space;
  key: string;
  /** Absent: the key has no value (it is only marked as stale), or is deleted. */
  value?: Json;
  version: number;
  stale?: Staleness;
  expiresAt?: number;
  /** Value, version and expiry stay as they are in the row, whatever is said here: only `stale` changes. */
  keep?: true;
}
