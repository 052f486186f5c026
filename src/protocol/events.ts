import type { Failure } from "../lib/errors.ts";
import type { RunId } from "../lib/ids.ts";
import type { FaultClass } from "../lib/verdict.ts";
import type { ScaleForecast } from "./cluster.ts";
import type { FaultCause, FaultType } from "./faults.ts";
import type { ObjectInfo } from "./objects.ts";
import type { RunKind, RunStatus } from "./run.ts";
import type { Staleness } from "./state.ts";

/** What happens on the platform. Every event has a position: a number that only grows, and the cursor of the stream. */
export type PlatformEvent = { position: number; at: number } & EventBody;

export type EventBody =
  | { type: "run.accepted"; run: RunId; kind: RunKind; name: string }
  | { type: "run.finished"; run: RunId; name: string; status: RunStatus; durationMs: number; failure?: Failure }
  | { type: "run.suspended"; run: RunId; name: string; failure: Failure }
  | { type: "run.resumed"; run: RunId; name: string }
  | { type: "call.retrying"; run: RunId; seq: number; function: string; attempt: number; retryAt: number; failure: Failure }
  /** A call (`seq` 0: the coordinator itself) has failed for good, and its recovery begins. */
  | { type: "run.recovering"; run: RunId; name: string; seq: number; function: string; fault: FaultClass; recovery: RunId }
  /** `tookMs`: from the failure to the decision. */
  | { type: "run.recovered"; run: RunId; name: string; seq: number; function: string; decision: string; tookMs: number; by?: string }
  /** `run`: whose call has put it; absent when it came from outside. */
  | { type: "object.put"; object: ObjectInfo; run?: RunId }
  | { type: "object.deleted"; bucket: string; key: string; version: string; run?: RunId }
  /** What a call has put or deleted could not be published in S3, after the call had succeeded. */
  | { type: "object.refused"; bucket: string; key: string; run: RunId; failure: Pick<Failure, "code" | "message"> }
  | { type: "state.stale"; application: string; key: string; stale: Staleness }
  | { type: "state.fresh"; application: string; key: string }
  | { type: "alert.raised"; alert: string; function: string; measure: string; value: number; bound: number }
  | { type: "alert.cleared"; alert: string; function: string; measure: string; value: number; bound: number }
  /** What an event of `run` would have started was not: too many runs had started one another. */
  | { type: "trigger.refused"; run: RunId; kind: RunKind; name: string; event: string; reason: string }
  /** What a policy, a minimum or a call without a pod has changed. */
  | {
      type: "scale.decided";
      service: string;
      function: string;
      version: string;
      from: number;
      pods: number;
      reason: string;
      forecast: ScaleForecast;
    }
  | { type: "service.changed"; service: string; function: string; change: "created" | "replaced" | "deleted" }
  /** A condition that tells of trouble holds now, or doesn't any more. */
  | { type: "service.condition"; service: string; function: string; version: string; condition: string; holds: boolean; reason: string }
  | { type: "application.deployed"; application: string; version: string; functions: string[]; coordinators: string[] }
  | { type: "pod.started"; pod: string; function: string; pid: number; startMs: number }
  | { type: "pod.stopped"; pod: string; function: string; reason: string }
  | { type: "pod.lost"; pod: string; function: string; reason: string; calls: number }
  /** A part of the platform has failed. `fault` is its id, the same in both events; the rest is as in `FaultView`. */
  | ({ type: "fault.detected"; detail: string } & FaultFacts)
  /** What was lost with it is under way again. */
  | ({ type: "fault.repaired"; repairMs: number; did: string } & FaultFacts)
  /** A replica set works, waits for a quorum of its replicas, or has other members. */
  | {
      type: "replicas.changed";
      set: string;
      function: string;
      version: string;
      state: "serving" | "waiting";
      epoch: number;
      serving: number;
      of: number;
      reason: string;
    }
  | { type: "platform.started"; epoch: number; recovered: number; recoveryMs: number }
  | { type: "platform.audited"; checked: number; repaired: number };

interface FaultFacts {
  fault: string;
  kind: FaultType;
  what: FaultCause;
  pod?: string;
  function?: string;
  set?: string;
  replica?: number;
  detectionMs: number;
  calls: number;
}

/** The events' names, for filters. */
export const EVENT_TYPES: readonly EventBody["type"][] = [
  "run.accepted",
  "run.finished",
  "run.suspended",
  "run.resumed",
  "call.retrying",
  "run.recovering",
  "run.recovered",
  "object.put",
  "object.deleted",
  "object.refused",
  "state.stale",
  "state.fresh",
  "alert.raised",
  "alert.cleared",
  "trigger.refused",
  "scale.decided",
  "service.changed",
  "service.condition",
  "application.deployed",
  "pod.started",
  "pod.stopped",
  "pod.lost",
  "fault.detected",
  "fault.repaired",
  "replicas.changed",
  "platform.started",
  "platform.audited",
];
