import type { PodExit } from "../cluster/port.ts";
import type { Beat, FromPod } from "../protocol/pod.ts";
import type { Pod, Tenant } from "../scheduler/fleet.ts";

/** What becomes of a compared pod. */
export interface ComparedPodListener {
  connected(pod: Pod): void;
  message(pod: Pod, message: FromPod): void;
  beat(pod: Pod, beat: Beat & { t: "beat" }): void;
  gone(pod: Pod, exit: PodExit): void;
  held(): string[];
}

const BLOCKED_MS = 250;

/** One of the pods whose outcomes are compared, as its tenant. */
export class ComparedPod implements Tenant {
  readonly role: string;
  readonly application: string;
  readonly version: string;
  readonly path: string;
  readonly memoryMb: number;
  readonly service: string;
  /** It goes with the others. */
  readonly keepsIdle = true;
  pod: Pod | undefined;
  hasAnswered = false;
  /** Leases of the calls that it executes. */
  readonly executing = new Set<number>();
  /** Those that were given up and have not ended. */
  readonly late = new Set<number>();
  readonly #listener: ComparedPodListener;

  constructor({ role, application, version, path }: Tenant, memoryMb: number, listener: ComparedPodListener) {
    this.role = role;
    this.application = application;
    this.version = version;
    this.path = path;
    this.service = role;
    this.memoryMb = memoryMb;
    this.#listener = listener;
  }

  /** Its event loop stands still and a call is overdue: only the end of the process stops such a loop. */
  isStuck(blockedMs: number): boolean {
    return this.late.size > 0 && blockedMs > BLOCKED_MS;
  }

  connected(pod: Pod): void {
    this.#listener.connected(pod);
  }

  message(pod: Pod, message: FromPod): void {
    this.#listener.message(pod, message);
  }

  beat(pod: Pod, beat: Beat & { t: "beat" }): void {
    this.#listener.beat(pod, beat);
  }

  gone(pod: Pod, exit: PodExit): void {
    this.#listener.gone(pod, exit);
  }

  held(_pod: Pod): string[] {
    return this.#listener.held();
  }
}
