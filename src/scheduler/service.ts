/**
 * The scheduler: matches waiting calls with free pods, at the moment at which either appears.
 *
 * Owns: which call goes to which pod and when, and what the end of an attempt means for its layer. Does not own: which layers there are
 * (layer-hosts.ts), how leases end once (leases.ts, S1), how many pods there are (pod-supply.ts), runs, retries (told by `settled`),
 * durability.
 *
 * S2  A call that waits has a pod that will take it, or a pod that is being started, or one of its function's limits is reached: then the
 *     end of another one or the sweep lets it begin (P3).
 */
import type { PodExit } from "../cluster/port.ts";
import type { Clock } from "../lib/clock.ts";
import type { Failure } from "../lib/errors.ts";
import type { LayerView } from "../protocol/control-plane.ts";
import type { Beat, FromPod, ToPod } from "../protocol/pod.ts";
import type { Entry } from "../queue/machine.ts";
import { type AttemptService, type CertifiedAnswer, certifiedOutcome, type Outcome, outcomeOf } from "./attempt.ts";
import { lostFailure } from "./exit.ts";
import type { Fleet } from "./fleet.ts";
import { Heartbeats } from "./heartbeats.ts";
import { BLOCKED_MS, type FunctionHome, type HostOwner, type LayerHost } from "./layer-host.ts";
import { LayerHosts, type ReplicaSources } from "./layer-hosts.ts";
import { type Lease, Leases } from "./leases.ts";
import type { Placement, PodSet } from "./placement.ts";
import type { Pod } from "./pod.ts";
import { PodSupply } from "./pod-supply.ts";
import { SweepTimer } from "./sweep-timer.ts";

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

const TICK_MS = 50;

export class Scheduler implements HostOwner {
  readonly #fleet: Fleet;
  readonly #clock: Clock;
  readonly #home: (fn: string, version: string) => FunctionHome | undefined;
  readonly #settled: (entry: Entry, outcome: Outcome) => void;
  readonly #attempts: AttemptService | undefined;
  readonly #hosts: LayerHosts;
  readonly #leases = new Leases();
  readonly #supply: PodSupply;
  readonly #heartbeats: Heartbeats;
  readonly #timer: SweepTimer;
  /** Whether somebody else decides how many pods there are. */
  readonly isPlaced: boolean;
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
    replicas: ReplicaSources = {},
  ) {
    this.#fleet = fleet;
    this.#clock = clock;
    this.#home = home;
    this.#settled = settled;
    this.#attempts = attempts;
    this.isPlaced = placement !== undefined;
    this.#hosts = new LayerHosts({ fleet, options, placement, replicas, home }, this);
    this.#supply = new PodSupply({ fleet, leases: this.#leases, placement, options });
    this.#heartbeats = new Heartbeats((entry, value) => this.#attempts?.progress(entry, value));
    this.#timer = new SweepTimer(clock, (now, isSpared) => this.#sweep(now, isSpared));
  }

  start(): void {
    this.#tick();
  }

  stop(): void {
    this.#heartbeats.flush(this.#clock.now());
    this.#cancelTick();
    this.#timer.stop();
  }

  /**
   * Dispatches nothing more, and resolves when all that executes has ended, or after `graceMs`. What waits stays in the journal for the
   * next life.
   */
  async drain(graceMs: number): Promise<void> {
    this.#draining = true;
    this.#supply.stop();
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
    return this.#hosts.depth;
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
    const layer = this.#hosts.layerOf(entry, home);
    const now = this.#clock.now();
    layer.enqueue(entry, now);
    if (entry.state === "delayed") this.#timer.at(entry.notBefore);
    else this.#match(this.#hosts.hostOf(layer, home), now);
  }

  /** Takes a call out; an attempt that executes is told to stop, and its outcome will not count. */
  withdraw(entry: Entry, reason: string): void {
    const layer = this.#hosts.find(entry.fn, entry.version);
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
    return this.#hosts.podSet(fn, version);
  }

  /** The sets of all versions that have calls or pods. */
  podSets(): Iterable<PodSet> {
    return this.#hosts.values();
  }

  /** Forgets a set that nobody needs any more. */
  release(set: PodSet): void {
    this.#hosts.closeIfIdle(set as LayerHost);
  }

  /** Whether the function's next call would take a warm pod. */
  takesWarm(fn: string, version: string): boolean {
    return this.#hosts.takesWarm(fn, version);
  }

  views(): LayerView[] {
    return this.#hosts.views(this.#clock.now());
  }

  #match(host: LayerHost, now: number): void {
    if (this.#draining) return;
    const { layer } = host;
    for (let next = layer.peek(now); next !== undefined; next = layer.peek(now)) {
      const pod = host.freePod(next);
      if (pod === undefined) break;
      this.#dispatch(host, pod, next, now);
    }
    if (layer.waiting === 0) return;
    this.#supply.provide(host, now);
    const throttledUntil = layer.throttledUntil(now);
    if (throttledUntil !== undefined) this.#timer.at(throttledUntil);
  }

  /** Gives what a lease of `host` has freed to its layer, or to the version whose calls have waited the longest when versions share a limit. */
  #matchFreed(host: LayerHost, now: number): void {
    if (host.layer.isLimited && this.#hosts.hasOtherWaiting(host)) {
      for (const each of this.#hosts.waitingOf(host.layer.fn, now)) this.#match(each, now);
    } else if (host.layer.waiting > 0) this.#match(host, now);
  }

  #dispatch(host: LayerHost, pod: Pod, next: Entry, now: number): void {
    const lease = this.#leases.next();
    const entry = host.layer.take(lease, pod.id, now) as Entry;
    if (entry.solo) host.solo.add(pod);
    const held: Lease = { entry, host, pod, cold: pod.coldStartMs === undefined };
    this.#leases.begin(lease, held);
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
    this.#leases.watch(lease, held);
    this.#timer.at(now + held.entry.timeoutMs);
    const { heartbeatMs } = held.host;
    if (heartbeatMs !== undefined) this.#timer.at(this.#heartbeats.watch(lease, held.entry, heartbeatMs, now));
  }

  /** For its placement. */
  add(host: LayerHost, isUrgent: boolean): Pod | undefined {
    return this.#supply.add(host, isUrgent);
  }

  /** For its placement: takes no calls any more, and ends when those that it executes have ended, by their timeouts at the latest. */
  drainPod(host: LayerHost, pod: Pod): void {
    this.#supply.drain(host, pod, this.#clock.now());
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
    return [...this.#leases.of(pod)].map(([, { entry }]) => `${entry.run}/${entry.seq}`);
  }

  gone(host: LayerHost, pod: Pod, exit: PodExit): void {
    const now = this.#clock.now();
    host.pods.delete(pod.id);
    this.#supply.gone(host, pod, exit, now);
    host.solo.delete(pod);
    this.#failAll(host, pod, lostFailure(pod.id, exit), now);
    this.#matchFreed(host, now);
    // One that has a placement is forgotten when that does: it still holds the set.
    if (host.layer.waiting === 0 && !this.#supply.isPlaced(host)) this.#hosts.closeIfIdle(host);
  }

  #refuse(host: LayerHost, pod: Pod, cause: Failure): void {
    const now = this.#clock.now();
    // First of all: a call that may be tried again at once must not come back to it.
    pod.state = "draining";
    const failure: Failure = { code: "POD_FAILED_TO_START", message: `the application does not load: ${cause.message}`, cause };
    this.#supply.refused(host, failure, now);
    this.#failAll(host, pod, failure, now);
    host.source.end(pod, 0);
  }

  /** Ends what a pod executes that will not answer. */
  #failAll(host: LayerHost, pod: Pod, failure: Failure, now: number): void {
    for (const [lease, { entry }] of this.#leases.of(pod)) {
      this.#endLease(lease, true, now);
      host.layer.settle(entry, false, now);
      this.#settled(entry, { failure, lines: [] });
    }
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
    if (tellAt !== undefined) this.#timer.at(tellAt);
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
    if (host.crashes > 0) this.#supply.served(host, pod);
    const { entry } = held;
    host.layer.settle(entry, message.failure === "", now);
    this.#settled(entry, outcomeOf(entry, pod, held.cold, message));
    this.#matchFreed(host, now);
  }

  /** What a set's replicas have agreed on takes the place of a pod's word. */
  certified(host: LayerHost, pod: Pod, answer: CertifiedAnswer): void {
    const now = this.#clock.now();
    const held = this.#endLease(answer.lease, answer.failure !== undefined, now);
    if (held === undefined) return this.#match(host, now);
    pod.answered++;
    host.layer.settle(held.entry, answer.failure === undefined, now);
    this.#settled(held.entry, certifiedOutcome(held.entry, pod, held.cold, answer));
    this.#matchFreed(host, now);
  }

  #endLease(lease: number, failed: boolean, now: number): Lease | undefined {
    const held = this.#leases.end(lease);
    if (held === undefined) return undefined;
    this.#heartbeats.end(lease, failed, now);
    const { pod, host } = held;
    if (held.entry.solo) host.solo.delete(pod);
    if (--pod.inFlight === 0) host.source.idle(pod);
    if (this.#leases.size === 0) this.#drained?.();
    return held;
  }

  /** Ends overdue and silent leases, and wakes calls that are delayed or throttled. Gives the time of the next of these. */
  #sweep(now: number, isSpared: boolean): number {
    let next = this.#leases.sweep(now, isSpared, (lease, held, timeoutMs) =>
      this.#giveUp(lease, held, `function "${held.entry.fn}" did not answer within ${timeoutMs} ms`, now),
    );
    const silent = this.#heartbeats.sweep(now, isSpared, (lease, { fn }, heartbeatMs) => {
      const message = `function "${fn}" told no progress for ${heartbeatMs} ms, its heartbeatMs: call ctx.progress() more often or raise it`;
      this.#giveUp(lease, this.#leases.get(lease)!, message, now);
    });
    next = Math.min(next, silent);
    for (const layer of this.#hosts.layers) next = Math.min(next, layer.wake(now) ?? Number.POSITIVE_INFINITY);
    for (const layer of this.#hosts.layers) {
      const home = layer.waiting > 0 ? this.#home(layer.fn, layer.version) : undefined;
      // What the pace of a function lets begin is for the version whose calls have waited the longest.
      if (home !== undefined) this.#matchFreed(this.#hosts.hostOf(layer, home), now);
    }
    return next;
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
    else this.#supply.replaceClogged(host, pod, now);
  }

  #tick(): void {
    const now = this.#clock.now();
    for (const host of [...this.#hosts.values()]) {
      if (host.layer.waiting === 0) continue;
      this.#supply.unclog(host, now);
      this.#match(host, now);
      this.#supply.grow(host, now);
    }
    this.#cancelTick = this.#clock.after(TICK_MS, () => this.#tick(), "upkeep");
  }
}
