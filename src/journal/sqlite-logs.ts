/**
 * Searching the logs, the oldest entry first.
 *
 * A filter becomes scans of one index, each in the order of writing; their rows are merged. Where a text or a time makes most of what is
 * scanned not fit, that is done a slice at a time, and the event loop turns in between.
 */
import type { DatabaseSync, SQLInputValue } from "node:sqlite";
import { setImmediate as turned } from "node:timers/promises";
import { ordinalOf, runIdOf } from "../lib/ids.ts";
import type { CallLog } from "../protocol/control-plane.ts";
import { type LogSearch, matcherOf, rankOf } from "./log-search.ts";
import { LOG_SQL, prepareAll, type Statements } from "./sqlite-queries.ts";

interface LogRow {
  n: number;
  run: number;
  seq: number;
  attempt: number;
  function: string;
  lines: string;
  report: string | null;
}

type Scan = { statement: keyof typeof LOG_SQL; values: SQLInputValue[] };

/** Entries that are looked at before the event loop may turn: a few milliseconds. */
const SLICE = 5_000;
const WARN = 2;
const LEVELS = [WARN, WARN + 1];
/** What JSON writes as it is, so that a line that holds it holds it in its JSON too. */
const PLAIN = /^[ !#-[\]-~]{1,1000}$/;

export class LogReader {
  readonly #statements: Statements<typeof LOG_SQL>;

  constructor(db: DatabaseSync) {
    this.#statements = prepareAll(db, LOG_SQL);
  }

  /** @param last the number of the newest entry */
  async search(filter: LogSearch, limit: number, last: number): Promise<{ logs: CallLog[]; next: number }> {
    if (filter.after === "latest") return { logs: [], next: last };
    const after = filter.after ?? 0;
    const scans = scansOf(filter);
    const bounds = boundsOf(filter);
    const match = matcherOf(filter);
    const slice = filter.run === undefined && (filter.text !== undefined || filter.since !== undefined) ? SLICE : Number.MAX_SAFE_INTEGER;
    const logs: CallLog[] = [];
    let at = after;
    while (at < last && logs.length < limit) {
      const to = Math.min(last, at + slice);
      const wanted = limit - logs.length;
      const rows = this.#scan(scans, [at, to, wanted, ...bounds], wanted);
      for (const row of rows) {
        const log = match(logOf(row));
        if (log !== undefined) logs.push(log);
      }
      at = rows.length === wanted ? (rows.at(-1) as LogRow).n : to;
      if (at < last && logs.length < limit) await turned();
    }
    return { logs, next: Math.max(after, at) };
  }

  #scan(scans: readonly Scan[], values: readonly SQLInputValue[], limit: number): LogRow[] {
    const rows = scans.flatMap((scan) => this.#statements[scan.statement].all(...values, ...scan.values) as unknown as LogRow[]);
    return scans.length === 1 ? rows : rows.sort((a, b) => a.n - b.n).slice(0, limit);
  }
}

const scansOf = ({ run, function: name, level }: LogSearch): Scan[] => {
  const least = level === undefined ? 0 : rankOf(level);
  if (run !== undefined) return [{ statement: "ofRun", values: [ordinalOf(run) ?? -1, name ?? null] }];
  if (least < WARN) return [name === undefined ? { statement: "all", values: [] } : { statement: "ofFunction", values: [name] }];
  return LEVELS.filter((rank) => rank >= least).map((rank) =>
    name === undefined ? { statement: "ofLevel", values: [rank] } : { statement: "ofFunctionLevel", values: [rank, name] },
  );
};

/** What every scan leaves out before anything is read as JSON: level, time, and a pattern of what the JSON holds. */
const boundsOf = ({ level, since, text }: LogSearch): SQLInputValue[] => {
  const pattern = text !== undefined && PLAIN.test(text) ? `%${text.replace(/[%_!]/g, "!$&")}%` : null;
  return [level === undefined ? 0 : rankOf(level), since ?? Number.NEGATIVE_INFINITY, pattern];
};

const logOf = (row: LogRow): CallLog => {
  const { run, seq, attempt, function: name, lines, report } = row;
  const log: CallLog = { run: runIdOf(run), seq, attempt, function: name, lines: JSON.parse(lines) };
  if (report !== null) log.report = JSON.parse(report);
  return log;
};
