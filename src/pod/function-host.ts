/**
 * The function host: executes calls in this pod, each as one attempt under a lease.
 *
 * Owns: the calls that execute here, their logs, measurements and abort signals. Does not own: retries and timeouts (the control plane
 * decides them and says `abort`), or the connection.
 */
import type { FunctionContext, Logger } from "../application/context.ts";
import type { FunctionDefinition } from "../application/definitions.ts";
import { type Failure, failureOf } from "../lib/errors.ts";
import { fromJson, toJson } from "../lib/json.ts";
import type { FromPod, ToPod } from "../protocol/pod.ts";
import type { LogLine } from "../protocol/run.ts";
import { LineBuffer, type LogOwner, loggerOf, owner } from "./capture.ts";
import { validate } from "./validate.ts";

type Invoke = ToPod & { t: "invoke" };

export interface FunctionHostOptions {
  maxPayloadBytes: number;
  maxLogBytes: number;
  /** The time of log lines and measurements. Default: the wall clock's for the former, `performance.now` for the latter. */
  now?: () => number;
}

/** CPU time and peak memory of the process, measured at most once per millisecond: asking costs as much as a small call. */
export interface Usage {
  cpuMs: number;
  memoryMb: number;
}

export class FunctionHost {
  readonly #functions: Map<string, FunctionDefinition>;
  readonly #options: FunctionHostOptions;
  readonly #usage: () => Usage;
  readonly #send: (message: FromPod) => void;
  readonly #calls = new Map<number, Call>();

  constructor(
    functions: Map<string, FunctionDefinition>,
    options: FunctionHostOptions,
    usage: () => Usage,
    send: (message: FromPod) => void,
  ) {
    this.#functions = functions;
    this.#options = options;
    this.#usage = usage;
    this.#send = send;
  }

  invoke(message: Invoke): void {
    const call = new Call(message, this.#options);
    this.#calls.set(message.lease, call);
    const startedAt = this.#elapsed();
    const cpuMs = this.#usage().cpuMs;
    const end = (value: string, failure: Failure | undefined): void => {
      // An exit that was refused and a handler that returns all the same would answer twice.
      if (!this.#calls.delete(message.lease)) return;
      const usage = this.#usage();
      this.#send({
        t: "result",
        lease: message.lease,
        value,
        failure: failure === undefined ? "" : JSON.stringify(failure),
        durationMs: round(this.#elapsed() - startedAt),
        cpuMs: round(usage.cpuMs - cpuMs),
        memoryMb: usage.memoryMb,
        lines: call.lines(),
      });
    };
    call.fail = (error) => end("", functionFailure(error));
    owner.run(call, () => this.#execute(call, end));
  }

  abort(lease: number, reason: string): void {
    this.#calls.get(lease)?.abort(reason);
  }

  #elapsed(): number {
    return this.#options.now === undefined ? performance.now() : this.#options.now();
  }

  #execute(call: Call, end: (value: string, failure: Failure | undefined) => void): void {
    const { fn, input } = call.message;
    const definition = this.#functions.get(fn);
    if (definition === undefined)
      return end("", { code: "UNKNOWN_FUNCTION", message: `this version has no function "${fn}"`, terminal: true });
    const finish = (value: unknown): void => {
      try {
        end(toJson(value, `the result of function "${fn}"`, this.#options.maxPayloadBytes), undefined);
      } catch (error) {
        end("", functionFailure(error));
      }
    };
    try {
      const result = run(definition, fromJson(input), call);
      // Not the thenable's own `then`, which may answer at once, more than once, or with another thenable.
      if (isThenable(result)) Promise.resolve(result).then(finish, (error: unknown) => end("", functionFailure(error)));
      else finish(result);
    } catch (error) {
      end("", functionFailure(error));
    }
  }
}

const run = (definition: FunctionDefinition, input: unknown, call: Call): unknown => {
  const { options, handler, name } = definition;
  if (options.input === undefined && options.output === undefined) return handler(input, call);
  const checked = validate(options.input, input, "INPUT_INVALID", `the input of function "${name}"`);
  const result = isThenable(checked) ? checked.then((value) => handler(value, call)) : handler(checked, call);
  if (options.output === undefined) return result;
  const check = (value: unknown) => validate(options.output, value, "OUTPUT_INVALID", `the result of function "${name}"`);
  return isThenable(result) ? result.then(check) : check(result);
};

const isThenable = (value: unknown): value is Promise<unknown> =>
  typeof value === "object" && value !== null && typeof (value as Promise<unknown>).then === "function";

const round = (ms: number): number => Math.round(ms * 1000) / 1000;

const TERMINAL_CODES = new Set(["INPUT_INVALID", "OUTPUT_INVALID", "RESULT_NOT_JSON", "PAYLOAD_TOO_LARGE", "PROCESS_EXIT"]);

/** A throw of user code as a failure. A terminal one keeps its own code; anything else is FUNCTION_FAILED with the throw as its cause. */
export const functionFailure = (thrown: unknown): Failure => {
  const failure = failureOf(thrown, "FUNCTION_FAILED");
  if (failure.terminal || TERMINAL_CODES.has(failure.code)) return { ...failure, terminal: true };
  const { stack, ...cause } = failure;
  if (cause.code === "FUNCTION_FAILED") cause.code = "ERROR";
  const own: Failure = { code: "FUNCTION_FAILED", message: failure.message, cause };
  if (failure.name !== undefined) own.name = failure.name;
  if (stack !== undefined) own.stack = stack;
  return own;
};

/** One attempt: the handler's context and the owner of its log lines. */
class Call implements FunctionContext, LogOwner {
  readonly message: Invoke;
  readonly #buffer: LineBuffer;
  readonly #now: (() => number) | undefined;
  #controller: AbortController | undefined;
  #log: Logger | undefined;
  /** Ends the attempt from outside its handler, as for a refused process.exit. */
  fail: (error: unknown) => void = () => {};

  constructor(message: Invoke, { maxLogBytes, now }: FunctionHostOptions) {
    this.message = message;
    this.#now = now;
    this.#buffer = new LineBuffer(maxLogBytes, now);
  }

  get runId(): string {
    return this.message.run;
  }

  get key(): string {
    return `${this.message.run}/${this.message.seq}`;
  }

  get attempt(): number {
    return this.message.attempt;
  }

  // Made only when asked for: most handlers never do, and a controller costs more than a small call.
  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    return this.#controller.signal;
  }

  get log(): Logger {
    this.#log ??= loggerOf(this, this.#now);
    return this.#log;
  }

  write(line: LogLine): void {
    this.#buffer.push(line);
  }

  lines(): LogLine[] {
    return this.#buffer.isEmpty ? NONE : this.#buffer.take();
  }

  abort(reason: string): void {
    this.#controller ??= new AbortController();
    this.#controller.abort(new Error(reason));
  }
}

const NONE: LogLine[] = [];
