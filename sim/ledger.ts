/** What the journals of a simulation say was done to the state store, and to be undone; and what must then be true. */
import { deepEqual, equal, ok } from "node:assert/strict";
import type { JournalRecord } from "../src/protocol/run.ts";
import { BOOKED, COUNTERS } from "./recoveries.ts";

/** What the journal of one run says was done to the state. */
class RunLedger {
  readonly counted: string[] = [];
  readonly bookings = new Map<number, boolean>();
  readonly #id: string;
  readonly #calls = new Map<number, JournalRecord & { t: "call" }>();
  /** Writes of the coordinator's own whose outcome it does not know. */
  readonly #writes = new Map<number, string>();
  /** Bookings that stand, in the order in which they were made. */
  readonly #standing: number[] = [];
  /** Commands and calls at whose end none may stand; 0: the end of the run. */
  readonly #undoing = new Set<number>();

  constructor(id: string) {
    this.#id = id;
  }

  get uncertain(): Iterable<string> {
    return this.#writes.values();
  }

  take(record: JournalRecord): void {
    if (record.t === "call") this.#calls.set(record.seq, record);
    else if (record.t === "state" && record.op.op === "write") this.#writes.set(record.seq, record.op.key);
    else if (record.t === "undo") equal(-record.seq, this.#standing.at(-1), `${this.#id} compensates call ${-record.seq} out of its turn`);
    else if (record.t === "compensate" || (record.t === "recovered" && record.decision.t === "compensate")) this.#undoing.add(record.seq);
    else if (record.t === "cancel") this.#undoing.clear();
    else if (record.t === "done") this.#end(record);
  }

  #end(record: JournalRecord & { t: "done" }): void {
    const { seq, failure } = record;
    if (seq < 0) return this.#undone(-seq, failure === undefined);
    if (this.#undoing.delete(seq)) deepEqual(this.#standing, [], `${this.#id} left calls that ${seq} was to compensate`);
    const written = this.#writes.get(seq);
    this.#writes.delete(seq);
    if (failure !== undefined) return;
    if (written !== undefined) this.counted.push(written);
    const call = this.#calls.get(seq);
    if (call?.fn === "count") this.counted.push(JSON.parse(call.input) as string);
    if (call?.fn !== "book") return;
    this.#standing.push(seq);
    this.bookings.set(seq, true);
  }

  #undone(seq: number, isDone: boolean): void {
    ok(isDone, `${this.#id} gave up the compensation of call ${seq}`);
    equal(seq, this.#standing.pop(), `${this.#id} compensated call ${seq} twice, or out of its turn`);
    this.bookings.set(seq, false);
  }

  end(): void {
    if (this.#undoing.size > 0) deepEqual(this.#standing, [], `${this.#id} ended and left calls that it was to compensate`);
  }
}

/** What the journals of all runs say was done to the state. */
export class Ledger {
  /** The counters' least and greatest values: what a cancelled coordinator was doing is done, or is not. */
  readonly #counters = new Map<string, { least: number; most: number }>();
  readonly #bookings = new Map<string, boolean>();

  /** Takes a run's whole journal, and checks its compensations: backwards, each once, and all of them unless it was cancelled. */
  take(id: string, records: readonly JournalRecord[]): void {
    const run = new RunLedger(id);
    for (const record of records) run.take(record);
    run.end();
    for (const counter of run.counted) this.#add(counter, 1);
    for (const counter of run.uncertain) this.#add(counter, 0, 1);
    for (const [seq, stands] of run.bookings) this.#bookings.set(`bookings/${id}/${seq}`, stands);
  }

  #add(counter: string, least: number, most = least): void {
    const before = this.#counters.get(counter) ?? { least: 0, most: 0 };
    this.#counters.set(counter, { least: before.least + least, most: before.most + most });
  }

  /** Compares what the journals say with what the state store holds. */
  async check(read: (key: string) => Promise<unknown>): Promise<void> {
    for (const counter of COUNTERS) {
      const { least, most } = this.#counters.get(counter) ?? { least: 0, most: 0 };
      const value = ((await read(counter)) ?? 0) as number;
      ok(value >= least && value <= most, `${counter} is ${value}, and ${least} to ${most} increments were committed`);
    }
    let booked = 0;
    for (const [key, stands] of this.#bookings) {
      if (stands) booked++;
      equal((await read(key)) !== undefined, stands, `${key} is ${stands ? "gone" : "there"} in the state store`);
    }
    equal((await read(BOOKED)) ?? 0, booked, "the number of bookings is wrong");
  }
}
