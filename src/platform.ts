/**
 * The only wiring: picks the adapters, connects the parts, and owns the order in which they start and stop.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Registry } from "./application/registry.ts";
import { Applications } from "./application/service.ts";
import { LocalCluster } from "./cluster/local.ts";
import type { Cluster } from "./cluster/port.ts";
import { createControlPlane } from "./control-plane.ts";
import { CoordinatorHosts } from "./coordinator/hosts.ts";
import { startHousekeeping } from "./coordinator/housekeeping.ts";
import { RunService } from "./coordinator/service.ts";
import { Turn } from "./coordinator/turn.ts";
import { EventBus } from "./events/service.ts";
import type { ExpressionLimits } from "./expression/limits.ts";
import type { GatewayOptions } from "./gateway/options.ts";
import type { Journal } from "./journal/port.ts";
import { openSqliteJournal } from "./journal/sqlite.ts";
import { type Clock, systemClock } from "./lib/clock.ts";
import type { ControlPlane } from "./protocol/control-plane.ts";
import { Fleet } from "./scheduler/fleet.ts";
import { Scheduler } from "./scheduler/service.ts";

export interface PlatformOptions {
  /** Where the journal and the bundles live. Absent: a temporary folder that is removed at the end. */
  dataDirectory?: string;
  /** `false` starts no HTTP server. */
  gateway?: false | Partial<GatewayOptions>;
  log?: (line: string) => void;
  /** Called when the journal can't be written any more: the process should end and be started again. Default: throws. */
  onFatal?: (error: unknown) => void;
  limits?: Partial<PlatformLimits>;
  /** For tests and other set-ups. */
  adapters?: { clock?: Clock; journal?: Journal; cluster?: Cluster };
}

export interface PlatformLimits {
  /** Attempts of functions that set no `timeoutMs`. */
  callTimeoutMs: number;
  maxLiveRuns: number;
  maxWaitingCalls: number;
  maxPayloadBytes: number;
  /** Payloads above it are stored beside their records. */
  inlinePayloadBytes: number;
  maxLogBytesPerCall: number;
  evictAfterMs: number;
  warmPods: number;
  maxPods: number;
  maxPodsPerFunction: number;
  slotsPerPod: number;
  coordinatorPods: number;
  podMemoryMb: number;
  podIdleMs: number;
  hangMs: number;
  coordinatorTurnMs: number;
  /** Finished runs are removed after this time, and beyond this number. */
  retainMs: number;
  retainRuns: number;
  retainEvents: number;
  expression: Partial<ExpressionLimits>;
}

export const DEFAULT_LIMITS: PlatformLimits = {
  callTimeoutMs: 60_000,
  maxLiveRuns: 50_000,
  maxWaitingCalls: 200_000,
  maxPayloadBytes: 4 * 1024 * 1024,
  inlinePayloadBytes: 32 * 1024,
  maxLogBytesPerCall: 64 * 1024,
  evictAfterMs: 10_000,
  warmPods: 1,
  maxPods: 64,
  maxPodsPerFunction: Math.min(8, Math.max(2, availableParallelism())),
  slotsPerPod: 64,
  coordinatorPods: 1,
  podMemoryMb: 256,
  podIdleMs: 60_000,
  hangMs: 1_000,
  coordinatorTurnMs: 10_000,
  retainMs: 7 * 24 * 3_600_000,
  retainRuns: 1_000_000,
  retainEvents: 1_000_000,
  expression: {},
};

export interface Platform {
  readonly controlPlane: ControlPlane;
  /** Where HTTP is served; `undefined` without a gateway. */
  readonly url: string | undefined;
  readonly dataDirectory: string;
  stop(): Promise<void>;
}

const HEARTBEAT_MS = 250;
const START_TIMEOUT_MS = 10_000;
const INSPECT_TIMEOUT_MS = 10_000;
const MEMORY_HEADROOM_MB = 192;

/**
 * Starts a platform in this process.
 * @throws {LockstepError} DATA_DIRECTORY_IN_USE, DATA_DIRECTORY_NEWER, JOURNAL_UNAVAILABLE
 */
export const startPlatform = async (options: PlatformOptions = {}): Promise<Platform> => {
  const limits: PlatformLimits = { ...DEFAULT_LIMITS, ...options.limits };
  const clock = options.adapters?.clock ?? systemClock;
  const temporary = options.dataDirectory === undefined;
  const dataDirectory = options.dataDirectory ?? mkdtempSync(join(tmpdir(), "lockstep-data-"));
  const startedAt = clock.now();
  let notReady: string | undefined = "the platform is starting";

  const journal = options.adapters?.journal ?? (await openSqliteJournal(dataDirectory, { inlineLimit: limits.inlinePayloadBytes }));
  const cluster = options.adapters?.cluster ?? localCluster(limits, clock);
  const events = new EventBus(journal);
  const fatal = (error: unknown): void => {
    notReady = "the journal can't be written";
    options.log?.(`fatal: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    if (options.onFatal === undefined) throw error;
    options.onFatal(error);
  };
  const turn = new Turn(journal, clock, events.publish, fatal);
  const counts = { podsStarted: 0, podsLost: 0, auditRepairs: 0 };
  const fleet = new Fleet(cluster, clock, fleetOptions(limits), fleetObserver(turn, counts));
  const registry = new Registry();
  const applications = new Applications(journal, registry, fleet, clock, {
    directory: join(dataDirectory, "applications"),
    memoryMb: limits.podMemoryMb,
    inspectTimeoutMs: INSPECT_TIMEOUT_MS,
  });
  const runs = new RunService(journal, clock, turn, registry, applications.pathOf, {
    defaultTimeoutMs: limits.callTimeoutMs,
    maxLiveRuns: limits.maxLiveRuns,
    maxWaitingCalls: limits.maxWaitingCalls,
    evictAfterMs: limits.evictAfterMs,
  });
  const scheduler = new Scheduler(
    fleet,
    clock,
    { slotsPerPod: limits.slotsPerPod, maxPodsPerFunction: limits.maxPodsPerFunction, defaultMemoryMb: limits.podMemoryMb, patienceMs: 100 },
    (fn, version) => {
      const spec = registry.spec(fn, version);
      return spec === undefined
        ? undefined
        : { spec, application: registry.version(version)?.application ?? "", path: applications.pathOf(version) };
    },
    (entry, outcome) => runs.settled(entry, outcome),
  );
  const hosts = new CoordinatorHosts(
    fleet,
    clock,
    { memoryMb: limits.podMemoryMb, podsPerVersion: limits.coordinatorPods, turnLimitMs: limits.coordinatorTurnMs },
    {
      commands: (run, commands) => runs.commands(run, commands),
      diverged: (run, failure) => runs.diverged(run, failure),
      lines: (run, lines) => runs.lines(run, lines),
      lost: (lost, exit, culprit) => runs.hostsLost(lost, exit, culprit),
      refused: (refused, failure) => runs.hostsRefused(refused, failure),
    },
  );
  runs.connect(scheduler, hosts);
  const controlPlane = createControlPlane({
    journal,
    registry,
    applications,
    runs,
    scheduler,
    fleet,
    turn,
    events,
    counts,
    slotsPerPod: limits.slotsPerPod,
    maxPayloadBytes: limits.maxPayloadBytes,
    expressionLimits: limits.expression,
    notReady: () => notReady,
  });

  await applications.recover();
  await fleet.start();
  scheduler.start();
  const recovered = await runs.recover();
  notReady = undefined;
  turn.event({ type: "platform.started", epoch: journal.epoch, recovered, recoveryMs: clock.now() - startedAt });
  const stopHousekeeping = startHousekeeping({ journal, clock, turn, runs, limits, counts, position: () => events.position });
  const gateway = options.gateway === false ? undefined : await openGateway(controlPlane, options.gateway ?? {}, limits);

  return {
    controlPlane,
    url: gateway?.url,
    dataDirectory,
    stop: async () => {
      notReady = "the platform is stopping";
      await gateway?.close();
      stopHousekeeping();
      scheduler.stop();
      runs.stop();
      await turn.close();
      await fleet.stop();
      await journal.close();
      if (temporary) rmSync(dataDirectory, { recursive: true, force: true });
    },
  };
};

// Loaded only when asked for: a command that runs on a private platform starts a third faster without the HTTP server.
const openGateway = async (controlPlane: ControlPlane, options: Partial<GatewayOptions>, limits: PlatformLimits) => {
  const { createGateway } = await import("./gateway/gateway.ts");
  return createGateway(controlPlane, { bodyLimitBytes: limits.maxPayloadBytes + 64 * 1024, ...options });
};

const localCluster = (limits: PlatformLimits, clock: Clock): Cluster =>
  new LocalCluster(
    {
      program: fileURLToPath(new URL("./pod/main.js", import.meta.url)),
      heartbeatMs: HEARTBEAT_MS,
      maxPayloadBytes: limits.maxPayloadBytes,
      maxLogBytes: limits.maxLogBytesPerCall,
      startTimeoutMs: START_TIMEOUT_MS,
    },
    clock,
  );

const fleetOptions = (limits: PlatformLimits) => ({
  warmPods: limits.warmPods,
  defaultMemoryMb: limits.podMemoryMb,
  maxPods: limits.maxPods,
  hangMs: limits.hangMs,
  idleMs: limits.podIdleMs,
  memoryHeadroomMb: MEMORY_HEADROOM_MB,
});

const fleetObserver = (turn: Turn, counts: { podsStarted: number; podsLost: number }) => ({
  started: (pod: { id: string; pid: number; tenant: { role: string } | undefined }, startMs: number): void => {
    counts.podsStarted++;
    turn.event({ type: "pod.started", pod: pod.id, function: pod.tenant?.role ?? "warm", pid: pod.pid, startMs });
  },
  stopped: (pod: { id: string; inFlight: number; tenant: { role: string } | undefined }, exit: { reason: string; detail: string }): void => {
    const role = pod.tenant?.role ?? "warm";
    if (exit.reason === "deleted") return turn.event({ type: "pod.stopped", pod: pod.id, function: role, reason: exit.detail });
    counts.podsLost++;
    turn.event({ type: "pod.lost", pod: pod.id, function: role, reason: `${exit.reason}: ${exit.detail}`, calls: pod.inFlight });
  },
});
