import type { Clock } from "../lib/clock.ts";
import type { RunId } from "../lib/ids.ts";
import { FINAL } from "../protocol/run.ts";
import { ClientError, RunError } from "./errors.ts";
import type { Http } from "./http.ts";
import type { JournalEntry, RunCertificate, RunDetails, RunOutcome, RunResolution, WaitOptions } from "./types.ts";

/** A run on the platform. Every method may be called at any time and more than once. */
export interface ClientRun<Output = unknown> {
  readonly id: RunId;
  /** Set when `start` was given a key that an earlier start had used: this is its run. */
  readonly existing: boolean;
  /**
   * Waits for the run's result, also across restarts of the platform.
   * @throws {RunError} when the run failed, was cancelled, or is suspended
   * @throws {ClientError} WAIT_TIMEOUT after `timeoutMs`
   */
  result(options?: WaitOptions): Promise<Output>;
  /** Waits like `result`, but tells how the run ended instead of throwing. */
  outcome(options?: WaitOptions): Promise<RunOutcome<Output>>;
  /** Sends a value to whom waits, or will wait, for this signal. */
  signal(name: string, value?: unknown): Promise<void>;
  /**
   * Asks the run to stop; `force` ends it even if its coordinator catches the cancellation. A run that is cancelled already is left as it is.
   * @throws {ClientError} RUN_FINISHED when it has ended in another way
   */
  cancel(reason?: string, options?: { force?: boolean }): Promise<void>;
  /** Gives a suspended run a fresh set of attempts. */
  resume(): Promise<void>;
  /**
   * Decides for a suspended run: another set of attempts, a value to go on with, or that it fails.
   * @throws {ClientError} RUN_NOT_SUSPENDED, CALL_NOT_FOUND
   */
  resolve(resolution: RunResolution): Promise<void>;
  /**
   * Starts a new run of the same target and input on the current version. `from` is the number of a call: what this run did before it is
   * not done again. `reused` tells how many commands those are.
   */
  restart(options?: { from?: number }): Promise<{ run: ClientRun<Output>; reused: number }>;
  get(): Promise<RunDetails<Output>>;
  journal(): Promise<JournalEntry[]>;
  /** The certificates of its calls that replica sets have executed, in the order in which these ended. */
  certificates(): Promise<RunCertificate[]>;
}

// The platform holds an answer back at most this long; then it is asked again.
export const LONGEST_WAIT_MS = 30_000;

export const settled = (outcome: RunOutcome): boolean => FINAL.has(outcome.status) || outcome.status === "suspended";

/** The value of a completed run. */
export const completedValue = <Output>(outcome: RunOutcome<Output>): Output => {
  if (outcome.status === "completed") return outcome.value as Output;
  const failure = outcome.failure ?? { code: "INTERNAL", message: `the run is ${outcome.status} and the platform does not say why` };
  throw new RunError(outcome.id, outcome.status, failure);
};

/** Asks until the run has settled. `contacted` tells whether this platform answered before, so that a restart of it is waited for. */
export const waitForOutcome = async (
  http: Http,
  clock: Clock,
  id: RunId,
  options: WaitOptions & { contacted?: boolean } = {},
): Promise<RunOutcome> => {
  const giveUpAt = clock.now() + (options.timeoutMs ?? Number.POSITIVE_INFINITY);
  let contacted = options.contacted === true;
  for (;;) {
    const waitMs = Math.ceil(Math.max(0, Math.min(LONGEST_WAIT_MS, giveUpAt - clock.now())));
    const outcome = await http.json<RunOutcome>("GET", `${pathOf(id)}/result`, {
      query: { wait: `${waitMs}ms` },
      waitMs,
      reconnect: contacted,
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    if (settled(outcome)) return outcome;
    if (clock.now() >= giveUpAt) {
      throw new ClientError("WAIT_TIMEOUT", `${id} is ${outcome.status} after ${options.timeoutMs} ms; it goes on`, {
        details: { run: id, status: outcome.status },
      });
    }
    contacted = true;
  }
};

export const pathOf = (id: RunId): string => `/v1/runs/${encodeURIComponent(id)}`;

export const createRun = <Output>(
  http: Http,
  clock: Clock,
  id: RunId,
  known: { existing: boolean; contacted: boolean },
): ClientRun<Output> => {
  const path = pathOf(id);
  const outcome = async (options: WaitOptions = {}): Promise<RunOutcome<Output>> =>
    (await waitForOutcome(http, clock, id, { ...options, contacted: known.contacted })) as RunOutcome<Output>;
  return {
    id,
    existing: known.existing,
    outcome,
    result: async (options) => completedValue(await outcome(options)),
    signal: async (name, value) => {
      await http.json("POST", `${path}/signals/${encodeURIComponent(name)}`, { body: { value } });
    },
    cancel: async (reason, { force } = {}) => {
      await http.json("POST", `${path}/cancel`, { body: { reason, force }, repeatable: true });
    },
    resume: async () => {
      await http.json("POST", `${path}/resume`, { body: {} });
    },
    resolve: async (resolution) => {
      await http.json("POST", `${path}/resolve`, { body: resolution });
    },
    restart: async ({ from } = {}) => {
      const accepted = await http.json<{ id: RunId; reused: number }>("POST", `${path}/restart`, { body: { from } });
      return { run: createRun<Output>(http, clock, accepted.id, { existing: false, contacted: true }), reused: accepted.reused };
    },
    get: () => http.json<RunDetails<Output>>("GET", path),
    journal: async () => (await http.json<{ records: JournalEntry[] }>("GET", `${path}/journal`)).records,
    certificates: async () => (await http.json<{ certificates: RunCertificate[] }>("GET", `${path}/certificates`)).certificates,
  };
};
