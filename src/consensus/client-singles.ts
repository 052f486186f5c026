/** Operations that votes on them alone are asked for, again and again until they have ended; all that are due go out in one request. */
export class Singles {
  readonly #retryMs: number;
  readonly #maxRetryMs: number;
  readonly #asked = new Map<string, { dueAt: number; afterMs: number; rounds: number }>();

  constructor(retryMs: number, maxRetryMs: number) {
    this.#retryMs = retryMs;
    this.#maxRetryMs = maxRetryMs;
  }

  /** @returns when it is asked for */
  want(id: string, now: number): number {
    const known = this.#asked.get(id);
    if (known !== undefined) return known.dueAt;
    this.#asked.set(id, { dueAt: now, afterMs: this.#retryMs, rounds: 0 });
    return now;
  }

  drop(id: string): void {
    this.#asked.delete(id);
  }

  clear(): void {
    this.#asked.clear();
  }

  /** How often it has been asked for. */
  rounds(id: string): number {
    return this.#asked.get(id)?.rounds ?? 0;
  }

  takeDue(now: number): string[] {
    const ids: string[] = [];
    for (const [id, each] of this.#asked) {
      if (each.dueAt > now) continue;
      each.dueAt = now + each.afterMs;
      each.afterMs = Math.min(2 * each.afterMs, this.#maxRetryMs);
      each.rounds++;
      ids.push(id);
    }
    return ids;
  }

  get due(): number {
    let due = Number.POSITIVE_INFINITY;
    for (const { dueAt } of this.#asked.values()) due = Math.min(due, dueAt);
    return due;
  }
}
