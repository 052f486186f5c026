/**
 * The layers that there are, and for each of them who holds its pods.
 *
 * Owns: which layers and hosts exist, from whom a function's pods come and how they are made. Does not own: what waits in a layer (queue),
 * when there are pods and how many (pod-supply.ts, or the placement).
 */
import { getOrMake } from "../lib/map.ts";
import type { LayerView } from "../protocol/control-plane.ts";
import { type Entry, type Layer, Layers, layerKey } from "../queue/machine.ts";
import type { Fleet } from "./fleet.ts";
import { type FunctionHome, type HostOwner, LayerHost } from "./layer-host.ts";
import type { Placement, PodSet, PodSource, PodTemplate } from "./placement.ts";

/** Those who execute a function's calls several times; where there is none (in memory, for tests), a pod's word is taken. */
export interface ReplicaSources {
  quorum?: PodSource | undefined;
  compare?: PodSource | undefined;
}

export interface LayerHostParts {
  fleet: Fleet;
  options: { slotsPerPod: number; defaultMemoryMb: number };
  placement: Pick<Placement, "template"> | undefined;
  replicas: ReplicaSources;
  home(fn: string, version: string): FunctionHome | undefined;
}

/** Calls that a replica set is given at the same time. */
const SET_SLOTS = 1_024;

export class LayerHosts {
  readonly #parts: LayerHostParts;
  readonly #owner: HostOwner;
  readonly #layers = new Layers();
  readonly #hosts = new Map<string, LayerHost>();

  constructor(parts: LayerHostParts, owner: HostOwner) {
    this.#parts = parts;
    this.#owner = owner;
  }

  get layers(): Iterable<Layer> {
    return this.#layers;
  }

  values(): Iterable<LayerHost> {
    return this.#hosts.values();
  }

  /** Calls that wait for a pod or for their time. */
  get depth(): number {
    return this.#layers.depth;
  }

  find(fn: string, version: string): Layer | undefined {
    return this.#layers.find(fn, version);
  }

  layerOf({ fn, version }: Pick<Entry, "fn" | "version">, { spec }: FunctionHome): Layer {
    return this.#layers.open(fn, version, spec.concurrency, spec.limits);
  }

  hostOf(layer: Layer, home: FunctionHome): LayerHost {
    return getOrMake(this.#hosts, layer.key, () => {
      const source = this.#replicasOf(home);
      return new LayerHost(layer, home, this.#templateOf(layer, home), this.#owner, source ?? this.#parts.fleet, source !== undefined);
    });
  }

  /** Forgets a host that holds nothing and that nobody needs, and with it its layer. */
  closeIfIdle(host: LayerHost): void {
    if (host.pods.size > 0 || host.isKept || this.#hosts.get(host.layer.key) !== host) return;
    this.#layers.close(host.layer);
    if (this.#layers.find(host.layer.fn, host.layer.version) === undefined) this.#hosts.delete(host.layer.key);
  }

  /** Whether calls of another version of the function wait: most functions with a limit have one version, and make no lists for it. */
  hasOtherWaiting({ layer: own }: LayerHost): boolean {
    for (const { layer } of this.#hosts.values()) if (layer !== own && layer.fn === own.fn && layer.waiting > 0) return true;
    return false;
  }

  /** The function's versions with calls that wait, the one whose calls have waited the longest first. */
  waitingOf(fn: string, now: number): LayerHost[] {
    const waiting = [...this.#hosts.values()].filter(({ layer }) => layer.fn === fn && layer.waiting > 0);
    return waiting.sort((a, b) => b.layer.oldestWaitingMs(now) - a.layer.oldestWaitingMs(now));
  }

  podSet(fn: string, version: string): PodSet | undefined {
    const home = this.#parts.home(fn, version);
    if (home === undefined || this.#replicasOf(home) !== undefined) return undefined;
    return this.hostOf(this.layerOf({ fn, version }, home), home);
  }

  takesWarm(fn: string, version: string): boolean {
    const home = this.#parts.home(fn, version);
    if (home === undefined || this.#replicasOf(home) !== undefined || this.#hasPods(fn, version)) return false;
    return this.#parts.fleet.fitsWarm(this.#templateOf({ fn, version }, home));
  }

  views(now: number): LayerView[] {
    return [...this.#layers].map((layer) => ({
      function: layer.fn,
      application: this.#parts.home(layer.fn, layer.version)?.application ?? "",
      version: layer.version,
      waiting: layer.waiting,
      delayed: layer.delayed,
      running: layer.leased,
      dead: 0,
      pods: this.#hosts.get(layer.key)?.pods.size ?? 0,
      oldestWaitingMs: layer.oldestWaitingMs(now),
      throttled: layer.throttledUntil(now) !== undefined,
      ...layer.rates(now),
      completed: layer.completed,
      failed: layer.failed,
    }));
  }

  /** Whether the function has pods, or they are on their way. */
  #hasPods(fn: string, version: string): boolean {
    return (this.#hosts.get(layerKey(fn, version))?.pods.size ?? 0) > 0;
  }

  #replicasOf({ spec: { trust = "one" } }: FunctionHome): PodSource | undefined {
    return trust === "one" ? undefined : this.#parts.replicas[trust];
  }

  #templateOf({ fn, version }: Pick<Layer, "fn" | "version">, home: FunctionHome): PodTemplate {
    const { spec } = home;
    const { slotsPerPod: slots, defaultMemoryMb } = this.#parts.options;
    const isReplicated = this.#replicasOf(home) !== undefined;
    if (isReplicated)
      return { slots: spec.trust === "quorum" ? SET_SLOTS : slots, memoryMb: spec.memoryMb ?? defaultMemoryMb, service: fn };
    return this.#parts.placement?.template(fn, version) ?? { slots, memoryMb: spec.memoryMb ?? defaultMemoryMb, service: fn };
  }
}
