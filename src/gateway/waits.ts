import { ChurnMap } from "../lib/churn-map.ts";

/** Long waits of requests, which must not hold up the end of the platform. */
export class Waits {
  readonly #releases = new ChurnMap<() => void, true>();
  #released = false;

  /** What `work` resolves to, or `undefined` as soon as the gateway closes. */
  until<T>(work: Promise<T>): Promise<T | undefined> {
    if (this.#released) return work;
    return new Promise((resolve, reject) => {
      const release = (): void => resolve(undefined);
      this.#releases.set(release, true);
      work.then(
        (value) => {
          this.#releases.delete(release);
          resolve(value);
        },
        (error: unknown) => {
          this.#releases.delete(release);
          reject(error);
        },
      );
    });
  }

  releaseAll(): void {
    this.#released = true;
    for (const [release] of this.#releases) release();
  }
}
