import type { DurableRecord, Effect, Evidence, Notice } from "../../src/consensus/effects.ts";
import type { ReplicaIndex } from "../../src/consensus/membership.ts";
import { hashText } from "../../src/lib/random.ts";
import type { CastOptions } from "./cast.ts";
import { Cast } from "./cast.ts";
import type { Property } from "./checkers.ts";
import { Violation, violated } from "./checkers.ts";
import { Harms } from "./harms.ts";
import type { Process } from "./host.ts";
import { checkMemory } from "./memory.ts";
import type { Scenario } from "./scenario.ts";
import { promisesProgress } from "./scenario.ts";

export interface WorldOptions extends CastOptions {
  /** Is told of everything that happens, for reading. */
  trace?: (line: string) => void;
  /** Properties that are not looked at: what else shows? */
  tolerates?: readonly Property[];
}

export interface Totals {
  operations: number;
  certified: number;
  messages: number;
  views: number;
  transfers: number;
  epochs: number;
  virtualMs: number;
}

export interface Report extends Totals {
  /** Of all that has happened in its order. */
  digest: number;
  violation?: { property: string; detail: string; atMs: number };
}

/** After the network has healed, calls have to end within this time: several view changes at the longest timeouts. */
const PATIENCE_MS = 90_000;
/** After the last call has ended, all correct replicas have to be in the same state within this time. */
const SETTLING_MS = 30_000;
const PULSE_MS = 50;

/** One simulation: plays a scenario, and watches whether the properties hold. */
export class World {
  readonly #options: WorldOptions;
  readonly #cast: Cast;
  readonly #harms: Harms;
  #digest = 0x811c9dc5;
  #views = 0;
  #transfers = 0;
  #epochs = 0;

  constructor(scenario: Scenario, options: WorldOptions = {}) {
    this.#options = options;
    this.#cast = new Cast(scenario, options, {
      observe: (process, effect) => this.#observe(process, effect),
      evidence: (process, evidence) => this.#evidence(process, evidence),
      accused: (by, about, kind, detail) => this.#accused(by, about, kind, detail),
      notice: (process, notice) => this.#notice(process, notice),
      reconfigured: () => {
        this.#epochs++;
        this.#harms.replaced();
      },
      broke: (name, isLiar, error) => broke(name, isLiar, error),
      arrives: (from, to, what, content) => this.#arrives(from, to, what, content),
    });
    this.#harms = new Harms(this.#cast, (line) => this.#trace(line));
  }

  run(): Report {
    try {
      this.#play();
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      const atMs = this.#cast.timeline.now;
      return { ...this.#report(), violation: { property: error.property, detail: error.message, atMs } };
    }
    return this.#report();
  }

  #report(): Report {
    const { ledger, network, timeline } = this.#cast;
    const calls = [...ledger.calls.values()];
    return {
      operations: calls.length,
      certified: calls.filter(({ statement }) => statement !== undefined).length,
      messages: network.sent,
      views: this.#views,
      transfers: this.#transfers,
      epochs: this.#epochs,
      virtualMs: timeline.now,
      digest: this.#digest,
    };
  }

  #play(): void {
    const { timeline, clients, scenario } = this.#cast;
    this.#cast.start();
    this.#pulse();
    timeline.run(scenario.healMs, () => false);
    const isDone = (): boolean => clients.every((client) => client.isDone) && !this.#harms.isReplacing;
    timeline.run(scenario.healMs + PATIENCE_MS, isDone);
    if (isDone()) timeline.run(timeline.now + SETTLING_MS, () => this.#laggards().length === 0);
    else if (promisesProgress(scenario)) this.#stuck();
    this.#checkEnd();
  }

  #stuck(): void {
    const { unfinished } = this.#cast.ledger;
    const open = unfinished.length === 0 ? "a change of the members" : `${unfinished.length} calls, ${unfinished.slice(0, 5)},`;
    violated("progress", `${PATIENCE_MS} ms after the network has healed, ${open} wait(s): ${this.#states()}`);
  }

  #states(): string {
    return this.#cast
      .correct()
      .map(({ name, replica }) => `${name} ${JSON.stringify(replica?.inspect())}`)
      .join("\n  ");
  }

  #checkEnd(): void {
    const { ledger, scenario } = this.#cast;
    const laggards = this.#laggards().map(({ name }) => name);
    const state = ledger.replay().pages().join();
    if (!promisesProgress(scenario)) return;
    if (laggards.length > 0) violated("convergence", `${laggards} never come(s) to ${ledger.lastExecuted}: ${this.#states()}`);
    for (const { name, executor } of this.#cast.correct())
      if (executor?.state().join() !== state) violated("convergence", `the state of ${name} is ${executor?.state().join()}, not ${state}`);
  }

  /** Correct replicas whose worker has not come to the last number that any has. */
  #laggards(): Process[] {
    const last = this.#cast.ledger.lastExecuted;
    return this.#cast.correct().filter(({ executor }) => executor!.executed < last || executor!.isBusy);
  }

  // What is watched

  #trace(line: string): void {
    this.#options.trace?.(`${this.#cast.timeline.now.toFixed(2).padStart(9)} ${line}`);
  }

  #arrives(from: string, to: string, what: string, content: object): void {
    const { seq = 0, view = 0, digest = "" } = content as { seq?: number; view?: number; digest?: string };
    let hash = this.#digest;
    hash = Math.imul(hash ^ Math.floor(this.#cast.timeline.now * 1_000), 0x01000193);
    hash = Math.imul(hash ^ hashText(from) ^ (hashText(to) << 1), 0x01000193);
    hash = Math.imul(hash ^ hashText(what) ^ (seq << 8) ^ view, 0x01000193);
    this.#digest = (hash ^ hashText(digest)) >>> 0;
    if (this.#options.trace !== undefined) this.#trace(`${from} → ${to} ${what} ${brief(content)}`);
  }

  #observe(process: Process, effect: Effect): void {
    if (this.#options.trace !== undefined && !UNTRACED.has(effect.t)) this.#trace(`${process.name} ${effect.t} ${brief(effect)}`);
    if (process.isLiar) return;
    const { ledger, timeline } = this.#cast;
    if (effect.t === "execute") ledger.executes(process.name, effect, timeline.now);
    else if (effect.t === "persist") for (const record of effect.records) this.#observeRecord(process, record);
    else if (effect.t === "reply") ledger.votes(process.name, effect.reply);
    else if (effect.t === "send" && effect.message.t === "checkpoint")
      ledger.checkpoints(process.name, effect.message.seq, effect.message.digest);
  }

  #observeRecord({ name }: Process, record: DurableRecord): void {
    const { ledger } = this.#cast;
    if (record.t === "committed") ledger.commits(name, record.epoch, record.seq, record.digest);
    else if (record.t === "prepared") ledger.prepares(record.epoch, record.seq, record.digest, record.view);
    else if (record.t === "pre-prepared") ledger.prePrepares(name, record);
  }

  #evidence(process: Process, { about, kind, detail }: Evidence): void {
    // These two are a replica's opinion: a correct leader on a bad network looks the same.
    if (process.isLiar || kind === "silent-leader" || kind === "slow-leader") return;
    this.#accused(process.name, about, kind, detail);
  }

  /** Nobody has anything against a correct replica. */
  #accused(by: string, about: ReplicaIndex, kind: string, detail: string): void {
    const isLiar = this.#cast.processes.some((process) => process.index === about && process.isLiar);
    if (this.#maySeemWrong(about, kind)) return;
    if (!isLiar && this.#options.tolerates?.includes("accusation") !== true)
      violated("accusation", `${by} accuses the correct replica ${about} of ${kind}: ${detail}`);
  }

  /** One whose results are its own can't be told from a liar. */
  #maySeemWrong(about: ReplicaIndex, kind: string): boolean {
    const { diverging } = this.#cast.scenario;
    if (diverging === undefined || (diverging.replica !== undefined && diverging.replica !== about)) return false;
    return kind === "wrong-vote";
  }

  #notice(process: Process, notice: Notice): void {
    if (process.isLiar) return;
    if (notice.t === "view") this.#views++;
    else if (notice.t === "transferred") this.#transfers++;
    else if (notice.t === "epoch") this.#harms.entered(notice.epoch);
  }

  #pulse(): void {
    const { scenario, timeline } = this.#cast;
    for (const process of this.#cast.correct()) checkMemory(process, scenario);
    this.#harms.pulse();
    timeline.after(PULSE_MS, () => this.#pulse());
  }
}

const UNTRACED: ReadonlySet<Effect["t"]> = new Set(["send", "reply", "timer"]);

const broke = (name: string, isLiar: boolean, error: unknown): void => {
  if (error instanceof Violation) throw error;
  // What a liar's code does is no concern of anybody.
  if (!isLiar) violated("exception", `${name}: ${error instanceof Error ? error.stack : String(error)}`);
};

const brief = (content: object): string =>
  JSON.stringify(content, (key, value: unknown) => {
    if (key === "votes" || key === "path" || key === "core") return undefined;
    if (typeof value === "string" && value.length > 40 && /^[\w-]+$/.test(value)) return value.slice(0, 6);
    return value;
  }).slice(0, 3000);
