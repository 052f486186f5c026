import { Feed } from "../../src/cluster/feed.ts";
import { LockstepError } from "../../src/lib/errors.ts";
import type { ClusterPlane, ClusterPodView, ServiceSpec, ServiceView } from "../../src/protocol/cluster.ts";

/** Pods and services that do nothing: `pay` has a default service and one pod. */
export class FakeClusterPlane implements ClusterPlane {
  readonly specs = new Map<string, { spec: ServiceSpec; resourceVersion: number }>();
  readonly deleted: [string, number | undefined][] = [];
  /** Shown after the default one. */
  readonly more: ClusterPodView[] = [];
  readonly #hints = new Set<() => void>();
  readonly #watched = {
    base: 0,
    clock: { now: () => 0, after: () => () => {}, endOfTurn: (callback: () => void) => void setImmediate(callback) },
    hints: (look: () => void) => {
      this.#hints.add(look);
      return () => void this.#hints.delete(look);
    },
  };
  readonly podChanges = new Feed<"pod", ClusterPodView>({
    ...this.#watched,
    field: "pod",
    list: () => this.pods(),
    keyOf: ({ id }) => id,
    textOf: (pod) => JSON.stringify(pod),
  });
  readonly serviceChanges = new Feed<"service", ServiceView>({
    ...this.#watched,
    field: "service",
    list: () => this.services(),
    keyOf: ({ spec }) => spec.name,
    textOf: (service) => JSON.stringify(service),
  });
  #version = 0;

  get watchers(): number {
    return this.#hints.size;
  }

  /** Those who watch look at once. */
  changed(): void {
    for (const look of this.#hints) look();
  }

  services(): ServiceView[] {
    const given = [...this.specs.values()].map(({ spec, resourceVersion }) => this.#view(spec, resourceVersion));
    return this.specs.has("pay") ? given : [this.#view({ name: "pay", function: "pay" }, 0), ...given];
  }

  service(name: string): ServiceView {
    const found = this.services().find(({ spec }) => spec.name === name);
    if (found === undefined) throw new LockstepError("UNKNOWN_SERVICE", `there is no service "${name}"`);
    return found;
  }

  async createService(spec: ServiceSpec): Promise<ServiceView> {
    if (this.specs.has(spec.name)) throw new LockstepError("SERVICE_EXISTS", `there is a service "${spec.name}" already`);
    return this.putService(spec);
  }

  async putService(spec: ServiceSpec, ifVersion?: number): Promise<ServiceView> {
    const version = this.specs.get(spec.name)?.resourceVersion ?? 0;
    if (ifVersion !== undefined && ifVersion !== version) throw new LockstepError("PRECONDITION_FAILED", `it has version ${version}`);
    this.specs.set(spec.name, { spec, resourceVersion: ++this.#version });
    return this.service(spec.name);
  }

  async deleteService(name: string): Promise<void> {
    this.service(name);
    this.specs.delete(name);
  }

  pods(): ClusterPodView[] {
    const labels = { "lockstep/role": "pay" };
    const state = { state: "ready" as const, ready: true, inFlight: 2, slots: 8, startedAt: 5, memoryMb: 256 };
    return [{ id: "pod-1", role: "pay", service: "pay", pid: 41, ...state, labels, resourceVersion: 3 }, ...this.more];
  }

  pod(id: string): ClusterPodView {
    const found = this.pods().find((pod) => pod.id === id);
    if (found === undefined) throw new LockstepError("UNKNOWN_POD", `there is no pod "${id}"`);
    return found;
  }

  createPod(service: string): ClusterPodView {
    this.service(service);
    return { ...this.pods()[0]!, id: "pod-2", state: "starting", ready: false, inFlight: 0 };
  }

  deletePod(id: string, graceMs?: number): void {
    this.pod(id);
    this.deleted.push([id, graceMs]);
  }

  #view(spec: ServiceSpec, resourceVersion: number): ServiceView {
    const version = { version: "0123456789abcdef", current: true, desired: 2, starting: 1, ready: 1, draining: 0, reason: "its load" };
    const conditions = [{ type: "Progressing" as const, reason: "1 of 2 pods are ready, 1 starting", since: 1_700_000_000_000 }];
    return { spec, application: "shop", default: resourceVersion === 0, resourceVersion, versions: [{ ...version, conditions }] };
  }
}
