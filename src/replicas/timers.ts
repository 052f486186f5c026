import type { Clock } from "../lib/clock.ts";

/** Timers by name: arming one again replaces it. */
export class Timers<Name extends string> {
  readonly #clock: Clock;
  readonly #cancels = new Map<Name, () => void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  has(name: Name): boolean {
    return this.#cancels.has(name);
  }

  after(name: Name, ms: number, callback: () => void): void {
    this.cancel(name);
    const cancel = this.#clock.after(ms, () => {
      this.#cancels.delete(name);
      callback();
    });
    this.#cancels.set(name, cancel);
  }

  /** Once everything that has already arrived was handled. */
  atEndOfTurn(name: Name, callback: () => void): void {
    this.cancel(name);
    let isCancelled = false;
    this.#cancels.set(name, () => {
      isCancelled = true;
    });
    this.#clock.endOfTurn(() => {
      if (isCancelled) return;
      this.#cancels.delete(name);
      callback();
    });
  }

  cancel(name: Name): void {
    this.#cancels.get(name)?.();
    this.#cancels.delete(name);
  }

  clear(): void {
    for (const cancel of this.#cancels.values()) cancel();
    this.#cancels.clear();
  }
}
