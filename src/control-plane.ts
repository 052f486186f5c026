/**
 * The control plane as its edges see it: one object that gateway, CLI and testing kit share.
 *
 * Owns: nothing; it checks names and puts the services' answers together.
 */
import type { Drills } from "./admin/drills.ts";
import type { Admin } from "./admin/service.ts";
import type { Registry } from "./application/registry.ts";
import type { Applications } from "./application/service.ts";
import { describePending } from "./coordinator/live.ts";
import type { Rehearsals } from "./coordinator/rehearsal.ts";
import { repairRuns } from "./coordinator/repair.ts";
import { apply } from "./coordinator/run-records.ts";
import { createRun } from "./coordinator/run-state.ts";
import type { RunService } from "./coordinator/service.ts";
import type { Turn } from "./coordinator/turn.ts";
import type { EventBus } from "./events/service.ts";
import { functionsOf } from "./expression/graph.ts";
import type { ExpressionLimits } from "./expression/limits.ts";
import { validateExpression } from "./expression/machine.ts";
import { parse } from "./expression/parser.ts";
import type { Journal, StoredRun } from "./journal/port.ts";
import { LockstepError } from "./lib/errors.ts";
import { ordinalOf, type RunId } from "./lib/ids.ts";
import type { ObjectService } from "./objects/service.ts";
import type { ApplicationVersion, Bundle } from "./protocol/application.ts";
import type { ClusterPlane } from "./protocol/cluster.ts";
import type { ControlPlane, Counters, LayerView, ObjectPlane, PodView } from "./protocol/control-plane.ts";
import type { EventBody } from "./protocol/events.ts";
import type { JournalRecord, RunResult, RunSummary, StartRun } from "./protocol/run.ts";
import { layerKey } from "./queue/machine.ts";
import { nodeVerifier } from "./replicas/node-crypto.ts";
import { withCertificates } from "./replicas/proofs.ts";
import type { ReplicaSets } from "./replicas/service.ts";
import type { Fleet } from "./scheduler/fleet.ts";
import type { Scheduler } from "./scheduler/service.ts";
import type { StateService } from "./state/service.ts";
import type { Triggers } from "./triggers/service.ts";

export interface Parts {
  journal: Journal;
  registry: Registry;
  applications: Applications;
  runs: RunService;
  rehearsals: Rehearsals;
  scheduler: Scheduler;
  fleet: Fleet;
  turn: Turn;
  events: EventBus;
  triggers: Triggers;
  cluster: ClusterPlane;
  admin: Admin;
  drills: Drills;
  replicas: ReplicaSets;
  state: StateService;
  objects: ObjectService;
  slotsPerPod: number;
  maxPayloadBytes: number;
  expressionLimits: Partial<ExpressionLimits>;
  counts: { podsStarted: number; podsLost: number; auditRepairs: number };
  /** Why the platform takes no work now; `undefined` when it does. */
  notReady(): string | undefined;
}

const NO_APPLICATION = { application: "", version: "" };

export const createControlPlane = (parts: Parts): ControlPlane => {
  const { journal, registry, applications, runs, fleet, events, state } = parts;

  const checkReady = (): void => {
    const why = parts.notReady();
    if (why !== undefined) throw new LockstepError("SHUTTING_DOWN", why, { details: { retryAfterMs: 1_000 } });
  };

  const start = async (request: StartRun): Promise<{ id: RunId; existing: boolean }> => {
    checkReady();
    checkKey(request.key);
    checkSize(request, parts.maxPayloadBytes);
    const { application, version } = homeOf(request, registry, parts.expressionLimits);
    return runs.start({ ...request, application, version });
  };

  const restart = async (id: RunId, from?: number): Promise<{ id: RunId; reused: number }> => {
    checkReady();
    const stored = await journal.load(checkId(id));
    if (stored === undefined) throw unknownRun(id);
    if (stored.kind === "recovery") {
      throw new LockstepError("BAD_REQUEST", `${id} is a recovery: decide for its run, ${stored.parent}, instead`);
    }
    return runs.restart(stored, homeOf(stored, registry, parts.expressionLimits), from);
  };

  const summaryOf = async (id: RunId): ReturnType<ControlPlane["run"]> => {
    const live = runs.peek(id);
    const stored = await journal.load(checkId(id));
    if (stored === undefined) throw unknownRun(id);
    const finished = stored.finishedAt !== undefined;
    const result: RunResult = finished || live === undefined ? await runs.result(id, 0) : { id, status: live.status };
    const summary: RunSummary & RunResult & { input: string; waitingFor: string[] } = {
      kind: stored.kind,
      name: stored.name,
      application: stored.application,
      version: stored.version,
      acceptedAt: stored.acceptedAt,
      input: stored.input,
      waitingFor: finished ? [] : (live?.waitingFor ?? (await pendingOf(stored))),
      ...result,
    };
    if (stored.finishedAt !== undefined) summary.finishedAt = stored.finishedAt;
    if (stored.key !== undefined) summary.key = stored.key;
    if (stored.parent !== undefined) summary.parent = stored.parent;
    if (!finished && live?.suspension !== undefined) summary.failure = live.suspension;
    return summary;
  };

  /** What a run that has left memory waits for. */
  const pendingOf = async (stored: StoredRun): Promise<string[]> => {
    const state = createRun(stored);
    for (const record of await journal.records(stored.id)) apply(state, record);
    return describePending(state);
  };

  const { hash } = nodeVerifier();

  const history = async (id: RunId): Promise<JournalRecord[]> => {
    const stored = await journal.load(checkId(id));
    if (stored === undefined) throw unknownRun(id);
    const records = await withCertificates(await journal.records(id), hash, () => new Promise((resolve) => setImmediate(resolve)));
    if (stored.finishedAt === undefined) return records;
    const end: JournalRecord = { t: "finish", at: stored.finishedAt, status: stored.status as "completed" };
    if (stored.value !== undefined) end.value = stored.value;
    if (stored.failure !== undefined) end.failure = stored.failure;
    return [...records, end];
  };

  return {
    start,
    result: async (id, waitMs) => runs.result(checkId(id), waitMs),
    run: summaryOf,
    runs: (filter, limit, cursor) => journal.list(filter, limit, cursor),
    journal: history,
    logs: ({ limit, ...filter }) => journal.logs(filter, limit),
    signal: async (id, name, value) => {
      checkReady();
      if (value.length > parts.maxPayloadBytes) throw tooLarge("the signal's value", value.length, parts.maxPayloadBytes);
      await runs.signal(checkId(id), name, value);
    },
    cancel: async (id, { reason, force }) => runs.cancel(checkId(id), reason, force ?? false),
    resume: async (id) => runs.resume(checkId(id)),
    resolve: async (id, resolution, by) => {
      const { value } = resolution;
      if (value !== undefined) checkValue("the value", value, parts.maxPayloadBytes);
      await runs.resolve(checkId(id), resolution, by);
    },
    repair: (filter, dryRun) => repairRuns(parts, filter, dryRun),
    restart,
    hook: async (request) => {
      checkReady();
      return parts.triggers.hook(request);
    },
    triggers: () => parts.triggers.views(),
    deploy: async (bundle: Bundle): Promise<ApplicationVersion> => {
      checkReady();
      const version = await applications.deploy(bundle);
      parts.turn.event(deployedEvent(version));
      return version;
    },
    state: {
      get: (application, key) => state.get(application, key),
      list: (application, prefix, limit, after) => state.list(application, prefix, limit, after),
      write: async (application, write) => {
        checkReady();
        return state.write(application, write);
      },
      stale: (application) => state.stale(application),
    },
    objects: objectPlane(parts.objects, checkReady),
    cluster: clusterPlane(parts.cluster, checkReady),
    rehearse: async (bundle: Bundle) => {
      checkReady();
      return parts.rehearsals.rehearse(bundle);
    },
    applications: async () => registry.list(),
    faults: (limit) => parts.admin.faults(limit),
    replicaSets: () => parts.replicas.views(),
    drill: (request) => parts.drills.provoke(request),
    pods: () => podViews(fleet, parts.slotsPerPod),
    layers: () => layerViews(parts),
    position: () => events.position,
    events: (position, limit) => events.after(position, limit),
    onEvents: (listener) => events.listen(listener),
    counters: () => countersOf(parts),
    notReady: parts.notReady,
  };
};

const clusterPlane = (cluster: ClusterPlane, checkReady: () => void): ClusterPlane => ({
  podChanges: cluster.podChanges,
  serviceChanges: cluster.serviceChanges,
  services: () => cluster.services(),
  service: (name) => cluster.service(name),
  createService: async (spec) => {
    checkReady();
    return cluster.createService(spec);
  },
  putService: async (spec, ifVersion) => {
    checkReady();
    return cluster.putService(spec, ifVersion);
  },
  deleteService: async (name, ifVersion) => {
    checkReady();
    return cluster.deleteService(name, ifVersion);
  },
  pods: () => cluster.pods(),
  pod: (id) => cluster.pod(id),
  createPod: (service) => {
    checkReady();
    return cluster.createPod(service);
  },
  deletePod: (id, graceMs) => {
    checkReady();
    cluster.deletePod(id, graceMs);
  },
});

const objectPlane = (objects: ObjectService, checkReady: () => void): ObjectPlane => ({
  buckets: () => objects.buckets(),
  createBucket: async (bucket) => {
    checkReady();
    await objects.createBucket(bucket);
  },
  put: async (bucket, key, body, options) => {
    checkReady();
    return objects.put(bucket, key, body, options);
  },
  get: (bucket, key, range) => objects.get(bucket, key, range),
  head: (bucket, key) => objects.head(bucket, key),
  list: (bucket, options) => objects.list(bucket, options),
  copy: async (from, to) => {
    checkReady();
    return objects.copy(from, to);
  },
  delete: async (bucket, key, options) => {
    checkReady();
    return objects.delete(bucket, key, options);
  },
  notify: async (notification) => {
    checkReady();
    return objects.notify(notification);
  },
});

export const deployedEvent = ({ application, version, manifest }: ApplicationVersion): EventBody => ({
  type: "application.deployed",
  application,
  version,
  functions: manifest.functions.map(({ name }) => name),
  coordinators: manifest.coordinators.map(({ name }) => name),
});

/** @throws {LockstepError} UNKNOWN_FUNCTION, UNKNOWN_COORDINATOR, EXPRESSION_INVALID, UNKNOWN_VARIABLE */
const homeOf = (request: StartRun, registry: Registry, limits: Partial<ExpressionLimits>): { application: string; version: string } => {
  if (request.kind === "expression") return homeOfExpression(request, registry, limits);
  const isFunction = request.kind === "function";
  const home = isFunction ? registry.homeOfFunction(request.name) : registry.homeOfCoordinator(request.name);
  if (home !== undefined) return home;
  const names = isFunction ? registry.functionNames() : registry.coordinatorNames();
  const other = isFunction ? registry.homeOfCoordinator(request.name) : registry.homeOfFunction(request.name);
  const deployed = names.length === 0 ? "nothing is deployed yet" : `deployed: ${names.slice(0, 20).join(", ")}`;
  const known = other === undefined ? deployed : isFunction ? "it is a coordinator: run it" : "it is a function: call it";
  throw new LockstepError(
    isFunction ? "UNKNOWN_FUNCTION" : "UNKNOWN_COORDINATOR",
    `there is no ${request.kind} "${request.name}" (${known})`,
    {
      details: { name: request.name },
    },
  );
};

/** An expression runs on the version of the one application that defines its functions. */
const homeOfExpression = (
  request: StartRun,
  registry: Registry,
  limits: Partial<ExpressionLimits>,
): { application: string; version: string } => {
  validateExpression(request.name, request.input, (name) => registry.homeOfFunction(name) !== undefined, limits);
  let home: ApplicationVersion | undefined;
  for (const { name, position } of functionsOf(parse(request.name, limits))) {
    const next = registry.homeOfFunction(name);
    if (home !== undefined && next !== undefined && next.application !== home.application) {
      const message = `"${name}" is of application "${next.application}", but the expression began with one of "${home.application}": an expression uses one application`;
      throw new LockstepError("EXPRESSION_INVALID", message, { details: { position, name } });
    }
    home ??= next;
  }
  return home ?? NO_APPLICATION;
};

// A database keeps neither as it is: two keys that differ here would be one there, and the commit of the second would fail.
const checkKey = (key: string | undefined): void => {
  if (key === undefined || (key.isWellFormed() && !key.includes("\0"))) return;
  const message = `the key ${JSON.stringify(key)} holds U+0000 or half of a surrogate pair`;
  throw new LockstepError("BAD_REQUEST", message, { details: { field: "key" } });
};

const checkSize = (request: StartRun, limit: number): void => checkValue("the input", request.input, limit);

const checkValue = (what: string, value: string, limit: number): void => {
  const bytes = value.length > limit / 4 ? Buffer.byteLength(value) : 0;
  if (bytes > limit) throw tooLarge(what, bytes, limit);
};

const tooLarge = (what: string, bytes: number, limit: number): LockstepError =>
  new LockstepError("PAYLOAD_TOO_LARGE", `${what} is ${bytes} bytes; the limit is ${limit}`, { details: { bytes, limit } });

const checkId = (id: RunId): RunId => {
  if (ordinalOf(id) === undefined) throw unknownRun(id);
  return id;
};

const unknownRun = (id: RunId): LockstepError =>
  new LockstepError("UNKNOWN_RUN", `there is no run ${JSON.stringify(id)}`, { details: { run: id } });

const podViews = (fleet: Fleet, slots: number): PodView[] =>
  [...fleet.pods.values()].map((pod) => {
    const view: PodView = {
      id: pod.id,
      role: pod.tenant?.role ?? "warm",
      pid: pod.pid,
      state: pod.state,
      inFlight: pod.inFlight,
      slots,
      startedAt: pod.startedAt,
    };
    if (pod.tenant !== undefined) Object.assign(view, { application: pod.tenant.application, version: pod.tenant.version });
    if (pod.coldStartMs !== undefined) view.coldStartMs = pod.coldStartMs;
    return view;
  });

/** Every function that can be called has a layer, also while nothing is in it. */
const layerViews = ({ scheduler, runs, registry }: Parts): LayerView[] => {
  const dead = runs.deadLetters();
  const open = scheduler.views().map((layer) => ({ ...layer, dead: dead.get(layer.function) ?? 0 }));
  const seen = new Set(open.map((layer) => layerKey(layer.function, layer.version)));
  const current = registry.list().filter((version) => version.current);
  const idle = current.flatMap(({ application, version, manifest }) =>
    manifest.functions.filter(({ name }) => !seen.has(layerKey(name, version))).map(({ name }) => emptyLayer(name, application, version)),
  );
  return [...open, ...idle];
};

const emptyLayer = (fn: string, application: string, version: string): LayerView => ({
  function: fn,
  application,
  version,
  waiting: 0,
  delayed: 0,
  running: 0,
  dead: 0,
  pods: 0,
  oldestWaitingMs: 0,
  throttled: false,
  enqueuedPerSecond: 0,
  completedPerSecond: 0,
  completed: 0,
  failed: 0,
});

const countersOf = ({ runs, turn, fleet, counts }: Parts): Counters => ({
  coldStarts: [...fleet.coldStarts.values()],
  runsAccepted: runs.counters.accepted,
  runsFinished: { completed: runs.counters.completed, failed: runs.counters.failed, cancelled: runs.counters.cancelled },
  runsLive: runs.size,
  callsCompleted: runs.counters.callsCompleted,
  callsFailed: runs.counters.callsFailed,
  callsRetried: runs.counters.retried,
  commits: turn.commits,
  records: turn.records,
  admissionRefused: runs.counters.refused,
  ...counts,
});
