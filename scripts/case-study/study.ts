/** Plays a case on a running platform, and observes from outside what becomes of it. */
import type { Client } from "lockstep/client";
import type { Failure } from "../../src/lib/errors.ts";
import type { Verdict } from "../../src/lib/verdict.ts";
import type { PlatformEvent } from "../../src/protocol/events.ts";
import { until } from "../demo/checks.ts";
import type { Case } from "./cases.ts";
import type { Observer } from "./observer.ts";

/** What was seen of one order. Times are milliseconds from the failure on. */
export interface Observation {
  id: string;
  verdict: string;
  evidence: string;
  verdictMs: number;
  /** Absent when the platform tried again by itself. */
  decisionMs: number | undefined;
  recoveredMs: number;
  decision: string;
  /** The person who decided. */
  by: string | undefined;
  run: string;
  state: string;
  isStale: boolean;
  paid: boolean;
  /** What readers were told meanwhile. */
  reader: string | undefined;
}

type Journal = Awaited<ReturnType<ReturnType<Client["run"]>["journal"]>>;

const APPLICATION = "case-study";

export class Study {
  readonly #client: Client;
  readonly #url: string;
  readonly #observer: Observer;
  readonly #events: PlatformEvent[] = [];
  readonly #stop = new AbortController();

  constructor(client: Client, url: string, observer: Observer) {
    this.#client = client;
    this.#url = url;
    this.#observer = observer;
  }

  /** Follows the platform's events from here on. */
  async begin(): Promise<void> {
    const stream = this.#client.events({ after: 0, signal: this.#stop.signal });
    void (async () => {
      for await (const event of stream) this.#events.push(event);
    })();
    await until("the first event comes", () => (this.#events.length > 0 ? true : undefined));
  }

  end(): void {
    this.#stop.abort();
  }

  async play(study: Case, n: number): Promise<Observation> {
    const id = `${study.name}-${n}`;
    const before = this.#events.length;
    const putAt = Date.now();
    await this.#put(`incoming/${id}.json`, study.order(id, this.#observer));
    const run = await this.#seen(before, `a run for ${id}`, (event) =>
      event.type === "run.accepted" && event.name === "order" ? event.run : undefined,
    );
    const reader = await this.#beside(study, id, run, before);
    await this.#seen(before, `the end of ${id}`, (event) => (event.type === "run.finished" && event.run === run ? true : undefined));
    return this.#observe(study, id, run, { before, putAt, reader });
  }

  // ---------------------------------------------------------------- what happens beside the run

  async #beside({ beside }: Case, id: string, run: string, before: number): Promise<string | undefined> {
    if (beside === undefined) return undefined;
    if (beside === "person") {
      await this.#seen(before, `${id} waits for a person`, (event) =>
        event.type === "run.suspended" && event.run === run ? true : undefined,
      );
      await this.#client.run(run).resolve({ value: { receipt: "paid in cash" } });
      return undefined;
    }
    await this.#seen(before, `the recovery of ${id}`, (event) => (event.type === "run.recovering" && event.run === run ? true : undefined));
    const told = await this.#client.call("read-standing", id).then(
      (status) => `took "${String(status)}" for the truth`,
      (error: { failure?: Failure }) => `refused: ${error.failure?.cause?.code ?? error.failure?.code}`,
    );
    await this.#observer.openLedger();
    return told;
  }

  // ---------------------------------------------------------------- observing

  async #observe(
    study: Case,
    id: string,
    run: string,
    seen: { before: number; putAt: number; reader: string | undefined },
  ): Promise<Observation> {
    const journal = await this.#client.run(run).journal();
    const failed = failureOf(journal);
    const own = this.#events.slice(seen.before).filter((event) => "run" in event && event.run === run);
    const judged = own.find(({ type }) => type === "run.recovering" || type === "call.retrying");
    const decided = own.find((event) => event.type === "run.recovered");
    const finished = own.find(({ type }) => type === "run.finished");
    const since = this.#failedSince(id, judged?.at) ?? failed?.scheduledAt ?? seen.putAt;
    const standing = await this.#standing(id);
    return {
      id,
      verdict: failed?.verdict?.class ?? "none",
      evidence: failed?.verdict?.evidence[0] ?? "",
      verdictMs: Math.max(0, (judged?.at ?? Number.NaN) - since),
      decisionMs: decided === undefined ? undefined : Math.max(0, decided.at - since),
      recoveredMs: Math.max(0, (finished?.at ?? Number.NaN) - since),
      decision: decided?.type === "run.recovered" ? decided.decision : "platform",
      by: decided?.type === "run.recovered" ? decided.by : undefined,
      run: finished?.type === "run.finished" ? finished.status : "unfinished",
      state: standing.status,
      isStale: standing.isStale,
      paid: this.#observer.entry(id) !== undefined,
      reader: seen.reader ?? (study.beside === "reader-and-ledger" ? "not asked" : undefined),
    };
  }

  /** What is refused before it executes tells the observer nothing, or only in a later attempt: then its call's record has to do. */
  #failedSince(id: string, judgedAt = 0): number | undefined {
    const since = this.#observer.failingSince(id);
    return since !== undefined && since <= judgedAt ? since : undefined;
  }

  async #standing(id: string): Promise<{ status: string; isStale: boolean }> {
    const response = await fetch(`${this.#url}/v1/state/${APPLICATION}/orders/${encodeURIComponent(id)}`);
    if (response.status === 404) return { status: "none", isStale: false };
    const { value, stale } = (await response.json()) as { value?: { status: string }; stale?: object };
    return { status: value?.status ?? "none", isStale: stale !== undefined };
  }

  async #put(key: string, content: unknown): Promise<void> {
    const response = await fetch(`${this.#url}/v1/buckets/orders/objects/${key}`, {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(content),
    });
    if (!response.ok) throw new Error(`PUT ${key}: ${response.status} ${await response.text()}`);
  }

  #seen<T>(from: number, what: string, find: (event: PlatformEvent) => T | undefined): Promise<T> {
    let at = from;
    return until(
      what,
      () => {
        for (; at < this.#events.length; at++) {
          const found = find(this.#events[at] as PlatformEvent);
          if (found !== undefined) return found;
        }
        return undefined;
      },
      30_000,
    );
  }
}

/** The first failure in a run's journal, and when its call was made. */
const failureOf = (journal: Journal): { verdict: Verdict | undefined; scheduledAt: number | undefined } | undefined => {
  const scheduled = new Map<unknown, number>();
  for (const record of journal as { t: string; at: number; seq?: number; failure?: Failure }[]) {
    if (record.t === "call") scheduled.set(record.seq, record.at);
    if (record.failure !== undefined) return { verdict: record.failure.verdict, scheduledAt: scheduled.get(record.seq) };
  }
  return undefined;
};
