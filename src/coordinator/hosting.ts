/**
 * The code of runs in memory: when it is started in a pod, with which history, and what it is told after that.
 *
 * Owns: `Live.hosting` and what is held back while a history is on its way. Does not own: which pod executes it (hosts.ts), what its commands
 * lead to (feeder.ts), when a lost pod's code is given up (service.ts).
 *
 * R2  A coordinator is (re)started only with a history that holds all its records; later records follow in order, each once.
 */
import type { Journal } from "../journal/port.ts";
import type { JournalRecord } from "../protocol/run.ts";
import type { Preloads } from "../scheduler/preloads.ts";
import { toldHistory } from "./history.ts";
import type { CoordinatorHosts } from "./hosts.ts";
import type { Live } from "./live.ts";
import { aboutOf } from "./recoveries.ts";
import { hasEnded } from "./run-state.ts";
import type { Turn } from "./turn.ts";

export interface HostingParts {
  journal: Pick<Journal, "records">;
  turn: Pick<Turn, "early" | "after" | "durable">;
  /** Gets warm pods ready for what coordinators will probably call. */
  preloads?: Pick<Preloads, "begins"> | undefined;
  /** Where pods find a version's bundle. */
  pathOf(version: string): string;
}

export class RunHosting {
  readonly #parts: HostingParts;
  readonly #hosts: Pick<CoordinatorHosts, "begin" | "deliver" | "permit" | "evict">;
  readonly #readFailed: (error: unknown) => void;

  /** @param readFailed told when a history could not be read from the journal */
  constructor(
    parts: HostingParts,
    hosts: Pick<CoordinatorHosts, "begin" | "deliver" | "permit" | "evict">,
    readFailed: (error: unknown) => void,
  ) {
    this.#parts = parts;
    this.#hosts = hosts;
    this.#readFailed = readFailed;
  }

  /** Starts the code of a run that has no records yet, before its acceptance is durable. */
  hostNew(live: Live): void {
    this.#parts.preloads?.begins(live.head.name, live.head.version);
    live.hosting = "loading";
    this.#parts.turn.early(() => this.#send(live, []));
  }

  /** Starts a coordinator's code in a pod again, from the journal. */
  host(live: Live): void {
    live.hosting = "loading";
    live.held = [];
    // The history must hold all records made so far, also those whose commit is still to come (R2).
    const { journal, turn } = this.#parts;
    void turn
      .durable()
      .then(() => Promise.all([journal.records(live.head.id), aboutOf(journal, live.head)]))
      .then(([history, about]) => {
        if (live.hosting === "loading" && live.state.finished === undefined) this.#begin(live, history, about);
      }, this.#readFailed);
  }

  /** Starts the code of a run that was read back with all its records, if it has some that could go on. */
  async hostRead(live: Live, records: JournalRecord[]): Promise<void> {
    if (!mayBeHosted(live)) return;
    // What happens while it is read what a recovery is about is held back, and not lost.
    live.hosting = "loading";
    const about = await aboutOf(this.#parts.journal, live.head);
    if (live.hosting === "loading") this.#begin(live, records, about);
  }

  /** Starts the code of a run that goes on after a suspension, if it has one and it is in no pod. */
  rehost(live: Live): void {
    if (live.driver === undefined && live.hosting === "none" && live.state.finished === undefined && mayBeHosted(live)) this.host(live);
  }

  unhost(live: Live): void {
    live.hosting = "none";
    live.held = [];
    this.#hosts.evict(live.head.id, true);
  }

  /** Tells the code of a record that is being made. @param index its position in the run's journal */
  deliver(live: Live, record: JournalRecord, index: number): void {
    // The coordinator's code may already work on what is being committed: its commands wait for that, and its steps for a permission.
    this.#parts.turn.early(() => {
      if (live.hosting === "hosted") this.#hosts.deliver(live.head.id, record);
      else if (live.hosting === "loading") live.held.push({ index, record });
    });
  }

  /** Lets a step execute, which is code with effects of its own: not before all that it can depend on is durable. */
  permit(live: Live, seq: number): void {
    live.steps.add(seq);
    this.#parts.turn.after(() => this.#hosts.permit(live.head.id, seq));
  }

  #begin(live: Live, history: JournalRecord[], about?: JournalRecord[]): void {
    live.hosting = "loading";
    this.#parts.turn.after(() => this.#send(live, history, about));
  }

  #send(live: Live, history: JournalRecord[], about?: JournalRecord[]): void {
    if (live.hosting !== "loading" || live.state.finished !== undefined) return;
    const { id, name, input, acceptedAt, application, version } = live.head;
    live.hosting = "hosted";
    this.#hosts.begin(
      { application, version, path: this.#parts.pathOf(version) },
      { t: "begin", run: id, name, input, acceptedAt, ...toldHistory(history, about) },
      live.company,
    );
    for (const { index, record } of live.held) if (index >= history.length) this.#hosts.deliver(id, record);
    live.held = [];
  }
}

/** Whether the run has code that could go on. */
const mayBeHosted = ({ state }: Live): boolean => state.halted === undefined && !hasEnded(state);
