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
  spec: ScaleSpec;
  settings: ScalingTarget["settings"] | undefined;
  layer: PodSet["layer"] | undefined;
  seen: Seen;
}

const FIRST_SPAN_MS = 100;
/** Between two looks at a function whose calls don't wait, at the least. */
const CALM_MS = 400;
/** What a pod needs until it takes calls, unless the platform has measured it. */
const START_DELAY_MS = 100;

export class Autoscaler<Target extends ScalingTarget> {
  readonly #cluster: Scalable<Target>;
  readonly #startDelayMs: () => number;
  readonly #scaled = new WeakMap<Target, Scaled>();

  /** @param startDelayMs from the decision to start a pod until it takes calls, as measured lately */
  constructor(cluster: Scalable<Target>, startDelayMs: () => number = () => START_DELAY_MS) {
    this.#cluster = cluster;
    this.#startDelayMs = startDelayMs;
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
    const { pods, reason, forecast } = scaled.scaler.decide(this.#sample(scaled, target, now));
    if (pods !== target.desired) this.#cluster.scale(target, pods, reason, forecast);
  }

  #scaledOf(target: Target, now: number): Scaled {
    const found = this.#scaled.get(target);
    if (found !== undefined) return found;
    const spec = this.#specOf(target);
    const seen = { at: now - FIRST_SPAN_MS, arrived: 0, ended: 0, responseMs: 0, serviceMs: 0, inFlightMs: 0, busyMs: 0 };
    const made: Scaled = { scaler: new Scaler(spec, now - FIRST_SPAN_MS), spec, settings: target.settings, layer: undefined, seen };
    this.#scaled.set(target, made);
    return made;
  }

  #configure(scaled: Scaled, target: Target): void {
    if (scaled.settings === target.settings) return;
    scaled.settings = target.settings;
    scaled.scaler.configure(this.#specOf(target));
  }

  #specOf({ settings: { scale, template } }: Target): ScaleSpec {
    return scaleSpec({ ...scale, slotsPerPod: template.slots, startDelayMs: this.#startDelayMs() });
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

const readyOf = (set: PodSet | undefined): number => {
  let ready = 0;
  for (const pod of set?.pods.values() ?? []) if (pod.state === "ready") ready++;
  return ready;
};
