/**
 * The platform: picks the technologies behind the ports, and owns the order in which the parts start and stop. Who works with whom is said in
 * wiring.ts.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { filePulse } from "./admin/pulse.ts";
import { LocalCluster } from "./cluster/local.ts";
import type { Cluster } from "./cluster/port.ts";
import { deployedEvent, type Parts } from "./control-plane.ts";
import { startHousekeeping } from "./coordinator/housekeeping.ts";
import type { GatewayOptions } from "./gateway/options.ts";
import type { Journal } from "./journal/port.ts";
import { openSqliteJournal } from "./journal/sqlite.ts";
import { type Clock, systemClock } from "./lib/clock.ts";
import { DEFAULT_LIMITS, type PlatformLimits } from "./limits.ts";
import type { Bytes } from "./objects/bytes.ts";
import { FileBytes } from "./objects/filesystem.ts";
import { JournaledObjects, type StoreParts } from "./objects/journaled.ts";
import { MemoryBytes } from "./objects/memory.ts";
import type { S3Options } from "./objects/s3-client.ts";
import type { Bundle } from "./protocol/application.ts";
import type { ControlPlane } from "./protocol/control-plane.ts";
import { type Choices, type Connected, connect } from "./wiring.ts";

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
/** Who starts a platform with applications will call them: pods for a coordinator and two functions start beside the platform's own start. */
const FIRST_RUN_PODS = 3;
const FIRST_RUN_MS = 1_000;

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
    const choices = await choose(options, limits, clock, stops);
    const { journal, dataDirectory, readiness } = choices;
    const parts = connect(choices);
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

/** Picks the technologies, and opens what is kept open by them: `stops` closes it. */
const choose = async (options: PlatformOptions, limits: PlatformLimits, clock: Clock, stops: (() => unknown)[]): Promise<Choices> => {
  const readiness: Choices["readiness"] = { reason: "the platform is starting" };
  const report = (error: unknown): void => options.log?.(`defect: ${describe(error)}`);
  const warn = (line: string): void => options.log?.(`warning: ${line}`);
  const fatal = (error: unknown): void => {
    readiness.reason = "the journal can't be written";
    options.log?.(`fatal: ${describe(error)}`);
    if (options.onFatal === undefined) throw error;
    options.onFatal(error);
  };
  const dataDirectory = openDataDirectory(options.dataDirectory, stops);
  const journal = options.adapters?.journal ?? (await openSqliteJournal(dataDirectory, { inlineLimit: limits.inlinePayloadBytes }));
  stops.push(() => journal.close());
  const areDrillsAllowed = options.drills !== undefined && options.drills !== false;
  const cluster = options.adapters?.cluster ?? localCluster(limits, clock, dataDirectory, areDrillsAllowed, warn);
  const bytes = options.adapters?.bytes ?? bytesIn(dataDirectory, journal.epoch);
  const s3 = options.objects?.s3;
  const storeOf = s3 === undefined ? (of: StoreParts) => new JournaledObjects(bytes, of) : await storeInS3(s3, clock);
  const pulse = dataDirectory === "" ? undefined : filePulse(join(dataDirectory, "pulse"));
  stops.push(() => pulse?.close());
  const restart = typeof options.drills === "object" ? options.drills.restart : undefined;
  const drills = { allowed: areDrillsAllowed, ownProcess: options.gateway !== false, restart };
  return { limits, clock, journal, cluster, storeOf, dataDirectory, readiness, pulse, drills, fatal, report, warn };
};

const deployAll = async ({ applications, turn }: Parts, bundles: Promise<readonly Bundle[]>): Promise<void> => {
  for (const bundle of await bundles) turn.event(deployedEvent(await applications.deploy(bundle)));
};

const describe = (error: unknown): string => (error instanceof Error ? (error.stack ?? error.message) : String(error));

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
