import type { ReplicaIndex } from "./membership.ts";
import type { Reply } from "./messages.ts";

/** Beside its texts, what a result takes. */
const RESULT_CHARACTERS = 256;

/**
 * How much is held of each replica's replies for operations that have not ended: as long as there is no certificate, whoever lies may say anything
 * of any length about each of them, and say it again.
 */
export class Held {
  readonly #most: number;
  readonly #of = new Map<ReplicaIndex, number>();

  /** @param most characters of one replica's */
  constructor(most: number) {
    this.#most = most;
  }

  hasRoom(replica: ReplicaIndex, characters: number): boolean {
    return this.of(replica) + characters <= this.#most;
  }

  /**
   * Whether there was room for it.
   * @param operation what is held for this one, by replica: it grows only, since a text of before may be kept with a later vote
   */
  take(operation: number[], replica: ReplicaIndex, characters: number): boolean {
    const before = operation[replica] ?? 0;
    if (characters <= before) return true;
    if (!this.hasRoom(replica, characters - before)) return false;
    operation[replica] = characters;
    this.#of.set(replica, this.of(replica) + characters - before);
    return true;
  }

  /** It has ended. */
  release(operation: readonly number[]): void {
    for (const [replica, characters] of operation.entries()) {
      if (characters !== undefined) this.#of.set(replica, this.of(replica) - characters);
    }
  }

  of(replica: ReplicaIndex): number {
    return this.#of.get(replica) ?? 0;
  }
}

export const sizeOf = ({ results }: Reply): number => {
  let size = 0;
  for (const { id, key, path, outcome } of results) size += RESULT_CHARACTERS + id.length + key.length + 64 * path.length + outcome.length;
  return size;
};

/** The same votes without the outcomes, which others may send, and which can be asked for. */
export const withoutOutcomes = (reply: Reply): Reply => ({
  ...reply,
  results: reply.results.map((result) => ({ ...result, outcome: "" })),
});
