/** Schemas of what is sent to the platform. TypeBox gives the literals their types; check.ts checks them. */
import { EVENT_TYPES } from "../protocol/events.ts";
import { DRILLS } from "../protocol/faults.ts";
import type { JsonSchema } from "./check.ts";
import { DURATION_PATTERN, TIME_PATTERN } from "./units.ts";

const text = <const S extends JsonSchema>(schema: S) => ({ type: "string", ...schema }) as const;

const Name = text({ minLength: 1, maxLength: 200 });
const Key = text({ minLength: 1, maxLength: 500, description: "Idempotency key: a second start with the same key returns the first run." });
const Cursor = text({ minLength: 1, maxLength: 2_000, description: "The `cursor` of the page before." });
const RunIdText = text({
  pattern: "^run_[0-9a-hjkmnp-tv-z]{11}$",
  "x-expects": "a run id such as run_00jx3v9k2m7",
  examples: ["run_00jx3v9k2m7"],
});
const Wait = text({
  pattern: DURATION_PATTERN,
  "x-expects": 'a duration such as "30s", "500ms", "2m" or a number of seconds',
  description:
    "Answer when the run has finished or is suspended, but no later than after this time: `30s`, `500ms`, `2m` or a number of seconds.",
  examples: ["30s"],
});
const Time = text({
  pattern: TIME_PATTERN,
  "x-expects": 'Unix milliseconds or an ISO 8601 time such as "2026-01-31T12:00:00Z"',
  description: "Unix milliseconds, or an ISO 8601 date or time.",
});
const limit = <const D extends number>(byDefault: D) => ({ type: "integer", minimum: 1, maximum: 1_000, default: byDefault }) as const;

/** A text of some of `values`, separated by commas. */
const listOf = (values: readonly string[]) => {
  const one = `(${values.map((value) => value.replaceAll(".", "\\.")).join("|")})`;
  const expects = `one or several, separated by commas, of ${values.join(", ")}`;
  return text({ pattern: `^${one}(,${one})*$`, "x-expects": expects, description: `${expects[0]?.toUpperCase()}${expects.slice(1)}.` });
};

const STATUSES = ["running", "waiting", "suspended", "completed", "failed", "cancelled"] as const;

const Bucket = text({ minLength: 1, maxLength: 200 });
export const BucketParams = { type: "object", properties: { bucket: Bucket }, required: ["bucket"] } as const;
export const ObjectParams = {
  type: "object",
  properties: { bucket: Bucket, key: text({ minLength: 1, maxLength: 2_000, description: "It may hold slashes." }) },
  required: ["bucket", "key"],
} as const;
export const ObjectsQuery = {
  type: "object",
  additionalProperties: false,
  properties: {
    prefix: text({ maxLength: 2_000, description: "Only objects whose keys begin with this." }),
    cursor: Cursor,
    limit: limit(1_000),
  },
} as const;

export const HookParams = {
  type: "object",
  properties: { path: text({ minLength: 1, maxLength: 200, description: "Of the trigger; it may hold slashes." }) },
  required: ["path"],
} as const;
export const RunParams = { type: "object", properties: { id: RunIdText }, required: ["id"] } as const;
export const NameParams = { type: "object", properties: { name: Name }, required: ["name"] } as const;
export const SignalParams = { type: "object", properties: { id: RunIdText, name: Name }, required: ["id", "name"] } as const;

const service = {
  function: Name,
  version: text({ minLength: 16, maxLength: 16, description: "Only pods of this version. Default: all." }),
  replicas: { type: "integer", minimum: 1, maximum: 1_000, description: "Always so many pods. Excludes `scale`." },
  scale: {
    type: "object",
    additionalProperties: false,
    properties: {
      min: { type: "integer", minimum: 0, maximum: 1_000 },
      max: { type: "integer", minimum: 1, maximum: 1_000 },
      policy: text({ pattern: "^(predictive|threshold|kpa|hpa)$", "x-expects": "one of predictive, threshold, kpa, hpa" }),
      targetMs: { type: "integer", minimum: 1 },
      coolDownMs: { type: "integer", minimum: 0 },
    },
  },
  memoryMb: { type: "integer", minimum: 16, maximum: 1_048_576, description: "Heap of each pod, in MiB." },
  concurrency: { type: "integer", minimum: 1, maximum: 10_000, description: "Calls that one pod executes at the same time." },
  environment: { type: "object", additionalProperties: { type: "string" }, description: "No place for secrets: it is shown as it is." },
} as const;
export const ServiceBody = {
  type: "object",
  additionalProperties: false,
  properties: { name: Name, ...service },
  required: ["name", "function"],
} as const;
export const ServicePutBody = { type: "object", additionalProperties: false, properties: service, required: ["function"] } as const;
export const IfVersionQuery = {
  type: "object",
  additionalProperties: false,
  properties: { ifVersion: { type: "integer", minimum: 0, description: "Only if the spec has this resource version; 0: there is none." } },
} as const;
export const WatchQuery = {
  type: "object",
  additionalProperties: false,
  properties: {
    watch: { type: "boolean", default: false, description: "Follow what changes, as server-sent events, instead of the list." },
    after: text({
      pattern: "^\\d{1,15}$",
      "x-expects": "the position of a change",
      description: "Begin after this change; only with `watch`. Default: with all that there is.",
    }),
  },
} as const;
export const ClusterPodBody = {
  type: "object",
  additionalProperties: false,
  properties: { service: Name },
  required: ["service"],
} as const;
export const PodParams = { type: "object", properties: { id: Name }, required: ["id"] } as const;
export const PodDeleteQuery = {
  type: "object",
  additionalProperties: false,
  properties: {
    grace: text({
      pattern: DURATION_PATTERN,
      "x-expects": 'a duration such as "30s", "500ms", "2m" or a number of seconds',
      description: "How long it may take to finish what it executes. Default 30s.",
    }),
  },
} as const;

export const WaitQuery = { type: "object", additionalProperties: false, properties: { wait: Wait } } as const;

export const StartBody = {
  type: "object",
  additionalProperties: false,
  properties: {
    input: { description: "Any JSON value; the handler's input." },
    key: Key,
    priority: { type: "integer", minimum: -1_000_000, maximum: 1_000_000, default: 0, description: "Higher goes first." },
  },
} as const;

export const ExpressionBody = {
  type: "object",
  additionalProperties: false,
  properties: {
    expression: text({ description: "Such as `(a+b)*2`.", examples: ["((3+5)*(4/2))"] }),
    variables: {
      type: "object",
      additionalProperties: {},
      description: "Values of the expression's variables, by name.",
      examples: [{ a: 1 }],
    },
    key: Key,
  },
  required: ["expression"],
} as const;

export const RunsQuery = {
  type: "object",
  additionalProperties: false,
  properties: {
    status: listOf(STATUSES),
    kind: text({ pattern: "^(coordinator|expression|function|recovery)$", "x-expects": "coordinator, expression, function or recovery" }),
    name: text({ minLength: 1, maxLength: 200, description: "Of the coordinator or function." }),
    coordinator: text({ minLength: 1, maxLength: 200, description: "Short for `kind=coordinator&name=…`." }),
    key: text({ minLength: 1, maxLength: 500, description: "Idempotency key." }),
    since: Time,
    until: Time,
    limit: limit(100),
    cursor: Cursor,
  },
} as const;

export const SignalBody = {
  type: "object",
  additionalProperties: false,
  properties: { value: { description: "Any JSON value: what the coordinator gets." } },
} as const;

export const CancelBody = {
  type: "object",
  additionalProperties: false,
  properties: {
    reason: text({ maxLength: 1_000, default: "cancelled by request" }),
    force: { type: "boolean", default: false, description: "End the run at once, even if its coordinator catches the cancellation." },
  },
} as const;

export const ResolveBody = {
  type: "object",
  additionalProperties: false,
  properties: {
    retry: { type: "boolean", description: "`true`: a fresh set of attempts. Exactly one of `retry`, `value` and `fail` is given." },
    input: { description: "Beside `retry`: another input for the call." },
    value: { description: "Any JSON value: what the call, or the run, is done with." },
    fail: text({ maxLength: 1_000, description: "It fails, for this reason." }),
    call: {
      type: "integer",
      minimum: -1_000_000_000,
      maximum: 1_000_000_000,
      description: "The number of the call, where several wait for a decision; 0 is the coordinator itself, a negative one a compensation.",
    },
    by: text({ minLength: 1, maxLength: 200, default: "api", description: "Who decides; kept in the run's journal." }),
  },
} as const;

export const RetryBody = {
  type: "object",
  additionalProperties: false,
  properties: {
    name: text({ minLength: 1, maxLength: 200, description: "Of the coordinator or function." }),
    function: text({ minLength: 1, maxLength: 200, description: "Runs with a dead letter of this function." }),
    since: { type: "integer", minimum: 0, description: "Accepted at or after: Unix milliseconds." },
    limit: { type: "integer", minimum: 1, maximum: 10_000, default: 1_000 },
    dryRun: { type: "boolean", default: false, description: "Only tells which runs they are." },
  },
} as const;

export const RestartBody = {
  type: "object",
  additionalProperties: false,
  properties: {
    from: {
      type: "integer",
      minimum: 1,
      maximum: 1_000_000_000,
      description: "The number of a call: what the run did before it is reused. Default: nothing is.",
    },
  },
} as const;

export const NoBody = { type: "object", additionalProperties: false, properties: {} } as const;

export const BundleBody = {
  type: "object",
  additionalProperties: false,
  properties: {
    application: text({ minLength: 1, maxLength: 200 }),
    code: text({ minLength: 1, description: "The bundle: a CommonJS script." }),
    version: text({
      pattern: "^[0-9a-f]{16}$",
      "x-expects": "16 hexadecimal digits",
      description: "The first 16 hexadecimal digits of the code's SHA-256, to have the transfer checked.",
    }),
  },
  required: ["application", "code"],
} as const;

export const FaultsQuery = {
  type: "object",
  additionalProperties: false,
  properties: { limit: limit(100) },
} as const;

export const DrillBody = {
  type: "object",
  additionalProperties: false,
  properties: {
    kind: text({ pattern: `^(${DRILLS.join("|")})$`, "x-expects": `${DRILLS.slice(0, -1).join(", ")} or ${DRILLS.at(-1)}` }),
    function: text({
      minLength: 1,
      maxLength: 200,
      description: "Whose pod or replicas; default: the busiest pod, the newest replica set.",
    }),
  },
  required: ["kind"],
} as const;

export const LogsQuery = {
  type: "object",
  additionalProperties: false,
  properties: {
    run: RunIdText,
    function: Name,
    level: text({
      pattern: "^(debug|info|warn|error)$",
      "x-expects": "debug, info, warn or error",
      description: "Entries with a line of this level or a graver one, and only those lines. An execution that failed counts as an error.",
    }),
    text: text({
      minLength: 1,
      maxLength: 200,
      description:
        "Entries with a line that has this text in it, in any case, and only those lines; of failed executions also their message.",
    }),
    since: { ...Time, description: "Entries written at or after: Unix milliseconds, or an ISO 8601 date or time." },
    limit: limit(100),
    after: text({
      pattern: "^(\\d{1,15}|latest)$",
      "x-expects": 'the `next` of an answer, or "latest"',
      description: "The `next` of the page before, or `latest`: gives no entry, and as `next` the end of what there is now.",
    }),
  },
} as const;

export const EventsQuery = {
  type: "object",
  additionalProperties: false,
  properties: {
    after: text({
      pattern: "^(\\d{1,15}|latest)$",
      "x-expects": 'the position of an event, or "latest"',
      description: "Begin after this position; `latest` shows only what happens from now on. Default: the oldest event that is kept.",
    }),
    types: listOf(EVENT_TYPES),
    follow: { type: "boolean", default: true, description: "`false` answers with a page of JSON instead of a stream." },
    limit: { ...limit(100), description: "Events in a page; only with `follow=false`." },
  },
} as const;

const StateKey = text({
  minLength: 1,
  maxLength: 1_200,
  description: "A table's name, a slash, and the key: `orders/17`.",
  examples: ["orders/17"],
});
const IfVersion = { type: "integer", minimum: 0, description: "Refused unless the key has this version; 0: has no value." } as const;

export const StateParams = { type: "object", properties: { application: Name }, required: ["application"] } as const;
export const StateKeyParams = {
  type: "object",
  properties: { application: Name, key: StateKey },
  required: ["application", "key"],
} as const;

export const StateQuery = {
  type: "object",
  additionalProperties: false,
  properties: {
    prefix: text({ maxLength: 1_200, description: "Keys that begin with this; it names a table, as `orders/`. Default: all." }),
    limit: limit(100),
    after: text({ minLength: 1, maxLength: 1_200, description: "The last key of the page before." }),
    stale: { type: "boolean", default: false, description: "Only keys that are stale now, the first thousand." },
  },
} as const;

export const StateBody = {
  type: "object",
  additionalProperties: false,
  properties: {
    value: { description: "Any JSON value." },
    ttlMs: { type: "integer", minimum: 1, maximum: 3_000_000_000_000, description: "The key is gone after so many milliseconds." },
    ifVersion: IfVersion,
    refresh: { type: "boolean", default: false, description: "Leave the value, and declare that it is right: it is stale no longer." },
  },
} as const;

export const StateDeleteQuery = { type: "object", additionalProperties: false, properties: { ifVersion: IfVersion } } as const;

export const IdempotencyHeader = {
  "idempotency-key": text({ minLength: 1, maxLength: 502, description: "The same as `key` in the body." }),
} as const;
export const LastEventHeader = {
  "last-event-id": text({ pattern: "^\\d{1,15}$", description: "Resume after this event; goes before `after`." }),
} as const;
