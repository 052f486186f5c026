/** The events of the feed, one shape for each type. */
import type { EVENT_TYPES } from "../protocol/events.ts";
import {
  at,
  FaultClass,
  failure,
  integer,
  Kind,
  list,
  number,
  object,
  runId,
  Status,
  staleness,
  text,
  time,
  variants,
  yes,
} from "./answer-shapes.ts";
import { ConditionType, detected, FaultKind } from "./answers-cluster.ts";
import type { DocumentSchema } from "./route.ts";

const ofRun = { position: integer, ...at, run: runId };
const ofPod = { position: integer, ...at, pod: text, function: text };
const ofPlatform = { position: integer, ...at };
const ofFault = { ...ofPlatform, fault: text, kind: FaultKind, ...detected };
const ofService = { ...ofPlatform, service: text, function: text };
const forecast = object({ arrivalsPerS: number, serviceMs: number, delayMs: number, responseMs: number });
const alert = { ...ofPlatform, alert: text, function: text, measure: text, value: number, bound: number };
const objectInfo = object({
  bucket: text,
  key: text,
  version: text,
  size: integer,
  etag: text,
  contentType: text,
  metadata: { type: "object", additionalProperties: text },
  modifiedAt: time,
});

const eventShapes: Record<(typeof EVENT_TYPES)[number], Record<string, DocumentSchema>> = {
  "run.accepted": { ...ofRun, kind: Kind, name: text },
  "run.finished": { ...ofRun, name: text, status: Status, durationMs: number, "failure?": failure },
  "run.suspended": { ...ofRun, name: text, failure },
  "run.resumed": { ...ofRun, name: text },
  "call.retrying": { ...ofRun, seq: integer, function: text, attempt: integer, retryAt: time, failure },
  "run.recovering": { ...ofRun, name: text, seq: integer, function: text, fault: FaultClass, recovery: runId },
  "run.recovered": { ...ofRun, name: text, seq: integer, function: text, decision: text, tookMs: number, "by?": text },
  "object.put": { ...ofPlatform, object: objectInfo, "run?": runId },
  "object.deleted": { ...ofPlatform, bucket: text, key: text, version: text, "run?": runId },
  "object.refused": { ...ofRun, bucket: text, key: text, failure: object({ code: text, message: text }) },
  "state.stale": { ...ofPlatform, application: text, key: text, stale: staleness },
  "state.fresh": { ...ofPlatform, application: text, key: text },
  "alert.raised": alert,
  "alert.cleared": alert,
  "trigger.refused": { ...ofRun, kind: Kind, name: text, event: text, reason: text },
  "scale.decided": { ...ofService, version: text, from: integer, pods: integer, reason: text, forecast },
  "service.changed": { ...ofService, change: { enum: ["created", "replaced", "deleted"] } },
  "service.condition": { ...ofService, version: text, condition: ConditionType, holds: yes, reason: text },
  "application.deployed": { ...ofPlatform, application: text, version: text, functions: list(text), coordinators: list(text) },
  "pod.started": { ...ofPod, pid: integer, startMs: number },
  "pod.stopped": { ...ofPod, reason: text },
  "pod.lost": { ...ofPod, reason: text, calls: integer },
  "fault.detected": { ...ofFault, detail: text },
  "fault.repaired": { ...ofFault, repairMs: number, did: text },
  "replicas.changed": {
    ...ofPlatform,
    set: text,
    function: text,
    version: text,
    state: { enum: ["serving", "waiting"] },
    ...{ epoch: integer, serving: integer, of: integer, reason: text },
  },
  "platform.started": { ...ofPlatform, epoch: integer, recovered: integer, recoveryMs: number },
  "platform.audited": { ...ofPlatform, checked: integer, repaired: integer },
};

export const eventAnswers = {
  ObjectInfo: objectInfo,
  Event: variants("type", eventShapes),
} as const;
