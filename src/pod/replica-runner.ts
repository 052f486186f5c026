/**
 * Executes a replicated function's operations, in the process that is theirs.
 *
 * Owns: the state by key, the order of operations, which values they see, and that each has one outcome. Does not own: what the ordering makes
 * of outcomes, and operations that don't return (whoever started this process ends it).
 *
 * Operations of a stateful function are applied one after the other. Those of a stateless one may overlap, as no result depends on another;
 * `serial` forbids it, so that it can be told which of them keeps the process busy, or ends it.
 */
import type { Operation } from "../consensus/messages.ts";
import { LockstepError } from "../lib/errors.ts";
import { fromJson, type Json, toJson } from "../lib/json.ts";
import { valueOutcome } from "../protocol/outcome.ts";
import type { LogLine } from "../protocol/run.ts";
import { owner } from "./capture.ts";
import { isThenable } from "./function-host.ts";
import { agreed, LOADING } from "./replica-agreed.ts";
import { OperationContext, thrownOutcome } from "./replica-operation.ts";
import { type Page, ReplicaState } from "./replica-state.ts";

/** A function as replicas execute it. */
export type Replicated =
  | { kind: "stateless"; name: string; handle(input: unknown, context: OperationContext): unknown }
  | {
      kind: "stateful";
      name: string;
      initial(key: string): unknown;
      apply(state: unknown, input: unknown, context: OperationContext): unknown;
    };

export interface RunnerOptions {
  timeoutMs: number;
  maxPayloadBytes: number;
  maxLogBytes: number;
  serial: boolean;
}

export type Task =
  /** `given`: outcomes that are decided already, by position. `isKnown`: the others have been told before, and are only applied. */
  | { t: "execute"; seq: number; time: number; seed: string; operations: Operation[]; given: [number, Json][]; isKnown: boolean }
  | { t: "snapshot"; seq: number }
  | { t: "install"; seq: number; pages: string[] }
  /** What is not one of a stateful function's may overlap from here on. */
  | { t: "overlap" };

/** A page's text is left out when an earlier report of this process had it. */
export type Report =
  | { t: "executed"; seq: number; outcomes: Json[] }
  | { t: "snapshotted" | "installed"; seq: number; pages: { digest: string; text?: string }[] }
  | { t: "lines"; id: string; lines: LogLine[] };

/** What the runner tells of the operation that has the process. */
export interface Marker {
  begin(seq: number, position: number): void;
  /** None has it; also when that is known. */
  end(): void;
}

/** How many operations of a stateless function are under way at a time. */
const MOST_AT_A_TIME = 256;

type Execute = Task & { t: "execute" };

interface Batch {
  readonly task: Execute;
  readonly outcomes: Json[];
  next: number;
  missing: number;
}

export class ReplicaRunner {
  readonly #function: Replicated;
  readonly #options: RunnerOptions;
  readonly #marker: Marker;
  readonly #report: (report: Report) => void;
  readonly #state = new ReplicaState();
  readonly #tasks: (Batch | Exclude<Task, Execute>)[] = [];
  #most: number;
  #told = new Set<string>();
  #underWay = 0;
  #isRunning = false;

  constructor(fn: Replicated, options: RunnerOptions, marker: Marker, report: (report: Report) => void) {
    this.#function = fn;
    this.#options = options;
    this.#marker = marker;
    this.#report = report;
    this.#most = fn.kind === "stateful" || options.serial ? 1 : MOST_AT_A_TIME;
  }

  take(task: Task): void {
    this.#tasks.push(task.t === "execute" ? batchOf(task) : task);
    this.#run();
  }

  /** Goes on as far as that is possible; comes back when something that is awaited has settled. */
  #run(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    while (this.#finish() || this.#begin()) {}
    this.#isRunning = false;
    // One that is alone has the process until it has settled, and is what a death in between belongs to.
    if (this.#most > 1 || this.#underWay === 0) this.#marker.end();
  }

  /** Starts the next operation that may execute now, if there is one. */
  #begin(): boolean {
    if (this.#underWay >= this.#most) return false;
    for (const task of this.#tasks) {
      if (!("outcomes" in task)) return false;
      if (task.next === task.task.operations.length) continue;
      this.#execute(task, task.next++);
      return true;
    }
    return false;
  }

  /** Tells of the oldest task, if it is done. */
  #finish(): boolean {
    const [task] = this.#tasks;
    if (task === undefined) return false;
    if ("outcomes" in task) {
      if (task.missing > 0) return false;
      this.#tasks.shift();
      if (!task.task.isKnown) this.#report({ t: "executed", seq: task.task.seq, outcomes: task.outcomes });
      return true;
    }
    this.#tasks.shift();
    if (task.t === "overlap") {
      if (this.#function.kind === "stateless") this.#most = MOST_AT_A_TIME;
      return true;
    }
    if (task.t === "install") this.#state.install(task.pages);
    this.#report({ t: task.t === "install" ? "installed" : "snapshotted", seq: task.seq, pages: this.#tell(this.#state.pages()) });
    return true;
  }

  #tell(pages: readonly Page[]): { digest: string; text?: string }[] {
    const told = new Set(pages.map(({ digest }) => digest));
    const report = pages.map((page) => (this.#told.has(page.digest) ? { digest: page.digest } : page));
    this.#told = told;
    return report;
  }

  #execute(batch: Batch, position: number): void {
    const { seq, time, seed, operations, given, isKnown } = batch.task;
    const decided = given.find(([at]) => at === position);
    if (decided !== undefined) return this.#settle(batch, position, decided[1]);
    const { maxLogBytes } = this.#options;
    const context = new OperationContext(operations[position] as Operation, time, seed, maxLogBytes);
    this.#underWay++;
    this.#marker.begin(seq, position);
    const cancelTimer = { call: () => {} };
    let isOver = false;
    const end = (outcome: () => Json): void => {
      if (isOver) return;
      isOver = true;
      this.#underWay--;
      cancelTimer.call();
      this.#settle(batch, position, outcomeOf(outcome));
      const lines = isKnown ? undefined : context.lines();
      if (lines !== undefined && lines.length > 0) this.#report({ t: "lines", id: context.operation.id, lines });
      this.#run();
    };
    context.fail = (error) => end(() => thrownOutcome(error));
    agreed.run(context, () => owner.run(context, () => this.#call(context, end)));
    if (isOver) return;
    const timer = setTimeout(() => {
      end(() => thrownOutcome(timedOut(this.#function.name, this.#options.timeoutMs)));
      context.abort("timeout");
    }, this.#options.timeoutMs);
    cancelTimer.call = () => clearTimeout(timer);
  }

  #settle(batch: Batch, position: number, outcome: Json): void {
    batch.outcomes[position] = outcome;
    batch.missing--;
  }

  #call(context: OperationContext, end: (outcome: () => Json) => void): void {
    const finish = (returned: unknown): void => end(() => this.#accept(context, returned));
    try {
      const returned = this.#invoke(context);
      if (isThenable(returned)) Promise.resolve(returned).then(finish, (error: unknown) => end(() => thrownOutcome(error)));
      else finish(returned);
    } catch (error) {
      end(() => thrownOutcome(error));
    }
  }

  #invoke(context: OperationContext): unknown {
    const input = fromJson(context.operation.input);
    if (this.#function.kind === "stateless") return this.#function.handle(input, context);
    const { key } = context.operation;
    const state = this.#state.get(key);
    return this.#function.apply(state === undefined ? this.#function.initial(key) : fromJson(state), input, context);
  }

  /** The outcome of what was returned; a new state counts from here on. @throws when it can't be written */
  #accept({ operation }: OperationContext, returned: unknown): Json {
    const { name, kind } = this.#function;
    const { maxPayloadBytes } = this.#options;
    const result = `the result of function "${name}"`;
    if (kind === "stateless") return valueOutcome(toJson(returned, result, maxPayloadBytes));
    const { state, value } = returned as { state: unknown; value: unknown };
    const outcome = valueOutcome(toJson(value, result, maxPayloadBytes));
    this.#state.set(operation.key, toJson(state, `the state of function "${name}"`, maxPayloadBytes));
    return outcome;
  }
}

const batchOf = (task: Execute): Batch => ({ task, outcomes: [], next: 0, missing: task.operations.length });

const outcomeOf = (outcome: () => Json): Json => {
  try {
    return outcome();
  } catch (error) {
    return thrownOutcome(error);
  }
};

export const timedOut = (name: string, timeoutMs: number): LockstepError =>
  Object.assign(new LockstepError("CALL_TIMEOUT", `function "${name}" did not answer within ${timeoutMs} ms`), { terminal: true });

/** While modules load, too, everything is the same at all replicas. */
export const loading = <T>(load: () => T): T => agreed.run(LOADING, load);
