/**
 * Leases: which attempt executes in which pod, and which of them are overdue.
 *
 * Owns: leases from their beginning to their end, and their deadlines. Does not own: why one ends and what follows (the scheduler), the
 * layers' own count of what is leased.
 *
 * S1  Each lease ends exactly once: by the pod's answer, the timeout, the pod's end, or withdrawal. What comes later finds none (P2).
 */
import { ChurnMap } from "../lib/churn-map.ts";
import { getOrMake } from "../lib/map.ts";
import type { Entry } from "../queue/machine.ts";
import type { LayerHost } from "./layer-host.ts";
import type { Pod } from "./pod.ts";

export interface Lease {
  readonly entry: Entry;
  readonly host: LayerHost;
  readonly pod: Pod;
  /** It is among the first that its pod executes: its result tells how long the pod took to be ready. */
  readonly cold: boolean;
}

export class Leases {
  readonly #leases = new ChurnMap<number, Lease>();
  /** By their timeout: within one, insertion order is the order of the deadlines, so only heads need a look. */
  readonly #deadlines = new Map<number, ChurnMap<number, Lease>>();
  #last = 0;

  get size(): number {
    return this.#leases.size;
  }

  /** A number that no lease has had. */
  next(): number {
    return ++this.#last;
  }

  begin(lease: number, held: Lease): void {
    this.#leases.set(lease, held);
  }

  /** It is overdue once the timeout of its call is over. */
  watch(lease: number, held: Lease): void {
    getOrMake(this.#deadlines, held.entry.timeoutMs, () => new ChurnMap<number, Lease>()).set(lease, held);
  }

  get(lease: number): Lease | undefined {
    return this.#leases.get(lease);
  }

  /** The lease that has ended with this; `undefined` when it had before. */
  end(lease: number): Lease | undefined {
    const held = this.#leases.get(lease);
    if (held === undefined) return undefined;
    this.#leases.delete(lease);
    this.#deadlines.get(held.entry.timeoutMs)?.delete(lease);
    return held;
  }

  /** What a pod executes. Leases may end meanwhile. */
  *of(pod: Pod): Generator<[lease: number, held: Lease]> {
    for (const each of this.#leases) if (each[1].pod === pod) yield each;
  }

  /**
   * Has those given up that are overdue, which ends them. Gives the time at which to look again.
   * @param isSpared the platform itself stood still: what attempts have answered meanwhile is still to be read
   */
  sweep(now: number, isSpared: boolean, giveUp: (lease: number, held: Lease, timeoutMs: number) => void): number {
    let next = Number.POSITIVE_INFINITY;
    for (const [timeoutMs, leases] of this.#deadlines) {
      for (const [lease, held] of leases) {
        const deadline = held.entry.leasedAt + timeoutMs;
        if (deadline > now || isSpared) {
          next = Math.min(next, deadline);
          break;
        }
        giveUp(lease, held, timeoutMs);
      }
      if (leases.size === 0) this.#deadlines.delete(timeoutMs);
    }
    return next;
  }
}
