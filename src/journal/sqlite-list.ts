/**
 * Listing runs, newest first, however many there are.
 *
 * Every filter becomes a few scans of one index, each of which ends after a page: one for each state and kind that fit, or for each state
 * of the given name. Their pages are merged here. So the time depends on the size of a page, not of the history.
 */
import type { DatabaseSync, SQLInputValue } from "node:sqlite";
import { firstOrdinalAt } from "../lib/ids.ts";
import type { RunFilter, RunPage } from "../protocol/run.ts";
import { cursorOf, ordinalOfCursor } from "./ordinals.ts";
import type { SummaryRow } from "./sqlite-codec.ts";
import { KINDS, kindCode, statesOf, summaryOf, targetOf } from "./sqlite-codec.ts";
import type { Statements } from "./sqlite-queries.ts";
import { LIST_SQL, prepareAll } from "./sqlite-queries.ts";

type Scan = { statement: keyof typeof LIST_SQL; values: SQLInputValue[] };

export class RunList {
  readonly #statements: Statements<typeof LIST_SQL>;

  constructor(db: DatabaseSync) {
    this.#statements = prepareAll(db, LIST_SQL);
  }

  page(filter: RunFilter, limit: number, cursor?: string): RunPage {
    const rows = scansOf(filter, rangeOf(filter, cursor), limit + 1)
      .flatMap(({ statement, values }) => this.#statements[statement].all(...values) as unknown as SummaryRow[])
      .filter((row) => filter.key === undefined || fits(row, filter))
      .sort((a, b) => b.n - a.n);
    const shown = rows.slice(0, limit);
    const page: RunPage = { runs: shown.map(summaryOf) };
    const last = shown.at(-1);
    if (rows.length > limit && last !== undefined) page.cursor = cursorOf(last.n);
    return page;
  }
}

const rangeOf = ({ since, until }: RunFilter, cursor: string | undefined): [number, number] => {
  const end = until === undefined ? Number.MAX_SAFE_INTEGER : firstOrdinalAt(until);
  return [since === undefined ? 0 : firstOrdinalAt(since), cursor === undefined ? end : Math.min(end, ordinalOfCursor(cursor))];
};

const scansOf = (filter: RunFilter, range: [number, number], limit: number): Scan[] => {
  if (filter.key !== undefined) return [{ statement: "byKey", values: [filter.key, ...range] }];
  const { name, kind, status } = filter;
  if (name === undefined && kind === undefined && status === undefined) return [{ statement: "all", values: [...range, limit] }];
  const kinds = kind === undefined ? [...KINDS.keys()] : [kindCode(kind)];
  return statesOf(status).flatMap((state) =>
    kinds.map(
      (code): Scan =>
        name === undefined
          ? { statement: "byState", values: [state, code, ...range, limit] }
          : { statement: "byTarget", values: [targetOf(code, name), state, code, name, ...range, limit] },
    ),
  );
};

const fits = (row: SummaryRow, { kind, name, status }: RunFilter): boolean =>
  (kind === undefined || row.kind === kindCode(kind)) &&
  (name === undefined || row.name === name) &&
  (status === undefined || statesOf(status).includes(row.state));
