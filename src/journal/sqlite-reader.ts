/** The read side, apart from listing (sqlite-list.ts). Every statement is bounded by its limit or by what it is about, not by the history. */
import type { DatabaseSync } from "node:sqlite";
import type { RunId } from "../lib/ids.ts";
import { ordinalOf, runIdOf } from "../lib/ids.ts";
import type { EventBody, PlatformEvent } from "../protocol/events.ts";
import type { JournalRecord, RunKind, RunStatus } from "../protocol/run.ts";
import type { Batch, StoredRun } from "./port.ts";
import type { RunRow, Spilled } from "./sqlite-codec.ts";
import { kindCode, runOf, statusOf } from "./sqlite-codec.ts";
import { ProofReader } from "./sqlite-proofs.ts";
import type { Statements } from "./sqlite-queries.ts";
import { prepareAll, READ_SQL } from "./sqlite-queries.ts";
import type { Heads } from "./sqlite-writer.ts";

export class SqliteReader {
  readonly #statements: Statements<typeof READ_SQL>;
  readonly #proofs: ProofReader;

  constructor(db: DatabaseSync) {
    this.#proofs = new ProofReader(db);
    this.#statements = prepareAll(db, READ_SQL);
  }

  epoch(): number {
    return (this.#statements.epoch.get() as { epoch: number }).epoch;
  }

  heads(): Heads {
    const kept = this.#statements.heads.get() as { n: number; position: number; log: number; version: number };
    const newest = this.#statements.newestEvents.get() as { first: number; data: string } | undefined;
    const position = newest === undefined ? 0 : newest.first + (JSON.parse(newest.data) as unknown[]).length - 1;
    return { lastOrdinal: kept.n, lastPosition: Math.max(kept.position, position), lastLog: kept.log, lastVersion: kept.version };
  }

  run(id: RunId): StoredRun | undefined {
    const n = ordinalOf(id);
    return n === undefined ? undefined : this.#stored(this.#statements.run.get(n));
  }

  byKey(kind: RunKind, name: string, key: string): StoredRun | undefined {
    return this.#stored(this.#statements.runByKey.get(key, kindCode(kind), name));
  }

  records(id: RunId): JournalRecord[] {
    const n = ordinalOf(id);
    if (n === undefined) return [];
    const rows = this.#statements.records.all(n) as { data: string }[];
    const records = this.#proofs.put(rows.flatMap(({ data }) => JSON.parse(data) as JournalRecord[]));
    const payloads = this.#statements.recordPayloads.all(n) as { slot: number; text: string }[];
    if (payloads.length === 0) return records;
    const texts = new Map(payloads.map(({ slot, text }) => [slot, text]));
    return records.map((record) => restored(record, texts));
  }

  live(): RunId[] {
    const rows = this.#statements.live.all() as { n: number }[];
    return rows.map(({ n }) => runIdOf(n));
  }

  dueBy(until: number, limit: number): { id: RunId; wakeAt: number }[] {
    const rows = this.#statements.due.all(until, limit) as { n: number; wake_at: number }[];
    return rows.map(({ n, wake_at }) => ({ id: runIdOf(n), wakeAt: wake_at }));
  }

  countByStatus(): Record<RunStatus, number> {
    const counts: Record<RunStatus, number> = { running: 0, waiting: 0, suspended: 0, ...this.#finished() };
    for (const row of this.#statements.unfinished.all()) counts[statusOf(row.state as number)] += row.count as number;
    return counts;
  }

  purgeable({ before, keep }: { before: number; keep: number }, limit: number): RunId[] {
    const { completed, failed, cancelled } = this.#finished();
    const beyond = completed + failed + cancelled - keep;
    const rows = this.#statements.oldestFinished.all(limit) as { n: number; finished_at: number | null }[];
    return rows.filter(({ finished_at }, i) => i < beyond || (finished_at ?? 0) < before).map(({ n }) => runIdOf(n));
  }

  events(after: number, limit: number): PlatformEvent[] {
    const events: PlatformEvent[] = [];
    for (const row of this.#statements.events.iterate(after + 1, after)) {
      const { first, data } = row as { first: number; data: string };
      for (const [i, { at, body }] of (JSON.parse(data) as Batch["events"]).entries()) {
        if (first + i <= after) continue;
        if (events.length === limit) return events;
        events.push({ position: first + i, at, ...(body as EventBody) });
      }
    }
    return events;
  }

  #finished(): Record<"completed" | "failed" | "cancelled", number> {
    return this.#statements.finished.get() as Record<"completed" | "failed" | "cancelled", number>;
  }

  #stored(row: unknown): StoredRun | undefined {
    if (row === undefined) return undefined;
    const run = row as RunRow;
    return runOf(run, (slot) => (this.#statements.payload.get(run.n, slot) as { text: string }).text);
  }
}

const restored = (record: JournalRecord, texts: ReadonlyMap<number, string>): JournalRecord => {
  const spilled = record as Spilled;
  if (typeof spilled.input === "number") spilled.input = texts.get(spilled.input) as string;
  if (typeof spilled.value === "number") spilled.value = texts.get(spilled.value) as string;
  return record;
};
