/**
 * The fixed rule: a layer that is longer than 4 gets one more pod, at each look. The paper that has it names no way down; here, one pod goes
 * when the others could have done all that ran throughout the cool-down, and the cool-down then begins anew.
 */
import type { Sample, ScaleSpec, Step } from "./scale.ts";
import { NO_FORECAST } from "./scale.ts";

export interface ThresholdState {
  /** Since when there has been a pod too many; -1 when there isn't. */
  readonly idleSince: number;
}

export const LONGEST_LAYER = 4;

export const thresholdStart: ThresholdState = { idleSince: -1 };

export const thresholdStep = (spec: ScaleSpec, state: ThresholdState, sample: Sample): Step<ThresholdState> => {
  const { at, waiting, running, pods } = sample;
  const step = (count: number, idleSince: number, reason: string): Step<ThresholdState> => {
    return { pods: count, reason, forecast: NO_FORECAST, state: { idleSince } };
  };
  if (waiting > LONGEST_LAYER) return step(pods + 1, -1, `the layer is ${waiting} long: one more pod`);
  if (pods === 0 && waiting + sample.arrivals > 0) return step(1, -1, "calls wait and there is no pod");
  // The last pod goes when nothing has come, not when nothing happens to be running.
  const needless = pods > 0 && waiting === 0 && running <= (pods - 1) * spec.slotsPerPod && (pods > 1 || sample.arrivals === 0);
  if (!needless) return step(pods, -1, `the layer is ${waiting} long`);
  const idleSince = state.idleSince === -1 ? at : state.idleSince;
  if (at - idleSince < spec.coolDownMs) return step(pods, idleSince, "a pod is idle: cooling down");
  return step(pods - 1, at, `a pod was idle for ${spec.coolDownMs} ms: one pod less`);
};
