/**
 * The reconciler: drives the pods that there are to those that there should be.
 *
 * Owns: when pods are started and drained, crash loops, conditions. Does not own: the numbers (targets), which calls a pod executes (the
 * scheduler), processes (the fleet and its cluster).
 *
 * R1  A call that waits without a pod gets one at once, whatever was decided, unless its pods crash in a loop: then after the pause.
 * R2  Nobody's pods are ended for pods that no call waits for; what there is no room for is a condition of its service.
 * R3  Functions without calls and pods cost nothing: only targets that are active are looked at.
 */
import type { Clock } from "../lib/clock.ts";
import type { Failure } from "../lib/errors.ts";
import type { Condition } from "../protocol/cluster.ts";
import type { EventBody } from "../protocol/events.ts";
import type { Fleet, Pod } from "../scheduler/fleet.ts";
import type { Placement, PodSet, PodTemplate } from "../scheduler/service.ts";
import type { PodExit } from "./port.ts";
import type { ObservedPod, Plan } from "./reconcile-machine.ts";
import { conditionsOf, crashed, ends, NO_CRASH, plan } from "./reconcile-machine.ts";
import { isSamePod } from "./specs.ts";
import type { Kept, Targets } from "./targets.ts";

/** The scheduler, as far as pods are concerned. */
export interface PodSets {
  podSet(fn: string, version: string): PodSet | undefined;
  release(set: PodSet): void;
}

export interface ReconcilerParts {
  targets: Targets;
  fleet: Pick<Fleet, "pods" | "lacks" | "fits">;
  clock: Clock;
  turn: { event(body: EventBody): void };
  /** Pods that may start at the same time, and twice as many while calls wait: more would only slow each other, and all calls, down. */
  mostStarting: number;
  /** What precedes each look: following the registry. */
  refresh(): void;
}

/** Between two looks while calls wait or something has still to be done, and while all is well. */
const TICK_MS = 100;
const CALM_MS = 500;
const STARVED_MS = 50;
/** What users hear of as events; the others change with every pod. */
const TROUBLES: ReadonlySet<Condition["type"]> = new Set(["CrashLoop", "InsufficientMemory", "InsufficientPods"]);
/** A pod that has lived for so long is in no crash loop, although nothing has called it. */
const STABLE_MS = 10_000;
const MOST_OUTPUT = 200;

export class Reconciler implements Placement {
  readonly #parts: ReconcilerParts;
  /** By which template each pod was made. */
  readonly #made = new WeakMap<Pod, PodTemplate>();
  #sets!: PodSets;
  #look: (now: number) => void = () => {};
  #isOn = false;
  #tickAt = Number.POSITIVE_INFINITY;
  #cancelTick = () => {};

  constructor(parts: ReconcilerParts) {
    this.#parts = parts;
    parts.targets.changed = () => this.#tickWithin(TICK_MS);
  }

  /** @param look decides for the active targets, at every tick */
  connect(sets: PodSets, look: (now: number) => void): void {
    this.#sets = sets;
    this.#look = look;
  }

  /** Brings the pods back that are desired, and sees to it from now on. Comes after fleet and scheduler. */
  start(): void {
    this.#isOn = true;
    this.#tick();
  }

  stop(): void {
    this.#isOn = false;
    this.#tickAt = Number.POSITIVE_INFINITY;
    this.#cancelTick();
  }

  // ---------------------------------------------------------------- placement

  template(fn: string, version: string): PodTemplate {
    return this.#parts.targets.of(fn, version).settings.template;
  }

  activate(set: PodSet, now: number): void {
    const { targets } = this.#parts;
    const target = this.#targetOf(set);
    target.set = set;
    targets.activate(target);
    if (target.crash.retryAt > now || target.starvedUntil > now) return;
    if (target.desired < 1) targets.scale(target, 1, "activation: a call waits and there is no pod");
    // Also beyond what was decided: pods that execute a suspect call alone take no other.
    if (this.add(target, set, true) === undefined) target.starvedUntil = now + STARVED_MS;
  }

  served(set: PodSet, pod: Pod): void {
    this.#recovered(this.#targetOf(set), set, pod);
  }

  refused(set: PodSet, { message }: Failure, now: number): void {
    this.#crashed(this.#targetOf(set), set, false, message, now);
  }

  gone(set: PodSet, pod: Pod, exit: PodExit, now: number): void {
    const target = this.#targetOf(set);
    // One that was ended by us, or with a call that is suspected of ending pods, tells nothing about the code.
    const isOwnFault = exit.reason !== "deleted" && exit.reason !== "killed" && !set.solo.has(pod) && pod.answered === 0;
    if (isOwnFault) this.#crashed(target, set, exit.reason !== "failed-to-start", reasonOf(exit), now);
    if (!this.#isOn) return;
    this.reconcile(target, now);
    this.#tickWithin(TICK_MS);
  }

  #targetOf({ layer }: PodSet): Kept {
    return this.#parts.targets.of(layer.fn, layer.version);
  }

  #crashed(target: Kept, set: PodSet, hadConnected: boolean, reason: string, now: number): void {
    target.crash = crashed(target.crash, hadConnected, reason, now);
    set.crashes = target.crash.count;
  }

  #recovered(target: Kept, set: PodSet, { takenAt }: Pod): void {
    if (ends(target.crash, takenAt)) target.crash = NO_CRASH;
    set.crashes = target.crash.count;
  }

  // ---------------------------------------------------------------- reconciling

  #tick(): void {
    const now = this.#parts.clock.now();
    this.#tickAt = Number.POSITIVE_INFINITY;
    this.#parts.refresh();
    this.#look(now);
    let isBusy = false;
    for (const target of [...this.#parts.targets.active()]) {
      this.reconcile(target, now);
      isBusy ||= (target.set?.layer.waiting ?? 0) > 0 || target.conditions.some(({ type }) => type !== "Ready");
    }
    this.#parts.targets.store();
    this.#tickWithin(isBusy ? TICK_MS : CALM_MS);
  }

  #tickWithin(ms: number): void {
    const at = this.#parts.clock.now() + ms;
    if (!this.#isOn || at >= this.#tickAt) return;
    this.#cancelTick();
    this.#tickAt = at;
    this.#cancelTick = this.#parts.clock.after(ms, () => this.#tick(), "upkeep");
  }

  /** Does for one target what has to be done now. */
  reconcile(target: Kept, now: number): void {
    if (!this.#isOn) return;
    const set = target.desired > 0 ? this.setOf(target) : target.set;
    if (set === undefined) return this.#rest(target, now);
    for (const pod of set.pods.values()) if (target.crash.count > 0 && isStable(pod, now)) this.#recovered(target, set, pod);
    set.reserved = target.settings.scale.min;
    set.isKept = target.desired > 0;
    const todo = plan(target.desired, this.#observed(target, set), target.crash, now);
    for (const id of todo.drain) set.drain(set.pods.get(id) as Pod);
    this.#start(target, set, todo);
    this.#judge(target, set, now);
    if (set.pods.size === 0 && target.desired === 0) this.#rest(target, now);
  }

  #start(target: Kept, set: PodSet, { start, inPlace }: Plan): void {
    // While others start, nobody asks for room: what was lacking may still be.
    if (start === 0) target.lacks = undefined;
    for (let started = 0; started < start && this.#mayStart(set); started++) {
      if (this.add(target, set, false) !== undefined) continue;
      const old = inPlace === undefined || started > 0 ? undefined : set.pods.get(inPlace);
      if (old !== undefined && this.#parts.fleet.fits(set.template.memoryMb, (pod) => pod === old)) set.drain(old);
      return;
    }
  }

  /** Looks at the target no more, until something is in its layer. */
  #rest(target: Kept, now: number): void {
    const { set } = target;
    if (set !== undefined) {
      const { waiting, delayed, leased } = set.layer;
      if (waiting + delayed + leased > 0) return;
      this.#sets.release(set);
    }
    target.set = undefined;
    target.lacks = undefined;
    this.#judge(target, undefined, now);
    this.#parts.targets.rest(target);
  }

  /** The set may have been forgotten since, and then there is another one. */
  setOf(target: Kept): PodSet | undefined {
    target.set = this.#sets.podSet(target.fn, target.version);
    return target.set;
  }

  #observed({ settings }: Kept, set: PodSet): ObservedPod[] {
    return [...set.pods.values()].map((pod) => ({
      id: pod.id,
      state: pod.state,
      hasLoaded: pod.coldStartMs !== undefined,
      inFlight: pod.inFlight + pod.zombies,
      idleSince: pod.idleSince,
      solo: set.solo.has(pod),
      outdated: this.#isOutdated(pod, settings.template),
    }));
  }

  #isOutdated(pod: Pod, template: PodTemplate): boolean {
    return !isSamePod(this.#made.get(pod) ?? template, template);
  }

  #mayStart({ layer }: PodSet): boolean {
    const { mostStarting } = this.#parts;
    let starting = 0;
    for (const pod of this.#parts.fleet.pods.values()) if (pod.state === "starting") starting++;
    return starting < (layer.waiting > 0 ? 2 * mostStarting : mostStarting);
  }

  /** One pod more; `undefined` when there is no room. */
  add(target: Kept, set: PodSet, isUrgent: boolean): Pod | undefined {
    const pod = set.add(isUrgent);
    target.lacks = pod === undefined ? this.#parts.fleet.lacks : undefined;
    if (pod !== undefined) this.#made.set(pod, set.template);
    return pod;
  }

  // ---------------------------------------------------------------- conditions

  #judge(target: Kept, set: PodSet | undefined, now: number): void {
    const before = target.conditions;
    target.conditions = this.conditionsOf(target, set, now);
    for (const one of target.conditions) if (!has(before, one)) this.#tell(target, one, true);
    for (const one of before) if (!has(target.conditions, one)) this.#tell(target, one, false);
  }

  conditionsOf(target: Kept, set: PodSet | undefined, now: number): Condition[] {
    const { desired, crash, lacks, settings, conditions } = target;
    const { starting, ready } = countsOf(set);
    let outdated = 0;
    for (const pod of set?.pods.values() ?? []) if (pod.state !== "draining" && this.#isOutdated(pod, settings.template)) outdated++;
    const detail = lacks === undefined ? "" : this.#lackOf(target);
    return conditionsOf({ desired, starting, ready, outdated, crash, lacks, detail }, conditions, now);
  }

  #lackOf({ desired, lacks, settings }: Kept): string {
    const { fleet } = this.#parts;
    const wanted = desired === 1 ? "1 pod is desired" : `${desired} pods are desired`;
    if (lacks === "memory") return `${wanted}; one more of ${settings.template.memoryMb} MiB exceeds what all pods may have together`;
    return `${wanted}; there are ${fleet.pods.size} pods on this machine, as many as there may be`;
  }

  #tell({ fn, version, settings }: Kept, { type, reason }: Condition, holds: boolean): void {
    if (!TROUBLES.has(type)) return;
    const { service } = settings.template;
    this.#parts.turn.event({ type: "service.condition", service, function: fn, version, condition: type, holds, reason });
  }
}

const has = (conditions: readonly Condition[], { type }: Condition): boolean => conditions.some((one) => one.type === type);

const isStable = (pod: Pod, now: number): boolean => pod.state === "ready" && now - pod.takenAt >= STABLE_MS;

const reasonOf = ({ reason, detail, output }: PodExit): string => {
  const last = output === "" ? "" : `: ${output.split("\n").at(-1)?.slice(0, MOST_OUTPUT)}`;
  return `${reason} (${detail})${last}`;
};

/** One that is connected and has not loaded its code yet is still starting. */
export const countsOf = (set: PodSet | undefined): Record<"starting" | "ready" | "draining", number> => {
  const counts = { starting: 0, ready: 0, draining: 0 };
  for (const { state, coldStartMs } of set?.pods.values() ?? [])
    counts[state === "ready" && coldStartMs === undefined ? "starting" : state]++;
  return counts;
};
