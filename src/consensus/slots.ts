import type { Digest } from "./crypto.ts";
import type { Batch } from "./messages.ts";

/** The digest of the null request: a number at which nothing happens (TOCS 2002, §4.4). */
export const NULL: Digest = "";

export interface Claim {
  digest: Digest;
  view: number;
}

/** What the current view's leader wants at a number. */
export interface Proposal {
  digest: Digest;
  /** Whether its contents are here and it was found good: the pre-prepared of the paper. Until then it is parked. */
  accepted: boolean;
}

/** What is known of one sequence number. */
export interface Slot {
  readonly seq: number;
  /** Of the current view. */
  proposal: Proposal | undefined;
  /** The last from each replica. */
  readonly prepares: (Claim | undefined)[];
  readonly commits: (Claim | undefined)[];
  /** Which replica says to have committed what. */
  readonly decided: (Digest | undefined)[];
  /** The member of P: the last view in which a digest prepared here. */
  prepared: Claim | undefined;
  /** The members of Q: for each digest the last view in which it pre-prepared here. */
  preprepared: Claim[];
  committed: Digest | undefined;
}

/** Members of Q at one number; the oldest go. Each further one takes a leader that failed and a digest that nobody had prepared. */
export const MOST_CLAIMS = 16;

/** The log of sequence numbers above the last stable checkpoint, at most L of them, and the batches that they name. */
export class Log {
  readonly #slots = new Map<number, Slot>();
  /** By digest. */
  readonly #batches = new Map<Digest, { seq: number; batch: Batch }>();
  /** The last stable checkpoint: the low water mark (TOCS 2002, §4.3). */
  low = 0;
  /** All numbers up to this one are committed, with their contents here. */
  ordered = 0;
  /** All up to this one were given to the executor. */
  dispatched = 0;
  executed = 0;
  /** The last number of which anything is known. */
  top = 0;
  /** The last number of the current view that is taken: by the new view, or by a proposal. */
  last = 0;

  get size(): number {
    return this.#slots.size;
  }

  at(seq: number): Slot | undefined {
    return this.#slots.get(seq);
  }

  open(seq: number): Slot {
    const known = this.#slots.get(seq);
    if (known !== undefined) return known;
    const slot: Slot = {
      seq,
      proposal: undefined,
      prepares: [],
      commits: [],
      decided: [],
      prepared: undefined,
      preprepared: [],
      committed: undefined,
    };
    this.#slots.set(seq, slot);
    if (seq > this.top) this.top = seq;
    return slot;
  }

  /** In the order of their numbers. */
  slots(): Slot[] {
    return [...this.#slots.values()].sort((a, b) => a.seq - b.seq);
  }

  batch(digest: Digest): Batch | undefined {
    return this.#batches.get(digest)?.batch;
  }

  entry(digest: Digest): { seq: number; batch: Batch } | undefined {
    return this.#batches.get(digest);
  }

  batches(): Iterable<[Digest, { seq: number; batch: Batch }]> {
    return this.#batches;
  }

  /** @returns false if it was there already */
  hold(digest: Digest, seq: number, batch: Batch): boolean {
    if (this.#batches.has(digest)) return false;
    this.#batches.set(digest, { seq, batch });
    return true;
  }

  /** Forgets slots and batches whose numbers fit. @returns the batches */
  drop(fits: (seq: number) => boolean): Batch[] {
    for (const seq of this.#slots.keys()) if (fits(seq)) this.#slots.delete(seq);
    const dropped: Batch[] = [];
    for (const [digest, { seq, batch }] of this.#batches) {
      if (!fits(seq)) continue;
      this.#batches.delete(digest);
      dropped.push(batch);
    }
    return dropped;
  }
}

/** How many say the same. */
export const countClaims = (claims: readonly (Claim | undefined)[], view: number, digest: Digest): number => {
  let count = 0;
  for (const claim of claims) if (claim !== undefined && claim.view === view && claim.digest === digest) count++;
  return count;
};

/** Adds to Q. */
export const claimPrePrepared = (slot: Slot, digest: Digest, view: number): void => {
  const others = slot.preprepared.filter((claim) => claim.digest !== digest);
  slot.preprepared = [{ digest, view }, ...others].slice(0, MOST_CLAIMS);
};
