/**
 * When a pod's silence proves that it hangs (pure).
 *
 * Owns: the marks in a pod by which that is judged. Does not own: time, what becomes of a pod that hangs.
 *
 * B1  A pod that beats is never taken for one that hangs, however late this process comes to read its beats.
 * B2  One that does not is found: pauses of this process put that off once, not each time.
 * B3  While its main thread beats, the thread that takes over has all its time still before it: on a busy machine a pod reads late that user
 *     code is to run, and has beaten for itself any number of times by then.
 */
import type { Pod } from "./pod.ts";

type Marks = Pick<Pod, "lastBeat" | "sparedUntil" | "isSpared" | "awaitsThread">;

/** A thread that beats has to start first, beside all else that starts: on a machine with ten times its load that takes seconds. */
const STARTS_OF_HANG = 10;

/** It warms up before it beats for the first time. */
export const connected = (pod: Marks, now: number, hangMs: number): void => {
  pod.lastBeat = now;
  pod.sparedUntil = now + STARTS_OF_HANG * hangMs;
};

/** User code begins to run in the pod: from now on a thread beats for it. */
export const joined = (pod: Marks, now: number, hangMs: number): void => {
  pod.sparedUntil = now + STARTS_OF_HANG * hangMs;
  pod.awaitsThread = true;
};

/** @param isGeneric the main thread has beaten for itself, as no user code can run yet */
export const beaten = (pod: Marks, now: number, hangMs: number, isGeneric: boolean): void => {
  pod.lastBeat = now;
  pod.isSpared = false;
  if (pod.awaitsThread && isGeneric) {
    pod.sparedUntil = now + STARTS_OF_HANG * hangMs;
    return;
  }
  pod.awaitsThread = false;
  pod.sparedUntil = 0;
};

/**
 * This process stood still (a suspended machine, a stopped process, no processor for it): what the pod has sent meanwhile is still to be
 * read, and a pod that stood still as well has to beat first.
 */
export const sparedFor = (pod: Marks, now: number, hangMs: number): void => {
  if (pod.isSpared) return;
  pod.isSpared = true;
  pod.sparedUntil = Math.max(pod.sparedUntil, now + hangMs);
};

/** The first moment at which it hangs, if nothing is heard of it before. */
export const hangsAt = ({ lastBeat, sparedUntil }: Marks, hangMs: number): number => Math.max(lastBeat + hangMs, sparedUntil) + 1;
