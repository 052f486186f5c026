import type { Clock } from "../lib/clock.ts";
import { Callees } from "./callees.ts";
import type { Fleet } from "./fleet.ts";

export interface PreloadParts {
  clock: Clock;
  fleet: Pick<Fleet, "preload">;
  /** Whether the function's next call would take a warm pod: it has no pods, its version has it, and a warm pod suits it. */
  takesWarm(fn: string, version: string): boolean;
  pathOf(version: string): string;
}

const AGAIN_MS = 1_000;
const MOST_REMEMBERED = 1_000;

/**
 * Gets warm pods ready for what running coordinators will probably call: when a run begins whose coordinator's usual callees have no pods, the
 * version's bundle is compiled in warm pods, and as many of these are kept as there are such callees.
 */
export class Preloads {
  readonly #parts: PreloadParts;
  readonly #callees = new Callees();
  /** When each coordinator is looked at again: runs that begin in between cost one look into this map. */
  readonly #nextAt = new Map<string, number>();

  constructor(parts: PreloadParts) {
    this.#parts = parts;
  }

  /** A run of this coordinator calls a function. */
  called(coordinator: string, fn: string): void {
    this.#callees.note(coordinator, fn);
  }

  /** A run of this coordinator begins. */
  begins(coordinator: string, version: string): void {
    const { clock, fleet, takesWarm, pathOf } = this.#parts;
    const now = clock.now();
    if (now < (this.#nextAt.get(coordinator) ?? 0)) return;
    if (this.#nextAt.size >= MOST_REMEMBERED) this.#nextAt.clear();
    this.#nextAt.set(coordinator, now + AGAIN_MS);
    const cold = this.#callees.likely(coordinator).filter((fn) => takesWarm(fn, version));
    if (cold.length > 0) fleet.preload(pathOf(version), cold.length);
  }
}
