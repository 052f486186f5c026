/**
 * What has to be done so that a service has the pods that it should have, and what holds of it meanwhile.
 *
 * R1  A pod that executes is never ended for being too many: it takes no more calls, and ends when it has finished.
 * R2  Pods that end before they have answered anything are followed by longer and longer pauses: the code in them is broken, or the machine.
 * R3  Pods that no longer fit the spec are replaced only once there is one that does.
 */
import type { Condition, ConditionType } from "../protocol/cluster.ts";

export interface ObservedPod {
  readonly id: string;
  readonly state: "starting" | "ready" | "draining";
  readonly inFlight: number;
  readonly idleSince: number;
  /** It executes a suspect call alone, and takes no other. */
  readonly solo: boolean;
  /** It was made by an earlier spec. */
  readonly outdated: boolean;
}

export interface CrashRecord {
  /** Pods in a row that ended before they had answered anything. */
  readonly count: number;
  /** No pod is started before. */
  readonly retryAt: number;
  readonly reason: string;
}

export interface Plan {
  readonly start: number;
  readonly drain: readonly string[];
}

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;
/** So many in a row are no accident. */
const LOOP = 3;

export const NO_CRASH: CrashRecord = { count: 0, retryAt: 0, reason: "" };

/** A pod has ended before it answered anything. One that had connected may have been killed, so the first of them is replaced at once. */
export const crashed = (record: CrashRecord, hadConnected: boolean, reason: string, now: number): CrashRecord => {
  const count = record.count + 1;
  const pause = hadConnected && count === 1 ? 0 : FIRST_PAUSE_MS * 2 ** Math.min(10, record.count - (hadConnected ? 1 : 0));
  return { count, retryAt: now + Math.min(LONGEST_PAUSE_MS, pause), reason };
};

export const isCrashLoop = ({ count }: CrashRecord): boolean => count >= LOOP;

export const plan = (desired: number, pods: readonly ObservedPod[], retryAt: number, now: number): Plan => {
  const usable = pods.filter(({ state, solo }) => state !== "draining" && !solo);
  const fitting = usable.filter(({ outdated }) => !outdated);
  const outdated = usable.filter((pod) => pod.outdated);
  const start = retryAt > now ? 0 : Math.max(0, desired - fitting.length);
  const isReplaced = desired === 0 || fitting.some(({ state }) => state === "ready");
  const surplus = fitting.length - desired;
  const drain = surplus > 0 ? [...fitting].sort(firstToGo).slice(0, surplus) : [];
  return { start, drain: [...drain, ...(isReplaced ? outdated : [])].map(({ id }) => id) };
};

/** Those that nobody misses: still starting, then idle for the longest, then with the fewest calls. */
const firstToGo = (a: ObservedPod, b: ObservedPod): number => {
  if (a.state !== b.state) return a.state === "starting" ? -1 : 1;
  return a.inFlight - b.inFlight || a.idleSince - b.idleSince;
};

export interface Standing {
  readonly desired: number;
  readonly starting: number;
  readonly ready: number;
  readonly crash: CrashRecord;
  /** What the machine has no more of. */
  readonly lacks: "pods" | "memory" | undefined;
  readonly detail: string;
}

/** What holds now. Conditions that held before keep their time. */
export const conditionsOf = (standing: Standing, before: readonly Condition[], now: number): Condition[] => {
  const { desired, starting, ready, crash, lacks, detail } = standing;
  const holding: [ConditionType, string][] = [];
  if (ready >= desired) holding.push(["Ready", `${ready} of ${desired} pods are ready`]);
  else if (starting > 0) holding.push(["Progressing", `${ready} of ${desired} pods are ready, ${starting} starting`]);
  if (isCrashLoop(crash)) holding.push(["CrashLoop", `${crash.count} pods in a row have ended before they answered: ${crash.reason}`]);
  if (lacks !== undefined && ready + starting < desired) {
    holding.push([lacks === "memory" ? "InsufficientMemory" : "InsufficientPods", detail]);
  }
  return holding.map(([type, reason]) => ({ type, reason, since: before.find((one) => one.type === type)?.since ?? now }));
};
