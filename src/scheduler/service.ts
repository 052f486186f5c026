/**
 * The scheduler: matches waiting calls with free pods, at the moment at which either appears.
 *
 * Owns: the layers and the leases. Does not own: runs, retries (told by `settled`), durability.
 *
 * S1  Each lease ends exactly once: by the pod's answer, the timeout, the pod's end, or withdrawal. What comes later is dropped (P2).
 * S2  A call that waits has a pod that will take it, or a pod that is being started, or one of its function's limits is reached: then the
 *     end of another one or the sweep lets it begin (P3).
 */
import type { PodExit } from "../cluster/port.ts";
import { ChurnMap } from "../lib/churn-map.ts";
import type { Clock } from "../lib/clock.ts";
import type { Failure } from "../lib/errors.ts";
import { getOrMake } from "../lib/map.ts";
import type { LayerView } from "../protocol/control-plane.ts";
import type { Beat, FromPod, ToPod } from "../protocol/pod.ts";
import type { CallMetrics } from "../protocol/run.ts";
import { type Entry, type Layer, Layers, layerKey } from "../queue/machine.ts";
import type { AttemptService, CertifiedAnswer, Outcome } from "./attempt.ts";
import { lostFailure } from "./exit.ts";
import type { Fleet } from "./fleet.ts";
import { Heartbeats } from "./heartbeats.ts";
import { type FunctionHome, type HostOwner, LayerHost } from "./layer-host.ts";
import type { Placement, PodSet, PodSource, PodTemplate } from "./placement.ts";
import type { Pod } from "./pod.ts";

export type { AttemptService, CertifiedAnswer, Outcome } from "./attempt.ts";
export type { FunctionHome } from "./layer-host.ts";
export type { Placement, PodSet, PodSource, PodTemplate } from "./placement.ts";

export interface SchedulerOptions {
  /** Calls that one pod executes at the same time. */
  slotsPerPod: number;
  maxPodsPerFunction: number;
  defaultMemoryMb: number;
  /** Another pod is added when a call has waited for so long although pods exist. */
  patienceMs: number;
}

/** Calls that a replica set is given at the same time. */
const SET_SLOTS = 1_024;

interface Lease {
  entry: Entry;
  host: LayerHost;
  pod: Pod;
  cold: boolean;
}

const SWEEP_MS = 20;
const STARVED_MS = 50;
const BLOCKED_MS = 250;
/** So long may calls wait for slots whose attempts were withdrawn and have not ended. */
const CLOGGED_MS = 1_000;
/** A sweep that comes later than this tells that the platform stood still, and messages with it. */
const LATE_MS = 50;

export class Scheduler implements HostOwner {
  readonly #fleet: Fleet;
  readonly #clock: Clock;
  readonly #options: SchedulerOptions;
  readonly #home: (fn: string, version: string) => FunctionHome | undefined;
  readonly #settled: (entry: Entry, outcome: Outcome) => void;
  readonly #attempts: AttemptService | undefined;
  readonly #placement: Placement | undefined;
  readonly #replicas: { quorum?: PodSource | undefined; compare?: PodSource | undefined };
  readonly #layers = new Layers();
  readonly #hosts = new Map<string, LayerHost>();
  readonly #leases = new ChurnMap<number, Lease>();
  /** Leases by their timeout: within one, insertion order is the order of the deadlines, so only heads need a look. */
  readonly #deadlines = new Map<number, ChurnMap<number, Lease>>();
  readonly #heartbeats: Heartbeats;
  #lease = 0;
  #nextSweep = Number.POSITIVE_INFINITY;
  #wasSpared = false;
  #cancelSweep = () => {};
  #cancelTick = () => {};
  #draining = false;
  #drained: (() => void) | undefined;

  constructor(
    fleet: Fleet,
    clock: Clock,
    options: SchedulerOptions,
    home: (fn: string, version: string) => FunctionHome | undefined,
    settled: (entry: Entry, outcome: Outcome) => void,
    attempts?: AttemptService,
    placement?: Placement,
    replicas: { quorum?: PodSource | undefined; compare?: PodSource | undefined } = {},
  ) {
    this.#fleet = fleet;
    this.#clock = clock;
    this.#options = options;
    this.#home = home;
    this.#settled = settled;
    this.#attempts = attempts;
    this.#placement = placement;
    this.#replicas = replicas;
    this.#heartbeats = new Heartbeats((entry, value) => this.#attempts?.progress(entry, value));
  }

  start(): void {
    this.#tick();
  }

  stop(): void {
    this.#heartbeats.flush(this.#clock.now());
    this.#cancelTick();
    this.#cancelSweep();
  }

  /**
   * Dispatches nothing more, and resolves when all that executes has ended, or after `graceMs`. What waits stays in the journal for the
   * next life.
   */
  async drain(graceMs: number): Promise<void> {
    this.#draining = true;
    if (this.#leases.size === 0) return;
    await new Promise<void>((resolve) => {
      const cancel = this.#clock.after(graceMs, resolve);
      this.#drained = () => {
        cancel();
        resolve();
      };
    });
  }

  /** Calls that wait for a pod or for their time. */
  get depth(): number {
    return this.#layers.depth;
  }

  /** Puts a call into its layer and dispatches what can be. */
  enqueue(entry: Entry): void {
    const home = this.#home(entry.fn, entry.version);
    if (home === undefined) {
      const failure: Failure = {
        code: "UNKNOWN_FUNCTION",
        message: `function "${entry.fn}" is not in version ${entry.version}`,
        terminal: true,
      };
      this.#settled(entry, { failure, lines: [] });
      return;
    }
    const layer = this.#layers.open(entry.fn, entry.version, home.spec.concurrency, home.spec.limits);
    const now = this.#clock.now();
    layer.enqueue(entry, now);
    if (entry.state === "delayed") this.#sweepAt(entry.notBefore);
    else this.#match(this.#hostOf(layer, home), now);
  }

  /** Takes a call out; an attempt that executes is told to stop, and its outcome will not count. */
  withdraw(entry: Entry, reason: string): void {
    const layer = this.#layers.find(entry.fn, entry.version);
    if (layer === undefined) return;
    const { lease } = entry;
    if (layer.withdraw(entry) !== "leased") return;
    const now = this.#clock.now();
    const held = this.#endLease(lease, false, now);
    if (held === undefined) return;
    this.#attempts?.withdrawn(entry);
    held.pod.zombies++;
    held.host.source.send(held.pod, { t: "abort", lease, reason });
    // Nobody wants it any more, which is no fault of the pod.
    if (entry.solo) held.host.source.end(held.pod, 0);
    this.#matchFreed(held.host, now);
  }

  /**
   * The pods of a function's version, also when it has none and no call; `undefined` when nobody knows it, or when several pods execute each
   * of its calls: how many those are is no matter of load.
   */
  podSet(fn: string, version: string): PodSet | undefined {
    const home = this.#home(fn, version);
    if (home === undefined || this.#replicasOf(home) !== undefined) return undefined;
    const { concurrency, limits } = home.spec;
    return this.#hostOf(this.#layers.open(fn, version, concurrency, limits), home);
  }

  /** The sets of all versions that have calls or pods. */
  podSets(): Iterable<PodSet> {
    return this.#hosts.values();
  }

  /** Forgets a set that nobody needs any more. */
  release(set: PodSet): void {
    this.#closeIfIdle(set as LayerHost);
  }

  /** Whether the function has pods, or they are on their way. */
  #hasPods(fn: string, version: string): boolean {
    return (this.#hosts.get(layerKey(fn, version))?.pods.size ?? 0) > 0;
  }

  /** Whether the function's next call would take a warm pod. */
  takesWarm(fn: string, version: string): boolean {
    const home = this.#home(fn, version);
    if (home === undefined || this.#replicasOf(home) !== undefined || this.#hasPods(fn, version)) return false;
    return this.#fleet.fitsWarm(this.#templateOf({ fn, version }, home));
  }

  views(): LayerView[] {
    const now = this.#clock.now();
    return [...this.#layers].map((layer) => ({
      function: layer.fn,
      application: this.#home(layer.fn, layer.version)?.application ?? "",
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

  #hostOf(layer: Layer, home: FunctionHome): LayerHost {
    return getOrMake(this.#hosts, layer.key, () => {
      const source = this.#replicasOf(home);
      return new LayerHost(layer, home, this.#templateOf(layer, home), this, source ?? this.#fleet, source !== undefined);
    });
  }

  /** What executes the function's calls several times. Where there are no sets (in memory, for tests), a pod's word is taken. */
  #replicasOf({ spec: { trust = "one" } }: FunctionHome): PodSource | undefined {
    return trust === "one" ? undefined : this.#replicas[trust];
  }

  #templateOf({ fn, version }: Pick<Layer, "fn" | "version">, home: FunctionHome): PodTemplate {
    const { spec } = home;
    const { slotsPerPod: slots, defaultMemoryMb } = this.#options;
    const isReplicated = this.#replicasOf(home) !== undefined;
    if (isReplicated)
      return { slots: spec.trust === "quorum" ? SET_SLOTS : slots, memoryMb: spec.memoryMb ?? defaultMemoryMb, service: fn };
    return this.#placement?.template(fn, version) ?? { slots, memoryMb: spec.memoryMb ?? defaultMemoryMb, service: fn };
  }

  #match(host: LayerHost, now: number): void {
    if (this.#draining) return;
    const { layer } = host;
    for (let next = layer.peek(now); next !== undefined; next = layer.peek(now)) {
      const pod = this.#freePod(host, next);
      if (pod === undefined) break;
      this.#dispatch(host, pod, next, now);
    }
    if (layer.waiting === 0) return;
    this.#provide(host, now);
    const throttledUntil = layer.throttledUntil(now);
    if (throttledUntil !== undefined) this.#sweepAt(throttledUntil);
  }

  /** Gives what a lease of `host` has freed to its layer, or to the version whose calls have waited the longest when versions share a limit. */
  #matchFreed(host: LayerHost, now: number): void {
    if (!host.layer.isLimited || !this.#hasOtherWaiting(host)) {
      if (host.layer.waiting > 0) this.#match(host, now);
      return;
    }
    const waiting = [...this.#hosts.values()].filter(({ layer }) => layer.fn === host.layer.fn && layer.waiting > 0);
    waiting.sort((a, b) => b.layer.oldestWaitingMs(now) - a.layer.oldestWaitingMs(now));
    for (const each of waiting) this.#match(each, now);
  }

  /** Whether calls of another version wait: most functions with a limit have one version, and make no lists for it. */
  #hasOtherWaiting({ layer: own }: LayerHost): boolean {
    for (const { layer } of this.#hosts.values()) if (layer !== own && layer.fn === own.fn && layer.waiting > 0) return true;
    return false;
  }

  #freePod(host: LayerHost, entry: Entry): Pod | undefined {
    let best: Pod | undefined;
    for (const pod of host.pods.values()) {
      const slots = entry.solo ? 1 : host.template.slots;
      if (pod.state !== "ready" || pod.inFlight + pod.zombies >= slots || host.solo.has(pod)) continue;
      // A pod whose event loop stands still would let the call wait although another pod could start it.
      if (pod.blockedMs > BLOCKED_MS && host.pods.size > 1) continue;
      if (best === undefined || pod.inFlight < best.inFlight) best = pod;
    }
    return best;
  }

  #dispatch(host: LayerHost, pod: Pod, next: Entry, now: number): void {
    const lease = ++this.#lease;
    const entry = host.layer.take(lease, pod.id, now) as Entry;
    if (entry.solo) host.solo.add(pod);
    const held: Lease = { entry, host, pod, cold: pod.coldStartMs === undefined };
    this.#leases.set(lease, held);
    pod.inFlight++;
    this.#watch(lease, held, now);
    const { fn, input, run, seq, attempt, timeoutMs } = next;
    const invoke: ToPod & { t: "invoke" } = { t: "invoke", lease, fn, input, run, seq, attempt, timeoutMs };
    if (next.undo !== undefined) invoke.undo = next.undo;
    if (next.progress !== undefined) invoke.progress = next.progress;
    host.source.send(pod, invoke);
  }

  #watch(lease: number, held: Lease, now: number): void {
    // A set's replicas agree on how long an execution may take. What is not certified yet may still be: giving it up here could apply it twice.
    if (held.host.isCertified) return;
    const { timeoutMs } = held.entry;
    getOrMake(this.#deadlines, timeoutMs, () => new ChurnMap<number, Lease>()).set(lease, held);
    if (now + timeoutMs < this.#nextSweep) this.#sweepAt(now + timeoutMs);
    const { heartbeatMs } = held.host;
    if (heartbeatMs !== undefined) this.#sweepAt(this.#heartbeats.watch(lease, held.entry, heartbeatMs, now));
  }

  /** Starts a pod when the waiting calls need one that is neither there nor on its way. */
  #provide(host: LayerHost, now: number): void {
    if (host.retryAt > now) return;
    // One pod serves many calls at a time, and every further process costs all of them; more come when calls have to be patient (tick).
    for (const pod of host.pods.values()) if (pod.state !== "draining" && !host.solo.has(pod)) return;
    if (this.#placement === undefined || host.isReplicated) this.#addPod(host, now);
    else this.#placement.activate(host, now);
  }

  /** For its placement. */
  add(host: LayerHost, isUrgent: boolean): Pod | undefined {
    const pod = this.#draining ? undefined : this.#fleet.acquire(host, isUrgent);
    if (pod !== undefined) host.pods.set(pod.id, pod);
    return pod;
  }

  /** For its placement: takes no calls any more, and ends when those that it executes have ended, by their timeouts at the latest. */
  drainPod(host: LayerHost, pod: Pod): void {
    const now = this.#clock.now();
    let graceMs = 0;
    if (pod.inFlight > 0) {
      for (const held of this.#leases.values()) {
        if (held.pod === pod) graceMs = Math.max(graceMs, held.entry.leasedAt + held.entry.timeoutMs - now + LATE_MS);
      }
    }
    host.source.end(pod, graceMs);
  }

  /** Whether somebody else decides how many pods there are. */
  get isPlaced(): boolean {
    return this.#placement !== undefined;
  }

  #addPod(host: LayerHost, now: number): void {
    const pod = host.source.acquire(host);
    // No room on the machine: the tick tries again, and pods of idle functions make room.
    if (pod === undefined) host.retryAt = now + STARVED_MS;
    else host.pods.set(pod.id, pod);
  }

  connected(host: LayerHost, pod: Pod): void {
    host.pods.set(pod.id, pod);
    this.#match(host, this.#clock.now());
  }

  message(host: LayerHost, pod: Pod, message: FromPod): void {
    if (message.t === "result") return this.#answer(host, pod, message);
    if (message.t === "request") return this.#ask(pod, message);
    if (message.t === "progress") return this.#progress(pod, message);
    if (message.t === "loaded") {
      host.source.loaded(pod);
      host.failures = 0;
    }
    // A bundle that was inspected and yet does not load here: its calls fail with the reason, and use up their attempts.
    if (message.t === "refused") this.#refuse(host, pod, JSON.parse(message.failure) as Failure);
  }

  beat(pod: Pod, beat: Beat & { t: "beat" }): void {
    // Its event loop stands still and a call is overdue: only the end of the process stops such a loop.
    if (pod.zombies > 0 && beat.blockedMs > BLOCKED_MS) this.#fleet.end(pod, 0, "killed");
  }

  held(pod: Pod): string[] {
    const held: string[] = [];
    for (const lease of this.#leases.values()) if (lease.pod === pod) held.push(`${lease.entry.run}/${lease.entry.seq}`);
    return held;
  }

  gone(host: LayerHost, pod: Pod, exit: PodExit): void {
    const now = this.#clock.now();
    host.pods.delete(pod.id);
    if (this.#placement !== undefined && !host.isReplicated) this.#placement.gone(host, pod, exit, now);
    else if (exit.reason === "failed-to-start") host.retryAt = now + Math.min(5_000, 100 * 2 ** host.failures++);
    host.solo.delete(pod);
    const failure = lostFailure(pod.id, exit);
    for (const [lease, held] of this.#leases) {
      if (held.pod !== pod) continue;
      this.#endLease(lease, true, now);
      host.layer.settle(held.entry, false, now);
      this.#settled(held.entry, { failure, lines: [] });
    }
    this.#matchFreed(host, now);
    // One that has a placement is forgotten when that does: it still holds the set.
    if (host.layer.waiting === 0 && (this.#placement === undefined || host.isReplicated)) this.#closeIfIdle(host);
  }

  #refuse(host: LayerHost, pod: Pod, cause: Failure): void {
    const now = this.#clock.now();
    // First of all: a call that may be tried again at once must not come back to it.
    pod.state = "draining";
    const failure: Failure = { code: "POD_FAILED_TO_START", message: `the application does not load: ${cause.message}`, cause };
    if (this.#placement !== undefined && !host.isReplicated) this.#placement.refused(host, failure, now);
    else host.retryAt = now + Math.min(5_000, 100 * 2 ** host.failures++);
    for (const [lease, held] of this.#leases) {
      if (held.pod !== pod) continue;
      this.#endLease(lease, true, now);
      host.layer.settle(held.entry, false, now);
      this.#settled(held.entry, { failure, lines: [] });
    }
    host.source.end(pod, 0);
  }

  #ask(pod: Pod, message: FromPod & { t: "request" }): void {
    const held = this.#leases.get(message.lease);
    if (held !== undefined && held.pod === pod && this.#attempts !== undefined) {
      return this.#attempts.request(held.entry, message, (reply) => this.#fleet.send(pod, reply));
    }
    // Given up before: its code would wait for ever, and its slot with it.
    const failure: Failure = { code: "CALL_CANCELLED", message: "this attempt is over: its call goes on without it", terminal: true };
    this.#fleet.send(pod, { t: "reply", lease: message.lease, id: message.id, value: "", failure: JSON.stringify(failure) });
  }

  #progress(pod: Pod, { lease, value }: FromPod & { t: "progress" }): void {
    const held = this.#leases.get(lease);
    if (held === undefined || held.pod !== pod) return;
    const tellAt = this.#heartbeats.heard(lease, held.entry, value, this.#clock.now());
    if (tellAt !== undefined) this.#sweepAt(tellAt);
  }

  #answer(host: LayerHost, pod: Pod, message: FromPod & { t: "result" }): void {
    const now = this.#clock.now();
    const held = this.#leases.get(message.lease);
    if (held === undefined || held.pod !== pod) {
      // The attempt was given up before (timeout, withdrawal): only its slot comes free.
      if (pod.zombies > 0) pod.zombies--;
      if (host.layer.waiting > 0) this.#match(host, now);
      return;
    }
    this.#endLease(message.lease, message.failure !== "", now);
    pod.answered++;
    if (host.crashes > 0) this.#placement?.served(host, pod);
    const { entry } = held;
    host.layer.settle(entry, message.failure === "", now);
    const outcome: Outcome = {
      ...(message.failure === "" ? { value: message.value } : { failure: JSON.parse(message.failure) as Failure }),
      metrics: {
        durationMs: message.durationMs,
        cpuMs: message.cpuMs,
        queueMs: entry.leasedAt - entry.waitingSince,
        memoryMb: message.memoryMb,
        coldStart: held.cold,
        pod: pod.id,
      },
      lines: message.lines,
    };
    if (held.cold && outcome.metrics !== undefined && pod.coldStartMs !== undefined) outcome.metrics.coldStartMs = pod.coldStartMs;
    if (message.writes !== undefined) outcome.writes = message.writes;
    if (message.objects !== undefined) outcome.objects = message.objects;
    this.#settled(entry, outcome);
    this.#matchFreed(host, now);
  }

  /** What a set's replicas have agreed on takes the place of a pod's word. */
  certified(host: LayerHost, pod: Pod, { lease, certificate, durationMs, lines, ...result }: CertifiedAnswer): void {
    const now = this.#clock.now();
    const held = this.#endLease(lease, result.failure !== undefined, now);
    if (held === undefined) return this.#match(host, now);
    pod.answered++;
    const { entry } = held;
    host.layer.settle(entry, result.failure === undefined, now);
    const queueMs = entry.leasedAt - entry.waitingSince;
    // Time on the processor and memory are spent several times, in processes of their own: no number stands for the call.
    const metrics: CallMetrics = { durationMs, cpuMs: 0, queueMs, memoryMb: 0, coldStart: held.cold, pod: pod.id };
    const outcome: Outcome = { ...result, metrics, lines };
    if (certificate !== undefined) outcome.certificate = certificate;
    this.#settled(entry, outcome);
    this.#matchFreed(host, now);
  }

  #endLease(lease: number, failed: boolean, now: number): Lease | undefined {
    const held = this.#leases.get(lease);
    if (held === undefined) return undefined;
    this.#leases.delete(lease);
    this.#deadlines.get(held.entry.timeoutMs)?.delete(lease);
    this.#heartbeats.end(lease, failed, now);
    const { pod, host } = held;
    if (held.entry.solo) host.solo.delete(pod);
    if (--pod.inFlight === 0) host.source.idle(pod);
    if (this.#leases.size === 0) this.#drained?.();
    return held;
  }

  #sweepAt(time: number): void {
    if (time >= this.#nextSweep) return;
    this.#cancelSweep();
    this.#nextSweep = time;
    this.#cancelSweep = this.#clock.after(time - this.#clock.now(), () => this.#sweep());
  }

  /** Ends overdue and silent leases, and wakes calls that are delayed or throttled; then sleeps until the next of these. */
  #sweep(): void {
    const now = this.#clock.now();
    const isLate = now - this.#nextSweep > LATE_MS;
    // What attempts have answered while this process stood still is yet to be read: they are looked at once more, and then judged.
    const isSpared = isLate && !this.#wasSpared;
    this.#wasSpared = isSpared;
    this.#nextSweep = Number.POSITIVE_INFINITY;
    let next = Number.POSITIVE_INFINITY;
    for (const [timeoutMs, leases] of this.#deadlines) {
      for (const [lease, held] of leases) {
        const deadline = held.entry.leasedAt + timeoutMs;
        if (deadline > now || isSpared) {
          next = Math.min(next, deadline);
          break;
        }
        this.#giveUp(lease, held, `function "${held.entry.fn}" did not answer within ${timeoutMs} ms`, now);
      }
      if (leases.size === 0) this.#deadlines.delete(timeoutMs);
    }
    const silent = this.#heartbeats.sweep(now, isSpared, (lease, { fn }, heartbeatMs) => {
      const message = `function "${fn}" told no progress for ${heartbeatMs} ms, its heartbeatMs: call ctx.progress() more often or raise it`;
      this.#giveUp(lease, this.#leases.get(lease)!, message, now);
    });
    next = Math.min(next, silent);
    for (const layer of this.#layers) next = Math.min(next, layer.wake(now) ?? Number.POSITIVE_INFINITY);
    for (const layer of this.#layers) {
      const home = layer.waiting > 0 ? this.#home(layer.fn, layer.version) : undefined;
      // What the pace of a function lets begin is for the version whose calls have waited the longest.
      if (home !== undefined) this.#matchFreed(this.#hostOf(layer, home), now);
    }
    if (next !== Number.POSITIVE_INFINITY) this.#sweepAt(Math.max(next, now + SWEEP_MS / 10));
  }

  #giveUp(lease: number, held: Lease, message: string, now: number): void {
    const { entry, pod, host } = held;
    this.#endLease(lease, true, now);
    host.layer.settle(entry, false, now);
    pod.zombies++;
    host.source.send(pod, { t: "abort", lease, reason: message });
    this.#settled(entry, { failure: { code: "CALL_TIMEOUT", message }, lines: [] });
    // A suspect has its pod to itself also after it was given up.
    if (entry.solo) host.source.end(pod, 0, "killed");
    else this.#replaceClogged(host, pod);
  }

  /** When half of the slots are taken by attempts that never end, the pod serves what it has and is replaced. */
  #replaceClogged(host: LayerHost, pod: Pod): void {
    if (pod.state === "ready" && pod.zombies * 2 >= host.template.slots) this.drainPod(host, pod);
  }

  /** Calls were withdrawn and their code goes on, which is harmless until others wait for its slots for too long. */
  #unclog(host: LayerHost, now: number): void {
    const { layer } = host;
    if (layer.oldestWaitingMs(now) < CLOGGED_MS || layer.peek(now) === undefined) return;
    for (const pod of host.pods.values()) this.#replaceClogged(host, pod);
  }

  #tick(): void {
    const now = this.#clock.now();
    for (const host of [...this.#hosts.values()]) {
      const { layer } = host;
      if (layer.waiting === 0) continue;
      this.#unclog(host, now);
      this.#match(host, now);
      if (this.#placement !== undefined || host.isReplicated) continue;
      const room =
        !this.#draining && host.pods.size < this.#options.maxPodsPerFunction && layer.peek(now) !== undefined && host.retryAt <= now;
      const starting = [...host.pods.values()].some((pod) => pod.state === "starting");
      if (room && !starting && layer.oldestWaitingMs(now) > this.#options.patienceMs) this.#addPod(host, now);
    }
    this.#cancelTick = this.#clock.after(STARVED_MS, () => this.#tick(), "upkeep");
  }

  #closeIfIdle(host: LayerHost): void {
    if (host.pods.size > 0 || host.isKept || this.#hosts.get(host.layer.key) !== host) return;
    this.#layers.close(host.layer);
    if (this.#layers.find(host.layer.fn, host.layer.version) === undefined) this.#hosts.delete(host.layer.key);
  }
}
