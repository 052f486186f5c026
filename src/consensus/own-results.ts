import type { ClientTable, Kept } from "./client-table.ts";
import type { OwnResult } from "./messages.ts";

// What is kept beside a checkpoint: results that this replica has come to itself, or has from f + 1 peers.

/** What the table keeps now: later numbers let it go, and the checkpoint's records still need it. */
export const keptOf = (table: ClientTable): Kept[] => [...table.kept.values()];

export const resultsOf = (kept: readonly Kept[]): OwnResult[] =>
  kept.flatMap(({ id, seq, position, resultHash, outcome }) => (resultHash === "" ? [] : [{ id, seq, position, resultHash, outcome }]));
