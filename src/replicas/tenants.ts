/**
 * Those whose calls one set executes: the layers of its function's versions, each of which takes the set for a pod of its own.
 *
 * Owns: these pods, which lease is whose, which of them nobody needs any more. Does not own: the set, layers, leases themselves.
 */
import type { PodExit } from "../cluster/port.ts";
import type { Clock } from "../lib/clock.ts";
import { newPod, type Pod, type Tenant } from "../scheduler/pod.ts";
import type { CertifiedAnswer } from "../scheduler/service.ts";
import type { SetTenant } from "./set.ts";

interface Place {
  readonly tenant: SetTenant;
  readonly pod: Pod;
  cancelIdle: () => void;
}

export type SetRole = Pick<Tenant, "role" | "application" | "version" | "path" | "memoryMb"> & { set: string };

export class SetTenants implements SetTenant {
  readonly role: string;
  readonly application: string;
  readonly version: string;
  readonly path: string;
  readonly memoryMb: number;
  readonly #set: string;
  readonly #clock: Clock;
  readonly #idleMs: number;
  readonly #places = new Map<Pod, Place>();
  readonly #leases = new Map<number, Place>();
  #isOpen = false;

  constructor({ set, role, application, version, path, memoryMb }: SetRole, clock: Clock, idleMs: number) {
    this.#set = set;
    this.role = role;
    this.application = application;
    this.version = version;
    this.path = path;
    this.memoryMb = memoryMb;
    this.#clock = clock;
    this.#idleMs = idleMs;
  }

  /** Calls that somebody waits for. */
  get underWay(): number {
    return this.#leases.size;
  }

  pods(): Pod[] {
    return [...this.#places.keys()];
  }

  /** The pod that the set is for this tenant. */
  podOf(tenant: SetTenant): Pod {
    for (const { tenant: known, pod } of this.#places.values()) if (known === tenant) return pod;
    const pod = newPod(this.#set, this.memoryMb, this.#clock.now());
    pod.tenant = tenant;
    this.#places.set(pod, { tenant, pod, cancelIdle: () => {} });
    return pod;
  }

  /** Tells a tenant that came while the set was at work. */
  welcome(pod: Pod): void {
    const place = this.#places.get(pod);
    if (place !== undefined && this.#isOpen && pod.state === "starting") this.#connect(place);
  }

  leased(pod: Pod, lease: number): void {
    const place = this.#places.get(pod);
    if (place === undefined) return;
    place.cancelIdle();
    this.#leases.set(lease, place);
  }

  withdrawn(pod: Pod, lease: number): void {
    this.#leases.delete(lease);
    // Its slot is free at once: what goes on is the replicas' work, and not the pod's.
    if (pod.zombies > 0) pod.zombies--;
  }

  /** @param left called when no call of this tenant has come for a while */
  idle(pod: Pod, left: () => void): void {
    const place = this.#places.get(pod);
    if (place === undefined) return;
    place.cancelIdle();
    place.cancelIdle = this.#clock.after(this.#idleMs, left);
  }

  leave(pod: Pod, exit: PodExit): void {
    const place = this.#places.get(pod);
    if (place === undefined) return;
    place.cancelIdle();
    this.#places.delete(pod);
    for (const [lease, of] of this.#leases) if (of === place) this.#leases.delete(lease);
    place.tenant.gone(pod, exit);
  }

  /** The set serves no longer. */
  closed(): void {
    this.#isOpen = false;
    for (const { pod } of this.#places.values()) pod.state = "starting";
  }

  stop(): void {
    for (const { cancelIdle } of this.#places.values()) cancelIdle();
  }

  // ---------------------------------------------------------------- as the set's tenant

  connected(): void {
    this.#isOpen = true;
    for (const place of [...this.#places.values()]) this.#connect(place);
  }

  certified(_pod: Pod, answer: CertifiedAnswer): void {
    const place = this.#leases.get(answer.lease);
    this.#leases.delete(answer.lease);
    place?.tenant.certified(place.pod, answer);
  }

  message(): void {}

  beat(): void {}

  gone(_pod: Pod | undefined, exit: PodExit): void {
    for (const pod of this.pods()) this.leave(pod, exit);
  }

  #connect({ pod, tenant }: Place): void {
    pod.coldStartMs ??= this.#clock.now() - pod.startedAt;
    pod.state = "ready";
    tenant.connected(pod);
  }
}
