import { getOrMake } from "../lib/map.ts";
import { resultsText } from "./canonical.ts";
import { groupOf, type Kept } from "./client-table.ts";
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

interface Group {
  kept: readonly Kept[];
  /** What they had come to when the pages were written: it may have been learnt, or let go, since. */
  hashes: readonly Digest[];
  pages: string[];
  digests: Digest[];
}

/** Writes pages in groups of numbers like those of the client table, and remembers those of groups that have not changed since. */
export class ResultWriter {
  #groups = new Map<number, Group>();

  /** @param kept all of it has been executed */
  write(core: Writer, seq: number, kept: readonly Kept[]): ResultPages {
    const { hash } = core.crypto;
    const byGroup = new Map<number, Kept[]>();
    let last: { at: number; of: Kept[] } | undefined;
    for (const each of kept) {
      const at = groupOf(each.seq);
      // Mostly they come in their order.
      if (last?.at !== at) last = { at, of: getOrMake(byGroup, at, () => []) };
      last.of.push(each);
    }
    const groups = [...byGroup].sort(([a], [b]) => a - b).map(([at, kept]): [number, Group] => [at, this.#refresh(at, kept, hash)]);
    this.#groups = new Map(groups);
    const pages = groups.flatMap(([, group]) => group.pages);
    const digests = groups.flatMap(([, group]) => group.digests);
    return { pages, digests, digest: hash(resultsText(core.set, seq, digests)) };
  }

  /** Compared with what was written, so that nobody who changes a result has to say so: a page too old would be another word than the peers'. */
  #refresh(at: number, kept: readonly Kept[], hash: Crypto["hash"]): Group {
    const known = this.#groups.get(at);
    if (known?.kept.length === kept.length && kept.every((each, i) => known.kept[i] === each && known.hashes[i] === each.resultHash))
      return known;
    const pages = writeRows(kept);
    return { kept, hashes: kept.map(({ resultHash }) => resultHash), pages, digests: pages.map((page) => hash(page)) };
  }
}

const writeRows = (kept: readonly Kept[]): string[] => {
  const rows = kept.map(({ seq, position, resultHash }): Row => [seq, position, resultHash]).sort(([a, i], [b, j]) => a - b || i - j);
  const pages: string[] = [];
  for (let at = 0; at < rows.length; at += PAGE_ROWS) pages.push(JSON.stringify(rows.slice(at, at + PAGE_ROWS)));
  return pages;
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
