import type { ReplicaIndex } from "./membership.ts";

/** Which replicas have sent nothing for long, while the others' votes made certificates. Each is named once, until it is heard again. */
export class Silence {
  readonly #silenceMs: number;
  /** Since when each has missed what the others have voted on. */
  readonly #owedSince = new Map<ReplicaIndex, number>();
  readonly #named = new Set<ReplicaIndex>();

  constructor(silenceMs: number) {
    this.#silenceMs = silenceMs;
  }

  /** Its vote was not needed. @returns when it will be silent */
  owe(replica: ReplicaIndex, now: number): number {
    const known = this.#owedSince.get(replica);
    if (known !== undefined) return Number.POSITIVE_INFINITY;
    this.#owedSince.set(replica, now);
    return now + this.#silenceMs;
  }

  hear(replica: ReplicaIndex): void {
    this.#owedSince.delete(replica);
    this.#named.delete(replica);
  }

  overdue(now: number): { replica: ReplicaIndex; ms: number }[] {
    const found: { replica: ReplicaIndex; ms: number }[] = [];
    for (const [replica, since] of this.#owedSince) {
      if (now - since < this.#silenceMs || this.#named.has(replica)) continue;
      this.#named.add(replica);
      found.push({ replica, ms: now - since });
    }
    return found;
  }

  /** When the next of them will be silent. */
  get due(): number {
    let due = Number.POSITIVE_INFINITY;
    for (const [replica, since] of this.#owedSince) if (!this.#named.has(replica)) due = Math.min(due, since + this.#silenceMs);
    return due;
  }

  clear(): void {
    this.#owedSince.clear();
    this.#named.clear();
  }
}
