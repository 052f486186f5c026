/**
 * What the options of definitions must be: checked where they are written, in the user's code, and again of a manifest, which comes from a
 * pod and so from code that nobody trusts.
 *
 * Owns: the rules and their messages. Does not own: the form of triggers (trigger-options.ts), the handlers and schemas, which only a pod
 * sees (definitions.ts).
 */
import { isBucketName } from "../lib/bucket-name.ts";
import type { CallLimits, FunctionSpec, Manifest, Permissions, TableSpec, Trigger } from "../protocol/application.ts";
import type { RetryPolicy } from "../protocol/run.ts";
import {
  bound,
  checkPatterns,
  type Fields,
  invalid,
  isObject,
  isPath,
  isText,
  MOST_PATTERNS,
  type Owner,
  only,
  refuse,
  shown,
} from "./option-refusals.ts";
import { checkTrigger } from "./trigger-options.ts";

const NAME = /^[a-zA-Z][a-zA-Z0-9_-]{0,99}$/;
const MOST_TRIGGERS = 50;
/** Of an application: finding out when schedules are due takes time. */
const MOST_SCHEDULES = 100;
const MOST_TRIGGERS_IN_ALL = 2_000;
const LONGEST_CODE = 200;

/** @throws {LockstepError} APPLICATION_INVALID, as all that follow */
export const checkName = (kind: string, name: unknown): void => {
  if (typeof name === "string" && NAME.test(name)) return;
  throw invalid(`${kind} name ${JSON.stringify(name)} is invalid: use a letter, then up to 99 letters, digits, "-" or "_"`, "name");
};

export const checkBucketName = (name: unknown): void => {
  if (isBucketName(name)) return;
  const message = `bucket name ${JSON.stringify(name)} is invalid: use 3 to 63 lower-case letters, digits, dots and hyphens, beginning and ending with a letter or digit`;
  throw invalid(message, "name");
};

/** Refuses options that don't exist: a misspelt one would be dropped without a word. */
export const checkOptionNames = (owner: Owner, options: unknown, known: readonly string[]): void => {
  if (!isObject(options)) throw invalid(`${owner}: the options must be an object`, "options");
  const odd = Object.keys(options).find((name) => !known.includes(name));
  if (odd !== undefined) throw invalid(`${owner}: there is no option "${odd}": use ${known.join(", ")}`, odd);
};

/** The options of a function that a manifest has too. */
export const checkFunctionSpec = (spec: Omit<FunctionSpec, "name" | "compensates" | "recovers">, owner: Owner): void => {
  bound(owner, "timeoutMs", spec.timeoutMs, 1);
  bound(owner, "concurrency", spec.concurrency, 1);
  bound(owner, "memoryMb", spec.memoryMb, 16);
  bound(owner, "heartbeatMs", spec.heartbeatMs, 1);
  if (spec.deterministic !== undefined && typeof spec.deterministic !== "boolean") {
    refuse(owner, "deterministic", `must be true or false, not ${shown(spec.deterministic)}`);
  }
  if (spec.retry !== undefined) checkRetry(owner, spec.retry);
  if (spec.writes !== undefined) checkWrites(owner, spec.writes);
  if (spec.limits !== undefined) checkLimits(owner, spec.limits);
  if (spec.scale !== undefined) checkScale(owner, spec.scale);
  checkTrust(spec, owner);
  checkShared(spec, owner);
};

/** What functions and coordinators have in common. */
export const checkShared = ({ permissions, on }: { permissions?: Permissions; on?: readonly Trigger[] }, owner: Owner): void => {
  if (permissions !== undefined) checkPermissions(owner, permissions);
  if (on === undefined) return;
  if (on.length > MOST_TRIGGERS) refuse(owner, "on", `lists ${on.length} triggers: ${MOST_TRIGGERS} is the most`);
  for (const trigger of on) checkTrigger(owner, trigger);
};

/** A manifest as a whole, from a pod. */
export const checkManifest = ({ functions, coordinators, tables = [], buckets = [], alerts = [] }: Manifest): void => {
  for (const spec of functions) {
    checkName("function", spec.name);
    checkFunctionSpec(spec, `function "${spec.name}"`);
  }
  for (const spec of coordinators) {
    checkName("coordinator", spec.name);
    checkShared(spec, `coordinator "${spec.name}"`);
  }
  const triggers = [...functions, ...coordinators].flatMap(({ on = [] }) => on);
  const schedules = triggers.filter((trigger) => "cron" in trigger).length;
  if (schedules > MOST_SCHEDULES) throw invalid(`the application has ${schedules} schedules: ${MOST_SCHEDULES} is the most`, "on.cron");
  if (triggers.length > MOST_TRIGGERS_IN_ALL) {
    throw invalid(`the application has ${triggers.length} triggers: ${MOST_TRIGGERS_IN_ALL} is the most`, "on");
  }
  for (const spec of tables) {
    checkName("table", spec.name);
    checkTableSpec(spec);
  }
  for (const bucket of buckets) checkBucketName(bucket);
  for (const { name, function: watched, ...bounds } of alerts) {
    checkName("check", name);
    checkName("function", watched);
    checkBounds(bounds, `check "${name}"`, "bounds");
  }
};

export const checkTableSpec = ({ name, ttlMs }: TableSpec): void => bound(`table "${name}"`, "ttlMs", ttlMs, 1);

export const checkDuration = (owner: Owner, field: string, ms: unknown): void => bound(owner, field, ms, 1);

const checkRetry = (owner: Owner, retry: RetryPolicy): void => {
  if (!isObject(retry)) refuse(owner, "retry", `must be an object such as { attempts: 3 }, not ${shown(retry)}`);
  const { backoff, nonRetryable, onExhausted } = retry;
  only(owner, "retry", retry as Fields, ["attempts", "backoff", "nonRetryable", "onExhausted"]);
  if (backoff !== undefined && !isObject(backoff)) {
    refuse(owner, "retry.backoff", `must be an object such as { initialMs: 200 }, not ${shown(backoff)}`);
  }
  if (backoff !== undefined) only(owner, "retry.backoff", backoff as Fields, ["initialMs", "factor", "maxMs", "jitter"]);
  bound(owner, "retry.attempts", retry.attempts, 1);
  bound(owner, "retry.backoff.initialMs", backoff?.initialMs, 0);
  bound(owner, "retry.backoff.factor", backoff?.factor, 1);
  bound(owner, "retry.backoff.maxMs", backoff?.maxMs, 0);
  bound(owner, "retry.backoff.jitter", backoff?.jitter, 0);
  if (nonRetryable !== undefined && !(Array.isArray(nonRetryable) && nonRetryable.every((code) => isText(code, LONGEST_CODE)))) {
    refuse(owner, "retry.nonRetryable", "must be an array of error codes");
  }
  if ((nonRetryable?.length ?? 0) > MOST_PATTERNS) refuse(owner, "retry.nonRetryable", `lists more than ${MOST_PATTERNS} codes`);
  if (onExhausted !== undefined && onExhausted !== "suspend" && onExhausted !== "fail") {
    refuse(owner, "retry.onExhausted", `must be "suspend" or "fail", not ${shown(onExhausted)}`);
  }
};

// ---------------------------------------------------------------- state and permissions

/** `orders/{id}`, `orders/{customer.id}/last`: a table, a slash, and text with fields of the input in braces. */
const WRITES = /^[a-zA-Z][a-zA-Z0-9_-]{0,99}\/(?:[^{}\p{Cc}]|\{[a-zA-Z_$][\w$-]*(?:\.[\w$-]+)*\})+$/u;

const checkWrites = (owner: Owner, writes: unknown): void => {
  checkPatterns(
    owner,
    "writes",
    writes,
    WRITES,
    'state keys such as "orders/{id}": a table, a slash, and the key with fields of the input in braces',
  );
};

const STORED = /^(?:(?:read|write):)?(?:\*|[a-z*A-Z0-9][a-zA-Z0-9_.*-]*\/.+)$/u;
const CALLED = /^[a-zA-Z*][a-zA-Z0-9_*-]{0,99}$/;

const checkPermissions = (owner: Owner, permissions: unknown): void => {
  if (!isObject(permissions)) refuse(owner, "permissions", 'must be an object such as { state: ["read:orders/*"] }');
  for (const [area, patterns] of Object.entries(permissions as object)) {
    const field = `permissions.${area}`;
    if (patterns === undefined) continue;
    if (area === "objects")
      checkPatterns(owner, field, patterns, STORED, '"read:bucket/key", "write:bucket/key" or "bucket/key"; "*" stands for any text');
    else if (area === "state")
      checkPatterns(owner, field, patterns, STORED, '"read:table/key", "write:table/key" or "table/key"; "*" stands for any text');
    else if (area === "call") checkPatterns(owner, field, patterns, CALLED, 'names of functions and coordinators; "*" stands for any text');
    else refuse(owner, field, 'is unknown: use "objects", "state" and "call"');
  }
};

const checkLimits = (owner: Owner, limits: CallLimits): void => {
  if (!isObject(limits)) refuse(owner, "limits", "must be an object such as { perSecond: 10 }");
  only(owner, "limits", limits as Fields, ["perSecond", "key"]);
  const { perSecond, key } = limits;
  if (perSecond !== undefined && !(typeof perSecond === "number" && Number.isFinite(perSecond) && perSecond > 0)) {
    refuse(owner, "limits.perSecond", `must be a number greater than 0, not ${shown(perSecond)}`);
  }
  if (key !== undefined && !isPath(key))
    refuse(owner, "limits.key", `must be the path of a field of the input, such as "customer.id", not ${shown(key)}`);
};

// ---------------------------------------------------------------- trust

const TRUST = ["one", "compare", "quorum"];
const MOST_FAULTS = 10;

/** What can't be had of a function that is executed by replicas, and why. */
const checkTrust = (spec: Omit<FunctionSpec, "name">, owner: Owner): void => {
  const { trust = "one", faults, stateful, stateKey } = spec;
  if (!TRUST.includes(trust)) refuse(owner, "trust", `must be "one", "compare" or "quorum", not ${shown(trust)}`);
  if (stateKey !== undefined && stateful !== true) refuse(owner, "stateKey", "is of stateful functions only");
  if (stateKey !== undefined && !isPath(stateKey)) {
    refuse(owner, "key", `must be the path of a field of the input, such as "customer.id", not ${shown(stateKey)}`);
  }
  if (trust === "compare") checkSeveral(spec, owner, trust);
  if (trust !== "quorum") {
    if (faults !== undefined) refuse(owner, "faults", `is the number of replicas that may fail: it needs trust "quorum", not "${trust}"`);
    if (stateful === true) refuse(owner, "trust", `must be "quorum": the state is at the replicas, which agree on it`);
    return;
  }
  if (faults !== undefined && !(Number.isInteger(faults) && faults >= 1 && faults <= MOST_FAULTS)) {
    refuse(owner, "faults", `must be a whole number from 1 to ${MOST_FAULTS}, not ${shown(faults)}`);
  }
  checkSeveral(spec, owner, trust);
};

const WHO = {
  compare: { each: "2 pods, and a third where they differ", many: "compared pods" },
  quorum: { each: "3 × faults + 1 replicas", many: "replicas" },
} as const;

/** What can't be had of a function each of whose calls is executed several times. */
const checkSeveral = (spec: Omit<FunctionSpec, "name">, owner: Owner, trust: keyof typeof WHO): void => {
  const { scale, heartbeatMs, writes = [], permissions = {} } = spec;
  const { each, many } = WHO[trust];
  const replicated = `with trust "${trust}"`;
  if (scale !== undefined) refuse(owner, "scale", `can't be set ${replicated}: there are ${each}, whatever the load`);
  if (heartbeatMs !== undefined) refuse(owner, "heartbeatMs", `can't be set ${replicated}: ${many} tell no progress; set timeoutMs`);
  if (writes.length > 0) refuse(owner, "writes", `can't be set ${replicated}: ${many} don't write into the state store`);
  for (const area of ["state", "objects"] as const) {
    if ((permissions[area] ?? []).length > 0) {
      refuse(owner, `permissions.${area}`, `can't be given ${replicated}: what a store answers is not agreed on; give it with the input`);
    }
  }
};

// ---------------------------------------------------------------- scale

const SCALE = ["min", "max", "policy", "targetMs", "coolDownMs"];
const POLICIES = ["predictive", "threshold", "kpa", "hpa"];
const MOST_PODS = 1_000;
const LONGEST_MS = 7 * 86_400_000;

/** How the pods of a function, or of a service, follow its load. */
export const checkScale = (owner: Owner, given: unknown): void => {
  if (!isObject(given)) refuse(owner, "scale", "must be an object such as { min: 1, max: 4 }");
  const scale = given as Fields;
  only(owner, "scale", scale, SCALE);
  const { min, max, policy } = scale;
  checkPods(owner, "scale.min", min, 0);
  checkPods(owner, "scale.max", max, 1);
  if (typeof min === "number" && typeof max === "number" && min > max)
    refuse(owner, "scale.min", `(${min}) must not be above max (${max})`);
  if (policy !== undefined && !POLICIES.includes(policy as string)) {
    refuse(owner, "scale.policy", `must be one of ${POLICIES.join(", ")}, not ${shown(policy)}`);
  }
  for (const [name, least] of [
    ["targetMs", 1],
    ["coolDownMs", 0],
  ] as const) {
    bound(owner, `scale.${name}`, scale[name], least);
    if (Number(scale[name]) > LONGEST_MS) refuse(owner, `scale.${name}`, `must not be above ${LONGEST_MS}, a week`);
  }
};

const checkPods = (owner: Owner, field: string, value: unknown, least: number): void => {
  if (value === undefined || (Number.isInteger(value) && (value as number) >= least && (value as number) <= MOST_PODS)) return;
  refuse(owner, field, `must be a whole number from ${least} to ${MOST_PODS}, not ${shown(value)}`);
};

// ---------------------------------------------------------------- checks

const BOUNDS = ["durationMs", "memoryMb", "errorRate", "windowMs", "least"];

/** The bounds of a `check()`, or of the alert that they become. */
export const checkBounds = (given: object, owner: Owner, field: string): void => {
  if (!isObject(given)) refuse(owner, field, "must be an object such as { durationMs: 500 }");
  const bounds = given as Fields;
  only(owner, field, bounds, BOUNDS);
  for (const name of ["durationMs", "memoryMb", "errorRate"]) bound(owner, `${field}.${name}`, bounds[name], 0);
  for (const name of ["windowMs", "least"]) bound(owner, `${field}.${name}`, bounds[name], 1);
  const { errorRate, durationMs, memoryMb } = bounds;
  if (typeof errorRate === "number" && errorRate > 1) {
    refuse(owner, `${field}.errorRate`, `is the part of executions that fail, from 0 to 1, not ${errorRate}`);
  }
  if (durationMs !== undefined || memoryMb !== undefined || errorRate !== undefined) return;
  refuse(owner, field, 'bounds nothing: give "durationMs", "memoryMb" or "errorRate"');
};
