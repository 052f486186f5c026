import { type ClientTable, groupOf, type Kept, type KeptBatch } from "./client-table.ts";
import type { Crypto, Digest, PublicKey } from "./crypto.ts";

// The client table and what else the core itself must agree on, as the first pages of a checkpoint. One state has one text: everything is
// written in the order of its numbers. What operations came to is not among it: where the function isn't deterministic, correct replicas
// differ in it, and what 2f + 1 sign must follow from the order alone (results.ts).

/** What stands in the first page beside the table. */
export interface StateHeader {
  seq: number;
  /** Of the last batch. */
  time: number;
  /** The epoch after this number, whose members these are. */
  epoch: number;
  membership: Digest;
  /** The view that the epoch begins with. */
  firstView: number;
  /** The number at which the epoch began, and the state there; `""` where it is this state itself. */
  base: { seq: number; digest: Digest };
}

export interface WrittenPages {
  core: string[];
  digests: Digest[];
}

const FORMAT = "lockstep/state/2";
const PAGE_SIZE = 262_144;

type ClientRow = [key: PublicKey, session: number, settled: number, numbers: number[]];
type EntryRow = [position: number, id: string, key: string, client: PublicKey, number: number, inputHash: Digest];
type BatchRow = [seq: number, version: string, count: number, entries: EntryRow[]];
type HeaderRow = [
  format: string,
  seq: number,
  time: number,
  epoch: number,
  membership: Digest,
  firstView: number,
  baseSeq: number,
  baseDigest: Digest,
  clients: ClientRow[],
  groups: number[],
];

/** Writes pages, and remembers those of groups that have not changed since. */
export class PageWriter {
  readonly #groups = new Map<number, WrittenPages>();

  /** @param table everything admitted to it has been executed */
  write(table: ClientTable, header: StateHeader, hash: Crypto["hash"]): WrittenPages {
    const groups = this.#refresh(table, hash);
    const clients = [...table.clients]
      .map(([key, { session, settled, numbers }]): ClientRow => [key, session, settled, [...numbers.keys()].sort(byValue)])
      .sort(([a], [b]) => (a < b ? -1 : 1));
    const { seq, time, epoch, membership, firstView, base } = header;
    const counts = groups.map(({ core }) => core.length);
    const row: HeaderRow = [FORMAT, seq, time, epoch, membership, firstView, base.seq, base.digest, clients, counts];
    const first = JSON.stringify(row);
    return {
      core: [first, ...groups.flatMap(({ core }) => core)],
      digests: [hash(first), ...groups.flatMap(({ digests }) => digests)],
    };
  }

  #refresh(table: ClientTable, hash: Crypto["hash"]): WrittenPages[] {
    const changed = new Map<number, KeptBatch[]>();
    for (const group of table.dirty) changed.set(group, []);
    for (const batch of table.batches.values()) changed.get(groupOf(batch.seq))?.push(batch);
    for (const [group, batches] of changed) {
      if (batches.length === 0) this.#groups.delete(group);
      else this.#groups.set(group, writeGroup(batches, hash));
    }
    table.dirty.clear();
    return [...this.#groups].sort(([a], [b]) => a - b).map(([, written]) => written);
  }
}

const byValue = (a: number, b: number): number => a - b;

const writeGroup = (batches: KeptBatch[], hash: Crypto["hash"]): WrittenPages => {
  const rows = batches
    .sort((a, b) => a.seq - b.seq)
    .map(({ seq, version, leaves, entries }): BatchRow => [seq, version, leaves.length, entryRows(entries)]);
  const text = JSON.stringify(rows);
  const core: string[] = [];
  for (let at = 0; at < text.length; at += PAGE_SIZE) core.push(text.slice(at, at + PAGE_SIZE));
  return { core, digests: core.map((page) => hash(page)) };
};

const entryRows = (entries: ReadonlyMap<number, Kept>): EntryRow[] =>
  [...entries.values()]
    .sort((a, b) => a.position - b.position)
    .map(({ position, id, key, client, number, inputHash }) => [position, id, key, client, number, inputHash]);

export interface ReadPages {
  header: StateHeader;
  /** How many of the pages are the core's. */
  count: number;
  restore(table: ClientTable): void;
}

/** Reads what `PageWriter` has written; `undefined` for anything else. */
export const readPages = (pages: readonly string[]): ReadPages | undefined => {
  try {
    return parse(pages);
  } catch {
    // Whoever has written this is no replica: pages are read only after their digests have been checked.
    return undefined;
  }
};

const parse = (pages: readonly string[]): ReadPages | undefined => {
  const row = JSON.parse(pages[0] ?? "") as HeaderRow;
  if (row[0] !== FORMAT) return undefined;
  const [, seq, time, epoch, membership, firstView, baseSeq, baseDigest, clients, groups] = row;
  const batches: KeptBatch[] = [];
  let at = 1;
  for (const count of groups) {
    const text = pages.slice(at, at + count).join("");
    at += count;
    for (const row of JSON.parse(text) as BatchRow[]) batches.push(batchOf(row));
  }
  if (at > pages.length) return undefined;
  return {
    header: { seq, time, epoch, membership, firstView, base: { seq: baseSeq, digest: baseDigest } },
    count: at,
    restore: (table) =>
      table.restore(
        clients.map(([key, session, settled, numbers]) => [key, { session, settled }, numbers]),
        batches,
      ),
  };
};

const batchOf = ([seq, version, count, rows]: BatchRow): KeptBatch => {
  const entries = rows.map(([position, id, key, client, number, inputHash]): [number, Kept] => [
    position,
    { id, key, client, number, seq, position, input: "", inputHash, resultHash: "", outcome: "", isDone: true, isLost: false },
  ]);
  return { seq, version, leaves: Array.from({ length: count }, () => ""), entries: new Map(entries) };
};
