/**
 * The autoscaler: measures each function's layer and pods, lets its policy decide how many pods there should be, and tells why.
 *
 * Owns: the measurements between two looks, and what each policy has learnt. Does not own: the policies (decide.ts), pods (the cluster
 * service), the activation of a function without pods, for which nobody waits until the next look.
 *
 * Only versions with calls or pods are looked at, and calls are counted by sums that their layer keeps: neither an idle function nor a call
 * costs anything here.
 */
import type { ScaleForecast } from "../protocol/cluster.ts";
import type { Pod } from "../scheduler/pod.ts";
import type { PodSet } from "../scheduler/service.ts";
import { Scaler } from "./decide.ts";
import type { Sample, ScaleSpec } from "./scale.ts";
import { scaleSpec } from "./scale.ts";

/** One function's version, as it is scaled. */
export interface ScalingTarget {
  readonly fn: string;
  readonly version: string;
  readonly settings: {
    readonly template: { readonly slots: number };
    readonly scale: Pick<ScaleSpec, "min" | "max" | "policy" | "targetMs" | "coolDownMs">;
    readonly isFixed: boolean;
  };
  readonly desired: number;
  readonly set: PodSet | undefined;
}

/** Whose pods are scaled. */
export interface Scalable<Target extends ScalingTarget> {
  active(): Iterable<Target>;
  scale(target: Target, pods: number, reason: string, forecast: ScaleForecast): void;
}

/** The sums of a layer at the last look. */
interface Seen {
  at: number;
  arrived: number;
  ended: number;
  responseMs: number;
  serviceMs: number;
  inFlightMs: number;
  busyMs: number;
}

interface Scaled {
  readonly scaler: Scaler;
  settings: ScalingTarget["settings"] | undefined;
  layer: PodSet["layer"] | undefined;
  startDelayMs: number;
  seen: Seen;
}

const FIRST_SPAN_MS = 100;
/** Between two looks at a function whose calls don't wait, at the least. */
const CALM_MS = 400;
/** What a pod needs until it takes calls, until one has been measured. */
const START_DELAY_MS = 100;
/** A smaller change of it tells a policy nothing. */
const DELAY_STEP_MS = 20;

export class Autoscaler<Target extends ScalingTarget> {
  readonly #cluster: Scalable<Target>;
  readonly #scaled = new WeakMap<Target, Scaled>();

  constructor(cluster: Scalable<Target>) {
    this.#cluster = cluster;
  }

  /** Looks at each version that has calls or pods, and decides where there is something to decide. */
  look(now: number): void {
    for (const target of [...this.#cluster.active()]) if (!target.settings.isFixed) this.#look(target, now);
  }

  #look(target: Target, now: number): void {
    const scaled = this.#scaledOf(target, now);
    const layer = target.set?.layer;
    const isCalm = layer === undefined || layer.waiting === 0;
    if (isCalm && now - scaled.seen.at < CALM_MS) return;
    this.#configure(scaled, target);
    const { pods: wanted, reason, forecast } = scaled.scaler.decide(this.#sample(scaled, target, now));
    const pods = isCalm ? wanted : Math.max(wanted, Math.min(target.desired, needed(target)));
    if (pods !== target.desired) this.#cluster.scale(target, pods, reason, forecast);
  }

  #scaledOf(target: Target, now: number): Scaled {
    const found = this.#scaled.get(target);
    if (found !== undefined) return found;
    const seen = { at: now - FIRST_SPAN_MS, arrived: 0, ended: 0, responseMs: 0, serviceMs: 0, inFlightMs: 0, busyMs: 0 };
    const made: Scaled = {
      scaler: new Scaler(specOf(target, START_DELAY_MS), now - FIRST_SPAN_MS),
      settings: target.settings,
      layer: undefined,
      startDelayMs: START_DELAY_MS,
      seen,
    };
    this.#scaled.set(target, made);
    return made;
  }

  #configure(scaled: Scaled, target: Target): void {
    const delayMs = startDelayOf(target.set) ?? scaled.startDelayMs;
    if (scaled.settings === target.settings && Math.abs(delayMs - scaled.startDelayMs) < DELAY_STEP_MS) return;
    scaled.settings = target.settings;
    scaled.startDelayMs = delayMs;
    scaled.scaler.configure(specOf(target, delayMs));
  }

  #sample(scaled: Scaled, { set, desired, settings }: Target, now: number): Sample {
    const layer = set?.layer;
    // A layer that was closed in between begins at nothing.
    if (layer !== scaled.layer) Object.assign(scaled.seen, { arrived: 0, ended: 0, responseMs: 0, serviceMs: 0, inFlightMs: 0, busyMs: 0 });
    scaled.layer = layer;
    const before = { ...scaled.seen };
    const { seen } = scaled;
    seen.at = now;
    if (layer !== undefined) {
      const { load } = layer;
      seen.arrived = load.arrived;
      seen.ended = load.ended;
      seen.responseMs = load.responseMs;
      seen.serviceMs = load.serviceMs;
      seen.inFlightMs = load.inFlightMs(now);
      seen.busyMs = load.busyMs(now);
    }
    const spanMs = Math.max(1, now - before.at);
    const completed = seen.ended - before.ended;
    const readyPods = readyOf(set);
    const slotMs = readyPods * settings.template.slots * spanMs;
    return {
      at: now,
      arrivals: seen.arrived - before.arrived,
      completed,
      waiting: layer?.waiting ?? 0,
      running: layer?.leased ?? 0,
      inFlight: (seen.inFlightMs - before.inFlightMs) / spanMs,
      pods: desired,
      readyPods,
      responseMs: completed === 0 ? 0 : (seen.responseMs - before.responseMs) / completed,
      serviceMs: completed === 0 ? 0 : (seen.serviceMs - before.serviceMs) / completed,
      utilisation: slotMs === 0 ? 0 : Math.min(1, Math.max(0, seen.busyMs - before.busyMs) / slotMs),
    };
  }
}

const specOf = ({ settings: { scale, template } }: ScalingTarget, startDelayMs: number): ScaleSpec =>
  scaleSpec({ ...scale, slotsPerPod: template.slots, startDelayMs });

/** How long the pods that are there have taken, from the decision to the first call that they could take. */
const startDelayOf = (set: PodSet | undefined): number | undefined => {
  let sum = 0;
  let count = 0;
  for (const { coldStartMs } of set?.pods.values() ?? []) {
    if (coldStartMs === undefined) continue;
    sum += coldStartMs;
    count++;
  }
  return count === 0 ? undefined : sum / count;
};

/**
 * While calls wait: the pods that there are, as long as one of them is on its way or all are full. To call off one that starts costs its start,
 * and one that is full could end these calls sooner; both are asked for again as soon as the wait has become longer. What is not on its way, as
 * there is no room or its code crashes, may be given up, and what is idle because the function has a limit. This is here and not in a policy,
 * since it is about the states of pods, which no policy knows, and holds for all.
 */
const needed = ({ set, settings }: ScalingTarget): number => {
  if (set === undefined) return 0;
  const ready = readyOf(set);
  let starting = 0;
  for (const pod of set.pods.values()) if (pod.state === "starting" || (pod.state === "ready" && !hasLoaded(pod))) starting++;
  const isFull = set.layer.leased >= ready * settings.template.slots;
  return starting > 0 || isFull ? ready + starting : 0;
};

const readyOf = (set: PodSet | undefined): number => {
  let ready = 0;
  for (const pod of set?.pods.values() ?? []) if (pod.state === "ready" && hasLoaded(pod)) ready++;
  return ready;
};

/** A warm pod that was taken is connected at once, and executes nothing before it has loaded the code. */
const hasLoaded = ({ coldStartMs }: Pick<Pod, "coldStartMs">): boolean => coldStartMs !== undefined;
