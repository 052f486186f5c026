/**
 * The function host: executes calls in this pod, each as one attempt under a lease.
 *
 * Owns: the calls that execute here, their logs, measurements and abort signals. Does not own: retries and timeouts (the control plane
 * decides them and says `abort`), or the connection.
 */
import type { CheckDefinition, CheckedExecution, FunctionContext, FunctionDefinition } from "../application/context.ts";
import { ChurnMap } from "../lib/churn-map.ts";
import { type Failure, failureOf, LockstepError } from "../lib/errors.ts";
import { fromJson, toJson } from "../lib/json.ts";
import type { FromPod } from "../protocol/pod.ts";
import { Call, type CallOptions, type Invoke, timer } from "./call.ts";
import { owner } from "./capture.ts";
import { checksByFunction, runChecks } from "./checks.ts";
import type { Answer } from "./requests.ts";
import { validate } from "./validate.ts";

/** `now` is also the time of measurements, whose default is `performance.now`. */
export interface FunctionHostOptions extends CallOptions {
  checks?: ReadonlyMap<string, CheckDefinition>;
}

/** Ends an attempt; `returned` tells of one whose handler has returned `output`, before its checks. */
type End = (value: string, failure: Failure | undefined, returned?: boolean, output?: unknown) => void;

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
  readonly #calls = new ChurnMap<number, Call>();
  readonly #checks: Map<string, CheckDefinition[]>;

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
    this.#checks = checksByFunction(options.checks?.values() ?? []);
  }

  invoke(message: Invoke): void {
    const call = new Call(message, this.#options, this.#send);
    this.#calls.set(message.lease, call);
    const startedAt = this.#elapsed();
    const cpuMs = this.#usage().cpuMs;
    const end = (value: string, failure: Failure | undefined): void => {
      // An exit that was refused and a handler that returns all the same would answer twice.
      if (!this.#calls.delete(message.lease)) return;
      const usage = this.#usage();
      const result: FromPod & { t: "result" } = {
        t: "result",
        lease: message.lease,
        value,
        failure: failure === undefined ? "" : JSON.stringify(failure),
        durationMs: round(this.#elapsed() - startedAt),
        cpuMs: round(usage.cpuMs - cpuMs),
        memoryMb: usage.memoryMb,
        lines: call.lines(),
      };
      call.end(result);
      this.#send(result);
    };
    call.fail = (error) => end("", functionFailure(error));
    const checks = message.undo === undefined ? this.#checks.get(message.fn) : undefined;
    if (checks === undefined) return owner.run(call, () => this.#execute(call, end));
    const measure = () => {
      const usage = this.#usage();
      return { durationMs: round(this.#elapsed() - startedAt), cpuMs: round(usage.cpuMs - cpuMs), memoryMb: usage.memoryMb };
    };
    owner.run(call, () => this.#execute(call, this.#checkedBy(checks, call, measure, end)));
  }

  /** Lets the checks of a function that has returned have their say before its result counts. */
  #checkedBy(checks: CheckDefinition[], call: Call, measure: () => CheckedExecution["metrics"], end: End): End {
    return (value, failure, returned, output) => {
      if (returned !== true) return end(value, failure);
      const checked = (): CheckedExecution => ({ input: call.input, output, metrics: measure(), lines: call.linesSoFar });
      const after = this.#options.after ?? timer;
      void runChecks(checks, checked, call, after).then((refusal) => end(refusal === undefined ? value : "", refusal));
    };
  }

  reply(message: Answer): void {
    this.#calls.get(message.lease)?.take(message);
  }

  abort(lease: number, reason: string): void {
    this.#calls.get(lease)?.abort(reason);
  }

  #elapsed(): number {
    return this.#options.now === undefined ? performance.now() : this.#options.now();
  }

  #execute(call: Call, end: End): void {
    const { fn, input, undo } = call.message;
    const definition = this.#functions.get(fn);
    if (definition === undefined)
      return end("", { code: "UNKNOWN_FUNCTION", message: `this version has no function "${fn}"`, terminal: true });
    const finish = (value: unknown): void => {
      if (undo !== undefined) return end("", undefined);
      try {
        const json = toJson(value, `the result of function "${fn}"`, this.#options.maxPayloadBytes);
        end(json, undefined, true, value);
      } catch (error) {
        end("", functionFailure(error));
      }
    };
    try {
      const result = undo === undefined ? run(definition, fromJson(input), call) : compensate(definition, fromJson(input), undo, call);
      // Not the thenable's own `then`, which may answer at once, more than once, or with another thenable.
      if (isThenable(result)) Promise.resolve(result).then(finish, (error: unknown) => end("", functionFailure(error)));
      else finish(result);
    } catch (error) {
      end("", functionFailure(error));
    }
  }
}

/** Calls the handler with the input as its schema makes it; what it returns is checked by its own schema. */
export const run = (definition: FunctionDefinition, input: unknown, call: FunctionContext & { input: unknown }): unknown => {
  const { options, handler, name } = definition;
  call.input = input;
  if (options.input === undefined && options.output === undefined) return handler(input, call);
  const handle = (value: unknown): unknown => {
    call.input = value;
    return handler(value, call);
  };
  const checked = validate(options.input, input, "INPUT_INVALID", `the input of function "${name}"`);
  const result = isThenable(checked) ? checked.then(handle) : handle(checked);
  if (options.output === undefined) return result;
  const check = (value: unknown) => validate(options.output, value, "OUTPUT_INVALID", `the result of function "${name}"`);
  return isThenable(result) ? result.then(check) : check(result);
};

/** Undoes a completed call: what it returns means nothing. */
export const compensate = (definition: FunctionDefinition, input: unknown, output: string, call: FunctionContext): unknown => {
  const { options, name } = definition;
  if (options.compensate === undefined) {
    throw Object.assign(new LockstepError("UNKNOWN_FUNCTION", `function "${name}" has no compensate`), { terminal: true });
  }
  const undo = options.compensate;
  const checked = validate(options.input, input, "INPUT_INVALID", `the input of function "${name}"`);
  const done = fromJson(output);
  return isThenable(checked)
    ? checked.then((value) => undo(call, { input: value, output: done }))
    : undo(call, { input: checked, output: done });
};

export const isThenable = (value: unknown): value is Promise<unknown> =>
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
