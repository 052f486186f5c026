/** Where `eval`, `call` and `run` get their work done: a platform that runs already, or one of their own for as long as they take. */
import path from "node:path";
import type { Client, ClientRun, RunOutcome } from "../client/index.ts";
import type { Json } from "../lib/json.ts";
import { UNDEFINED } from "../lib/json.ts";
import type { CallLog } from "../protocol/control-plane.ts";
import type { RunKind } from "../protocol/run.ts";
import { FINAL } from "../protocol/run.ts";
import type { Context } from "./context.ts";

export interface Work {
  kind: RunKind;
  /** The name of a coordinator or function, or the text of an expression. */
  name: string;
  /** The variables of an expression. */
  input: unknown;
  key?: string;
  priority?: number;
}

export interface Target {
  start(work: Work): Promise<{ id: string; existing: boolean }>;
  /** Waits until the run has settled. @throws {ClientError} WAIT_TIMEOUT after `timeoutMs` */
  outcome(id: string, options: { timeoutMs?: number; signal: AbortSignal }): Promise<RunOutcome>;
  /** What the run's own code has logged, for a platform that nobody can ask later. */
  logs(id: string): Promise<CallLog[]>;
  /** Set when the run ends with this command. */
  readonly private: boolean;
  close(): Promise<void>;
}

/** A platform over HTTP. */
export const remoteTarget = (client: Client): Target => {
  const start = ({ kind, name, input, ...options }: Work): Promise<ClientRun> => {
    if (kind === "expression") return client.startExpression(name, input as Record<string, unknown>, options);
    return kind === "function" ? client.startFunction(name, input, options) : client.start(name, input, options);
  };
  const started = new Map<string, ClientRun>();
  return {
    private: false,
    start: async (work) => {
      const run = await start(work);
      started.set(run.id, run);
      return { id: run.id, existing: run.existing };
    },
    outcome: (id, options) => (started.get(id) ?? client.run(id)).outcome(options),
    logs: async () => [],
    close: async () => undefined,
  };
};

const LONGEST_WAIT_MS = 60_000;

/**
 * A platform in this process with a temporary data directory and without HTTP, onto which the application at `app` is deployed.
 * @throws {LockstepError} APPLICATION_INVALID and what else keeps a platform from starting
 */
export const privateTarget = async (context: Context, app: string): Promise<Target> => {
  const { io } = context;
  const starting = io.startPlatform({ gateway: false, log: () => undefined });
  const bundling = import("../application/bundler.ts").then(({ bundleApplication }) => bundleApplication(path.resolve(io.cwd, app)));
  const [started, bundled] = await Promise.allSettled([starting, bundling]);
  if (started.status === "rejected") throw started.reason;
  const platform = started.value;
  const { controlPlane } = platform;
  try {
    if (bundled.status === "rejected") throw bundled.reason;
    for (const warning of bundled.value.warnings) context.note(`${context.errorStyle.yellow("warning:")} ${warning.trim()}`);
    await controlPlane.deploy(bundled.value);
  } catch (error) {
    await platform.stop();
    throw error;
  }
  return {
    private: true,
    start: ({ kind, name, input, key, priority }) =>
      controlPlane.start({
        kind,
        name,
        input: jsonOf(input),
        ...(key === undefined ? {} : { key }),
        ...(priority === undefined ? {} : { priority }),
      }),
    outcome: async (id, { timeoutMs = Number.POSITIVE_INFINITY, signal }) => {
      const giveUpAt = io.clock.now() + timeoutMs;
      for (;;) {
        const { value, ...result } = await untilAborted(
          controlPlane.result(id, Math.max(0, Math.min(giveUpAt - io.clock.now(), LONGEST_WAIT_MS))),
          signal,
        );
        if (FINAL.has(result.status) || result.status === "suspended") {
          return value === undefined || value === UNDEFINED ? result : { ...result, value: JSON.parse(value) };
        }
        if (io.clock.now() >= giveUpAt) throw await waitTimeout(id, result.status, timeoutMs);
      }
    },
    logs: async (id) => (await controlPlane.logs({ run: id, limit: 1_000 })).logs,
    close: () => platform.stop(),
  };
};

const jsonOf = (input: unknown): Json => (input === undefined ? UNDEFINED : JSON.stringify(input));

const waitTimeout = async (id: string, status: string, timeoutMs: number): Promise<Error> => {
  const { ClientError } = await import("../client/index.ts");
  return new ClientError("WAIT_TIMEOUT", `${id} is ${status} after ${timeoutMs} ms`, {
    details: { run: id, status },
    mend: "Give a longer --timeout; the run ended with the platform of this command.",
  });
};

const untilAborted = <T>(work: Promise<T>, signal: AbortSignal): Promise<T> =>
  new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    if (signal.aborted) return abort();
    signal.addEventListener("abort", abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
