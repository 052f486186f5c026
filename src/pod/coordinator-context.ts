import { hash } from "node:crypto";
import type { CallRequest, CoordinatorContext, Logger, RunHandle, StateStore, TableDefinition } from "../application/context.ts";
import type { FunctionDefinition } from "../application/definitions.ts";
import { CallError, refusalOf } from "../application/errors.ts";
import { failureOf, LockstepError } from "../lib/errors.ts";
import { toJson } from "../lib/json.ts";
import { hashText, seeded } from "../lib/random.ts";
import type { Command } from "../protocol/run.ts";
import type { Staleness, StateOp } from "../protocol/state.ts";
import { durationOf, nameOf, optionsOf } from "./arguments.ts";
import { type MapRequest, mapItems } from "./map.ts";
import { StateView } from "./state-view.ts";

/** What the context needs of the coordinator's execution. */
export interface Commander {
  readonly run: string;
  /** The run whose random numbers it has. */
  readonly seed: string;
  readonly now: number;
  readonly log: Logger;
  readonly maxPayloadBytes: number;
  readonly tables: ReadonlyMap<string, TableDefinition>;
  /** The number of the next command, in program order. */
  nextSeq(): number;
  /** Issues a command and waits for its outcome. */
  issue(command: Command & { seq: number }): Promise<unknown>;
  /** Issues a command without waiting. */
  tell(command: Command & { seq: number }): void;
  /** Resolves when all that step `seq` can depend on is durable, and tells whether it is still wanted. */
  permission(seq: number): Promise<boolean>;
  /** Calls back for each value that the run has read and that becomes stale. */
  onStale(told: (key: string, stale: Staleness) => unknown): void;
  /** Whether the journal has this step already, so that it must not execute again. */
  hasRecorded(seq: number): boolean;
}

/** The methods that coordinator code uses: each becomes a numbered command of its instance. */
export const createContext = (instance: Commander): CoordinatorContext => {
  const random = seeded(hashText(instance.seed));
  let uuids = 0;
  let state: StateStore | undefined;

  const call = (target: FunctionDefinition | string, input?: unknown, request?: CallRequest): Promise<never> => {
    const fn = nameOf(target, "call");
    const options = optionsOf(request);
    const seq = instance.nextSeq();
    const command: Command & { seq: number } = { t: "call", seq, fn, input: json(instance, input, `the input of function "${fn}"`) };
    if (options !== undefined) command.options = options;
    const outcome = instance.issue(command) as Promise<never>;
    if (request?.signal !== undefined) withdrawOn(instance, request.signal, seq);
    return outcome;
  };

  const child = (target: unknown, input: unknown, detached: boolean): Promise<unknown> => {
    const coordinator = nameOf(target, detached ? "start" : "run");
    const text = json(instance, input, `the input of coordinator "${coordinator}"`);
    return instance.issue({ t: "child", seq: instance.nextSeq(), coordinator, input: text, detached });
  };

  return {
    runId: instance.run,
    log: instance.log,
    call: call as CoordinatorContext["call"],
    sleep: (ms) => instance.issue({ t: "sleep", seq: instance.nextSeq(), ms: durationOf(ms, "sleep") }) as Promise<void>,
    step: (name, f) => executeStep(instance, name, f),
    run: (target, input) => child(target, input, false) as Promise<never>,
    start: async (target, input): Promise<RunHandle> => ({
      id: (await child(target, input, true)) as string,
    }),
    signal: (name, options) => {
      const timeoutMs = options?.timeoutMs === undefined ? undefined : durationOf(options.timeoutMs, "signal");
      const command: Command & { seq: number } = { t: "signal", seq: instance.nextSeq(), name: nameOf(name, "signal") };
      if (timeoutMs !== undefined) command.timeoutMs = timeoutMs;
      return instance.issue(command) as Promise<never>;
    },
    map: ((items: readonly unknown[], target: unknown, options?: MapRequest) => {
      const begin = typeof target === "function" ? (target as (item: unknown, index: number) => Promise<unknown>) : undefined;
      const fn = begin === undefined ? nameOf(target, "map") : "";
      return mapItems(items, begin ?? ((item) => call(fn, item)), options);
    }) as CoordinatorContext["map"],
    // Made when it is asked for: most coordinators never do.
    get state() {
      state ??= stateOf(instance);
      return state;
    },
    compensate: () => instance.issue({ t: "compensate", seq: instance.nextSeq() }) as Promise<never>,
    onStale: (told) => {
      if (typeof told !== "function") throw new TypeError(`ctx.onStale needs a function, not ${typeof told}`);
      instance.onStale(told);
      instance.tell({ t: "on-stale", seq: instance.nextSeq() });
    },
    now: () => instance.now,
    random: () => random.next(),
    uuid: () => uuidOf(`${instance.seed}/${++uuids}`),
  };
};

const json = (instance: Commander, value: unknown, what: string): string => toJson(value, what, instance.maxPayloadBytes);

/** Each operation on the state store is a command, and what it read is in the journal. */
const stateOf = (instance: Commander): StateStore => {
  const operate = (op: StateOp): Promise<unknown> => instance.issue({ t: "state", seq: instance.nextSeq(), op }).catch(rethrow);
  return new StateView({ isTransaction: false, read: operate, write: (write) => operate({ op: "write", ...write }) }, instance);
};

/** What a command was refused with comes as it does to functions. */
const rethrow = (error: unknown): never => {
  throw error instanceof CallError && error.constructor === CallError ? refusalOf(error.failure) : error;
};

const withdrawOn = (instance: Commander, signal: AbortSignal, target: number): void => {
  const withdraw = () => instance.tell({ t: "withdraw", seq: instance.nextSeq(), target });
  if (signal.aborted) withdraw();
  else signal.addEventListener("abort", withdraw, { once: true });
};

/**
 * Executes `f` unless the journal has its outcome, and waits until that outcome is durable: only then the coordinator goes on. A
 * cancellation ends the wait at once, as it does when the step is replayed; what the step then comes to only the journal learns.
 */
const executeStep = async <T>(instance: Commander, given: string, f: () => T | Promise<T>): Promise<T> => {
  const name = nameOf(given, "step");
  const seq = instance.nextSeq();
  if (instance.hasRecorded(seq)) return (await instance.issue({ t: "step", seq, name })) as T;
  const outcome = instance.issue({ t: "stepping", seq });
  void performStep(instance, seq, name, f);
  return (await outcome) as T;
};

const performStep = async (instance: Commander, seq: number, name: string, f: () => unknown): Promise<void> => {
  const command: Command & { seq: number } = { t: "step", seq, name };
  try {
    if (!(await instance.permission(seq))) throw new LockstepError("RUN_CANCELLED", "the run was cancelled before the step began");
    command.value = json(instance, await f(), `the result of step "${name}"`);
  } catch (error) {
    const cause = failureOf(error, "STEP_FAILED");
    command.failure = { ...cause, message: `step "${name}": ${cause.message}` };
    delete command.value;
  }
  instance.tell(command);
};

/** A version 4 UUID (RFC 9562, section 5.4) whose random bits are a hash: the same in each replay, different in each run. */
const uuidOf = (text: string): string => {
  const hex = hash("sha256", text, "hex");
  const variant = ((Number.parseInt(hex[16] as string, 16) & 0x3) | 0x8).toString(16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
};
