import type { PodExit } from "../cluster/port.ts";
import type { ReplicaIndex } from "../consensus/membership.ts";
import type { FromPod } from "../protocol/pod.ts";
import type { Pod, Tenant } from "../scheduler/fleet.ts";

/** What a seat's set wants to hear of its pod. */
export interface SeatListener {
  connected(pod: Pod): void;
  message(pod: Pod, message: FromPod): void;
  gone(pod: Pod, exit: PodExit): void;
}

/** Of the version that the set executes when the seat is taken. */
export type SeatRole = Pick<Tenant, "role" | "application" | "version" | "path">;

/** A seat of a replica set as the tenant of its pod. */
export class SeatTenant implements Tenant {
  readonly role: string;
  readonly application: string;
  readonly version: string;
  readonly path: string;
  readonly memoryMb: number;
  readonly service: string;
  /** It is told by the set what to execute, once its key is in a membership. */
  readonly loads = false;
  readonly keepsIdle = true;
  /** What fails of it is told as a fault of its set. */
  readonly isReplica = true;
  readonly index: ReplicaIndex;
  /** What of its beginning its pod has told: each of it counts once. */
  readonly told = new Set<"running" | "transferred">();
  /** When its pod was told to begin. */
  toldAt: number | undefined;
  pod: Pod | undefined;
  readonly #listener: SeatListener;

  constructor({ role, application, version, path }: SeatRole, index: ReplicaIndex, memoryMb: number, listener: SeatListener) {
    this.role = role;
    this.application = application;
    this.version = version;
    this.path = path;
    this.service = role;
    this.memoryMb = memoryMb;
    this.index = index;
    this.#listener = listener;
  }

  reserves(): boolean {
    return true;
  }

  connected(pod: Pod): void {
    this.pod = pod;
    this.#listener.connected(pod);
  }

  message(pod: Pod, message: FromPod): void {
    this.#listener.message(pod, message);
  }

  beat(): void {}

  gone(pod: Pod, exit: PodExit): void {
    this.pod = undefined;
    this.#listener.gone(pod, exit);
  }
}
