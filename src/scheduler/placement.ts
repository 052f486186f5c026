import type { PodExit } from "../cluster/port.ts";
import type { Failure } from "../lib/errors.ts";
import type { ToPod } from "../protocol/pod.ts";
import type { Layer } from "../queue/machine.ts";
import type { Pod, Tenant } from "./pod.ts";

/**
 * Who gives the pods that execute a function's calls: the fleet; or, for functions whose calls several pods execute, those who have them
 * agree: replica sets, and compared pods. Each of these looks like one pod and answers like one.
 */
export interface PodSource {
  acquire(tenant: Tenant, isUrgent?: boolean): Pod | undefined;
  send(pod: Pod, message: ToPod): void;
  end(pod: Pod, graceMs: number, reason?: PodExit["reason"]): void;
  idle(pod: Pod): void;
  loaded(pod: Pod): void;
}

/** How the pods of a function's version are made. */
export interface PodTemplate {
  /** Calls that one of them executes at the same time. */
  readonly slots: number;
  readonly memoryMb: number;
  readonly environment?: Readonly<Record<string, string>> | undefined;
  /** The service that they stand behind. */
  readonly service: string;
}

/** The pods of one function's version, as those who decide about them see them. */
export interface PodSet {
  readonly layer: Layer;
  readonly pods: ReadonlyMap<string, Pod>;
  /** Those that execute a suspect call alone. */
  readonly solo: ReadonlySet<Pod>;
  template: PodTemplate;
  /** So many of them are not to be ended for others' sake. */
  reserved: number;
  /** It stays also while there is no pod and no call. */
  isKept: boolean;
  /** Pods in a row that ended before they had answered: while it isn't 0, `served` is told of answers. */
  crashes: number;
  /** One pod more; `undefined` when there is no room. For an urgent one others' idle pods are ended. */
  add(isUrgent: boolean): Pod | undefined;
  /** Lets a pod finish what it executes and end. */
  drain(pod: Pod): void;
}

/** Who decides how many pods each function's version has, in place of the scheduler's own rule. */
export interface Placement {
  template(fn: string, version: string): PodTemplate;
  /** A call waits that no pod which is there or starts would take. */
  activate(set: PodSet, now: number): void;
  /** This pod has answered after some had crashed. */
  served(set: PodSet, pod: Pod): void;
  /** A pod has refused the bundle, and will be gone. */
  refused(set: PodSet, failure: Failure, now: number): void;
  gone(set: PodSet, pod: Pod, exit: PodExit, now: number): void;
}
