/**
 * The chains of runs that start one another by their events: how long each is, and what it went through, so that none is endless.
 *
 * Owns: the rows `chain/…` of the space `$triggers`, one for each unfinished run that an event of another run has started, or that such a
 * run has started. Runs that clients, schedules and webhooks start begin a chain and have no row.
 */
import type { RunId } from "../lib/ids.ts";
import type { StateChange, StateEntry } from "../protocol/state.ts";

export const CHAIN_PREFIX = "chain/";

/** The targets that a chain went through, the first first. */
type Chain = readonly string[];

const NONE: Chain = [];

export class Chains {
  readonly #put: (change: Omit<StateChange, "space" | "version">) => void;
  readonly #chains = new Map<RunId, Chain>();

  constructor(put: (change: Omit<StateChange, "space" | "version">) => void) {
    this.#put = put;
  }

  load(rows: readonly StateEntry[]): void {
    for (const { key, value } of rows) this.#chains.set(key.slice(CHAIN_PREFIX.length), JSON.parse(value) as Chain);
  }

  get isEmpty(): boolean {
    return this.#chains.size === 0;
  }

  of(run: RunId | undefined): Chain {
    return (run === undefined ? undefined : this.#chains.get(run)) ?? NONE;
  }

  /** A run goes through what went before it, and through itself. */
  add(run: RunId, chain: Chain): void {
    this.#chains.set(run, chain);
    this.#put({ key: CHAIN_PREFIX + run, value: JSON.stringify(chain) });
  }

  end(run: RunId): void {
    if (this.#chains.delete(run)) this.#put({ key: CHAIN_PREFIX + run });
  }
}
