/** What a service's spec may say, and what follows from it together with the function's definition and the platform's limits (pure). */
import { checkScale } from "../application/options.ts";
import { LockstepError } from "../lib/errors.ts";
import type { FunctionSpec, ScaleOptions } from "../protocol/application.ts";
import type { ServiceSpec } from "../protocol/cluster.ts";
import type { PodTemplate } from "../scheduler/service.ts";

/** What a platform has for services that say nothing. */
export interface ServiceDefaults {
  slotsPerPod: number;
  maxPodsPerFunction: number;
  maxPods: number;
  podMemoryMb: number;
  podIdleMs: number;
}

export interface Settings {
  template: PodTemplate;
  scale: Required<ScaleOptions>;
  /** The number of pods does not follow the load. */
  isFixed: boolean;
}

export const DEFAULT_TARGET_MS = 1_000;

const FIELDS = ["name", "function", "version", "replicas", "scale", "memoryMb", "concurrency", "environment"];
const NAME = /^[a-zA-Z][a-zA-Z0-9_-]{0,99}$/;
const VARIABLE = /^[a-zA-Z_][a-zA-Z0-9_]{0,99}$/;
const MOST_PODS = 1_000;
const MOST_SLOTS = 10_000;
const MOST_MEMORY_MB = 1_048_576;
const MOST_VARIABLES = 100;
const MOST_ENVIRONMENT = 32 * 1024;

/** @throws {LockstepError} BAD_REQUEST, naming the field */
export const checkServiceSpec = (spec: ServiceSpec): void => {
  const odd = Object.keys(spec).find((field) => !FIELDS.includes(field));
  if (odd !== undefined) throw wrong(odd, `is unknown: use ${FIELDS.join(", ")}`);
  if (typeof spec.name !== "string" || !NAME.test(spec.name)) {
    throw wrong("name", 'must be a letter, then up to 99 letters, digits, "-" or "_"');
  }
  if (typeof spec.function !== "string" || !NAME.test(spec.function)) throw wrong("function", "must be the name of a function");
  if (spec.version !== undefined && !/^[0-9a-f]{16}$/.test(spec.version))
    throw wrong("version", "must be a version's 16 hexadecimal digits");
  whole("replicas", spec.replicas, 1, MOST_PODS);
  whole("memoryMb", spec.memoryMb, 16, MOST_MEMORY_MB);
  whole("concurrency", spec.concurrency, 1, MOST_SLOTS);
  if (spec.scale !== undefined) checkServiceScale(spec);
  if (spec.environment !== undefined) checkEnvironment(spec.environment);
};

const checkServiceScale = ({ scale, replicas }: ServiceSpec): void => {
  if (replicas !== undefined) throw wrong("replicas", "and scale exclude each other: leave one of them out");
  try {
    checkScale("the service", scale);
  } catch (error) {
    if (!(error instanceof LockstepError)) throw error;
    throw new LockstepError("BAD_REQUEST", error.message, error.details === undefined ? {} : { details: error.details });
  }
};

const checkEnvironment = (environment: unknown): void => {
  if (typeof environment !== "object" || environment === null || Array.isArray(environment)) {
    throw wrong("environment", 'must be an object such as { REGION: "north" }');
  }
  const entries = Object.entries(environment);
  if (entries.length > MOST_VARIABLES) throw wrong("environment", `has ${entries.length} variables: ${MOST_VARIABLES} is the most`);
  let size = 0;
  for (const [name, value] of entries) {
    if (!VARIABLE.test(name)) throw wrong(`environment.${name.slice(0, 100)}`, "is no name of a variable: use letters, digits and _");
    if (typeof value !== "string" || value.includes("\0")) throw wrong(`environment.${name}`, "must be a text without U+0000");
    size += name.length + value.length;
  }
  if (size > MOST_ENVIRONMENT) throw wrong("environment", `has ${size} characters: ${MOST_ENVIRONMENT} is the most`);
};

const whole = (field: string, value: unknown, least: number, most: number): void => {
  if (value === undefined || (Number.isInteger(value) && (value as number) >= least && (value as number) <= most)) return;
  throw wrong(field, `must be a whole number from ${least} to ${most}, not ${String(value)}`);
};

const wrong = (field: string, problem: string): LockstepError =>
  new LockstepError("BAD_REQUEST", `${field} ${problem}`, { details: { field, in: "body" } });

/** Of versions that are not current: the pods of the current one need their room. */
const OUTDATED_COOL_DOWN_MS = 10_000;

/** @param isCurrent versions that are not have no pods without calls, whatever is said */
export const settingsOf = (spec: ServiceSpec, fn: FunctionSpec | undefined, isCurrent: boolean, defaults: ServiceDefaults): Settings => {
  const slots = spec.concurrency ?? defaults.slotsPerPod;
  const given = { ...fn?.scale, ...spec.scale };
  // What the spec says itself holds against what the definition says of the other bound.
  const most = spec.scale?.min === undefined ? (spec.scale?.max ?? Number.POSITIVE_INFINITY) : Number.POSITIVE_INFINITY;
  const least = spec.replicas ?? Math.min(given.min ?? 0, most);
  const usual = Math.max(least, given.max ?? Math.min(defaults.maxPods, defaults.maxPodsPerFunction));
  // More pods than calls may execute at a time would only wait.
  const useful = fn?.concurrency === undefined ? usual : Math.max(least, Math.ceil(fn.concurrency / slots));
  const max = Math.max(1, spec.replicas ?? Math.min(usual, useful));
  const scale: Required<ScaleOptions> = {
    min: isCurrent ? Math.min(least, max) : 0,
    max,
    policy: given.policy ?? "predictive",
    targetMs: given.targetMs ?? DEFAULT_TARGET_MS,
    coolDownMs: Math.min(given.coolDownMs ?? defaults.podIdleMs, isCurrent ? Number.POSITIVE_INFINITY : OUTDATED_COOL_DOWN_MS),
  };
  const template: PodTemplate = {
    slots,
    memoryMb: spec.memoryMb ?? fn?.memoryMb ?? defaults.podMemoryMb,
    environment: spec.environment,
    service: spec.name,
  };
  return { template, scale, isFixed: isCurrent && (spec.replicas !== undefined || scale.min === scale.max) };
};

/** A spec with all that follows for it, as it is shown. */
export const completed = (spec: ServiceSpec, { template, scale, isFixed }: Settings): ServiceSpec => ({
  ...spec,
  ...(isFixed && spec.replicas !== undefined ? {} : { scale }),
  memoryMb: template.memoryMb,
  concurrency: template.slots,
});

/** Whether pods of one template do for the other: what is fixed when a process starts. */
export const isSamePod = (a: PodTemplate, b: PodTemplate): boolean =>
  a === b || (a.memoryMb === b.memoryMb && JSON.stringify(a.environment ?? {}) === JSON.stringify(b.environment ?? {}));
