/** What is answered of runs: results, views, journals, certificates and what executing code has written. */
import {
  anything,
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
import { retryPolicy } from "./answers-applications.ts";

export const verdict = object({ class: FaultClass, retryable: yes, evidence: list(text) });
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

export const runAnswers = {
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
} as const;
