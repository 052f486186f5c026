import type { Digest } from "../../src/consensus/crypto.ts";
import type { Effect, Input } from "../../src/consensus/effects.ts";
import type { Json } from "../../src/lib/json.ts";
import type { Random } from "../../src/lib/random.ts";
import { Bank } from "./bank.ts";
import { violated } from "./checkers.ts";
import type { Timeline } from "./timeline.ts";

type WorkKind = "execute" | "snapshot" | "read-page" | "install" | "restore" | "discard";
export type Work = { [Kind in WorkKind]: Extract<Effect, { t: Kind }> }[WorkKind];

/** What a liar changes of its executor's answers. */
export interface Distortion {
  outcome(outcome: Json, operation: string): Json;
  page(data: string): string;
}

/** The worker of one replica: takes what it is given one after the other, each with its random time, and answers later. */
export class Executor {
  readonly #timeline: Timeline;
  readonly #random: Random;
  readonly #executeMs: number;
  readonly #hash: (text: string) => Digest;
  readonly #answer: (input: Input) => void;
  readonly #distortion: Distortion | undefined;
  readonly #queue: Work[] = [];
  /** By number; the host's disk, where it keeps them, and otherwise lost with the process. */
  readonly #snapshots: Map<number, string[]>;
  #bank = new Bank();
  #isWorking = false;
  #isStopped = false;
  /** The last number that its state contains. */
  executed = 0;

  constructor(
    world: { timeline: Timeline; random: Random; executeMs: number; hash: (text: string) => Digest },
    answer: (input: Input) => void,
    snapshots: Map<number, string[]>,
    distortion?: Distortion,
  ) {
    this.#snapshots = snapshots;
    this.#timeline = world.timeline;
    this.#random = world.random;
    this.#executeMs = world.executeMs;
    this.#hash = world.hash;
    this.#answer = answer;
    this.#distortion = distortion;
  }

  take(work: Work): void {
    this.#queue.push(work);
    if (!this.#isWorking) this.#next();
  }

  /** The process died: nothing is answered any more. */
  stop(): void {
    this.#isStopped = true;
  }

  get isBusy(): boolean {
    return this.#isWorking;
  }

  state(): string[] {
    return this.#bank.pages();
  }

  #next(): void {
    const work = this.#queue.shift();
    this.#isWorking = work !== undefined;
    if (work === undefined) return;
    const operations = work.t === "execute" ? work.operations.length : 1;
    this.#timeline.after(this.#random.next() * this.#executeMs * operations, () => {
      if (this.#isStopped) return;
      const input = this.#do(work);
      // A worker's answer and its next task cross each other.
      this.#next();
      if (input !== undefined) this.#answer(input);
    });
  }

  #do(work: Work): Input | undefined {
    switch (work.t) {
      case "execute": {
        this.executed = work.seq;
        const outcomes = work.operations.map((operation) => {
          const outcome = this.#bank.apply(operation, work.time, work.seed);
          return this.#distortion?.outcome(outcome, operation.id) ?? outcome;
        });
        return { t: "executed", seq: work.seq, outcomes };
      }
      case "snapshot": {
        const pages = this.#bank.pages().map((page) => this.#distortion?.page(page) ?? page);
        this.#snapshots.set(work.seq, pages);
        return { t: "snapshotted", seq: work.seq, pages: pages.map(this.#hash) };
      }
      case "read-page":
        return this.#read(work);
      case "install":
        return this.#install(work.seq, work.pages);
      case "restore": {
        const pages = this.#snapshots.get(work.seq);
        const isThere = pages !== undefined && pages.length === work.pages.length;
        if (!isThere || pages.some((page, i) => this.#hash(page) !== work.pages[i])) return { t: "missing", seq: work.seq };
        return this.#install(work.seq, pages);
      }
      case "discard":
        for (const seq of this.#snapshots.keys()) if (seq < work.seq) this.#snapshots.delete(seq);
        return undefined;
    }
  }

  #install(seq: number, pages: string[]): Input {
    this.#bank = stateOf(pages);
    this.#snapshots.set(seq, pages);
    this.executed = seq;
    return { t: "installed", seq };
  }

  #read(work: Extract<Work, { t: "read-page" }>): Input | undefined {
    const data = this.#snapshots.get(work.seq)?.[work.page];
    return data === undefined ? undefined : { t: "page-read", seq: work.seq, page: work.page, to: work.to, data };
  }

  get snapshots(): number {
    return this.#snapshots.size;
  }
}

/** A replica gives its executor nothing but pages that were written by one. */
const stateOf = (pages: readonly string[]): Bank => {
  try {
    return Bank.of(pages);
  } catch (error) {
    return violated("exception", `pages that are none are installed: ${error}`);
  }
};
