/**
 * What has to be done so that a service has the pods that it should have, and what holds of it meanwhile.
 *
 * R1  A pod that executes is never ended for being too many: it takes no more calls, and ends when it has finished.
 * R2  Pods that end before they have answered anything are followed by longer and longer pauses: the code in them is broken, or the machine.
 * R3  A pod that no longer fits the spec goes once one that does is ready and has loaded its code, in its place; where there is no room for
 *     both, before.
 */
import type { Condition, ConditionType } from "../protocol/cluster.ts";

export interface ObservedPod {
  readonly id: string;
  readonly state: "starting" | "ready" | "draining";
  /** Its code is there: until then it may still turn out that it can't execute anything. */
  readonly hasLoaded: boolean;
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
  /** When the last of them ended. */
  readonly at: number;
}

export interface Plan {
  readonly start: number;
  readonly drain: readonly string[];
  /** What to drain when there is no room for what is to be started. */
  readonly inPlace: string | undefined;
}

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;
/** So many in a row are no accident. */
const LOOP = 3;

export const NO_CRASH: CrashRecord = { count: 0, retryAt: 0, reason: "", at: 0 };

/** A pod has ended before it answered anything. One that had connected may have been killed, so the first of them is replaced at once. */
export const crashed = (record: CrashRecord, hadConnected: boolean, reason: string, now: number): CrashRecord => {
  const count = record.count + 1;
  const pause = hadConnected && count === 1 ? 0 : FIRST_PAUSE_MS * 2 ** Math.min(10, record.count - (hadConnected ? 1 : 0));
  return { count, retryAt: now + Math.min(LONGEST_PAUSE_MS, pause), reason, at: now };
};

/** A pod that was taken then has answered, or has lived for long. One that is older than the last crash proves nothing: it may be of an earlier spec. */
export const ends = (record: CrashRecord, takenAt: number): boolean => record.count > 0 && takenAt >= record.at;

export const isCrashLoop = ({ count }: CrashRecord): boolean => count >= LOOP;

export const plan = (desired: number, pods: readonly ObservedPod[], crash: CrashRecord, now: number): Plan => {
  const usable = pods.filter(({ state, solo }) => state !== "draining" && !solo);
  const fitting = usable.filter(({ outdated }) => !outdated).sort(firstToGo);
  const outdated = usable.filter((pod) => pod.outdated).sort(firstToGo);
  const ready = fitting.filter(({ state, hasLoaded }) => state === "ready" && hasLoaded).length;
  const surplus = Math.max(0, fitting.length - desired);
  const replaced = Math.max(0, outdated.length - Math.max(0, desired - ready));
  const drain = [...fitting.slice(0, surplus), ...outdated.slice(0, replaced)].map(({ id }) => id);
  const start = crash.retryAt > now ? 0 : Math.max(0, desired - fitting.length);
  // One at a time, and none for pods of which it is known that they crash.
  const isReplacing = crash.count === 0 && drain.length === 0 && pods.every(({ state, hasLoaded }) => state === "ready" && hasLoaded);
  return { start, drain, inPlace: isReplacing ? outdated[0]?.id : undefined };
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
  /** Of those, how many are of an earlier spec. */
  readonly outdated: number;
  readonly crash: CrashRecord;
  /** What the machine has no more of. */
  readonly lacks: "pods" | "memory" | undefined;
  readonly detail: string;
}

/** What holds now: never nothing. Conditions that held before keep their time. */
export const conditionsOf = (standing: Standing, before: readonly Condition[], now: number): Condition[] => {
  const { desired, starting, ready, outdated, crash, lacks, detail } = standing;
  const isLacking = lacks !== undefined && ready + starting - outdated < desired;
  const isWaiting = ready < desired && !isLacking && !isCrashLoop(crash);
  const holding: [ConditionType, string][] = [];
  if (ready >= desired) holding.push(["Ready", `${ready} of ${desired} pods are ready`]);
  if (isWaiting || (ready < desired && starting > 0) || (outdated > 0 && desired > 0)) holding.push(["Progressing", progressOf(standing)]);
  if (isCrashLoop(crash)) holding.push(["CrashLoop", `${crash.count} pods in a row have ended before they answered: ${crash.reason}`]);
  if (isLacking) holding.push([lacks === "memory" ? "InsufficientMemory" : "InsufficientPods", detail]);
  return holding.map(([type, reason]) => ({ type, reason, since: before.find((one) => one.type === type)?.since ?? now }));
};

const progressOf = ({ desired, starting, ready, outdated, crash }: Standing): string => {
  const old = outdated > 0 ? `, ${outdated} of an earlier spec` : "";
  const ended = crash.count > 0 && !isCrashLoop(crash) ? `; the last one has ended before it answered: ${crash.reason}` : "";
  return `${ready} of ${desired} pods are ready, ${starting} starting${old}${ended}`;
};
