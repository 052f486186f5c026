/**
 * What executing attempts tell of their progress, and which of them have been silent for longer than their function allows.
 *
 * Owns: when progress is passed on, and heartbeats. Does not own: leases (the scheduler), what progress means (the run machine). Attempts
 * that tell nothing and have no heartbeat are not known here and cost nothing.
 *
 * H1  The last progress of an attempt is passed on before its failure is.
 * H2  One that floods progress is passed on at most every 100 ms, and every hundredth of the time that it has executed: an attempt of an
 *     hour leaves hundreds of records, not tens of thousands.
 */
import type { Json } from "../lib/json.ts";
import { getOrMake } from "../lib/map.ts";
import type { Entry } from "../queue/machine.ts";

interface Watched {
  readonly lease: number;
  readonly entry: Entry;
  readonly heartbeatMs: number | undefined;
  heardAt: number;
  untold: Json | undefined;
  /** Nothing is passed on before. */
  tellAt: number;
}

const TELL_MS = 100;
const TELL_PART = 100;

export class Heartbeats {
  readonly #tell: (entry: Entry, value: Json) => void;
  readonly #watched = new Map<number, Watched>();
  /** By heartbeat; within one, those that have been silent the longest come first, so only heads need a look. */
  readonly #silent = new Map<number, Set<Watched>>();
  readonly #untold = new Set<Watched>();

  constructor(tell: (entry: Entry, value: Json) => void) {
    this.#tell = tell;
  }

  /** An attempt begins whose function has a heartbeat. Gives the time at which `sweep` must look at it. */
  watch(lease: number, entry: Entry, heartbeatMs: number, now: number): number {
    const watched = { lease, entry, heartbeatMs, heardAt: now, untold: undefined, tellAt: now };
    this.#watched.set(lease, watched);
    getOrMake(this.#silent, heartbeatMs, () => new Set<Watched>()).add(watched);
    return now + heartbeatMs;
  }

  /** An attempt tells progress. Gives the time at which `sweep` must pass it on; `undefined` when it was. */
  heard(lease: number, entry: Entry, value: Json, now: number): number | undefined {
    const make = (): Watched => ({ lease, entry, heartbeatMs: undefined, heardAt: now, untold: undefined, tellAt: now });
    const watched = getOrMake(this.#watched, lease, make);
    if (watched.heartbeatMs !== undefined && watched.heardAt !== now) {
      const silent = this.#silent.get(watched.heartbeatMs);
      silent?.delete(watched);
      silent?.add(watched);
    }
    watched.heardAt = now;
    watched.untold = value;
    if (now >= watched.tellAt) return this.#passOn(watched, now);
    this.#untold.add(watched);
    return watched.tellAt;
  }

  /** The attempt is over. What it told last matters to the next one, if there will be one. */
  end(lease: number, failed: boolean, now: number): void {
    const watched = this.#watched.get(lease);
    if (watched === undefined) return;
    this.#watched.delete(lease);
    this.#untold.delete(watched);
    if (watched.heartbeatMs !== undefined) this.#silent.get(watched.heartbeatMs)?.delete(watched);
    if (failed) this.#passOn(watched, now);
  }

  /**
   * Passes on what may be now, and gives up attempts that were silent for too long. Gives the time at which to look again.
   * @param isSpared the platform itself stood still: what attempts have told meanwhile is still to be read
   */
  sweep(now: number, isSpared: boolean, giveUp: (lease: number, entry: Entry, heartbeatMs: number) => void): number {
    let next = Number.POSITIVE_INFINITY;
    for (const watched of this.#untold) {
      if (watched.tellAt <= now) this.#passOn(watched, now);
      else next = Math.min(next, watched.tellAt);
    }
    for (const [heartbeatMs, silent] of this.#silent) {
      for (const { lease, entry, heardAt } of silent) {
        const deadline = heardAt + heartbeatMs;
        if (deadline > now || isSpared) {
          next = Math.min(next, deadline);
          break;
        }
        giveUp(lease, entry, heartbeatMs);
      }
      if (silent.size === 0) this.#silent.delete(heartbeatMs);
    }
    return next;
  }

  /** Passes on all that was told: the platform stops in order, and the next life's attempts go on from there. */
  flush(now: number): void {
    for (const watched of this.#untold) this.#passOn(watched, now);
  }

  #passOn(watched: Watched, now: number): undefined {
    const { entry, untold } = watched;
    this.#untold.delete(watched);
    if (untold === undefined) return;
    watched.untold = undefined;
    watched.tellAt = now + Math.max(TELL_MS, (now - entry.leasedAt) / TELL_PART);
    this.#tell(entry, untold);
  }
}
