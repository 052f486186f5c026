import type { Space, Staleness } from "../protocol/state.ts";
import type { Owner } from "./transaction.ts";

type Cause = Pick<Owner, "run" | "seq">;

const causeKey = ({ run, seq }: Cause): string => `${run}/${seq}`;

/** Which keys are stale, and which call caused it. A key has one mark: the last. */
export class Marks {
  readonly #spaces = new Map<Space, Map<string, Staleness>>();
  readonly #causes = new Map<string, Map<string, { space: Space; key: string }>>();

  get(space: Space, key: string): Staleness | undefined {
    return this.#spaces.get(space)?.get(key);
  }

  set(space: Space, key: string, stale: Staleness): void {
    this.delete(space, key);
    const marks = this.#spaces.get(space) ?? new Map<string, Staleness>();
    this.#spaces.set(space, marks.set(key, stale));
    const cause = causeKey({ run: stale.run, seq: stale.call });
    const keys = this.#causes.get(cause) ?? new Map<string, { space: Space; key: string }>();
    this.#causes.set(cause, keys.set(`${space}\0${key}`, { space, key }));
  }

  /** Whether the key was stale. */
  delete(space: Space, key: string): boolean {
    const marks = this.#spaces.get(space);
    const stale = marks?.get(key);
    if (marks === undefined || stale === undefined) return false;
    marks.delete(key);
    if (marks.size === 0) this.#spaces.delete(space);
    const cause = causeKey({ run: stale.run, seq: stale.call });
    const keys = this.#causes.get(cause);
    keys?.delete(`${space}\0${key}`);
    if (keys?.size === 0) this.#causes.delete(cause);
    return true;
  }

  /** Whether this call has left any key stale. */
  has(cause: Cause): boolean {
    return this.#causes.size > 0 && this.#causes.has(causeKey(cause));
  }

  /** The keys that this call has left stale. */
  of(cause: Cause): { space: Space; key: string }[] {
    return this.#causes.size === 0 ? [] : [...(this.#causes.get(causeKey(cause))?.values() ?? [])];
  }

  all(): { space: Space; key: string; stale: Staleness }[] {
    return [...this.#spaces].flatMap(([space, marks]) => [...marks].map(([key, stale]) => ({ space, key, stale })));
  }
}
