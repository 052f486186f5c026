import { resultsText } from "./canonical.ts";
import type { Kept } from "./client-table.ts";
import type { Crypto, Digest } from "./crypto.ts";
import type { StableCheckpoint } from "./messages.ts";

// Hashes of all results that are kept at a checkpoint, as pages. They are no part of the state: a vote on a checkpoint names their digest beside
// that of the state, if its replica knows them all. f + 1 votes that name the same one are the word of a correct replica for all of them, which
// outlives what the voters remember. Where the function is deterministic there are always f + 1: of the 2f + 1 that make a checkpoint stable so
// many are correct, and who has its state from others has these pages with it.

/** Rows of one page. */
const PAGE_ROWS = 2_048;

interface Writer {
  readonly set: string;
  readonly crypto: Pick<Crypto, "hash">;
}

type Row = [seq: number, position: number, resultHash: Digest];

export interface ResultPages {
  pages: string[];
  digests: Digest[];
  /** Of the list of their digests. */
  digest: Digest;
}

/** What can be looked up by number and position: `""` where the result itself was let go. */
export type KnownHashes = ReadonlyMap<number, ReadonlyMap<number, Digest>>;

/** @param kept all of it has been executed */
export const writeResultPages = (core: Writer, seq: number, kept: readonly Kept[]): ResultPages => {
  const { hash } = core.crypto;
  const rows = kept.map(({ seq, position, resultHash }): Row => [seq, position, resultHash]).sort(([a, i], [b, j]) => a - b || i - j);
  const pages: string[] = [];
  for (let at = 0; at < rows.length; at += PAGE_ROWS) pages.push(JSON.stringify(rows.slice(at, at + PAGE_ROWS)));
  const digests = pages.map((page) => hash(page));
  return { pages, digests, digest: hash(resultsText(core.set, seq, digests)) };
};

/** Only of pages whose digests have been checked: a correct replica has written them. */
export const readResultPages = (pages: readonly string[]): KnownHashes => {
  const known = new Map<number, Map<number, Digest>>();
  for (const page of pages) {
    for (const [seq, position, resultHash] of JSON.parse(page) as Row[]) {
      const batch = known.get(seq) ?? new Map<number, Digest>();
      known.set(seq, batch.set(position, resultHash));
    }
  }
  return known;
};

/** What f + 1 of a checkpoint's voters have come to; of several such digests, where the function isn't deterministic, what most have. */
export const provenResults = ({ votes }: Pick<StableCheckpoint, "votes">, weak: number): Digest | undefined => {
  const counts = new Map<Digest, number>();
  for (const { results } of votes) if (results !== undefined) counts.set(results, (counts.get(results) ?? 0) + 1);
  const [most] = [...counts].sort(([, a], [, b]) => b - a);
  return most !== undefined && most[1] >= weak ? most[0] : undefined;
};

/** Whether these are the digests of the pages that f + 1 of the voters have written. */
export const areProven = (core: Writer & { readonly weak: number }, stable: StableCheckpoint, digests: readonly Digest[]): boolean => {
  const proven = provenResults(stable, core.weak);
  return proven !== undefined && core.crypto.hash(resultsText(core.set, stable.seq, digests)) === proven;
};
