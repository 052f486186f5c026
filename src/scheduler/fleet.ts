/**
 * The fleet: the pods that exist, the warm ones among them, and which tenant each works for.
 *
 * Owns: starting, taking, watching and ending pods. Does not own: what a pod executes (its tenant decides) or how pods are made (Cluster).
 *
 * F1  A pod works for at most one tenant, for ever: user code of two functions never shares a process.
 * F2  Every tenant learns of each of its pods exactly once that it is connected and exactly once that it is gone.
 */
import type { Cluster, ClusterListener, Labels, PodExit, PodHarm, PodSpec } from "../cluster/port.ts";
import type { Clock } from "../lib/clock.ts";
import { getOrMake } from "../lib/map.ts";
import type { ColdStarts } from "../protocol/control-plane.ts";
import type { Beat, FromPod, ToPod } from "../protocol/pod.ts";
import type { Pod, Tenant } from "./pod.ts";
import { newPod } from "./pod.ts";
import { beaten, connected, hangsAt, joined, sparedFor } from "./silence.ts";
import { WarmPods } from "./warm-pods.ts";
import { WarmPool } from "./warm-pool.ts";

export type { Pod, Tenant } from "./pod.ts";

export interface FleetOptions {
  /** Warm pods whatever happens. */
  warmPods: number;
  /** Warm pods at the most, when demand wants them. Default: no more than `warmPods`. */
  maxWarmPods?: number;
  /** What warm pods beyond `warmPods` may occupy with the others. Default: nothing. */
  warmMemoryMb?: number;
  defaultMemoryMb: number;
  maxPods: number;
  /** What the heaps of all pods may come to. Default: no limit. */
  maxMemoryMb?: number;
  /** A connected pod that is silent for longer hangs. */
  hangMs: number;
  /** A pod with nothing to do is ended after this time. */
  idleMs: number;
  /** A pod may exceed its heap by this much (buffers, code) before it is ended as out of memory. */
  memoryHeadroomMb: number;
}

export interface FleetObserver {
  started(pod: Pod, startMs: number): void;
  stopped(pod: Pod, exit: PodExit): void;
}

const TICK_MS = 250;
/** What a warm pod is taken to occupy until one has told. */
const WARM_POD_MB = 50;
/** A pod that was taken and has not loaded yet is waited for: the pool is not filled up beside it, unless it takes longer than this. */
const AWAITED_MS = 2_000;
/** The call that waited for the pod that has just loaded is executed first. */
const REFILL_AFTER_MS = 25;
/** A tick that comes later than it should by so much tells that this process stood still. */
const LATE_MS = 250;

export class Fleet implements ClusterListener {
  readonly pods = new Map<string, Pod>();
  /** Told of whatever is sent to pods, while somebody wants to know. */
  onSend: ((pod: Pod, message: ToPod) => void) | undefined;
  /** Pods that had to load code before they could work, by whose they are. */
  readonly coldStarts = new Map<string, ColdStarts>();
  readonly #cluster: Cluster;
  readonly #clock: Clock;
  readonly #options: FleetOptions;
  readonly #observer: FleetObserver;
  readonly #warm = new WarmPods((pod, message) => this.#cluster.send(pod.id, message));
  readonly #pool: WarmPool;
  #warmPodMb = WARM_POD_MB;
  #serial = 0;
  #failedStarts = 0;
  /** Until then the room that comes free is for calls that wait, not for tenants that can. */
  #crowdedUntil = 0;
  /** Until then it is not for the warm pool. */
  #wantedUntil = 0;
  #stopping = false;
  /** What there was not enough of when a pod was refused last. */
  lacks: "pods" | "memory" = "pods";
  #cancelTick = () => {};
  /** When the next tick is due. */
  #tickAt = Number.POSITIVE_INFINITY;
  #cancelRefill: (() => void) | undefined;

  constructor(cluster: Cluster, clock: Clock, options: FleetOptions, observer: FleetObserver) {
    this.#cluster = cluster;
    this.#clock = clock;
    this.#options = options;
    this.#observer = observer;
    const { warmPods: min, maxWarmPods: max = min, warmMemoryMb: memoryMb = 0 } = options;
    this.#pool = new WarmPool({ min, max, memoryMb });
  }

  async start(): Promise<void> {
    await this.#cluster.start(this);
    this.#refill();
    this.#tick();
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    this.#cancelTick();
    this.#cancelRefill?.();
    await this.#cluster.stop();
  }

  /**
   * A pod for this tenant: a warm one, which is ready at once, one that is about to be warm, or a new one. `undefined` when the machine has
   * as many as it may; then an idle one is ended for a tenant whose calls wait.
   */
  acquire(tenant: Tenant, isUrgent = true): Pod | undefined {
    if (this.#stopping) return undefined;
    const fitsWarm = this.fitsWarm(tenant);
    const pod = (fitsWarm ? this.#takeWarm() : undefined) ?? this.#create(tenant.memoryMb, tenant, isUrgent);
    // Whoever is refused asks again every few milliseconds: that is one demand, and not many.
    if (pod === undefined) return undefined;
    const now = this.#clock.now();
    if (fitsWarm) this.#pool.taken(now);
    pod.tenant = tenant;
    pod.takenAt = now;
    if (pod.state === "ready") this.#join(pod, tenant);
    // The pool is filled up once it has loaded: starting a process at once would take the processors from the pod that was just taken, and
    // from the call that waits for it.
    return pod;
  }

  /**
   * More pods will be asked for soon: the pool is filled up at once, whoever waits.
   * @param count so many of them; default: as many as there always are
   * @param forMs they are not kept for longer
   */
  expectDemand(count = 0, forMs = 0): void {
    if (count > 0) this.#pool.expect(count, this.#clock.now(), forMs);
    this.#refill(true);
  }

  /** The heap's limit and the environment are fixed when a process starts, so a warm pod only fits tenants that want the default. */
  fitsWarm({ memoryMb, environment }: Pick<Tenant, "memoryMb" | "environment">): boolean {
    return memoryMb === this.#options.defaultMemoryMb && environment === undefined;
  }

  /** Lets warm pods compile a bundle of which `count` functions will probably be called soon, and keeps as many of them. */
  preload(path: string, count: number): void {
    const now = this.#clock.now();
    this.#pool.expect(count, now);
    this.#warm.expect(path, now);
  }

  /** A pod has loaded its tenant's code. */
  loaded(pod: Pod): void {
    if (pod.coldStartMs !== undefined || pod.tenant === undefined) return;
    pod.coldStartMs = this.#clock.now() - pod.takenAt;
    const { application, role } = pod.tenant;
    const counted = getOrMake(this.coldStarts, `${application}/${role}`, () => ({ application, function: role, count: 0, totalMs: 0 }));
    counted.count++;
    counted.totalMs += pod.coldStartMs;
    this.#cancelRefill ??= this.#clock.after(REFILL_AFTER_MS, () => this.#refillAfterLoad(), "upkeep");
  }

  send(pod: Pod, message: ToPod): void {
    this.onSend?.(pod, message);
    this.#cluster.send(pod.id, message);
  }

  /** Ends a pod: at once, or when it has finished what it works on, but after `graceMs` at the latest. Its tenant hears of it by `gone`. */
  end(pod: Pod, graceMs: number, reason: PodExit["reason"] = "deleted"): void {
    pod.state = "draining";
    this.#warm.drop(pod);
    this.#cluster.delete(pod.id, pod.inFlight === 0 ? 0 : graceMs, reason);
  }

  /** The pod's tenant has nothing in it any more. */
  idle(pod: Pod): void {
    pod.idleSince = this.#clock.now();
    if (pod.state === "draining") this.#cluster.delete(pod.id, 0, "deleted");
  }

  connected(id: string, pid: number): void {
    const pod = this.pods.get(id);
    if (pod === undefined) return;
    this.#failedStarts = 0;
    // It was ended while it started: nobody may give it work any more.
    if (pod.state === "draining") return;
    const now = this.#clock.now();
    pod.state = "ready";
    pod.pid = pid;
    pod.idleSince = now;
    connected(pod, now, this.#options.hangMs);
    this.#observer.started(pod, now - pod.startedAt);
    if (pod.tenant !== undefined) return this.#join(pod, pod.tenant);
    this.#warm.put(pod, now);
  }

  /** Does to a pod what a drill asks for. Whether it is there. */
  harm(id: string, harm: PodHarm): boolean {
    return this.#cluster.harm(id, harm);
  }

  messages(id: string, messages: readonly FromPod[]): void {
    const pod = this.pods.get(id);
    if (pod?.tenant === undefined) return;
    for (const message of messages) pod.tenant.message(pod, message);
  }

  beat(id: string, beat: Beat & { t: "beat" }): void {
    const pod = this.pods.get(id);
    if (pod === undefined) return;
    beaten(pod, this.#clock.now(), this.#options.hangMs, beat.generic === true);
    pod.blockedMs = beat.blockedMs;
    if (pod.tenant === undefined && beat.rssMb > 0) this.#warmPodMb = beat.rssMb;
    if (beat.rssMb > pod.memoryMb + this.#options.memoryHeadroomMb) return this.end(pod, 0, "over-memory");
    pod.tenant?.beat(pod, beat);
  }

  gone(id: string, exit: PodExit): void {
    const pod = this.pods.get(id);
    if (pod === undefined) return;
    this.pods.delete(id);
    this.#warm.drop(pod);
    if (exit.reason === "failed-to-start") this.#failedStarts++;
    this.#observer.stopped(pod, exit);
    pod.tenant?.gone(pod, exit);
    this.#refill();
  }

  #join(pod: Pod, tenant: Tenant): void {
    joined(pod, this.#clock.now(), this.#options.hangMs);
    this.#cluster.label(pod.id, labelsOf(tenant));
    if (tenant.loads !== false) this.#cluster.send(pod.id, { t: "load", version: tenant.version, path: tenant.path });
    tenant.connected(pod);
  }

  /** One that is ready, or the one that will be next: another process would only come later than that. */
  #takeWarm(): Pod | undefined {
    const ready = this.#warm.take();
    if (ready !== undefined) return ready;
    for (const pod of this.pods.values()) if (pod.state === "starting" && pod.tenant === undefined) return pod;
    return undefined;
  }

  #create(memoryMb: number, tenant?: Tenant, isUrgent = false): Pod | undefined {
    // The room that an urgent tenant was promised is not for those who can wait: it would never come to it.
    if (!isUrgent && tenant !== undefined && this.#clock.now() < this.#crowdedUntil) return undefined;
    if (!this.#hasRoom(memoryMb)) {
      if (tenant !== undefined) this.#makeRoom(memoryMb, isUrgent);
      return undefined;
    }
    const pod = newPod(`pod-${++this.#serial}`, memoryMb, this.#clock.now());
    this.pods.set(pod.id, pod);
    const spec: PodSpec = { id: pod.id, memoryMb };
    if (tenant?.environment !== undefined) spec.environment = tenant.environment;
    this.#cluster.create(spec);
    return pod;
  }

  #hasRoom(memoryMb: number): boolean {
    const { maxPods, maxMemoryMb } = this.#options;
    if (this.pods.size >= maxPods) {
      this.lacks = "pods";
      return false;
    }
    if (maxMemoryMb === undefined) return true;
    let taken = memoryMb;
    for (const pod of this.pods.values()) taken += pod.memoryMb;
    if (taken <= maxMemoryMb) return true;
    this.lacks = "memory";
    return false;
  }

  /** Room that nobody will miss: services that want more pods must not be refused for pods that only may be wanted. */
  #hasPlenty(): boolean {
    const { maxPods, defaultMemoryMb } = this.#options;
    const { lacks } = this;
    const has = this.pods.size * 4 < maxPods * 3 && this.#hasRoom(4 * defaultMemoryMb);
    this.lacks = lacks;
    return has;
  }

  /** Whether a pod fits that has this much memory, once the pods that `leaves` holds for are gone. */
  fits(memoryMb: number, leaves: (pod: Pod) => boolean): boolean {
    const { maxPods, maxMemoryMb = Number.POSITIVE_INFINITY } = this.#options;
    let taken = memoryMb;
    let count = 1;
    for (const pod of this.pods.values()) {
      if (leaves(pod)) continue;
      taken += pod.memoryMb;
      count++;
    }
    return count <= maxPods && taken <= maxMemoryMb;
  }

  /**
   * Ends the pod that is missed the least: the tenant that was refused asks again soon. For one that can wait, only a warm pod, which is nobody's.
   * Nothing is ended in vain: what needs more than the machine has would empty it, pod by pod, and keep it empty.
   */
  #makeRoom(memoryMb: number, isUrgent: boolean): void {
    if (!this.fits(memoryMb, () => true)) return;
    this.#wantedUntil = this.#clock.now() + TICK_MS;
    if (isUrgent) this.#crowdedUntil = this.#wantedUntil;
    const mayGo = (pod: Pod): boolean => isIdle(pod) && (isUrgent || pod.tenant === undefined);
    if (!this.fits(memoryMb, (pod) => pod.state === "draining" || mayGo(pod))) return;
    let idlest: Pod | undefined;
    for (const pod of this.pods.values()) {
      if (pod.state === "draining" && pod.inFlight === 0) return;
      if (mayGo(pod) && (idlest === undefined || isLessMissed(pod, idlest))) idlest = pod;
    }
    if (idlest !== undefined) this.end(idlest, 0);
  }

  #refillAfterLoad(): void {
    this.#cancelRefill = undefined;
    this.#refill();
  }

  /** Whether somebody waits for a pod that starts, or loads. */
  #isAwaited(now: number): boolean {
    for (const { tenant, state, coldStartMs, takenAt } of this.pods.values()) {
      if (tenant !== undefined && state !== "draining" && coldStartMs === undefined && now - takenAt < AWAITED_MS) return true;
    }
    return false;
  }

  #refill(isPressing = false): void {
    const now = this.#clock.now();
    // When processes do not start at all, one attempt per tick is enough.
    if (this.#stopping || this.#failedStarts > 2 || now < this.#wantedUntil) return;
    if (!isPressing && this.#isAwaited(now)) return;
    const { warmPods, defaultMemoryMb } = this.#options;
    let coming = this.#warm.size;
    let starting = 0;
    for (const pod of this.pods.values()) {
      if (pod.state !== "starting") continue;
      starting++;
      if (pod.tenant === undefined) coming++;
    }
    const target = this.#pool.target(now, this.#warmPodMb);
    const atOnce = isPressing ? target : warmPods;
    for (; coming < atOnce && this.#hasRoom(defaultMemoryMb); coming++, starting++) this.#create(defaultMemoryMb);
    // Beyond the minimum one at a time, and only while no other process starts: calls that wait for theirs come first.
    if (coming < target && starting === 0 && this.#hasPlenty()) this.#create(defaultMemoryMb);
    const surplus = this.#warm.size > target ? this.#warm.oldest : undefined;
    if (surplus !== undefined) this.end(surplus, 0);
  }

  #tick(): void {
    const now = this.#clock.now();
    const { hangMs } = this.#options;
    const isLate = now - this.#tickAt > LATE_MS;
    let next = now + TICK_MS;
    for (const pod of [...this.pods.values()]) {
      if (pod.state === "starting") continue;
      if (isLate) sparedFor(pod, now, hangMs);
      // One that has been silent for a while is looked at when its time is over, and not up to a tick later.
      const at = hangsAt(pod, hangMs);
      if (pod.state === "ready" && at > now) next = Math.min(next, at);
      if (at <= now) this.end(pod, 0, "hung");
      else if (this.#isSuperfluous(pod, now)) this.end(pod, 0);
    }
    if (this.#failedStarts > 2) this.#failedStarts = 2;
    this.#refill();
    this.#tickAt = next;
    this.#cancelTick = this.#clock.after(next - now, () => this.#tick(), "upkeep");
  }

  #isSuperfluous({ tenant, inFlight, idleSince }: Pod, now: number): boolean {
    return tenant !== undefined && tenant.keepsIdle !== true && inFlight === 0 && now - idleSince > this.#options.idleMs;
  }
}

const isIdle = ({ state, inFlight, zombies }: Pod): boolean => state === "ready" && inFlight === 0 && zombies === 0;

const isLessMissed = (pod: Pod, other: Pod): boolean => {
  const isReserved = pod.tenant?.reserves?.(pod) === true;
  if (isReserved !== (other.tenant?.reserves?.(other) === true)) return !isReserved;
  return pod.idleSince < other.idleSince;
};

const labelsOf = ({ role, application, version, service }: Tenant): Labels => ({
  "lockstep/role": role,
  "lockstep/application": application,
  "lockstep/version": version,
  ...(service === undefined ? {} : { "lockstep/service": service }),
});
