import type { FunctionContext, Logger, Objects, StateStore, TableDefinition } from "../application/context.ts";
import { fromJson, toJson } from "../lib/json.ts";
import type { FromPod, ToPod } from "../protocol/pod.ts";
import { MAX_PROGRESS } from "../protocol/pod.ts";
import type { LogLine } from "../protocol/run.ts";
import type { StateWrite } from "../protocol/state.ts";
import { LineBuffer, type LogOwner, loggerOf } from "./capture.ts";
import { ObjectsClient } from "./objects-client.ts";
import { type Answer, Requests } from "./requests.ts";
import { StateView } from "./state-view.ts";
import { Transaction } from "./transaction.ts";

export type Invoke = ToPod & { t: "invoke" };

export interface CallOptions {
  maxPayloadBytes: number;
  maxLogBytes: number;
  /** The time of log lines. Default: the wall clock's. */
  now?: () => number;
  /** Calls back after a time; returns what cancels it. Default: a timer of the process. */
  after?: (ms: number, callback: () => void) => () => void;
  /** The application's tables, whose schemas and times to live hold for the keys in them. */
  tables?: ReadonlyMap<string, TableDefinition>;
}

/** Progress that is told more often than this waits, and only the last of it is sent. */
const PROGRESS_MS = 50;

const NONE: LogLine[] = [];

/**
 * One attempt: the handler's context and the owner of its log lines. Whatever a handler may use and most don't is made when it is asked for:
 * a controller alone costs more than a small call.
 */
export class Call implements FunctionContext, LogOwner {
  readonly message: Invoke;
  readonly #options: CallOptions;
  readonly #send: (message: FromPod) => void;
  readonly #buffer: LineBuffer;
  #controller: AbortController | undefined;
  #log: Logger | undefined;
  #requests: Requests | undefined;
  #transaction: Transaction | undefined;
  #state: StateStore | undefined;
  #objects: ObjectsClient | undefined;
  #progress: Progress | undefined;
  #isOver = false;
  /** What the handler was given: the input as its schema has made it. */
  input: unknown;
  /** Ends the attempt from outside its handler, as for a refused process.exit. */
  fail: (error: unknown) => void = () => {};

  constructor(message: Invoke, options: CallOptions, send: (message: FromPod) => void) {
    this.message = message;
    this.#options = options;
    this.#send = send;
    this.#buffer = new LineBuffer(options.maxLogBytes, options.now);
  }

  get runId(): string {
    return this.message.run;
  }

  /** A compensation's own, so that what it does elsewhere isn't taken for what the call did. */
  get key(): string {
    const { run, seq } = this.message;
    return seq < 0 ? `${run}/${-seq}/compensate` : `${run}/${seq}`;
  }

  get attempt(): number {
    return this.message.attempt;
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    return this.#controller.signal;
  }

  get log(): Logger {
    this.#log ??= loggerOf(this, this.#options.now);
    return this.#log;
  }

  get state(): StateStore {
    if (this.#state !== undefined) return this.#state;
    this.#transaction = new Transaction(this.#asks(), this.#options.maxPayloadBytes);
    this.#state = new StateView(this.#transaction, this.#options);
    return this.#state;
  }

  get objects(): Objects {
    this.#objects ??= new ObjectsClient(this.#asks());
    return this.#objects;
  }

  get lastProgress(): unknown {
    return this.message.progress === undefined ? undefined : fromJson(this.message.progress);
  }

  progress(value: unknown): void {
    const text = toJson(value, "the progress", MAX_PROGRESS);
    if (this.#isOver) return;
    this.#progress ??= new Progress(this.message.lease, this.#send, this.#options);
    this.#progress.tell(text);
  }

  write(line: LogLine): void {
    this.#buffer.push(line);
  }

  lines(): LogLine[] {
    return this.#buffer.isEmpty ? NONE : this.#buffer.take();
  }

  /** What was logged so far, which stays to be told with the result. */
  get linesSoFar(): readonly LogLine[] {
    return this.#buffer.isEmpty ? NONE : this.#buffer.peek();
  }

  abort(reason: string): void {
    this.#controller ??= new AbortController();
    this.#controller.abort(new Error(reason));
  }

  take(answer: Answer): void {
    this.#requests?.take(answer);
  }

  /** Adds to the result what the attempt wants to have changed; of a failed one only which keys it had written. Nothing follows it. */
  end(result: FromPod & { t: "result" }): void {
    this.#progress?.end();
    this.#isOver = true;
    if (this.#requests === undefined) return;
    this.#requests.end();
    const writes = this.#transaction?.writes ?? [];
    const objects = this.#objects?.writes ?? [];
    if (writes.length > 0) result.writes = result.failure === "" ? writes : writes.filter(isChange).map(({ key }) => ({ key }));
    if (objects.length > 0 && result.failure === "") result.objects = objects;
  }

  #asks(): Requests {
    this.#requests ??= new Requests(this.message.lease, this.#send);
    // A promise that nobody awaited may come here for the first time when all is told already.
    if (this.#isOver) this.#requests.end();
    return this.#requests;
  }
}

/** A key whose value the attempt would have left as it is can be trusted as before. */
const isChange = ({ refresh }: StateWrite): boolean => refresh !== true;

/** What an attempt tells of its progress: the first at once, then the last of each while. */
class Progress {
  readonly #lease: number;
  readonly #send: (message: FromPod) => void;
  readonly #after: (ms: number, callback: () => void) => () => void;
  #cancel: (() => void) | undefined;
  #waiting: string | undefined;
  #isOver = false;

  constructor(lease: number, send: (message: FromPod) => void, { after = timer }: CallOptions) {
    this.#lease = lease;
    this.#send = send;
    this.#after = after;
  }

  tell(value: string): void {
    if (this.#isOver) return;
    if (this.#cancel === undefined) this.#sendNow(value);
    else this.#waiting = value;
  }

  end(): void {
    this.#isOver = true;
    this.#cancel?.();
    if (this.#waiting !== undefined) this.#send({ t: "progress", lease: this.#lease, value: this.#waiting });
  }

  #sendNow(value: string): void {
    this.#waiting = undefined;
    this.#send({ t: "progress", lease: this.#lease, value });
    this.#cancel = this.#after(PROGRESS_MS, () => {
      this.#cancel = undefined;
      if (this.#waiting !== undefined) this.#sendNow(this.#waiting);
    });
  }
}

export const timer = (ms: number, callback: () => void): (() => void) => {
  const handle = setTimeout(callback, ms);
  return () => clearTimeout(handle);
};
