import type { CoordinatorDefinition, FunctionDefinition } from "../application/definitions.ts";
import { isDefinition, isFunction } from "../application/definitions.ts";
import type { Clock } from "../lib/clock.ts";
import { systemClock } from "../lib/clock.ts";
import type { RunId } from "../lib/ids.ts";
import type { ApplicationVersion, Bundle } from "../protocol/application.ts";
import type { CallLog, LayerView, PodView, Rehearsal, Repair, TriggerView } from "../protocol/control-plane.ts";
import type { PlatformEvent } from "../protocol/events.ts";
import type { Drill, DrillRequest, FaultView } from "../protocol/faults.ts";
import type { ReplicaSetView } from "../protocol/replica.ts";
import type { RunPage, RunSummary } from "../protocol/run.ts";
import { type ClientCluster, createCluster } from "./cluster.ts";
import type { EventsOptions } from "./events.ts";
import { followEvents } from "./events.ts";
import type { HttpRequest } from "./http.ts";
import { createHttp } from "./http.ts";
import { type ClientObjects, createObjects } from "./objects.ts";
import type { ClientRun } from "./run.ts";
import { completedValue, createRun, LONGEST_WAIT_MS, settled, waitForOutcome } from "./run.ts";
import { type ClientState, createState } from "./state.ts";
import type { LogsFilter, RetryFilter, RunOutcome, RunsFilter, StartOptions, WaitOptions } from "./types.ts";

/** The replay of thousands of runs takes its time. */
const LONGEST_CHECK_MS = 10 * 60_000;

export interface ClientOptions {
  /** Default: the environment's LOCKSTEP_URL, else `http://127.0.0.1:4700`. */
  url?: string;
  /** Default: the environment's LOCKSTEP_API_KEY. */
  apiKey?: string;
  /** Default: the global one. */
  fetch?: typeof fetch;
  /** How long refusals for overload and lost connections are tried again. Default 30,000. */
  retryForMs?: number;
  /** For tests. */
  clock?: Clock;
}

// An `unknown` input may be left out, a definition without input is started without one, and any other must be given.
export type InputAnd<Input, Options> = unknown extends Input
  ? [input?: Input, options?: Options]
  : // biome-ignore lint/suspicious/noConfusingVoidType: void is what a definition without input has
    [Input] extends [void]
    ? [input?: undefined, options?: Options]
    : [input: Input, options?: Options];

/** What any program may ask of a platform. Refusals reject with a `ClientError`. */
export interface Client {
  readonly url: string;
  /** Starts a coordinator's run, or a function's, and returns once it is accepted, which means on disk. A name means a coordinator. */
  start<Input, Output>(
    target: CoordinatorDefinition<Input, Output> | FunctionDefinition<Input, Output>,
    ...inputAndOptions: InputAnd<Input, StartOptions>
  ): Promise<ClientRun<Output>>;
  start<Output = unknown>(coordinator: string, input?: unknown, options?: StartOptions): Promise<ClientRun<Output>>;
  /** Starts a function's run by the function's name. */
  startFunction<Output = unknown>(name: string, input?: unknown, options?: StartOptions): Promise<ClientRun<Output>>;
  /** Calls a function durably and waits for its result. @throws {RunError} when it failed */
  call<Input, Output>(
    target: FunctionDefinition<Input, Output>,
    ...inputAndOptions: InputAnd<Input, StartOptions & WaitOptions>
  ): Promise<Output>;
  call<Output = unknown>(name: string, input?: unknown, options?: StartOptions & WaitOptions): Promise<Output>;
  /** Evaluates an expression and waits for its value. @throws {RunError} when it failed */
  eval<Output = unknown>(
    expression: string,
    variables?: Record<string, unknown>,
    options?: Pick<StartOptions, "key"> & WaitOptions,
  ): Promise<Output>;
  /** Starts an expression's run. */
  startExpression<Output = unknown>(
    expression: string,
    variables?: Record<string, unknown>,
    options?: Pick<StartOptions, "key">,
  ): Promise<ClientRun<Output>>;
  /** A run by its id; asks the platform nothing yet. */
  run<Output = unknown>(id: RunId): ClientRun<Output>;
  /** Every run that fits, newest first, fetched page by page as the iteration goes on. */
  runs(filter?: RunsFilter): AsyncGenerator<RunSummary, void, undefined>;
  /** One page of them; give the page's `cursor` back for the next one. */
  runPage(filter?: RunsFilter, cursor?: string): Promise<RunPage>;
  /** Gives all suspended runs that fit a fresh set of attempts, and tells which. */
  retryRuns(filter?: RetryFilter): Promise<Repair[]>;
  /** What happens on the platform, as it happens, taken up again after lost connections. */
  events(options?: EventsOptions): AsyncGenerator<PlatformEvent, void, undefined>;
  applications(): Promise<ApplicationVersion[]>;
  /** Makes a bundle the current version of its application: new runs take it. */
  deploy(bundle: Bundle): Promise<ApplicationVersion>;
  /** Replays all unfinished runs of the bundle's application against it, without deploying: those that would diverge have a failure. */
  check(bundle: Bundle): Promise<Rehearsal[]>;
  /** What applications keep. */
  readonly state: ClientState;
  readonly cluster: ClientCluster;
  readonly objects: ClientObjects;
  pods(): Promise<PodView[]>;
  layers(): Promise<LayerView[]>;
  /** What of the platform itself has failed, the newest first. Default: the last 100. */
  faults(limit?: number): Promise<FaultView[]>;
  /** The replica sets that are at work, with who sits in which seat. */
  replicaSets(): Promise<ReplicaSetView[]>;
  /** Provokes a fault of a development platform on this machine. */
  drill(request: DrillRequest): Promise<Drill>;
  /** What starts runs by itself: schedules, events, objects, webhooks. */
  triggers(): Promise<TriggerView[]>;
  logs(filter?: LogsFilter): Promise<{ logs: CallLog[]; next: number }>;
}

const environment = (name: string): string | undefined => {
  const value = (globalThis as { process?: { env?: Record<string, string | undefined> } }).process?.env?.[name];
  return value === "" ? undefined : value;
};

/** Makes a client of the platform at `url`. It holds no connection open, so there is nothing to close. */
export const createClient = (options: ClientOptions = {}): Client => {
  const url = (options.url ?? environment("LOCKSTEP_URL") ?? "http://127.0.0.1:4700").replace(/\/+$/, "");
  const clock = options.clock ?? systemClock;
  const retryForMs = options.retryForMs ?? 30_000;
  const apiKey = options.apiKey ?? environment("LOCKSTEP_API_KEY");
  const http = createHttp({ url, apiKey, fetch: options.fetch ?? fetch, clock, retryForMs });

  const start = async (path: string, body: Record<string, unknown>): Promise<ClientRun<never>> => {
    const accepted = await http.json<{ id: RunId; existing?: boolean }>("POST", path, { body, repeatable: body.key !== undefined });
    return createRun(http, clock, accepted.id, { existing: accepted.existing === true, contacted: true });
  };

  // The result comes with the answer to the start when it is there soon enough.
  const startAndWait = async (path: string, body: Record<string, unknown>, wait: WaitOptions): Promise<never> => {
    const startedAt = clock.now();
    const waitMs = Math.min(wait.timeoutMs ?? LONGEST_WAIT_MS, LONGEST_WAIT_MS);
    const request: HttpRequest = { body, query: { wait: `${waitMs}ms` }, waitMs, repeatable: body.key !== undefined };
    if (wait.signal !== undefined) request.signal = wait.signal;
    const outcome = await http.json<RunOutcome>("POST", path, request);
    if (settled(outcome)) return completedValue(outcome) as never;
    const rest = wait.timeoutMs === undefined ? wait : { ...wait, timeoutMs: wait.timeoutMs - (clock.now() - startedAt) };
    return completedValue(await waitForOutcome(http, clock, outcome.id, { ...rest, contacted: true })) as never;
  };

  const pageOf = (filter: RunsFilter, cursor?: string): Promise<RunPage> =>
    http.json<RunPage>("GET", "/v1/runs", {
      query: {
        status: typeof filter.status === "string" ? filter.status : filter.status?.join(","),
        kind: filter.kind,
        name: filter.name,
        key: filter.key,
        since: filter.since === undefined ? undefined : Number(filter.since),
        until: filter.until === undefined ? undefined : Number(filter.until),
        limit: filter.limit,
        cursor,
      },
    });

  return {
    url,
    start: (target: unknown, input?: unknown, { key, priority }: StartOptions = {}) =>
      start(pathOfTarget(target), { input, key, priority }),
    startFunction: (name, input, { key, priority } = {}) => start(functionPath(name), { input, key, priority }),
    call: (target: unknown, input?: unknown, { key, priority, ...wait }: StartOptions & WaitOptions = {}) =>
      startAndWait(functionPath(target), { input, key, priority }, wait),
    eval: (expression, variables, { key, ...wait } = {}) => startAndWait("/v1/expressions", { expression, variables, key }, wait),
    startExpression: (expression, variables, { key } = {}) => start("/v1/expressions", { expression, variables, key }),
    run: (id) => createRun(http, clock, id, { existing: true, contacted: false }),
    runPage: (filter = {}, cursor) => pageOf(filter, cursor),
    async *runs(filter = {}) {
      let cursor: string | undefined;
      do {
        const page: RunPage = await pageOf(filter, cursor);
        yield* page.runs;
        cursor = page.cursor;
      } while (cursor !== undefined);
    },
    retryRuns: async ({ since, ...filter } = {}) => {
      const body = { ...filter, ...(since === undefined ? {} : { since: Number(since) }) };
      return (await http.json<{ runs: Repair[] }>("POST", "/v1/runs/retry", { body, repeatable: filter.dryRun === true })).runs;
    },
    events: (eventsOptions) => followEvents({ http, clock, retryForMs }, eventsOptions),
    applications: async () => (await http.json<{ applications: ApplicationVersion[] }>("GET", "/v1/applications")).applications,
    deploy: ({ application, version, code }) =>
      http.json<ApplicationVersion>("POST", "/v1/applications", { body: { application, version, code }, repeatable: true }),
    check: async ({ application, version, code }) => {
      const request = { body: { application, version, code }, repeatable: true, waitMs: LONGEST_CHECK_MS };
      return (await http.json<{ runs: Rehearsal[] }>("POST", "/v1/applications/check", request)).runs;
    },
    state: createState(http),
    cluster: createCluster({ http, clock, retryForMs }),
    objects: createObjects(http),
    pods: async () => (await http.json<{ pods: PodView[] }>("GET", "/v1/pods")).pods,
    layers: async () => (await http.json<{ layers: LayerView[] }>("GET", "/v1/layers")).layers,
    replicaSets: async () => (await http.json<{ replicaSets: ReplicaSetView[] }>("GET", "/v1/replica-sets", {})).replicaSets,
    faults: async (limit) => (await http.json<{ faults: FaultView[] }>("GET", "/v1/faults", { query: { limit } })).faults,
    drill: (request) => http.json<Drill>("POST", "/v1/drills", { body: { ...request }, repeatable: false }),
    triggers: async () => (await http.json<{ triggers: TriggerView[] }>("GET", "/v1/triggers")).triggers,
    logs: ({ since, ...filter } = {}) =>
      http.json("GET", "/v1/logs", { query: { ...filter, ...(since === undefined ? {} : { since: Number(since) }) } }),
  };
};

const pathOfTarget = (target: unknown): string => {
  if (isDefinition(target) && isFunction(target)) return functionPath(target);
  return `/v1/coordinators/${encodeURIComponent(nameOf(target))}/runs`;
};

const functionPath = (target: unknown): string => `/v1/functions/${encodeURIComponent(nameOf(target))}/calls`;

const nameOf = (target: unknown): string => {
  if (typeof target === "string") return target;
  if (isDefinition(target)) return target.name;
  throw new TypeError("the target must be a definition made by fn() or coordinator(), or a name");
};
