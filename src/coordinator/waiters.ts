import { ChurnMap } from "../lib/churn-map.ts";
import type { Clock } from "../lib/clock.ts";
import type { RunId } from "../lib/ids.ts";
import { getOrMake } from "../lib/map.ts";
import type { RunResult } from "../protocol/run.ts";

type Waiter = (result: RunResult) => void;

/** Who waits for which run to finish or suspend. */
export class Waiters {
  readonly #clock: Clock;
  readonly #waiters = new ChurnMap<RunId, Set<Waiter>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  has(run: RunId): boolean {
    return this.#waiters.has(run);
  }

  /** Resolves with the run's answer, or with `undefined` when `waitMs` is over first. */
  wait(run: RunId, waitMs: number): Promise<RunResult | undefined> {
    return new Promise((resolve) => {
      const waiters = getOrMake(this.#waiters, run, () => new Set<Waiter>());
      const cancel = this.#clock.after(waitMs, () => {
        waiters.delete(answer);
        if (waiters.size === 0 && this.#waiters.get(run) === waiters) this.#waiters.delete(run);
        resolve(undefined);
      });
      const answer: Waiter = (result) => {
        cancel();
        resolve(result);
      };
      waiters.add(answer);
    });
  }

  answer(result: RunResult): void {
    const waiters = this.#waiters.get(result.id);
    if (waiters === undefined) return;
    this.#waiters.delete(result.id);
    for (const waiter of waiters) waiter(result);
  }
}
