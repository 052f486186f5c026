/**
 * One coordinator's execution, for the first time or from its journal.
 *
 * C1  A coordinator sees the outcomes of its commands in the order of its journal, one at a time: all that one sets off has run before
 *     the next is delivered. So a replay does the same as the first execution did, whatever arrived together then.
 * C2  A command that is in the journal is compared with it, not sent again. A difference ends the replay with REPLAY_DIVERGED.
 * C3  Nothing is sent before the whole history was replayed.
 */
import type { Logger, TableDefinition } from "../application/context.ts";
import type { CoordinatorDefinition } from "../application/definitions.ts";
import { CallError, CancelledError } from "../application/errors.ts";
import { type Failure, failureOf } from "../lib/errors.ts";
import type { RunId } from "../lib/ids.ts";
import { fromJson, toJson } from "../lib/json.ts";
import type { ToPod } from "../protocol/pod.ts";
import type { Command, JournalRecord, LogLine } from "../protocol/run.ts";
import type { Staleness } from "../protocol/state.ts";
import { LineBuffer, type LogOwner, loggerOf, owner } from "./capture.ts";
import { type Commander, createContext } from "./coordinator-context.ts";
import { describeRecord, differenceOf } from "./history.ts";
import type { RecoveryHandler } from "./recovery.ts";
import { validate } from "./validate.ts";

export interface InstanceLimits {
  maxPayloadBytes: number;
  maxLogBytes: number;
  /** The time of log lines. Default: the wall clock's. */
  now?: () => number;
  /** The application's tables, by name. */
  tables?: ReadonlyMap<string, TableDefinition>;
}

export interface InstancePort {
  changed(instance: Instance): void;
  executing(): void;
  /** Whether no coordinator has executed yet in this batch of messages: every other one gets a turn of its own. */
  claim(): boolean;
  later(callback: () => void): void;
  diverged(failure: Failure): void;
  /** The run can't go on here: `ending` is its last command. */
  crashed(ending: Command): void;
}

interface Waiting {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

export class Instance implements LogOwner, Commander {
  readonly run: RunId;
  readonly seed: RunId;
  readonly log: Logger;
  readonly maxPayloadBytes: number;
  readonly tables: ReadonlyMap<string, TableDefinition>;
  readonly #definition: CoordinatorDefinition;
  readonly #port: InstancePort;
  readonly #input: string;
  readonly #recorded = new Map<number, JournalRecord>();
  readonly #waiting = new Map<number, Waiting>();
  /** Steps that may not execute yet. */
  readonly #permissions = new Map<number, (isWanted: boolean) => void>();
  readonly #lines: LineBuffer;
  /** The journal of the run that a recovery is about. */
  readonly #about: readonly JournalRecord[] | undefined;
  readonly #told: ((key: string, stale: Staleness) => unknown)[] = [];
  #queue: JournalRecord[] = [];
  #queueAt = 0;
  #seq = 0;
  #lastRecorded = 0;
  #now: number;
  /** Records of the history that are still to be delivered. */
  #toReplay: number;
  #replayed: boolean;
  #started = false;
  /** The input's validator takes its time, and the code has asked for nothing yet. */
  #validating = false;
  #over = false;
  #cancelled: string | undefined;
  #commands: Command[] = [];

  constructor(definition: CoordinatorDefinition, message: ToPod & { t: "begin" }, limits: InstanceLimits, port: InstancePort) {
    this.#definition = definition;
    this.run = message.run;
    this.#input = message.input;
    const origin = originOf(message);
    this.seed = origin.run;
    this.#now = origin.acceptedAt;
    this.#port = port;
    this.maxPayloadBytes = limits.maxPayloadBytes;
    this.tables = limits.tables ?? NO_TABLES;
    this.#lines = new LineBuffer(limits.maxLogBytes, limits.now);
    this.log = loggerOf(this, limits.now);
    this.#about = message.about;
    for (const record of message.history) {
      if (isDelivered(record)) this.#queue.push(record);
      // The failure is void: the code that had it has ended, and its replay waits for another outcome.
      else if (record.t === "reopen") this.#queue = this.#queue.filter((before) => before.t !== "done" || before.seq !== record.seq);
      else if (isCommand(record)) {
        this.#recorded.set(record.seq, record);
        this.#lastRecorded = Math.max(this.#lastRecorded, record.seq);
      }
    }
    this.#toReplay = this.#queue.length;
    this.#replayed = message.history.length === 0;
  }

  get now(): number {
    return this.#now;
  }

  get replaying(): boolean {
    return !this.#replayed;
  }

  get cancelled(): string | undefined {
    return this.#cancelled;
  }

  start(): void {
    if (this.#over) return;
    this.#started = true;
    this.#port.executing();
    owner.run(this, () => void this.#execute());
    if (!this.#validating) this.#deliverQueue();
  }

  #deliverQueue(): void {
    if (this.#toReplay === 0 && !this.#replayed) this.#port.later(() => this.#endReplay());
    for (let i = this.#queueAt; i < this.#queue.length; i++) this.#port.later(this.#deliverNext);
  }

  /** One record of after the history, in order. */
  take(record: JournalRecord): void {
    const isNext = this.#queueAt === this.#queue.length;
    this.#queue.push(record);
    if (!this.#started || this.#validating) return;
    if (isNext && this.#port.claim()) this.#deliverNext();
    else this.#port.later(this.#deliverNext);
  }

  /** Ends the run for an exception that no promise of its code leads to, such as one in a timer's callback. */
  crash(error: unknown): void {
    if (this.#over) return;
    this.abandon();
    this.#port.crashed(this.#ending(error));
  }

  /** Calls back after all that was given before, if the code then waits. */
  whenIdle(callback: () => void): void {
    this.#port.later(() => {
      const isIdle = this.#replayed && !this.#validating && this.#queueAt === this.#queue.length && this.#commands.length === 0;
      if (isIdle && !this.#over) callback();
    });
  }

  abandon(): void {
    this.#over = true;
    this.#waiting.clear();
    this.#permissions.clear();
  }

  takeOutput(): { commands: Command[]; lines: LogLine[] } {
    const lines = this.#lines.isEmpty ? [] : this.#lines.take();
    // Until the history is replayed nothing leaves (C3): what the code does beyond it may still turn out to diverge.
    if (this.replaying || this.#over) return { commands: [], lines };
    const commands = this.#commands;
    this.#commands = [];
    return { commands, lines };
  }

  write(line: LogLine): void {
    if (this.replaying || this.#over) return;
    this.#lines.push(line);
    this.#port.changed(this);
  }

  onStale(told: (key: string, stale: Staleness) => unknown): void {
    this.#told.push(told);
  }

  nextSeq(): number {
    return ++this.#seq;
  }

  issue(command: Command & { seq: number }): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#over) return;
      this.#waiting.set(command.seq, { resolve, reject });
      this.tell(command);
    });
  }

  tell(command: Command & { seq: number }): void {
    const { seq } = command;
    const recorded = this.#recorded.get(seq);
    if (recorded !== undefined) {
      this.#recorded.delete(seq);
      const difference = differenceOf(recorded, command);
      if (difference !== undefined) this.#diverge(seq, difference);
      return;
    }
    if (seq < this.#lastRecorded && command.t !== "step" && command.t !== "stepping") {
      return this.#diverge(seq, `the code now makes ${describeRecord(command)}, of which the journal knows nothing`);
    }
    this.#push(command);
  }

  permission(seq: number): Promise<boolean> {
    return new Promise((resolve) => this.#permissions.set(seq, resolve));
  }

  permit(seq: number): void {
    this.#permissions.get(seq)?.(this.#waiting.has(seq));
    this.#permissions.delete(seq);
  }

  hasRecorded(seq: number): boolean {
    return this.#recorded.has(seq);
  }

  #push(command: Command): void {
    if (this.#over) return;
    this.#commands.push(command);
    this.#port.changed(this);
  }

  readonly #deliverNext = (): void => {
    const record = this.#queue[this.#queueAt++];
    if (record === undefined || this.#over) return;
    if (this.#queueAt === this.#queue.length) {
      this.#queue = [];
      this.#queueAt = 0;
    }
    this.#port.executing();
    if ("at" in record) this.#now = record.at;
    if (record.t === "cancel") this.#cancel(record.reason);
    else if (record.t === "done") this.#settle(record);
    else if (record.t === "stale") this.#tellStale(record);
    if (this.#toReplay > 0 && --this.#toReplay === 0) this.#port.later(() => this.#endReplay());
  };

  #settle(record: JournalRecord & { t: "done" }): void {
    const waiting = this.#waiting.get(record.seq);
    if (waiting === undefined) {
      if (record.seq > this.#seq) this.#diverge(record.seq, "the journal has its outcome, but the code never asked for it");
      return;
    }
    this.#waiting.delete(record.seq);
    if (record.failure !== undefined) return waiting.reject(new CallError(record.failure));
    try {
      waiting.resolve(fromJson(record.value ?? ""));
    } catch (error) {
      // Hostile code can make a pod send anything as its result; it must not take the other coordinators of this pod with it.
      const message = `the result of step ${record.seq} is no JSON: ${(error as Error).message}`;
      waiting.reject(new CallError({ code: "RESULT_NOT_JSON", message, terminal: true }));
    }
  }

  #tellStale({ key, stale }: JournalRecord & { t: "stale" }): void {
    for (const told of this.#told) {
      try {
        void Promise.resolve(told(key, stale)).catch((error: unknown) => this.crash(error));
      } catch (error) {
        this.crash(error);
      }
    }
  }

  #cancel(reason: string): void {
    this.#cancelled = reason;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject } of waiting) reject(new CancelledError(reason));
  }

  #endReplay(): void {
    if (this.#over) return;
    for (const [seq, record] of this.#recorded) {
      if (record.t === "withdraw") continue;
      return this.#diverge(seq, `the journal has ${describeRecord(record)} here, but the code no longer makes it`);
    }
    this.#replayed = true;
    this.#port.changed(this);
  }

  #diverge(seq: number, difference: string): void {
    if (this.#over) return;
    this.abandon();
    const message = `coordinator "${this.#definition.name}" diverged from its journal at step ${seq}: ${difference}`;
    this.#port.diverged({ code: "REPLAY_DIVERGED", message, details: { seq } });
  }

  async #execute(): Promise<void> {
    const { name, options, handler } = this.#definition;
    try {
      const checked = validate(options.input, fromJson(this.#input), "INPUT_INVALID", `the input of coordinator "${name}"`);
      const input = checked instanceof Promise ? await this.#validated(checked) : checked;
      const context = createContext(this);
      const result = await (this.#about === undefined
        ? handler(context, input)
        : (handler as RecoveryHandler)(context, input, this.#about));
      const value =
        options.output === undefined
          ? result
          : await validate(options.output, result, "OUTPUT_INVALID", `the result of coordinator "${name}"`);
      this.#push({ t: "finish", value: toJson(value, `the result of coordinator "${name}"`, this.maxPayloadBytes) });
    } catch (error) {
      this.#push(this.#ending(error));
    }
  }

  /** Outcomes are held back as long as the code could not ask for them. */
  async #validated<T>(checking: Promise<T>): Promise<T> {
    this.#validating = true;
    try {
      return await checking;
    } finally {
      this.#validating = false;
      this.#deliverQueue();
    }
  }

  #ending(error: unknown): Command {
    if (this.#cancelled !== undefined && isA(error, CancelledError)) {
      return { t: "finish", cancelled: true, failure: { code: "RUN_CANCELLED", message: this.#cancelled } };
    }
    // A failure that the coordinator did not catch keeps its identity: code, call, attempts and cause.
    if (isA(error, CallError)) return { t: "finish", failure: error.failure };
    const failure = failureOf(error, "COORDINATOR_FAILED");
    const own = failure.terminal === true || failure.name === "LockstepError";
    return { t: "finish", failure: own ? failure : { ...failure, code: "COORDINATOR_FAILED" } };
  }
}

const NO_TABLES: ReadonlyMap<string, TableDefinition> = new Map();

/** Whose chance and start time the code has: its own, or those of the run whose beginning it repeats. */
const originOf = ({ run, acceptedAt, history }: ToPod & { t: "begin" }): { run: RunId; acceptedAt: number } => {
  const first = history[0];
  return (first?.t === "restarted" ? first.origin : undefined) ?? { run, acceptedAt };
};

const isDelivered = (record: JournalRecord): boolean =>
  record.t === "cancel" || record.t === "stale" || (record.t === "done" && record.seq > 0);

const COMMANDS = new Set<JournalRecord["t"]>(["call", "sleep", "signal", "step", "child", "withdraw", "state", "compensate", "on-stale"]);

const isCommand = (record: JournalRecord): record is JournalRecord & { seq: number } => COMMANDS.has(record.t);

const isA = <T>(thrown: unknown, type: new (...parts: never[]) => T): thrown is T => {
  try {
    return thrown instanceof type;
  } catch {
    // A proxy that throws when it is looked at; then it is none of ours.
    return false;
  }
};
