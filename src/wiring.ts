/**
 * The wiring: makes the parts of a platform, and tells each of those that it works with. Nothing runs yet.
 *
 * Owns: who works with whom, and what each part may know of the others. Does not own: which technologies are behind the ports, and in which
 * order the parts start and stop (platform.ts). Parts that need each other are given functions, which are called once all are made.
 */
import { join } from "node:path";
import { Drills } from "./admin/drills.ts";
import type { Pulse } from "./admin/pulse.ts";
import { Admin } from "./admin/service.ts";
import { Registry } from "./application/registry.ts";
import { Applications } from "./application/service.ts";
import { Autoscaler } from "./autoscaler/service.ts";
import type { Cluster } from "./cluster/port.ts";
import { ClusterService } from "./cluster/service.ts";
import type { Target } from "./cluster/targets.ts";
import { createControlPlane, type Parts } from "./control-plane.ts";
import { CoordinatorHosts } from "./coordinator/hosts.ts";
import { Rehearsals } from "./coordinator/rehearsal.ts";
import { RunService } from "./coordinator/service.ts";
import { Turn } from "./coordinator/turn.ts";
import { EventBus } from "./events/service.ts";
import { Invocations } from "./invocation/service.ts";
import type { Journal, StateRows } from "./journal/port.ts";
import type { Clock } from "./lib/clock.ts";
import type { PlatformLimits } from "./limits.ts";
import { Monitor } from "./monitor/service.ts";
import { BucketRegister } from "./objects/buckets.ts";
import type { StoreParts } from "./objects/journaled.ts";
import type { ObjectPlace, ObjectStore } from "./objects/port.ts";
import { ObjectService } from "./objects/service.ts";
import type { ControlPlane } from "./protocol/control-plane.ts";
import { Comparisons } from "./replicas/comparisons.ts";
import { ReplicaSets } from "./replicas/service.ts";
import { Fleet, type FleetObserver } from "./scheduler/fleet.ts";
import { Preloads } from "./scheduler/preloads.ts";
import { Scheduler } from "./scheduler/service.ts";
import { StateService } from "./state/service.ts";
import { Triggers } from "./triggers/service.ts";

/** What differs from platform to platform. */
export interface Choices {
  limits: PlatformLimits;
  clock: Clock;
  journal: Journal;
  cluster: Cluster;
  storeOf(parts: StoreParts, buckets: () => Promise<string[]>): ObjectStore;
  dataDirectory: string;
  /** Why no work is taken; `undefined` when it is. */
  readiness: { reason: string | undefined };
  pulse: Pulse | undefined;
  drills: { allowed: boolean; ownProcess: boolean; restart: (() => void) | undefined };
  fatal(error: unknown): void;
  /** Told of defects that end nothing. */
  report(error: unknown): void;
  /** Told what a person should mend. */
  warn(line: string): void;
}

export type Connected = Parts & { controlPlane: ControlPlane; monitor: Monitor; cluster: ClusterService; comparisons: Comparisons };

/** For parts that keep rows of their own beside the state store's. */
interface Rows {
  rows: StateRows;
  turn: Turn;
  clock: Clock;
  nextVersion(): number;
}

const INSPECT_TIMEOUT_MS = 10_000;
const MEMORY_HEADROOM_MB = 192;
/** How long a PUT waits for a store that publishes later, such as S3. */
const PUBLISH_MS = 30_000;
/** Pods that start at the same time although no call waits for them. */
const MOST_STARTING = 4;
/** Another pod is added when a call has waited for so long although its function has pods. */
const PATIENCE_MS = 100;

export const connect = (choices: Choices): Connected => {
  const { limits, clock, journal, cluster, dataDirectory, readiness, fatal, report, warn } = choices;
  const events = new EventBus(journal, report);
  const turn = new Turn(journal, clock, events.publish, fatal);
  const counts = { podsStarted: 0, podsLost: 0, auditRepairs: 0 };
  const fleet = new Fleet(
    cluster,
    clock,
    fleetOptions(limits),
    fleetObserver(turn, counts, () => admin),
  );
  const registry = new Registry();
  const applications = connectApplications(choices, registry, fleet, () => replicas);
  const state = connectState(choices, turn, registry);
  const rows: Rows = { rows: journal.state, turn, clock, nextVersion: () => state.nextVersion() };
  const objects: ObjectService = connectObjects(choices, rows, registry, (place) => triggers.startsByPut(place) && runs.admit());
  const monitor = new Monitor({ turn, clock, registry, podMemoryMb: limits.podMemoryMb });
  const invocations = new Invocations({
    state,
    objects,
    registry,
    clock,
    conflicts: (entry) => runs.attempts.conflictsOf(entry),
    progress: (entry, value) => runs.attempts.progress(entry, value),
    verdict: (entry, outcome) => monitor.verdict(entry, outcome),
  });
  const { pathOf } = applications;
  const preloads = new Preloads({ clock, fleet, pathOf, takesWarm: (fn, version) => scheduler.takesWarm(fn, version) });
  const runs: RunService = new RunService(
    { journal, clock, turn, registry, monitor, state, invocations, preloads, pathOf, maxPayloadBytes: limits.maxPayloadBytes },
    {
      defaultTimeoutMs: limits.callTimeoutMs,
      maxLiveRuns: limits.maxLiveRuns,
      maxWaitingCalls: limits.maxWaitingCalls,
      evictAfterMs: limits.evictAfterMs,
    },
  );
  const services = new ClusterService({
    ...rows,
    registry,
    fleet,
    cluster,
    epoch: journal.epoch,
    defaults: limits,
    mostStarting: MOST_STARTING,
  });
  const replicas: ReplicaSets = connectReplicas(choices, rows, { fleet, registry, applications }, runs, () => admin);
  const comparisons = new Comparisons({ fleet, clock, lied: (lie) => admin.podLied(lie) }, limits.podIdleMs);
  const { slotsPerPod, maxPodsPerFunction, podMemoryMb: defaultMemoryMb } = limits;
  const scheduler = new Scheduler(
    fleet,
    clock,
    { slotsPerPod, maxPodsPerFunction, defaultMemoryMb, patienceMs: PATIENCE_MS },
    applications.homeOf,
    (entry, outcome) => runs.attempts.settled(entry, outcome),
    invocations,
    services.placement,
    // Pods of a platform without files are no processes, and their replicas would prove nothing.
    { quorum: dataDirectory === "" ? undefined : replicas, compare: comparisons },
  );
  const autoscaler = new Autoscaler<Target>(services);
  services.connect(scheduler, (now) => autoscaler.look(now));
  const hosting = { memoryMb: limits.podMemoryMb, podsPerVersion: limits.coordinatorPods, turnLimitMs: limits.coordinatorTurnMs };
  runs.connect(scheduler, new CoordinatorHosts(fleet, clock, hosting, runs.hostReports));
  state.onStale((space, key, stale) => runs.toldStale(space, key, stale));
  const triggers: Triggers = new Triggers({
    ...rows,
    registry,
    runs,
    secretOf: (name) => process.env[name],
    maxPayloadBytes: limits.maxPayloadBytes,
    warn,
  });
  const rehearsing = { memoryMb: limits.podMemoryMb, loadTimeoutMs: INSPECT_TIMEOUT_MS, replayTimeoutMs: limits.coordinatorTurnMs };
  const rehearsals = new Rehearsals({ journal, clock, fleet, applications, durable: () => turn.durable() }, rehearsing);
  const admin: Admin = new Admin({
    ...rows,
    epoch: journal.epoch,
    pulse: choices.pulse,
    watchSends: (listener) => {
      fleet.onSend = listener;
    },
  });
  const drills = connectDrills(choices, fleet, replicas, events);
  const parts: Parts = {
    journal,
    registry,
    applications,
    runs,
    rehearsals,
    scheduler,
    cluster: services,
    fleet,
    turn,
    events,
    state,
    objects,
    triggers,
    admin,
    drills,
    replicas,
    counts,
    slotsPerPod,
    maxPayloadBytes: limits.maxPayloadBytes,
    expressionLimits: limits.expression,
    notReady: () => readiness.reason,
  };
  return { ...parts, monitor, cluster: services, comparisons, controlPlane: createControlPlane(parts) };
};

const connectApplications = (
  { limits, clock, journal, dataDirectory }: Choices,
  registry: Registry,
  fleet: Fleet,
  replicas: () => ReplicaSets,
): Applications =>
  new Applications(journal, registry, fleet, clock, {
    directory: dataDirectory === "" ? undefined : join(dataDirectory, "applications"),
    memoryMb: limits.podMemoryMb,
    inspectTimeoutMs: INSPECT_TIMEOUT_MS,
    trust: ["one", "compare", "quorum"],
    check: (version) => replicas().check(version),
    deployed: (application) => replicas().deployed(application),
  });

const connectState = ({ limits, clock, journal, fatal }: Choices, turn: Turn, registry: Registry): StateService =>
  new StateService({
    rows: journal.state,
    turn,
    clock,
    maxValueBytes: limits.maxPayloadBytes,
    ttlMs: (space, table) => registry.tables(space).find(({ name }) => name === table)?.ttlMs,
    failed: fatal,
  });

const connectObjects = (
  { limits, clock, storeOf, report }: Choices,
  { rows, turn, nextVersion }: Rows,
  registry: Registry,
  admit: (place: ObjectPlace) => void,
): ObjectService => {
  const rowParts = { rows, turn, now: () => clock.now(), nextVersion };
  const buckets = new BucketRegister({
    ...rowParts,
    isDeclared: (bucket) => registry.ownerOfBucket(bucket) !== undefined,
    declared: () => registry.buckets(),
  });
  const store = storeOf({ ...rowParts, report }, () => buckets.list());
  return new ObjectService(
    { store, buckets, clock, admit, report },
    {
      maxObjectBytes: limits.maxObjectBytes,
      stallMs: limits.objectStallMs,
      bodyMs: limits.objectBodyMs,
      publishMs: PUBLISH_MS,
    },
  );
};

const connectReplicas = (
  { limits, journal, dataDirectory }: Choices,
  rows: Rows,
  { fleet, registry, applications }: { fleet: Fleet; registry: Registry; applications: Applications },
  runs: RunService,
  admin: () => Admin,
): ReplicaSets =>
  new ReplicaSets(
    {
      ...rows,
      fleet,
      home: applications.homeOf,
      currentOf: (fn) => registry.homeOfFunction(fn)?.version,
      pending: (fn, version) => runs.attempts.pendingOf(fn, version),
      admin: {
        replicaFault: (fault) => admin().replicaFault(fault),
        replicaRepaired: (set, replica, did) => admin().replicaRepaired(set, replica, did),
      },
    },
    {
      directory: dataDirectory,
      epoch: journal.epoch,
      defaultMemoryMb: limits.podMemoryMb,
      defaultTimeoutMs: limits.callTimeoutMs,
      idleMs: limits.podIdleMs,
      recoveryEveryMs: limits.replicaRecoveryMs,
      maxLogBytes: limits.maxLogBytesPerCall,
    },
  );

const connectDrills = ({ clock, drills }: Choices, fleet: Fleet, replicas: ReplicaSets, events: EventBus): Drills =>
  new Drills({
    clock,
    allowed: drills.allowed,
    pods: () => fleet.pods.values(),
    harm: (pod, harm) => fleet.harm(pod, harm),
    replica: (kind, fn) => replicas.provoke(kind, fn, (pod) => fleet.harm(pod.id, "kill")),
    position: () => events.position,
    killControlPlane: drills.ownProcess ? () => process.kill(process.pid, "SIGKILL") : undefined,
    restartControlPlane: drills.restart,
  });

const fleetOptions = (limits: PlatformLimits) => ({
  warmPods: limits.warmPods,
  maxWarmPods: limits.maxWarmPods,
  warmMemoryMb: limits.warmMemoryMb,
  defaultMemoryMb: limits.podMemoryMb,
  maxPods: limits.maxPods,
  maxMemoryMb: limits.maxPodMemoryMb,
  hangMs: limits.hangMs,
  idleMs: limits.podIdleMs,
  memoryHeadroomMb: MEMORY_HEADROOM_MB,
});

/** Counts what happens to pods and publishes it. */
const fleetObserver = (turn: Turn, counts: { podsStarted: number; podsLost: number }, admin: () => Admin): FleetObserver => ({
  started: (pod, startMs) => {
    counts.podsStarted++;
    admin().podStarted(pod);
    turn.event({ type: "pod.started", pod: pod.id, function: pod.tenant?.role ?? "warm", pid: pod.pid, startMs });
  },
  stopped: (pod, exit) => {
    const role = pod.tenant?.role ?? "warm";
    if (exit.reason === "deleted") return turn.event({ type: "pod.stopped", pod: pod.id, function: role, reason: exit.detail });
    counts.podsLost++;
    turn.event({ type: "pod.lost", pod: pod.id, function: role, reason: `${exit.reason}: ${exit.detail}`, calls: pod.inFlight });
    admin().podStopped(pod, exit);
  },
});
