/**
 * The only wiring: picks the adapters, connects the parts, and owns the order in which they start and stop.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Drills } from "./admin/drills.ts";
import { filePulse, type Pulse } from "./admin/pulse.ts";
import { Admin } from "./admin/service.ts";
import { Registry } from "./application/registry.ts";
import { Applications } from "./application/service.ts";
import { Autoscaler } from "./autoscaler/service.ts";
import { LocalCluster } from "./cluster/local.ts";
import type { Cluster } from "./cluster/port.ts";
import { ClusterService } from "./cluster/service.ts";
import type { Target } from "./cluster/targets.ts";
import { createControlPlane, deployedEvent, type Parts } from "./control-plane.ts";
import { CoordinatorHosts } from "./coordinator/hosts.ts";
import { startHousekeeping } from "./coordinator/housekeeping.ts";
import { Rehearsals } from "./coordinator/rehearsal.ts";
import { RunService } from "./coordinator/service.ts";
import { Turn } from "./coordinator/turn.ts";
import { EventBus } from "./events/service.ts";
import type { GatewayOptions } from "./gateway/options.ts";
import { Invocations } from "./invocation/service.ts";
import type { Journal } from "./journal/port.ts";
import { openSqliteJournal } from "./journal/sqlite.ts";
import { type Clock, systemClock } from "./lib/clock.ts";
import { DEFAULT_LIMITS, type PlatformLimits } from "./limits.ts";
import { Monitor } from "./monitor/service.ts";
import { BucketRegister } from "./objects/buckets.ts";
import type { Bytes } from "./objects/bytes.ts";
import { FileBytes } from "./objects/filesystem.ts";
import { JournaledObjects, type StoreParts } from "./objects/journaled.ts";
import { MemoryBytes } from "./objects/memory.ts";
import type { ObjectStore } from "./objects/port.ts";
import type { S3Options } from "./objects/s3-client.ts";
import { ObjectService } from "./objects/service.ts";
import type { Bundle } from "./protocol/application.ts";
import type { ControlPlane } from "./protocol/control-plane.ts";
import { Comparisons } from "./replicas/comparisons.ts";
import { ReplicaSets } from "./replicas/service.ts";
import { Fleet, type FleetObserver } from "./scheduler/fleet.ts";
import { Preloads } from "./scheduler/preloads.ts";
import { Scheduler } from "./scheduler/service.ts";
import { StateService } from "./state/service.ts";
import { Triggers } from "./triggers/service.ts";

export type { PlatformLimits } from "./limits.ts";

export interface PlatformOptions {
  /**
   * Where the journal and the bundles live. Absent: a temporary folder that is removed at the end. `false`: nowhere, with a journal of one's
   * own and a cluster whose pods need no files.
   */
  dataDirectory?: string | false;
  /** `false` starts no HTTP server. */
  gateway?: false | Partial<GatewayOptions>;
  /** Deployed before the platform says that it is ready. A promise lets bundling go on while the platform starts. */
  applications?: Promise<readonly Bundle[]> | readonly Bundle[];
  log?: (line: string) => void;
  /** Called when the journal can't be written any more: the process should end and be started again. Default: throws. */
  onFatal?: (error: unknown) => void;
  limits?: Partial<PlatformLimits>;
  /** Where objects are kept. Default: in files of the data directory. Credentials of S3 are taken from the environment, as by its SDK. */
  objects?: { s3?: S3Options };
  /**
   * Whether faults may be provoked, from this machine. One of them kills this process, or lets `restart` do so and begin it anew. Default: no.
   */
  drills?: boolean | { restart(): void };
  /** For tests and other set-ups. */
  adapters?: { clock?: Clock; journal?: Journal; cluster?: Cluster; bytes?: Bytes };
}

export interface Platform {
  readonly controlPlane: ControlPlane;
  /** Where HTTP is served; `undefined` without a gateway. */
  readonly url: string | undefined;
  /** Empty when there is none. */
  readonly dataDirectory: string;
  /** Runs the auditor (P3) at once. */
  audit(): { checked: number; repaired: number };
  stop(): Promise<void>;
}

const HEARTBEAT_MS = 250;
const POD_START_TIMEOUT_MS = 10_000;
const INSPECT_TIMEOUT_MS = 10_000;
const MEMORY_HEADROOM_MB = 192;
/** How long a PUT waits for a store that publishes later, such as S3. */
const PUBLISH_MS = 30_000;
/** Pods that start at the same time although no call waits for them. */
const MOST_STARTING = 4;
/** Who starts a platform with applications will call them: pods for a coordinator and two functions start beside the platform's own start. */
const FIRST_RUN_PODS = 3;
const FIRST_RUN_MS = 1_000;
/** Another pod is added when a call has waited for so long although its function has pods. */
const PATIENCE_MS = 100;

/**
 * Starts a platform in this process. When a step fails, what was started before it is stopped again.
 * @throws {LockstepError} DATA_DIRECTORY_IN_USE, DATA_DIRECTORY_NEWER, JOURNAL_UNAVAILABLE, and what deploying `applications` throws
 */
export const startPlatform = async (options: PlatformOptions = {}): Promise<Platform> => {
  const limits: PlatformLimits = { ...DEFAULT_LIMITS, ...options.limits };
  const clock = options.adapters?.clock ?? systemClock;
  const startedAt = clock.now();
  // A bundle may fail while the platform still starts; it is reported where it is awaited.
  const applications = Promise.resolve(options.applications ?? []);
  applications.catch(() => undefined);
  // The first to be started is the last to be stopped.
  const stops: (() => unknown)[] = [];
  const stop = async (): Promise<void> => {
    for (let end = stops.pop(); end !== undefined; end = stops.pop()) await end();
  };
  try {
    const dataDirectory = openDataDirectory(options.dataDirectory, stops);
    const journal = options.adapters?.journal ?? (await openSqliteJournal(dataDirectory, { inlineLimit: limits.inlinePayloadBytes }));
    stops.push(() => journal.close());
    const areDrillsAllowed = options.drills !== undefined && options.drills !== false;
    const ownCluster = () => localCluster(limits, clock, dataDirectory, areDrillsAllowed, (line) => options.log?.(`warning: ${line}`));
    const cluster = options.adapters?.cluster ?? ownCluster();
    const readiness = { reason: "the platform is starting" as string | undefined };
    const fatal = (error: unknown): void => {
      readiness.reason = "the journal can't be written";
      options.log?.(`fatal: ${describe(error)}`);
      if (options.onFatal === undefined) throw error;
      options.onFatal(error);
    };
    const report = (error: unknown): void => options.log?.(`defect: ${describe(error)}`);
    const warn = (line: string): void => options.log?.(`warning: ${line}`);
    const bytes = options.adapters?.bytes ?? bytesIn(dataDirectory, journal.epoch);
    const s3 = options.objects?.s3;
    const storeOf = s3 === undefined ? (of: StoreParts) => new JournaledObjects(bytes, of) : await storeInS3(s3, clock);
    const pulse = dataDirectory === "" ? undefined : filePulse(join(dataDirectory, "pulse"));
    stops.push(() => pulse?.close());
    const restart = typeof options.drills === "object" ? options.drills.restart : undefined;
    const drills = { allowed: areDrillsAllowed, ownProcess: options.gateway !== false, restart };
    const parts = connect({ limits, clock, journal, cluster, storeOf, dataDirectory, readiness, pulse, drills, fatal, report, warn });
    const recovered = await start(parts, limits, clock, stops);
    if (options.applications !== undefined) parts.fleet.expectDemand(FIRST_RUN_PODS, FIRST_RUN_MS);
    // A pod loads them while this process loads the HTTP server.
    const deploying = deployAll(parts, applications);
    deploying.catch(() => undefined);
    const url = options.gateway === false ? undefined : await openGateway(parts.controlPlane, options.gateway ?? {}, limits, stops);
    await deploying;
    readiness.reason = undefined;
    stops.push(() => {
      readiness.reason = "the platform is stopping";
    });
    parts.turn.event({ type: "platform.started", epoch: journal.epoch, recovered, recoveryMs: clock.now() - startedAt });
    return { controlPlane: parts.controlPlane, url, dataDirectory, audit: () => parts.runs.audit(), stop };
  } catch (error) {
    await stop();
    throw error;
  }
};

const deployAll = async ({ applications, turn }: Parts, bundles: Promise<readonly Bundle[]>): Promise<void> => {
  for (const bundle of await bundles) turn.event(deployedEvent(await applications.deploy(bundle)));
};

const describe = (error: unknown): string => (error instanceof Error ? (error.stack ?? error.message) : String(error));

interface Choices {
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

type Connected = Parts & { controlPlane: ControlPlane; monitor: Monitor; cluster: ClusterService; comparisons: Comparisons };

/** Makes the parts and tells each of those that it works with. Nothing runs yet. */
const connect = (choices: Choices): Connected => {
  const { limits, clock, journal, cluster, storeOf, dataDirectory, readiness, fatal, report, warn } = choices;
  const events = new EventBus(journal, report);
  const turn = new Turn(journal, clock, events.publish, fatal);
  const counts = { podsStarted: 0, podsLost: 0, auditRepairs: 0 };
  const observer = fleetObserver(turn, counts, () => admin);
  const fleet = new Fleet(cluster, clock, fleetOptions(limits), observer);
  const registry = new Registry();
  const applications = new Applications(journal, registry, fleet, clock, {
    directory: dataDirectory === "" ? undefined : join(dataDirectory, "applications"),
    memoryMb: limits.podMemoryMb,
    inspectTimeoutMs: INSPECT_TIMEOUT_MS,
    trust: ["one", "compare", "quorum"],
    check: (version) => replicas.check(version),
    deployed: (application) => replicas.deployed(application),
  });
  const state = new StateService({
    rows: journal.state,
    turn,
    clock,
    maxValueBytes: limits.maxPayloadBytes,
    ttlMs: (space, table) => registry.tables(space).find(({ name }) => name === table)?.ttlMs,
    failed: fatal,
  });
  const rowParts = { rows: journal.state, turn, now: () => clock.now(), nextVersion: () => state.nextVersion() };
  const buckets = new BucketRegister({
    ...rowParts,
    isDeclared: (bucket) => registry.ownerOfBucket(bucket) !== undefined,
    declared: () => registry.buckets(),
  });
  const objects: ObjectService = new ObjectService(
    {
      store: storeOf({ ...rowParts, report }, () => buckets.list()),
      buckets,
      clock,
      admit: (place) => triggers.startsByPut(place) && runs.admit(),
      report,
    },
    {
      maxObjectBytes: limits.maxObjectBytes,
      stallMs: limits.objectStallMs,
      bodyMs: limits.objectBodyMs,
      publishMs: PUBLISH_MS,
    },
  );
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
  const { slotsPerPod, maxPodsPerFunction, podMemoryMb: defaultMemoryMb } = limits;
  const services = new ClusterService({
    registry,
    fleet,
    cluster,
    epoch: journal.epoch,
    clock,
    turn,
    rows: journal.state,
    nextVersion: () => state.nextVersion(),
    defaults: limits,
    mostStarting: MOST_STARTING,
  });
  const replicas: ReplicaSets = new ReplicaSets(
    {
      fleet,
      clock,
      turn,
      rows: journal.state,
      nextVersion: () => state.nextVersion(),
      home: applications.homeOf,
      currentOf: (fn) => registry.homeOfFunction(fn)?.version,
      pending: (fn, version) => runs.attempts.pendingOf(fn, version),
      admin: {
        replicaFault: (fault) => admin.replicaFault(fault),
        replicaRepaired: (set, replica, did) => admin.replicaRepaired(set, replica, did),
      },
    },
    {
      directory: dataDirectory,
      epoch: journal.epoch,
      defaultMemoryMb,
      defaultTimeoutMs: limits.callTimeoutMs,
      idleMs: limits.podIdleMs,
      recoveryEveryMs: limits.replicaRecoveryMs,
      maxLogBytes: limits.maxLogBytesPerCall,
    },
  );
  const comparisons = new Comparisons({ fleet, clock, lied: (lie) => admin.podLied(lie) }, limits.podIdleMs);
  const scheduling = { slotsPerPod, maxPodsPerFunction, defaultMemoryMb, patienceMs: PATIENCE_MS };
  const scheduler = new Scheduler(
    fleet,
    clock,
    scheduling,
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
    registry,
    runs,
    turn,
    rows: journal.state,
    clock,
    nextVersion: () => state.nextVersion(),
    secretOf: (name) => process.env[name],
    maxPayloadBytes: limits.maxPayloadBytes,
    warn,
  });
  const rehearsing = { memoryMb: limits.podMemoryMb, loadTimeoutMs: INSPECT_TIMEOUT_MS, replayTimeoutMs: limits.coordinatorTurnMs };
  const rehearsals = new Rehearsals({ journal, clock, fleet, applications, durable: () => turn.durable() }, rehearsing);
  const admin: Admin = new Admin({
    turn,
    rows: journal.state,
    clock,
    epoch: journal.epoch,
    nextVersion: () => state.nextVersion(),
    pulse: choices.pulse,
    watchSends: (listener) => {
      fleet.onSend = listener;
    },
  });
  const drills = new Drills({
    clock,
    allowed: choices.drills.allowed,
    pods: () => fleet.pods.values(),
    harm: (pod, harm) => fleet.harm(pod, harm),
    replica: (kind, fn) => replicas.provoke(kind, fn, (pod) => fleet.harm(pod.id, "kill")),
    position: () => events.position,
    killControlPlane: choices.drills.ownProcess ? () => process.kill(process.pid, "SIGKILL") : undefined,
    restartControlPlane: choices.drills.restart,
  });
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

/** Brings the parts to life in order: what was deployed, pods, then the runs that were under way. Returns how many those are. */
const start = async (parts: Connected, limits: PlatformLimits, clock: Clock, stops: (() => unknown)[]): Promise<number> => {
  const {
    journal,
    applications,
    fleet,
    scheduler,
    runs,
    monitor,
    turn,
    events,
    state,
    objects,
    triggers,
    counts,
    admin,
    drills,
    cluster,
    replicas,
    comparisons,
  } = parts;
  await applications.recover();
  await state.start();
  await cluster.load();
  await replicas.load();
  stops.push(() => objects.stop());
  await objects.start();
  await triggers.load();
  stops.push(() => fleet.stop());
  await fleet.start();
  scheduler.start();
  cluster.start();
  // Once the last records are on disk nothing else is recorded: the ends of the pods that follow mean nothing.
  stops.push(() => turn.close());
  stops.push(() => admin.stop());
  await admin.load();
  stops.push(async () => {
    cluster.stop();
    await scheduler.drain(limits.drainMs);
    replicas.stop();
    comparisons.stop();
    scheduler.stop();
    runs.stop();
    monitor.stop();
    state.stop();
  });
  const recovered = await runs.recover();
  replicas.recovered();
  admin.recovered(recovered);
  stops.push(() => drills.stop());
  triggers.start();
  stops.push(() => triggers.stop());
  stops.push(startHousekeeping({ journal, clock, turn, runs, limits, counts, position: () => events.position, failed: runs.readFailed }));
  return recovered;
};

const openDataDirectory = (given: string | false | undefined, stops: (() => unknown)[]): string => {
  if (given === false) return "";
  if (given !== undefined) {
    mkdirSync(given, { recursive: true, mode: 0o700 });
    return given;
  }
  const temporary = mkdtempSync(join(tmpdir(), "lockstep-data-"));
  stops.push(() => rmSync(temporary, { recursive: true, force: true }));
  return temporary;
};

// Loaded only when asked for: a command that runs on a private platform starts a third faster without the HTTP server.
const openGateway = async (
  controlPlane: ControlPlane,
  options: Partial<GatewayOptions>,
  limits: PlatformLimits,
  stops: (() => unknown)[],
): Promise<string> => {
  const { createGateway } = await import("./gateway/gateway.ts");
  const gateway = await createGateway(controlPlane, { bodyLimitBytes: limits.maxPayloadBytes + 64 * 1024, ...options });
  stops.push(() => gateway.close());
  return gateway.url;
};

/** Where the embedded store keeps bytes. */
const bytesIn = (dataDirectory: string, epoch: number): Bytes =>
  dataDirectory === "" ? new MemoryBytes() : new FileBytes(join(dataDirectory, "objects"), epoch);

// Loaded only when asked for: the SDK is large, and need not be installed.
const storeInS3 = async (options: S3Options, clock: Clock): Promise<Choices["storeOf"]> => {
  const [{ openS3 }, { S3Objects }] = await Promise.all([import("./objects/s3-client.ts"), import("./objects/s3.ts")]);
  const client = await openS3(options);
  return (parts, buckets) => new S3Objects(client, parts, clock, buckets);
};

const localCluster = (
  limits: PlatformLimits,
  clock: Clock,
  dataDirectory: string,
  drills: boolean,
  warn: (line: string) => void,
): Cluster =>
  new LocalCluster(
    {
      drills,
      program: fileURLToPath(new URL("./pod/main.js", import.meta.url)),
      heartbeatMs: HEARTBEAT_MS,
      maxPayloadBytes: limits.maxPayloadBytes,
      maxLogBytes: limits.maxLogBytesPerCall,
      startTimeoutMs: POD_START_TIMEOUT_MS,
      ...(dataDirectory === "" ? {} : { records: join(dataDirectory, "pods") }),
      foundStrays: (pods) => warn(`ended ${pods.length} pods that an earlier life of the control plane had left: ${pods.join(", ")}`),
    },
    clock,
  );

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
