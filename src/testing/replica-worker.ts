import type { Effect, Input } from "../consensus/effects.ts";
import type { Operation } from "../consensus/messages.ts";
import { hashText } from "./replica-keys.ts";

/** The replicated function of the tests: it appends to a list for each key and answers with its length, and what it was told of time. */
export class ReplicaWorker {
  #state = new Map<string, string[]>();
  readonly #snapshots: Map<number, string[]>;
  readonly log: { seq: number; ids: string[] }[] = [];
  lie: ((id: string, outcome: string) => string) | undefined;
  /** Answers wait here while it is stopped. */
  stopped = false;
  readonly waiting: Effect[] = [];

  /** @param disk where snapshots are kept */
  constructor(disk: Map<number, string[]>) {
    this.#snapshots = disk;
  }

  take(effect: Effect): Input | undefined {
    switch (effect.t) {
      case "execute": {
        const { seq, operations } = effect;
        this.log.push({ seq, ids: operations.map(({ id }) => id) });
        return { t: "executed", seq, outcomes: operations.map((operation) => this.#apply(operation)) };
      }
      case "snapshot":
        this.#snapshots.set(effect.seq, this.pages());
        return { t: "snapshotted", seq: effect.seq, pages: this.pages().map(hashText) };
      case "read-page":
        return { t: "page-read", seq: effect.seq, page: effect.page, to: effect.to, data: this.#snapshots.get(effect.seq)![effect.page]! };
      case "install":
        this.#load(effect.pages);
        this.#snapshots.set(effect.seq, effect.pages);
        return { t: "installed", seq: effect.seq };
      case "restore": {
        const pages = this.#snapshots.get(effect.seq);
        if (pages === undefined || pages.map(hashText).join() !== effect.pages.join()) return { t: "missing", seq: effect.seq };
        this.#load(pages);
        return { t: "installed", seq: effect.seq };
      }
      case "discard":
        for (const seq of this.#snapshots.keys()) if (seq < effect.seq) this.#snapshots.delete(seq);
        return undefined;
      default:
        return undefined;
    }
  }

  #load(pages: readonly string[]): void {
    this.#state = new Map(pages.map((page) => JSON.parse(page) as [string, string[]]));
  }

  pages(): string[] {
    return [...this.#state].sort(([a], [b]) => (a < b ? -1 : 1)).map((entry) => JSON.stringify(entry));
  }

  corrupt(key: string): void {
    this.#state.set(key, ["corrupt"]);
  }

  #apply({ id, key, input }: Operation): string {
    const list = this.#state.get(key) ?? [];
    list.push(input);
    this.#state.set(key, list);
    const outcome = JSON.stringify({ value: list.length });
    return this.lie?.(id, outcome) ?? outcome;
  }
}
