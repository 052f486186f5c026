/**
 * What an autoscaler is told and what it answers. A function's `scale` option is a part of ScaleSpec; the platform fills in the rest.
 */

export const POLICIES = ["predictive", "threshold", "kpa", "hpa"] as const;

export type PolicyName = (typeof POLICIES)[number];

export interface ScaleSpec {
  /** Pods that are always there. Default 0. */
  readonly min: number;
  /** Never more pods than this. Default 100. */
  readonly max: number;
  /** Default `predictive`. */
  readonly policy: PolicyName;
  /** From a call's arrival in the layer to its result. A call that takes longer is late. Default 1,000. */
  readonly targetMs: number;
  /** A function without traffic for this long goes back to `min`. Default 60,000. */
  readonly coolDownMs: number;
  /** Calls that one pod executes at a time. Default 1. */
  readonly slotsPerPod: number;
  /** From the decision to start a pod until it takes calls. Default 500. */
  readonly startDelayMs: number;
  /** What `kpa` and `hpa` aim at, as a part of all slots. Default 0.7, Knative's. */
  readonly targetUtilisation: number;
  /** After how long traffic repeats itself, a day for instance; 0 when it doesn't. For `predictive`. Default 0. */
  readonly seasonMs: number;
}

/** What a platform has measured since the sample before. Counts and means are of the time between the two. */
export interface Sample {
  readonly at: number;
  readonly arrivals: number;
  readonly completed: number;
  /** Calls in the layer, now. */
  readonly waiting: number;
  /** Calls that execute, now. */
  readonly running: number;
  /** The mean number of calls that waited or executed. */
  readonly inFlight: number;
  /** Pods that are wanted: those that start and those that are ready, without those that are on their way out. */
  readonly pods: number;
  readonly readyPods: number;
  /** Mean of the calls that completed, from arrival to result; 0 when none did. */
  readonly responseMs: number;
  /** Mean of the calls that completed, in the pod alone; 0 when none did or it isn't measured. */
  readonly serviceMs: number;
  /** Busy time of slots over the time that there were slots, 0 to 1. */
  readonly utilisation: number;
}

/** What a policy believes; fields that it doesn't estimate are 0. */
export interface Forecast {
  /** Calls per second when a pod that is started now takes calls. */
  readonly arrivalsPerS: number;
  readonly serviceMs: number;
  /** What each call takes besides its service. */
  readonly delayMs: number;
  /** Mean, with the decided number of pods. */
  readonly responseMs: number;
}

export interface Decision {
  readonly pods: number;
  readonly reason: string;
  readonly forecast: Forecast;
}

/** One step of a policy: nothing else is remembered between two samples than the state. */
export interface Step<State> extends Decision {
  readonly state: State;
}

export const NO_FORECAST: Forecast = { arrivalsPerS: 0, serviceMs: 0, delayMs: 0, responseMs: 0 };

export const SCALE_DEFAULTS: ScaleSpec = {
  min: 0,
  max: 100,
  policy: "predictive",
  targetMs: 1_000,
  coolDownMs: 60_000,
  slotsPerPod: 1,
  startDelayMs: 500,
  targetUtilisation: 0.7,
  seasonMs: 0,
};

export const scaleSpec = (options: Partial<ScaleSpec> = {}): ScaleSpec => ({ ...SCALE_DEFAULTS, ...options });

const MOST_PODS = 10_000;
const LONGEST_MS = 7 * 86_400_000;

/** What is wrong with a specification, naming the field; `undefined` when it is right. */
export const scaleProblem = (spec: ScaleSpec): string | undefined => {
  const within = (field: keyof ScaleSpec, least: number, most: number, whole: boolean): string | undefined => {
    const value = spec[field];
    if (typeof value === "number" && value >= least && value <= most && (!whole || Number.isInteger(value))) return undefined;
    return `${field} must be ${whole ? "a whole number" : "a number"} from ${least} to ${most}, not ${String(value)}`;
  };
  const wrong =
    within("min", 0, MOST_PODS, true) ??
    within("max", 1, MOST_PODS, true) ??
    within("targetMs", 1, LONGEST_MS, false) ??
    within("coolDownMs", 0, LONGEST_MS, false) ??
    within("slotsPerPod", 1, 10_000, true) ??
    within("startDelayMs", 0, LONGEST_MS, false) ??
    within("targetUtilisation", 0.01, 1, false) ??
    within("seasonMs", 0, LONGEST_MS, false);
  if (wrong !== undefined) return wrong;
  if (!POLICIES.includes(spec.policy)) return `policy must be one of ${POLICIES.join(", ")}, not ${String(spec.policy)}`;
  return spec.min > spec.max ? `min (${spec.min}) must not be above max (${spec.max})` : undefined;
};
