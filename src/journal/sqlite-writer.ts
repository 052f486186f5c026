/**
 * The write side: what one commit does inside its transaction.
 *
 * Owns: the statements of the hot path and the counters that only they move. Does not own: the transaction and the fence (sqlite-journal.ts).
 *
 * W1  A run that is accepted and changed in one batch is one insert.
 * W2  `meta` counts exactly the stored runs that are finished.
 * W3  Ordinals, positions, log numbers and versions of the state store are never given twice, also after what bore them is gone.
 */
import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";
import { LockstepError } from "../lib/errors.ts";
import type { RunId } from "../lib/ids.ts";
import type { JournalRecord } from "../protocol/run.ts";
import { gravestOf, writtenAt } from "./log-search.ts";
import { ordinalOfRun } from "./ordinals.ts";
import type { AcceptedRun, Batch, RunChange } from "./port.ts";
import type { Spilled } from "./sqlite-codec.ts";
import { FIRST_ASLEEP, FIRST_FINISHED, INPUT_SLOT, inputSlot, kindCode, stateOf, targetOf, VALUE_SLOT, valueSlot } from "./sqlite-codec.ts";
import { isSharing, ProofWriter } from "./sqlite-proofs.ts";
import { StateWriter } from "./sqlite-state.ts";
import { BulkInsert } from "./sqlite-transaction.ts";

/** The greatest numbers given so far. */
export interface Heads {
  lastOrdinal: number;
  lastPosition: number;
  lastLog: number;
  lastVersion: number;
}

const RUN_INSERT =
  "runs(n, state, kind, target, accepted_at, finished_at, wake_at, priority, parent, parent_seq, application, version, key, name, failure, input, value)";

export class SqliteWriter {
  readonly #inlineLimit: number;
  readonly #runs: BulkInsert;
  readonly #records: BulkInsert;
  readonly #logs: BulkInsert;
  readonly #state: StateWriter;
  readonly #proofs: ProofWriter;
  readonly #statements: ReturnType<typeof prepare>;
  #finished = [0, 0, 0];

  constructor(db: DatabaseSync, inlineLimit: number) {
    this.#inlineLimit = inlineLimit;
    this.#runs = new BulkInsert(db, RUN_INSERT);
    this.#records = new BulkInsert(db, "records(run, first, data)");
    this.#logs = new BulkInsert(db, "logs(n, run, seq, attempt, at, level, function, report, lines)");
    this.#state = new StateWriter(db);
    this.#proofs = new ProofWriter(db);
    this.#statements = prepare(db);
  }

  /** Writes the batch; returns the heads as they are once it is committed. */
  write(batch: Batch, heads: Heads): Heads {
    this.#finished = [0, 0, 0];
    this.#proofs.forget();
    const next = { ...heads };
    for (const id of batch.woken ?? []) this.#statements.wake.run(ordinalOfRun(id));
    this.#writeRuns(batch, next);
    this.#append(batch.appended);
    if (batch.events.length > 0) {
      this.#statements.event.run(next.lastPosition + 1, JSON.stringify(batch.events));
      next.lastPosition += batch.events.length;
    }
    if (batch.logs.length > 0) this.#log(batch.logs, next);
    if (batch.state !== undefined) next.lastVersion = this.#state.write(batch.state, next.lastVersion);
    for (const id of batch.purged) this.#purge(ordinalOfRun(id));
    this.#proofs.write();
    if (batch.trimEventsTo !== undefined) this.#trimEvents(batch.trimEventsTo);
    if (batch.trimLogsTo !== undefined) this.#statements.trimLogs.run(batch.trimLogsTo);
    this.#keepMeta(batch, next);
    return next;
  }

  #writeRuns({ accepted, changed }: Batch, heads: Heads): void {
    if (accepted.length === 0) {
      for (const change of changed) this.#change(change);
      return;
    }
    const changes = new Map<RunId, RunChange>();
    for (const change of changed) changes.set(change.id, change);
    const rows: SQLInputValue[] = [];
    for (const run of accepted) {
      const n = this.#accept(run, changes.get(run.id), rows);
      if (n > heads.lastOrdinal) heads.lastOrdinal = n;
      changes.delete(run.id);
    }
    this.#runs.insert(rows);
    for (const change of changes.values()) this.#change(change);
  }

  #accept(run: AcceptedRun, change: RunChange | undefined, rows: SQLInputValue[]): number {
    const n = ordinalOfRun(run.id);
    const kind = kindCode(run.kind);
    const state = change === undefined ? 0 : stateOf(change.status, change.live);
    this.#count(state, 1);
    rows.push(n, state, kind, targetOf(kind, run.name), run.acceptedAt, change?.finishedAt ?? null, change?.wakeAt ?? null, run.priority);
    rows.push(run.parent === undefined ? null : ordinalOfRun(run.parent), run.parentSeq ?? null, run.application, run.version);
    rows.push(run.key ?? null, run.name, failureText(change), this.#inline(n, INPUT_SLOT, run.input), this.#value(n, change));
    return n;
  }

  #change(change: RunChange): void {
    const n = ordinalOfRun(change.id);
    const state = stateOf(change.status, change.live);
    const columns = [state, change.wakeAt ?? null, change.finishedAt ?? null, failureText(change), this.#value(n, change)] as const;
    if (this.#statements.changeUnfinished.run(...columns, n).changes === 0) {
      const before = this.#stateOf(n);
      if (before === undefined) throw new LockstepError("INTERNAL", `run ${change.id} is changed but was never accepted, or was purged`);
      this.#statements.change.run(...columns, n);
      this.#count(before, -1);
    }
    this.#count(state, 1);
  }

  #append(appended: Batch["appended"]): void {
    const rows: SQLInputValue[] = [];
    for (const { run, from, records } of appended) {
      const n = ordinalOfRun(run);
      const isPlain = !records.some((record) => this.#isLong(record) || isSharing(record));
      rows.push(n, from, JSON.stringify(isPlain ? records : records.map((record, i) => this.#written(n, from + i, record))));
    }
    this.#records.insert(rows);
  }

  #log(logs: Batch["logs"], heads: Heads): void {
    const rows: SQLInputValue[] = [];
    for (const log of logs) {
      const { run, seq, attempt, function: name, lines, report } = log;
      rows.push(++heads.lastLog, ordinalOfRun(run), seq, attempt, writtenAt(log), gravestOf(log), name);
      rows.push(report === undefined ? null : JSON.stringify(report), JSON.stringify(lines));
    }
    this.#logs.insert(rows);
  }

  #purge(n: number): void {
    this.#count(this.#stateOf(n) ?? 0, -1);
    this.#proofs.release(n);
    for (const statement of this.#statements.purge) statement.run(n);
  }

  #trimEvents(position: number): void {
    const { eventsAt, trimEvents, event } = this.#statements;
    const last = eventsAt.get(position) as { first: number; data: string } | undefined;
    trimEvents.run(position);
    if (last === undefined) return;
    const rest = (JSON.parse(last.data) as unknown[]).slice(position - last.first + 1);
    if (rest.length > 0) event.run(position + 1, JSON.stringify(rest));
  }

  #keepMeta(batch: Batch, { lastOrdinal, lastPosition, lastLog }: Heads): void {
    const [completed = 0, failed = 0, cancelled = 0] = this.#finished;
    if (completed !== 0 || failed !== 0 || cancelled !== 0) this.#statements.countFinished.run(completed, failed, cancelled);
    const isShorter = batch.purged.length > 0 || batch.trimEventsTo !== undefined || batch.trimLogsTo !== undefined;
    if (isShorter) this.#statements.keepHeads.run(lastOrdinal, lastPosition, lastLog);
  }

  #stateOf(n: number): number | undefined {
    return (this.#statements.state.get(n) as { state: number } | undefined)?.state;
  }

  #count(state: number, by: number): void {
    if (state >= FIRST_FINISHED) this.#finished[state - FIRST_FINISHED]! += by;
  }

  // ---------------------------------------------------------------- payloads out of line

  #value(n: number, change: RunChange | undefined): string | number | null {
    return change?.value === undefined ? null : this.#inline(n, VALUE_SLOT, change.value);
  }

  #inline(n: number, slot: number, text: string): string | number {
    if (text.length <= this.#inlineLimit) return text;
    this.#statements.payload.run(n, slot, text);
    return slot;
  }

  #isLong(record: JournalRecord): boolean {
    const { input, value } = record as { input?: string; value?: string };
    return (input !== undefined && input.length > this.#inlineLimit) || (value !== undefined && value.length > this.#inlineLimit);
  }

  #written(n: number, index: number, record: JournalRecord): object {
    const short = this.#isLong(record) ? this.#spill(n, index, record) : record;
    return isSharing(record) ? { ...short, certificate: this.#proofs.take(record) } : short;
  }

  #spill(n: number, index: number, record: JournalRecord): Spilled {
    const spilled: Spilled = { ...record };
    if (typeof spilled.input === "string") spilled.input = this.#inline(n, inputSlot(index), spilled.input);
    if (typeof spilled.value === "string") spilled.value = this.#inline(n, valueSlot(index), spilled.value);
    return spilled;
  }
}

const prepare = (db: DatabaseSync) => {
  const change = "UPDATE runs SET state = ?, wake_at = ?, finished_at = ?, failure = ?, value = ? WHERE n = ?";
  return {
    // A run finishes once, so the state before need not be read to keep the counters: only what this leaves untouched is looked at.
    changeUnfinished: db.prepare(`${change} AND state < ${FIRST_FINISHED}`),
    change: db.prepare(change),
    wake: db.prepare(
      `UPDATE runs SET state = state - ${FIRST_ASLEEP}, wake_at = NULL WHERE n = ? AND state >= ${FIRST_ASLEEP} AND state < ${FIRST_FINISHED}`,
    ),
    state: db.prepare("SELECT state FROM runs WHERE n = ?"),
    payload: db.prepare("INSERT OR REPLACE INTO payloads(run, slot, text) VALUES (?, ?, ?)"),
    event: db.prepare("INSERT INTO events(first, data) VALUES (?, ?)"),
    eventsAt: db.prepare("SELECT first, data FROM events WHERE first <= ? ORDER BY first DESC LIMIT 1"),
    trimEvents: db.prepare("DELETE FROM events WHERE first <= ?"),
    trimLogs: db.prepare("DELETE FROM logs WHERE n <= ?"),
    countFinished: db.prepare("UPDATE meta SET completed = completed + ?, failed = failed + ?, cancelled = cancelled + ?"),
    keepHeads: db.prepare("UPDATE meta SET last_ordinal = ?, last_position = ?, last_log = ?"),
    purge: ["runs WHERE n", "records WHERE run", "payloads WHERE run", "logs WHERE run"].map((row) => db.prepare(`DELETE FROM ${row} = ?`)),
  } satisfies Record<string, StatementSync | StatementSync[]>;
};

const failureText = (change: RunChange | undefined): string | null =>
  change?.failure === undefined ? null : JSON.stringify(change.failure);
