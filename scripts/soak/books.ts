/** Adds up what the journals of all runs say that was done to the state, and compares it with the state. */
import type { Client, JournalEntry, RunDetails } from "lockstep/client";
import type { Arrival } from "./puts.ts";
import type { Violations } from "./report.ts";

const APPLICATION = "soak";
const PAGE = 1_000;

interface CallEntry extends JournalEntry {
  fn: string;
  input: { counter: number; kind: number };
}

export class Books {
  /** The numbers that each counter has given out. */
  readonly #counted = new Map<string, number[]>();
  readonly #held = new Map<string, number>();
  readonly #expected = new Map<string, number>();
  readonly arrivals: Arrival[] = [];
  readonly #forwarded: string[] = [];
  #compensations = 0;

  get figures(): { increments: number; compensations: number } {
    return { increments: [...this.#counted.values()].reduce((sum, { length }) => sum + length, 0), compensations: this.#compensations };
  }

  take({ id, name, input }: RunDetails, journal: readonly JournalEntry[]): void {
    if (name === "tally") this.#expected.set("tallies/own", (this.#expected.get("tallies/own") ?? 0) + 1);
    if (name === "doubtful") this.#expected.set(`told/${id}`, 1);
    if (name === "arrived" || name === "forwarded") this.#takeObject(id, name, input as { object: { key: string; version: string } });
    const calls = new Map(journal.flatMap((entry) => (entry.t === "call" ? [[Number(entry.seq), entry as CallEntry]] : [])));
    for (const { t, seq, failure, value } of journal) {
      if (t !== "done" || failure !== undefined) continue;
      const call = calls.get(Math.abs(Number(seq)));
      if (call?.fn === "increment") this.#count(`counters/${call.input.counter}`, (value as { n: number }).n);
      if (call?.fn === "reserve") this.#hold(`held/${call.input.kind}`, Number(seq) > 0 ? 1 : -1);
    }
  }

  async compare(client: Client, violations: Violations): Promise<void> {
    for (const [key, numbers] of this.#counted) {
      const given = [...numbers].sort((a, b) => a - b);
      if (given.some((n, i) => n !== i + 1)) violations.add(`${key} gave out ${given.join()}`);
      this.#expected.set(key, numbers.length);
    }
    for (const [key, held] of this.#held) this.#expected.set(key, held);
    for (const { version } of this.arrivals) this.#expected.set(`arrivals/${version}`, 1);
    const state = await stateOf(client);
    for (const [key, expected] of this.#expected) {
      if (state.get(key) !== expected) violations.add(`${key} is ${state.get(key)}, and must be ${expected}`);
    }
    const unknown = [...state.keys()].filter((key) => /^(told|arrivals)\//.test(key) && !this.#expected.has(key));
    for (const key of unknown) violations.add(`${key} was written, and no run has done it`);
    const accounts = [...state].filter(([key]) => key.startsWith("accounts/")).reduce((sum, [, value]) => sum + Number(value), 0);
    if (accounts !== 0) violations.add(`the accounts hold ${accounts} together`);
    for (const { key } of await client.state.stale(APPLICATION, { limit: PAGE })) violations.add(`${key} is stale at the end`);
    const done = this.arrivals.map(({ version }) => `done/${version}`).sort();
    const forwarded = this.#forwarded.sort();
    if (done.join() !== forwarded.join()) violations.add(`${done.length} objects were put by runs, and started ${forwarded.length} runs`);
  }

  #takeObject(run: string, name: string, { object }: { object: { key: string; version: string } }): void {
    if (name === "arrived") this.arrivals.push({ run, ...object });
    else this.#forwarded.push(object.key);
  }

  #count(key: string, n: number): void {
    const numbers = this.#counted.get(key);
    if (numbers === undefined) this.#counted.set(key, [n]);
    else numbers.push(n);
  }

  #hold(key: string, by: 1 | -1): void {
    this.#held.set(key, (this.#held.get(key) ?? 0) + by);
    if (by < 0) this.#compensations++;
  }
}

const stateOf = async (client: Client): Promise<Map<string, unknown>> => {
  const state = new Map<string, unknown>();
  for (let after: string | undefined; ; ) {
    const page = await client.state.list(APPLICATION, { limit: PAGE, ...(after === undefined ? {} : { after }) });
    for (const { key, value } of page) state.set(key, value);
    after = page.at(-1)?.key;
    if (page.length < PAGE) return state;
  }
};
