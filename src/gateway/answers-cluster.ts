/** What is answered of pods and those who decide about them: services, layers, replica sets, faults and drills. */
import { DRILLS } from "../protocol/faults.ts";
import { integer, list, number, object, text, time, watched, yes } from "./answer-shapes.ts";
import { scale } from "./answers-applications.ts";

export const FaultKind = { enum: ["I", "II", "III", "IV"], description: "I a pod, II a leader, III a follower, IV a control plane." };
const FaultCause = {
  enum: [
    ...["crash", "hang", "stuck", "out-of-memory", "failed-to-start", "control-plane-down"],
    ...["lie", "equivocation", "silence", "slow"],
  ],
};
const seat = { "set?": text, "replica?": integer };
export const detected = { what: FaultCause, "pod?": text, "function?": text, ...seat, detectionMs: number, calls: integer };
export const ConditionType = { enum: ["Ready", "Progressing", "CrashLoop", "InsufficientMemory", "InsufficientPods"] };
const podMembers = {
  id: text,
  role: text,
  "application?": text,
  "version?": text,
  pid: integer,
  state: { enum: ["starting", "ready", "draining"] },
  inFlight: integer,
  slots: integer,
  startedAt: time,
  "coldStartMs?": number,
};

export const clusterAnswers = {
  Pod: object(podMembers),
  ClusterPod: object({
    ...podMembers,
    "service?": { ...text, description: "Absent for coordinators' pods and warm ones." },
    ready: { ...yes, description: "It takes calls." },
    memoryMb: number,
    labels: { type: "object", additionalProperties: text },
    resourceVersion: { ...integer, description: "Grows with each change of any pod." },
  }),
  Service: object({
    spec: object(
      {
        name: text,
        function: text,
        "version?": text,
        "replicas?": integer,
        "scale?": scale,
        "memoryMb?": number,
        "concurrency?": integer,
        "environment?": { type: "object", additionalProperties: text },
      },
      { description: "With all that follows from the function's definition and the platform's limits." },
    ),
    application: text,
    default: { ...yes, description: "It follows from the function's definition alone." },
    resourceVersion: { ...integer, description: "Grows with each change of the spec; 0 for a default one." },
    versions: list(
      object({
        version: text,
        current: yes,
        desired: integer,
        starting: integer,
        ready: integer,
        draining: integer,
        reason: { ...text, description: "Why so many pods are desired." },
        conditions: list(object({ type: ConditionType, reason: text, since: time })),
      }),
    ),
  }),
  PodWatchEvent: watched("pod", { $ref: "#/components/schemas/ClusterPod" }),
  ServiceWatchEvent: watched("service", { $ref: "#/components/schemas/Service" }),
  Layer: object({
    function: text,
    application: text,
    version: text,
    waiting: integer,
    delayed: integer,
    running: integer,
    dead: { type: "integer", description: "Dead letters." },
    pods: integer,
    oldestWaitingMs: number,
    throttled: { type: "boolean", description: "Calls wait because of the function's limit per second." },
    enqueuedPerSecond: number,
    completedPerSecond: number,
    completed: integer,
    failed: integer,
  }),
  Fault: object({
    id: text,
    type: FaultKind,
    ...detected,
    detectedAt: time,
    detail: text,
    "repeated?": { ...integer, description: "How often the same happened again before it was repaired." },
    "repairedAt?": time,
    "repairMs?": number,
    "did?": { ...text, description: "What was done about it." },
  }),
  Drill: object({
    kind: { enum: [...DRILLS] },
    "pod?": text,
    "function?": text,
    "replica?": { ...integer, description: "The seat of a replica." },
    pid: integer,
    calls: { ...integer, description: "That were under way in it." },
    at: time,
    position: { ...integer, description: "Of the newest event then." },
    "lastsMs?": integer,
    "restarts?": { ...yes, description: "The control plane begins anew by itself." },
  }),
  ReplicaSet: object({
    set: { ...text, description: "`application/function@version`" },
    application: text,
    function: text,
    version: text,
    faults: { ...integer, description: "Replicas that may fail in any way." },
    durable: { ...yes, description: "Its replicas keep state on disk." },
    state: { enum: ["forming", "serving", "waiting"], description: "waiting: fewer than 2f + 1 replicas work, and calls wait." },
    epoch: { ...integer, description: "Grows with each change of the members." },
    view: integer,
    serving: { ...integer, description: "Replicas that work." },
    underWay: { ...integer, description: "Calls that are not certified yet." },
    replicas: list(
      object({ index: integer, state: { enum: ["empty", "starting", "ready", "serving"] }, "pod?": text, "key?": text, leader: yes }),
    ),
  }),
} as const;
