import type { PodExit } from "../cluster/port.ts";
import type { Beat, FromPod } from "../protocol/pod.ts";

/** Who a pod works for: a layer, the coordinators of a version, or the inspection of a bundle. */
export interface Tenant {
  readonly role: string;
  readonly application: string;
  readonly version: string;
  readonly memoryMb: number;
  /** What its pods find in their environment; a tenant that has one gets no warm pods. */
  readonly environment?: Readonly<Record<string, string>> | undefined;
  /** The service that its pods stand behind. */
  readonly service?: string | undefined;
  /** Its pods stay, however long they have nothing to do, until it drains them. */
  readonly keepsIdle?: boolean;
  /** It should not lose this pod although the pod has nothing to do. */
  reserves?(pod: Pod): boolean;
  /** Its pods are replicas of a set. */
  readonly isReplica?: boolean;
  /** `false`: it tells its pods itself what to execute. */
  readonly loads?: boolean;
  /** Where the pod finds the bundle. */
  readonly path: string;
  connected(pod: Pod): void;
  message(pod: Pod, message: FromPod): void;
  beat(pod: Pod, beat: Beat & { t: "beat" }): void;
  gone(pod: Pod, exit: PodExit): void;
  /** What it has in the pod and would lose with it: `run/seq` of calls, ids of runs. */
  held?(pod: Pod): string[];
}

export interface Pod {
  readonly id: string;
  readonly memoryMb: number;
  readonly startedAt: number;
  tenant: Tenant | undefined;
  state: "starting" | "ready" | "draining";
  pid: number;
  /** What it works on now, as its tenant counts it. */
  inFlight: number;
  /** Attempts that the control plane gave up and the pod has not ended yet. */
  zombies: number;
  /** Calls that it has answered. */
  answered: number;
  idleSince: number;
  blockedMs: number;
  /** The last sign of its life. */
  lastBeat: number;
  /** Its silence proves nothing before this time. */
  sparedUntil: number;
  /** It was spared for a pause of our own, and has not beaten since. */
  isSpared: boolean;
  /** User code may run in it, and the thread that beats from then on has not beaten yet. */
  awaitsThread: boolean;
  takenAt: number;
  coldStartMs: number | undefined;
  /** Bundles that it has compiled while nobody's: as many as it keeps. */
  preloaded?: string[];
}

export const newPod = (id: string, memoryMb: number, now: number): Pod => ({
  id,
  memoryMb,
  startedAt: now,
  tenant: undefined,
  state: "starting",
  pid: 0,
  inFlight: 0,
  zombies: 0,
  answered: 0,
  idleSince: now,
  blockedMs: 0,
  lastBeat: now,
  sparedUntil: 0,
  isSpared: false,
  awaitsThread: false,
  takenAt: now,
  coldStartMs: undefined,
});
