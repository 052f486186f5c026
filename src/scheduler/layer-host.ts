import type { PodExit } from "../cluster/port.ts";
import type { FunctionSpec } from "../protocol/application.ts";
import type { Beat, FromPod } from "../protocol/pod.ts";
import type { Entry, Layer } from "../queue/machine.ts";
import type { CertifiedAnswer } from "./attempt.ts";
import type { PodSet, PodSource, PodTemplate } from "./placement.ts";
import type { Pod, Tenant } from "./pod.ts";

/** What the scheduler must know of a function's version. */
export interface FunctionHome {
  application: string;
  path: string;
  spec: FunctionSpec;
}

/** The scheduler, as its layers' pods speak to it. */
export interface HostOwner {
  /** Whether somebody else decides how many pods there are. */
  readonly isPlaced: boolean;
  add(host: LayerHost, isUrgent: boolean): Pod | undefined;
  drainPod(host: LayerHost, pod: Pod): void;
  connected(host: LayerHost, pod: Pod): void;
  message(host: LayerHost, pod: Pod, message: FromPod): void;
  certified(host: LayerHost, pod: Pod, answer: CertifiedAnswer): void;
  beat(pod: Pod, beat: Beat & { t: "beat" }): void;
  gone(host: LayerHost, pod: Pod, exit: PodExit): void;
  held(pod: Pod): string[];
}

/** A pod whose event loop has stood still for so long may do so for ever. */
export const BLOCKED_MS = 250;

/** A layer as the tenant of its pods. */
export class LayerHost implements Tenant, PodSet {
  readonly source: PodSource;
  /** Several pods execute each of its calls, as many as it takes whatever the load. */
  readonly isReplicated: boolean;
  /** They agree on how long an execution may take. */
  readonly isCertified: boolean;
  readonly role: string;
  readonly application: string;
  readonly version: string;
  readonly path: string;
  readonly heartbeatMs: number | undefined;
  readonly layer: Layer;
  template: PodTemplate;
  reserved = 0;
  isKept = false;
  crashes = 0;
  readonly pods = new Map<string, Pod>();
  /** Pods that execute a suspect call alone. */
  readonly solo = new Set<Pod>();
  /** No pod is asked for before this time. */
  retryAt = 0;
  failures = 0;
  readonly #scheduler: HostOwner;

  constructor(layer: Layer, home: FunctionHome, template: PodTemplate, scheduler: HostOwner, source: PodSource, isReplicated: boolean) {
    this.source = source;
    this.isReplicated = isReplicated;
    this.isCertified = isReplicated && home.spec.trust === "quorum";
    this.layer = layer;
    this.role = layer.fn;
    this.application = home.application;
    this.version = layer.version;
    this.path = home.path;
    this.template = template;
    this.heartbeatMs = home.spec.heartbeatMs;
    this.#scheduler = scheduler;
  }

  get memoryMb(): number {
    return this.template.memoryMb;
  }

  get environment(): PodTemplate["environment"] {
    return this.template.environment;
  }

  get service(): string {
    return this.template.service;
  }

  get keepsIdle(): boolean {
    return this.#scheduler.isPlaced;
  }

  /** The pod that should take this call: of those with a free slot, the one that does the least. */
  freePod(entry: Entry): Pod | undefined {
    let best: Pod | undefined;
    for (const pod of this.pods.values()) {
      const slots = entry.solo ? 1 : this.template.slots;
      if (pod.state !== "ready" || pod.inFlight + pod.zombies >= slots || this.solo.has(pod)) continue;
      // A pod whose event loop stands still would let the call wait although another pod could start it.
      if (pod.blockedMs > BLOCKED_MS && this.pods.size > 1) continue;
      if (best === undefined || pod.inFlight < best.inFlight) best = pod;
    }
    return best;
  }

  reserves(pod: Pod): boolean {
    let staying = 0;
    for (const each of this.pods.values()) if (each.state !== "draining") staying++;
    return pod.state !== "draining" && staying <= this.reserved;
  }

  add(isUrgent: boolean): Pod | undefined {
    return this.#scheduler.add(this, isUrgent);
  }

  drain(pod: Pod): void {
    this.#scheduler.drainPod(this, pod);
  }

  connected(pod: Pod): void {
    this.#scheduler.connected(this, pod);
  }

  message(pod: Pod, message: FromPod): void {
    this.#scheduler.message(this, pod, message);
  }

  certified(pod: Pod, answer: CertifiedAnswer): void {
    this.#scheduler.certified(this, pod, answer);
  }

  beat(pod: Pod, beat: Beat & { t: "beat" }): void {
    this.#scheduler.beat(pod, beat);
  }

  gone(pod: Pod, exit: PodExit): void {
    this.#scheduler.gone(this, pod, exit);
  }

  held(pod: Pod): string[] {
    return this.#scheduler.held(pod);
  }
}
