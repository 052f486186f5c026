import type { FunctionContext, Logger, Objects, ReplicaContext, StateStore } from "../application/context.ts";
import type { Operation } from "../consensus/messages.ts";
import type { Failure } from "../lib/errors.ts";
import type { Json } from "../lib/json.ts";
import { failureOutcome } from "../protocol/outcome.ts";
import { MAX_LINES } from "../protocol/replica-shapes.ts";
import type { LogLine } from "../protocol/run.ts";
import { isUndo } from "../protocol/undo.ts";
import { LineBuffer, type LogOwner, loggerOf } from "./capture.ts";
import { functionFailure } from "./function-host.ts";
import { type Agreed, type Chance, chanceOf, denied } from "./replica-agreed.ts";

export const thrownOutcome = (thrown: unknown): Json => failureOutcome(comparable(functionFailure(thrown)));

/** Without what differs between replicas that agree: where files lie, and what the machine's own errors tell. */
const comparable = ({ code, name, message, details, cause, terminal }: Failure): Failure => ({
  code,
  ...(name === undefined ? {} : { name }),
  message,
  ...(details === undefined ? {} : { details }),
  ...(cause === undefined ? {} : { cause: comparable(cause) }),
  ...(terminal === undefined ? {} : { terminal }),
});

/** One operation while it executes: the handler's context, the owner of its log lines, and the values that are agreed for it. */
export class OperationContext implements FunctionContext, ReplicaContext, LogOwner, Agreed {
  readonly operation: Operation;
  readonly time: number;
  readonly seed: string;
  chance?: Chance;
  input: unknown;
  /** Ends the operation from outside its handler. */
  fail: (error: unknown) => void = () => {};
  readonly #maxLogBytes: number;
  #buffer: LineBuffer | undefined;
  #log: Logger | undefined;
  #controller: AbortController | undefined;

  /** @param seed the batch's; an operation's own follows from it */
  constructor(operation: Operation, time: number, seed: string, maxLogBytes: number) {
    this.operation = operation;
    this.time = time;
    this.seed = `${seed}/${operation.id}`;
    this.#maxLogBytes = maxLogBytes;
  }

  /** An operation is named `run/seq` and, as each attempt is one, its number. */
  get runId(): string {
    return this.operation.id.split("/", 1)[0] as string;
  }

  get key(): string {
    const [run, seq = ""] = this.operation.id.split("/", 2);
    return isUndo(this.operation.id) ? `${run}/${seq.slice(1)}/compensate` : `${run}/${seq}`;
  }

  get attempt(): number {
    return Number(this.operation.id.split("/", 3)[2] ?? 1);
  }

  now(): number {
    return this.time;
  }

  random(): number {
    return chanceOf(this).float();
  }

  uuid(): string {
    return chanceOf(this).uuid();
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    return this.#controller.signal;
  }

  get log(): Logger {
    this.#log ??= loggerOf(this, () => this.time);
    return this.#log;
  }

  get state(): StateStore {
    throw denied("ctx.state", "the store is not among the replicas; keep state with fn.stateful");
  }

  get objects(): Objects {
    throw denied("ctx.objects", "what a store answers is not agreed on; give it with the input");
  }

  progress(): void {}

  get lastProgress(): undefined {
    return undefined;
  }

  write(line: LogLine): void {
    this.#buffer ??= new LineBuffer(this.#maxLogBytes, () => this.time);
    this.#buffer.push(line);
  }

  lines(): LogLine[] | undefined {
    return this.#buffer?.take().slice(0, MAX_LINES);
  }

  abort(reason: string): void {
    this.#controller?.abort(new Error(reason));
  }
}
