import type { Failure } from "../lib/errors.ts";
import type { Json } from "../lib/json.ts";
import type { ObjectWrite } from "../protocol/objects.ts";
import type { FromPod, ToPod } from "../protocol/pod.ts";
import type { CallMetrics, LogLine } from "../protocol/run.ts";
import type { StateWrite } from "../protocol/state.ts";
import type { Entry } from "../queue/machine.ts";

/** How an attempt ended, and what it wants to have changed. */
export interface Outcome {
  value?: Json;
  failure?: Failure;
  metrics?: CallMetrics;
  lines: LogLine[];
  writes?: StateWrite[];
  objects?: ObjectWrite[];
  /** Text of the certificate by which a quorum of replicas vouches for it. */
  certificate?: string;
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
  certificate?: string;
}

/** Who serves attempts while they execute: what they ask for and tell, each under the lease that it holds. */
export interface AttemptService {
  request(entry: Entry, message: FromPod & { t: "request" }, reply: (message: ToPod) => void): void;
  progress(entry: Entry, value: Json): void;
  /** The attempt was taken from its pod: its outcome will not be told. */
  withdrawn(entry: Entry): void;
}
