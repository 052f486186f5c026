import type { ScaleOptions } from "./application.ts";

/** A pod as it is shown. */
export interface PodView {
  id: string;
  /** The function it executes, `coordinator` for coordinators' code, or `warm` for a generic one. */
  role: string;
  application?: string;
  version?: string;
  pid: number;
  state: "starting" | "ready" | "draining";
  inFlight: number;
  slots: number;
  startedAt: number;
  coldStartMs?: number;
}

/**
 * What a service should be: a stable name in front of the ready pods of one function. Every function has one by default, under its own name
 * and as its definition says; a spec of one's own takes its place, or is for one version beside it.
 */
export interface ServiceSpec {
  name: string;
  function: string;
  /** Only pods of this version. Default: all versions; those that are not current get pods when they have calls. */
  version?: string;
  /** Always so many pods of the current version. Excludes `scale`. */
  replicas?: number;
  /** How the number of pods follows the load. Fields left out are those of the function's definition. */
  scale?: ScaleOptions;
  /** Heap of each pod, in MiB. Default: the function's. */
  memoryMb?: number;
  /** Calls that one pod executes at the same time. Default: the platform's. */
  concurrency?: number;
  /** What the function's code finds in its environment besides what all pods have. Kept and shown as it is: no place for secrets. */
  environment?: Record<string, string>;
}

export type ConditionType = "Ready" | "Progressing" | "CrashLoop" | "InsufficientMemory" | "InsufficientPods";

/** Something that holds of a service now. */
export interface Condition {
  type: ConditionType;
  /** For people. */
  reason: string;
  /** Since when: Unix ms. */
  since: number;
}

/** What a policy expected when it decided; 0 for what it doesn't estimate. */
export interface ScaleForecast {
  arrivalsPerS: number;
  serviceMs: number;
  delayMs: number;
  responseMs: number;
}

/** One version behind a service. */
export interface ServiceVersionView {
  version: string;
  current: boolean;
  /** Pods that there should be, and those that are: draining ones count as neither. */
  desired: number;
  starting: number;
  ready: number;
  draining: number;
  /** Why so many are desired. */
  reason: string;
  conditions: Condition[];
}

/** A service as it is shown. */
export interface ServiceView {
  /** With all that follows from the function's definition and the platform's limits. */
  spec: ServiceSpec;
  application: string;
  /** It follows from the function's definition alone. */
  default: boolean;
  /** Grows with each change of the spec; 0 for a default one. */
  resourceVersion: number;
  /** The current version first. */
  versions: ServiceVersionView[];
}

export interface ClusterPodView extends PodView {
  /** The service that it stands behind; absent for coordinators' pods and warm ones. */
  service?: string;
  /** It takes calls. */
  ready: boolean;
  memoryMb: number;
  labels: Record<string, string>;
  resourceVersion: number;
}

/**
 * A change of something that is watched. `reset` begins what is told to a watcher of whom nothing is known: it forgets what it has seen before,
 * and all that there is follows as `added`. `deleted` has it as it was last. Who comes back is told of the last change of each thing only, so that
 * `added` and `modified` both mean: it is so now.
 */
export type Change<Field extends string, Item> = { position: number } & (
  | { type: "reset" }
  | ({ type: "added" | "modified" | "deleted" } & { [F in Field]: Item })
);

/** Not of calls: `inFlight` is as it is at the change. */
export type PodWatchEvent = Change<"pod", ClusterPodView>;
export type ServiceWatchEvent = Change<"service", ServiceView>;

/** Changes that can be followed, and taken up again behind any position. */
export interface ChangeFeed<T> {
  /** What to tell whoever knows all up to a position; from 0, `reset` and all that there is. */
  events(after: number): Promise<T[]>;
  /** Returns what ends it. */
  onEvents(listener: (changes: readonly T[]) => void): () => void;
  /** Of the last change. Whoever claims to know more, of another data directory perhaps, begins from 0. */
  position(): number;
}

/** Pods and services as the edges use them. */
export interface ClusterPlane {
  readonly podChanges: ChangeFeed<PodWatchEvent>;
  readonly serviceChanges: ChangeFeed<ServiceWatchEvent>;
  services(): ServiceView[];
  /** @throws {LockstepError} UNKNOWN_SERVICE */
  service(name: string): ServiceView;
  /** Resolves when the spec is durable. @throws {LockstepError} SERVICE_EXISTS, UNKNOWN_FUNCTION, BAD_REQUEST */
  createService(spec: ServiceSpec): Promise<ServiceView>;
  /** Creates or replaces; with `ifVersion` only if it has this resource version. @throws {LockstepError} PRECONDITION_FAILED and as above */
  putService(spec: ServiceSpec, ifVersion?: number): Promise<ServiceView>;
  /** The function has its default service again. @throws {LockstepError} UNKNOWN_SERVICE; BAD_REQUEST for a default one */
  deleteService(name: string, ifVersion?: number): Promise<void>;
  pods(): ClusterPodView[];
  /** @throws {LockstepError} UNKNOWN_POD */
  pod(id: string): ClusterPodView;
  /** One pod more for a service, within its bounds. @throws {LockstepError} UNKNOWN_SERVICE, OVERLOADED when there is no room */
  createPod(service: string): ClusterPodView;
  /** Ends a pod when it has finished what it executes, after `graceMs` at the latest. The service replaces it if it has to. */
  deletePod(id: string, graceMs?: number): void;
}
