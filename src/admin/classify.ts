/**
 * What kind of platform fault something is (pure).
 *
 * Owns: the rules. Does not own: noticing, publishing, repair.
 */
import type { PodExit } from "../cluster/port.ts";
import type { FaultCause } from "../protocol/faults.ts";

/** Why a pod is down, when that is a fault of type I; `undefined` when it was ended because nobody needs it. */
export const podFault = ({ reason, memory }: Pick<PodExit, "reason" | "memory">): FaultCause | undefined => {
  if (reason === "deleted") return undefined;
  if (memory || reason === "over-memory") return "out-of-memory";
  if (reason === "failed-to-start") return "failed-to-start";
  if (reason === "hung") return "hang";
  return reason === "killed" ? "stuck" : "crash";
};

/** What is known of a pod around its end. */
export interface PodSigns {
  startedAt: number;
  /** The last sign of its life, whatever it was spared since. */
  lastBeat: number;
  /** When the first sign of its end was noticed, where that was before now. */
  noticedAt?: number | undefined;
  now: number;
}

/** How long it took from the first sign of the fault until it was certain. */
export const detectionMs = (what: FaultCause, { startedAt, lastBeat, noticedAt, now }: PodSigns): number => {
  if (what === "failed-to-start") return Math.max(0, now - startedAt);
  if (what === "hang") return Math.max(0, now - lastBeat);
  return Math.max(0, now - (noticedAt ?? now));
};

/** What a control plane leaves of itself in the state store: when it lived last, and whether it stopped in order. */
export interface LifeMark {
  epoch: number;
  startedAt: number;
  /** Unix ms. */
  at: number;
  clean: boolean;
}

/** Whether the last control plane was found dead, and for how long at most it was down. A clock that went back counts as no time. */
export const controlPlaneFault = (mark: LifeMark | undefined, startedAt: number): { downMs: number } | undefined =>
  mark === undefined || mark.clean ? undefined : { downMs: Math.max(0, startedAt - mark.at) };

export const isLifeMark = (value: unknown): value is LifeMark => {
  const mark = value as Partial<LifeMark> | null;
  return typeof mark === "object" && mark !== null && typeof mark.at === "number" && typeof mark.clean === "boolean";
};

/** What was done about a fault of a pod, in words. */
export const podRepair = (what: FaultCause, role: string, calls: number, successor: string | undefined): string => {
  if (calls > 0) {
    const lost = role === "coordinator" ? `${calls} ${calls === 1 ? "run" : "runs"}` : `${calls} ${calls === 1 ? "call" : "calls"}`;
    if (successor === undefined) return `${lost} went back, and none was dispatched again yet: out of attempts, cancelled or limited`;
    return role === "coordinator"
      ? `replayed in ${successor}: ${lost}`
      : `back in the layer at once, dispatched again to ${successor}: ${lost}`;
  }
  if (what === "failed-to-start") return `${successor ?? "a later pod"} has started`;
  return role === "warm" ? "nothing was under way; the pool is filled up again" : "nothing was under way; the next call gets another pod";
};
