/**
 * The warm pods that are ready, and what they get ready for.
 *
 * Owns: which pods are nobody's and ready, and which bundles they compile ahead. Does not own: starting and ending pods (the fleet), how
 * many there should be (the pool).
 */
import type { ToPod } from "../protocol/pod.ts";
import type { Pod } from "./pod.ts";

/** As many as a pod keeps. */
const MOST_PRELOADED = 2;
/** A bundle that nobody has expected for so long is compiled no more: its version may be gone. */
const PRELOAD_MS = 60_000;

export class WarmPods {
  readonly #ready: Pod[] = [];
  readonly #send: (pod: Pod, message: ToPod) => void;
  /** Until when each bundle is expected, the one that was wanted last at the end. */
  readonly #expected = new Map<string, number>();

  constructor(send: (pod: Pod, message: ToPod) => void) {
    this.#send = send;
  }

  get size(): number {
    return this.#ready.length;
  }

  /** The one that is ended first when there are too many. */
  get oldest(): Pod | undefined {
    return this.#ready[0];
  }

  put(pod: Pod, now: number): void {
    this.#ready.push(pod);
    this.#preloadIn(pod, now);
  }

  /** The oldest: it has compiled whatever the others have. */
  take(): Pod | undefined {
    return this.#ready.shift();
  }

  drop(pod: Pod): void {
    const at = this.#ready.indexOf(pod);
    if (at >= 0) this.#ready.splice(at, 1);
  }

  /** A bundle will probably be loaded soon. */
  expect(path: string, now: number): void {
    this.#expected.delete(path);
    this.#expected.set(path, now + PRELOAD_MS);
    if (this.#expected.size > MOST_PRELOADED) this.#expected.delete(this.#expected.keys().next().value as string);
    for (const pod of this.#ready) this.#preloadIn(pod, now);
  }

  #preloadIn(pod: Pod, now: number): void {
    for (const [path, until] of this.#expected) {
      if (until <= now) {
        this.#expected.delete(path);
        continue;
      }
      if (pod.preloaded?.includes(path)) continue;
      pod.preloaded = [...(pod.preloaded ?? []), path].slice(-MOST_PRELOADED);
      this.#send(pod, { t: "preload", path });
    }
  }
}
