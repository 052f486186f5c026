import { hash } from "node:crypto";
import type { CallRequest, CoordinatorContext, RunHandle } from "../application/context.ts";
import type { CoordinatorDefinition, FunctionDefinition } from "../application/definitions.ts";
import { failureOf } from "../lib/errors.ts";
import { hashText, seeded } from "../lib/random.ts";
import { toJson } from "../lib/json.ts";
import type { CallOptions, Command } from "../protocol/run.ts";
import type { Instance } from "./coordinator-host.ts";

/** The methods that coordinator code uses: each becomes a numbered command of its instance. */
export const createContext = (instance: Instance): CoordinatorContext => {
  const random = seeded(hashText(instance.run));
  let uuids = 0;

  const call = (target: FunctionDefinition | string, input?: unknown, request?: CallRequest): Promise<never> => {
    const fn = typeof target === "string" ? target : target.name;
    const seq = instance.nextSeq();
    const command: Command & { seq: number } = { t: "call", seq, fn, input: json(instance, input, `the input of function "${fn}"`) };
    const options = optionsOf(request);
    if (options !== undefined) command.options = options;
    const outcome = instance.issue(command) as Promise<never>;
    if (request?.signal !== undefined) withdrawOn(instance, request.signal, seq);
    return outcome;
  };

  const child = (target: CoordinatorDefinition, input: unknown, detached: boolean): Promise<unknown> =>
    instance.issue({
      t: "child",
      seq: instance.nextSeq(),
      coordinator: target.name,
      input: json(instance, input, `the input of coordinator "${target.name}"`),
      detached,
    });

  return {
    runId: instance.run,
    log: instance.log,
    call: call as CoordinatorContext["call"],
    sleep: (ms) => instance.issue({ t: "sleep", seq: instance.nextSeq(), ms: duration(ms, "sleep") }) as Promise<void>,
    step: (name, f) => executeStep(instance, name, f),
    run: (target, input) => child(target as CoordinatorDefinition, input, false) as Promise<never>,
    start: async (target, input): Promise<RunHandle> => ({
      id: (await child(target as CoordinatorDefinition, input, true)) as string,
    }),
    signal: (name, options) => {
      const command: Command & { seq: number } = { t: "signal", seq: instance.nextSeq(), name };
      if (options?.timeoutMs !== undefined) command.timeoutMs = duration(options.timeoutMs, "signal");
      return instance.issue(command) as Promise<never>;
    },
    now: () => instance.now,
    random: () => random.next(),
    uuid: () => uuidOf(`${instance.run}/${++uuids}`),
  };
};

const json = (instance: Instance, value: unknown, what: string): string => toJson(value, what, instance.maxPayloadBytes);

const duration = (ms: number, method: string): number => {
  if (typeof ms !== "number" || Number.isNaN(ms) || ms < 0) throw new TypeError(`ctx.${method} needs a number of milliseconds of at least 0, not ${String(ms)}`);
  return Math.min(ms, Number.MAX_SAFE_INTEGER);
};

const optionsOf = (request: CallRequest | undefined): CallOptions | undefined => {
  if (request === undefined) return undefined;
  const { signal: _signal, ...options } = request;
  return Object.keys(options).length === 0 ? undefined : options;
};

const withdrawOn = (instance: Instance, signal: AbortSignal, target: number): void => {
  const withdraw = () => instance.tell({ t: "withdraw", seq: instance.nextSeq(), target });
  if (signal.aborted) withdraw();
  else signal.addEventListener("abort", withdraw, { once: true });
};

/** Executes `f` unless the journal has its outcome, then waits until that outcome is durable: only then the coordinator goes on. */
const executeStep = async <T>(instance: Instance, name: string, f: () => T | Promise<T>): Promise<T> => {
  const seq = instance.nextSeq();
  if (instance.hasRecorded(seq)) return (await instance.issue({ t: "step", seq, name })) as T;
  instance.tell({ t: "stepping", seq });
  const command: Command & { seq: number } = { t: "step", seq, name };
  try {
    command.value = json(instance, await f(), `the result of step "${name}"`);
  } catch (error) {
    const cause = failureOf(error, "STEP_FAILED");
    command.failure = { ...cause, message: `step "${name}": ${cause.message}` };
    delete command.value;
  }
  return (await instance.issue(command)) as T;
};

/** A version 4 UUID (RFC 9562, section 5.4) whose random bits are a hash: the same in each replay, different in each run. */
const uuidOf = (text: string): string => {
  const hex = hash("sha256", text, "hex");
  const variant = ((Number.parseInt(hex[16] as string, 16) & 0x3) | 0x8).toString(16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
};
