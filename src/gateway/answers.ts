/** Schemas of what the platform answers: the components of the OpenAPI document. */
import { catalogue } from "../lib/errors.ts";
import type { EVENT_TYPES } from "../protocol/events.ts";
import { DRILLS } from "../protocol/faults.ts";
import type { DocumentSchema } from "./route.ts";

const text = { type: "string" };
const integer = { type: "integer" };
const number = { type: "number" };
const yes = { type: "boolean" };
const list = (items: DocumentSchema): DocumentSchema => ({ type: "array", items });
const runId = { type: "string", pattern: "^run_[0-9a-hjkmnp-tv-z]{11}$", examples: ["run_00jx3v9k2m7"] };
const time = { type: "integer", description: "Unix milliseconds." };
const anything = { description: "Any JSON value; absent when there is none." };

/** All members are required but those whose names end in "?". */
const object = (members: Record<string, DocumentSchema>, extra: DocumentSchema = {}): DocumentSchema => {
  const entries = Object.entries(members).map(([name, schema]) => [name.replace("?", ""), schema] as const);
  const required = Object.keys(members).filter((name) => !name.endsWith("?"));
  return { type: "object", properties: Object.fromEntries(entries), ...(required.length > 0 ? { required } : {}), ...extra };
};

const variants = (tag: string, shapes: Record<string, Record<string, DocumentSchema>>): DocumentSchema => ({
  oneOf: Object.entries(shapes).map(([name, members]) => object({ [tag]: { const: name }, ...members })),
});

/** What is told of something that is watched. */
const watched = (name: string, item: DocumentSchema): DocumentSchema =>
  object(
    { position: { type: "integer" }, type: { enum: ["reset", "added", "modified", "deleted"] }, [`${name}?`]: item },
    { description: `\`reset\`, which has no ${name}, begins anew: all that there is follows as \`added\`.` },
  );

/** A reference to one of `components`. */
export const ref = (name: keyof typeof components): DocumentSchema => ({ $ref: `#/components/schemas/${name}` });
const failure = { $ref: "#/components/schemas/Failure" };

const Status = { enum: ["running", "waiting", "suspended", "completed", "failed", "cancelled"], description: "The last three are final." };
const Kind = { enum: ["coordinator", "expression", "function", "recovery"] };
const Fault = {
  enum: [
    "invocation",
    "execution",
    "timeout",
    "permission",
    "resource-not-found",
    "storage-unavailable",
    "out-of-memory",
    "pod-lost",
    "consensus",
    "check-failed",
  ],
};
const verdict = object({ class: Fault, retryable: yes, evidence: list(text) });
const staleness = object({ run: runId, call: integer, function: text, fault: Fault, message: text, at: time });

const resultMembers = { id: runId, status: Status, "value?": anything, "failure?": failure };
const summaryMembers = {
  id: runId,
  kind: Kind,
  name: { type: "string", description: "Of the coordinator or function; the text of an expression." },
  application: text,
  version: text,
  status: Status,
  acceptedAt: time,
  "finishedAt?": time,
  "key?": text,
  "parent?": runId,
};

const backoff = object({ "initialMs?": number, "factor?": number, "maxMs?": number, "jitter?": number });
const retryPolicy = object({
  "attempts?": integer,
  "backoff?": backoff,
  "nonRetryable?": list(text),
  "onExhausted?": { enum: ["suspend", "fail"] },
});
const callOptions = object({ "timeoutMs?": number, "retry?": retryPolicy, "priority?": number });
const metrics = object({
  durationMs: number,
  cpuMs: number,
  queueMs: number,
  memoryMb: number,
  coldStart: yes,
  "coldStartMs?": number,
  pod: text,
});

const webhook = object({
  path: text,
  "method?": { enum: ["POST", "PUT", "GET"] },
  "signature?": object({ secretEnv: text, "header?": text }),
  "delivery?": text,
});
const trigger = {
  oneOf: [
    object({ object: object({ bucket: text, "prefix?": text, "suffix?": text }) }),
    object({ cron: text, "timezone?": text, "catchUp?": { enum: ["all", "latest", "none"] } }),
    object({ http: webhook }),
    object({
      event: { type: ["string", "array"], items: text },
      "where?": { type: "object", additionalProperties: { type: ["string", "number", "boolean"] } },
    }),
    object({ stale: text }),
  ],
};
const permitted = {
  "permissions?": object({ "objects?": list(text), "state?": list(text), "call?": list(text) }),
  "on?": list(trigger),
};
const scale = object({
  "min?": integer,
  "max?": integer,
  "policy?": { enum: ["predictive", "threshold", "kpa", "hpa"] },
  "targetMs?": number,
  "coolDownMs?": number,
});
const manifest = object({
  functions: list(
    object({
      name: text,
      "timeoutMs?": number,
      "retry?": retryPolicy,
      "concurrency?": number,
      "memoryMb?": number,
      "deterministic?": yes,
      "compensates?": yes,
      "recovers?": yes,
      "writes?": list(text),
      ...permitted,
      "limits?": object({ "perSecond?": number, "key?": text }),
      "heartbeatMs?": number,
      "scale?": scale,
      "trust?": { enum: ["one", "compare", "quorum"] },
      "faults?": integer,
      "stateful?": yes,
      "stateKey?": text,
    }),
  ),
  coordinators: list(object({ name: text, "recovers?": yes, ...permitted })),
  "tables?": list(object({ name: text, "ttlMs?": number })),
  "buckets?": list(text),
  "alerts?": list(
    object({
      name: text,
      function: text,
      "durationMs?": number,
      "memoryMb?": number,
      "errorRate?": number,
      "windowMs?": number,
      "least?": integer,
    }),
  ),
});

const signature = { type: "string", description: "Ed25519, base64url." };
const publicKey = { type: "string", description: "Raw Ed25519, base64url." };
const digest = { type: "string", description: "SHA-256, hexadecimal." };
const Certificate = object(
  {
    format: { const: "lockstep-certificate/1" },
    membership: object({
      membership: object({
        set: text,
        application: text,
        function: text,
        version: text,
        epoch: integer,
        faults: integer,
        replicas: list(publicKey),
        clients: list(publicKey),
      }),
      signature,
    }),
    statement: object({
      operation: text,
      version: text,
      key: text,
      inputHash: digest,
      resultHash: digest,
      sequence: integer,
      position: integer,
    }),
    path: list(digest),
    votes: list(object({ replica: integer, view: integer, signature })),
  },
  { description: "What 2f + 1 replicas have signed of a call; `lockstep verify` checks it offline." },
);

const at = { at: time };
const stateWrite = { key: text, "value?": anything, "ttlMs?": number, "ifVersion?": integer, "refresh?": yes };
const stateOp = variants("op", {
  get: { key: text, "stale?": { enum: ["refuse", "allow", "wait"] } },
  list: { prefix: text, limit: integer, "after?": text },
  write: stateWrite,
});
const decision = variants("t", {
  retry: { "afterMs?": number, "input?": anything },
  resume: { "value?": anything },
  compensate: {},
  fail: { failure },
  escalate: { message: text },
});
const command = { seq: integer, ...at };
const JournalRecord = variants("t", {
  restarted: { ...at, of: runId, "from?": integer, "origin?": object({ run: runId, acceptedAt: time }) },
  call: { ...command, fn: text, version: text, "input?": anything, "options?": callOptions, "undoable?": yes },
  sleep: { ...command, ms: number, dueAt: time },
  signal: { ...command, name: text, "dueAt?": time },
  step: { ...command, name: text },
  child: { ...command, coordinator: text, "input?": anything, detached: yes, child: runId },
  withdraw: { ...command, target: integer },
  state: { ...command, op: stateOp },
  compensate: command,
  "on-stale": command,
  undo: command,
  attempt: { ...command, attempt: integer, failure, retryAt: time, "metrics?": metrics },
  progress: { ...command, attempt: integer, "value?": anything },
  done: {
    ...command,
    "attempt?": integer,
    "value?": anything,
    "failure?": failure,
    "metrics?": metrics,
    "reads?": list(text),
    "certificate?": Certificate,
  },
  stale: { ...at, key: text, stale: staleness },
  recover: { ...command, attempt: integer, failure, recovery: runId },
  recovered: { ...command, fn: text, decision, "by?": text, "since?": time },
  reopen: { ...command, "input?": anything, notBefore: time },
  ended: { ...at, "value?": anything, "failure?": failure, "cancelled?": yes },
  signalled: { name: text, ...at, "value?": anything },
  cancel: { ...at, reason: text },
  suspend: { ...command, attempt: integer, failure, "metrics?": metrics },
  resume: at,
  finish: { ...at, status: { enum: ["completed", "failed", "cancelled"] }, "value?": anything, "failure?": failure },
});

const ofRun = { position: integer, ...at, run: runId };
const ofPod = { position: integer, ...at, pod: text, function: text };
const ofPlatform = { position: integer, ...at };
const FaultKind = { enum: ["I", "II", "III", "IV"], description: "I a pod, II a leader, III a follower, IV a control plane." };
const FaultCause = {
  enum: [
    ...["crash", "hang", "stuck", "out-of-memory", "failed-to-start", "control-plane-down"],
    ...["lie", "equivocation", "silence", "slow"],
  ],
};
const seat = { "set?": text, "replica?": integer };
const detected = { what: FaultCause, "pod?": text, "function?": text, ...seat, detectionMs: number, calls: integer };
const ofFault = { ...ofPlatform, fault: text, kind: FaultKind, ...detected };
const ofService = { ...ofPlatform, service: text, function: text };
const forecast = object({ arrivalsPerS: number, serviceMs: number, delayMs: number, responseMs: number });
const ConditionType = { enum: ["Ready", "Progressing", "CrashLoop", "InsufficientMemory", "InsufficientPods"] };
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
  "run.recovering": { ...ofRun, name: text, seq: integer, function: text, fault: Fault, recovery: runId },
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

export const components = {
  ObjectInfo: objectInfo,
  Problem: object(
    {
      type: { type: "string", examples: ["urn:lockstep:error:BAD_REQUEST"] },
      title: { type: "string", description: "What the code means." },
      status: integer,
      detail: { type: "string", description: "What happened." },
      code: { enum: Object.keys(catalogue) },
      mend: { type: "string", description: "What to do." },
      "details?": { type: "object", description: "Facts for programs, such as `field`, the path of the wrong one." },
    },
    { description: "RFC 9457." },
  ),
  Failure: object({
    code: { type: "string", description: "Of the catalogue of errors, or the application's own." },
    message: text,
    "name?": { type: "string", description: "The class of what was thrown." },
    "stack?": text,
    "details?": {},
    "call?": object({ function: text, seq: integer }),
    "attempts?": integer,
    "cause?": failure,
    "terminal?": yes,
    "facts?": { type: "object", additionalProperties: { type: ["string", "number", "boolean"] } },
    "verdict?": verdict,
  }),
  Result: object(resultMembers),
  Accepted: object({ id: runId, status: Status, existing: { type: "boolean", description: "Whether the idempotency key was known." } }),
  Started: object({ ...resultMembers, existing: { type: "boolean", description: "Whether the idempotency key was known." } }),
  Standing: object({ id: runId, status: Status }),
  Expression: object({
    id: runId,
    expression: text,
    variables: { type: "object" },
    status: Status,
    "value?": anything,
    "failure?": failure,
  }),
  RunSummary: object(summaryMembers),
  Run: object({
    ...summaryMembers,
    "input?": anything,
    waitingFor: { ...list(text), description: "What an unfinished run waits for, in words." },
    "value?": anything,
    "failure?": failure,
  }),
  JournalRecord,
  Certificate,
  RunCertificate: object({
    call: { type: "integer", description: "The call's number; of a compensation, the negative one of what it undoes." },
    function: text,
    at: time,
    certificate: { $ref: "#/components/schemas/Certificate" },
  }),
  Repair: object({ run: runId, name: text, functions: { ...list(text), description: "Of its dead letters." }, failure: text }),
  Rehearsal: object({
    run: runId,
    name: text,
    version: { ...text, description: "Of the run." },
    "failure?": object({ code: text, message: { ...text, description: "Names the step at which the run would diverge." } }),
  }),
  StateEntry: object({
    key: text,
    "value?": anything,
    version: { ...integer, description: "Grows with each write; 0 when the key has no value." },
    "stale?": staleness,
    "expiresAt?": time,
  }),
  Application: object({ application: text, version: text, manifest, deployedAt: time, current: yes }),
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
  TriggerView: object({
    kind: { enum: ["coordinator", "function"], description: "Of what it starts." },
    name: text,
    application: text,
    trigger,
    "next?": { ...time, description: "When a schedule is due." },
    "last?": object({ at: time, "run?": runId }, { description: "What it started last." }),
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
  CallLog: object({
    run: runId,
    seq: { type: "integer", description: "0 for the coordinator's own lines." },
    attempt: integer,
    function: text,
    lines: list(object({ at: time, level: { enum: ["debug", "info", "warn", "error"] }, text })),
    "report?": object(
      { startedAt: time, endedAt: time, outcome: { enum: ["ok", "fault"] }, "metrics?": metrics, "verdict?": verdict, "message?": text },
      { description: "Present when the lines are those of an attempt that has ended." },
    ),
  }),
  Event: variants("type", eventShapes),
} as const;

/** An object with one member that lists `items`, and what else is given. */
export const pageOf = (name: string, items: DocumentSchema, more: Record<string, DocumentSchema> = {}): DocumentSchema =>
  object({ [name]: list(items), ...more });

export const answers = { object, list, text, integer, yes, runId };
