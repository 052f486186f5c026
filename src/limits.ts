import { availableParallelism, totalmem } from "node:os";
import type { ExpressionLimits } from "./expression/limits.ts";

/** Every bound of a platform, with the defaults beside it. */
export interface PlatformLimits {
  /** Attempts of functions that set no `timeoutMs`. */
  callTimeoutMs: number;
  /** Runs in memory, and calls in layers, above which new runs are refused with OVERLOADED. */
  maxLiveRuns: number;
  maxWaitingCalls: number;
  /** An input, a result or a signal's value, as JSON. */
  maxPayloadBytes: number;
  /** Payloads above it are stored beside their records. */
  inlinePayloadBytes: number;
  maxLogBytesPerCall: number;
  /** An object's body. */
  maxObjectBytes: number;
  /** A body that is put from outside and brings nothing for this time is given up, and one that lasts longer than that. */
  objectStallMs: number;
  objectBodyMs: number;
  /** A run that only waits leaves memory after this time. */
  evictAfterMs: number;
  /** Generic pods that wait with the runtime loaded. */
  warmPods: number;
  /** As many when recent demand wants them, and `warmMemoryMb` allows. */
  maxWarmPods: number;
  /** What all warm pods together may occupy, beyond `warmPods`. */
  warmMemoryMb: number;
  maxPods: number;
  /** What the heaps of all pods may come to, in MiB. Default: four fifths of the machine's memory. */
  maxPodMemoryMb: number;
  maxPodsPerFunction: number;
  /** Calls that one pod executes at the same time. */
  slotsPerPod: number;
  /** Pods per application version for coordinators' code. */
  coordinatorPods: number;
  /** Heap of pods whose function sets no `memoryMb`. */
  podMemoryMb: number;
  /** A pod with nothing to do is ended after this time. */
  podIdleMs: number;
  /** One replica of a set after the other is replaced by a fresh one, each after this time; 0: never. */
  replicaRecoveryMs: number;
  /** How long a platform that stops waits for the calls that execute. */
  drainMs: number;
  /** A pod that has been silent for longer hangs. */
  hangMs: number;
  /** A coordinator that executes for longer without yielding is stuck. */
  coordinatorTurnMs: number;
  /** Finished runs are removed after this time, and beyond this number. */
  retainMs: number;
  retainRuns: number;
  retainEvents: number;
  /** Log entries above this number are removed, the oldest first. */
  retainLogs: number;
  /** How often what may be removed is looked for. */
  retainEveryMs: number;
  expression: Partial<ExpressionLimits>;
}

export const DEFAULT_LIMITS: PlatformLimits = {
  callTimeoutMs: 60_000,
  maxLiveRuns: 50_000,
  maxWaitingCalls: 200_000,
  maxPayloadBytes: 4 * 1024 * 1024,
  inlinePayloadBytes: 32 * 1024,
  maxLogBytesPerCall: 64 * 1024,
  maxObjectBytes: 5 * 1024 ** 3,
  objectStallMs: 30_000,
  objectBodyMs: 3_600_000,
  evictAfterMs: 10_000,
  warmPods: 1,
  maxWarmPods: 4,
  warmMemoryMb: 256,
  maxPods: 64,
  maxPodMemoryMb: Math.floor((Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY) * 0.8) / 1_048_576),
  maxPodsPerFunction: Math.min(8, Math.max(2, availableParallelism())),
  slotsPerPod: 64,
  coordinatorPods: 1,
  podMemoryMb: 256,
  podIdleMs: 60_000,
  replicaRecoveryMs: 3_600_000,
  drainMs: 2_000,
  hangMs: 900,
  coordinatorTurnMs: 10_000,
  retainMs: 7 * 24 * 3_600_000,
  retainRuns: 1_000_000,
  retainEvents: 1_000_000,
  retainLogs: 250_000,
  retainEveryMs: 10_000,
  expression: {},
};
