import type { Failure } from "../lib/errors.ts";
import type { Json } from "../lib/json.ts";
import type { ObjectWrite } from "../protocol/objects.ts";
import type { FromPod, ToPod } from "../protocol/pod.ts";
import type { CallCertificate, CallMetrics, LogLine } from "../protocol/run.ts";
import type { StateWrite } from "../protocol/state.ts";
import type { Entry } from "../queue/machine.ts";
import type { Pod } from "./pod.ts";

/** How an attempt ended, and what it wants to have changed. */
export interface Outcome {
  value?: Json;
  failure?: Failure;
  metrics?: CallMetrics;
  lines: LogLine[];
  writes?: StateWrite[];
  objects?: ObjectWrite[];
  certificate?: CallCertificate;
}

/** What a replica set says of a call: exactly one of `value` and `failure`. */
export interface CertifiedAnswer {
  lease: number;
  value?: Json;
  failure?: Failure;
  /** From the moment at which the set was given the call. */
  durationMs: number;
  lines: LogLine[];
  /** Absent only where the replicas have come to different results. */
  certificate?: CallCertificate;
}

/** Who serves attempts while they execute: what they ask for and tell, each under the lease that it holds. */
export interface AttemptService {
  request(entry: Entry, message: FromPod & { t: "request" }, reply: (message: ToPod) => void): void;
  progress(entry: Entry, value: Json): void;
  /** The attempt was taken from its pod: its outcome will not be told. */
  withdrawn(entry: Entry): void;
}

/** @param cold whether the pod had executed nothing before this attempt */
export const outcomeOf = (entry: Entry, pod: Pod, cold: boolean, message: FromPod & { t: "result" }): Outcome => {
  const outcome: Outcome = {
    ...(message.failure === "" ? { value: message.value } : { failure: JSON.parse(message.failure) as Failure }),
    metrics: {
      durationMs: message.durationMs,
      cpuMs: message.cpuMs,
      queueMs: entry.leasedAt - entry.waitingSince,
      memoryMb: message.memoryMb,
      coldStart: cold,
      pod: pod.id,
    },
    lines: message.lines,
  };
  if (cold && outcome.metrics !== undefined && pod.coldStartMs !== undefined) outcome.metrics.coldStartMs = pod.coldStartMs;
  if (message.writes !== undefined) outcome.writes = message.writes;
  if (message.objects !== undefined) outcome.objects = message.objects;
  return outcome;
};

/** What a set's replicas have agreed on takes the place of a pod's word. */
export const certifiedOutcome = (
  entry: Entry,
  pod: Pod,
  cold: boolean,
  { lease: _, certificate, durationMs, lines, ...result }: CertifiedAnswer,
): Outcome => {
  const queueMs = entry.leasedAt - entry.waitingSince;
  // Time on the processor and memory are spent several times, in processes of their own: no number stands for the call.
  const metrics: CallMetrics = { durationMs, cpuMs: 0, queueMs, memoryMb: 0, coldStart: cold, pod: pod.id };
  const outcome: Outcome = { ...result, metrics, lines };
  if (certificate !== undefined) outcome.certificate = certificate;
  return outcome;
};
