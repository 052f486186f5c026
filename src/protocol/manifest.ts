/**
 * Whether a manifest has the shape that the control plane relies on: it comes from a pod, which runs user code. Counts and lengths are
 * bounded here; what names and patterns must be is checked when the version is deployed.
 */

type Shape = Record<string, unknown>;

type Check = (value: unknown) => boolean;

const MOST_DEFINITIONS = 2_000;
const MOST_ENTRIES = 100;
const LONGEST_NAME = 200;
const LONGEST_PATTERN = 1_200;

const isObject = (value: unknown): value is Shape => typeof value === "object" && value !== null && !Array.isArray(value);

const isNumber: Check = (value) => typeof value === "number" && Number.isFinite(value);

const isBoolean: Check = (value) => typeof value === "boolean";

const isText =
  (longest: number): Check =>
  (value) =>
    typeof value === "string" && value.length <= longest;

const isOneOf =
  (...texts: readonly unknown[]): Check =>
  (value) =>
    texts.includes(value);

const isName = isText(LONGEST_NAME);
const isPattern = isText(LONGEST_PATTERN);

const isListOf =
  (fits: Check, most: number): Check =>
  (value) =>
    Array.isArray(value) && value.length <= most && value.every(fits);

/** An object with these fields and no others; those of `optional` may be missing. */
const isRecord =
  (required: Record<string, Check>, optional: Record<string, Check> = {}): Check =>
  (value) => {
    if (!isObject(value)) return false;
    for (const name of Object.keys(required)) if (!Object.hasOwn(value, name)) return false;
    return Object.entries(value).every(([name, field]) => {
      if (Object.hasOwn(required, name)) return required[name]?.(field) === true;
      // MessagePack writes what is undefined as null.
      return Object.hasOwn(optional, name) && (field === undefined || field === null || optional[name]?.(field) === true);
    });
  };

const isTextOrList: Check = (value) => isPattern(value) || isListOf(isPattern, MOST_ENTRIES)(value);

const isWhere: Check = (value) =>
  isObject(value) &&
  Object.keys(value).length <= MOST_ENTRIES &&
  Object.entries(value).every(([path, field]) => isName(path) && (isPattern(field) || isNumber(field) || isBoolean(field)));

const isWebhook = isRecord(
  { path: isName },
  { method: isName, delivery: isName, signature: isRecord({ secretEnv: isName }, { header: isName }) },
);

const TRIGGERS: readonly Check[] = [
  isRecord({ object: isRecord({ bucket: isName }, { prefix: isPattern, suffix: isPattern }) }),
  isRecord({ cron: isName }, { timezone: isName, catchUp: isName }),
  isRecord({ http: isWebhook }),
  isRecord({ event: isTextOrList }, { where: isWhere }),
  isRecord({ stale: isPattern }),
];

const isTrigger: Check = (value) => TRIGGERS.some((fits) => fits(value));

const isRetry = isRecord(
  {},
  {
    attempts: isNumber,
    backoff: isRecord({}, { initialMs: isNumber, factor: isNumber, maxMs: isNumber, jitter: isNumber }),
    nonRetryable: isListOf(isName, MOST_ENTRIES),
    onExhausted: isName,
  },
);

const patterns = isListOf(isPattern, MOST_ENTRIES);

const shared: Record<string, Check> = {
  recovers: isBoolean,
  permissions: isRecord({}, { objects: patterns, state: patterns, call: patterns }),
  on: isListOf(isTrigger, MOST_ENTRIES),
};

const isFunction = isRecord(
  { name: isName },
  {
    ...shared,
    timeoutMs: isNumber,
    retry: isRetry,
    concurrency: isNumber,
    memoryMb: isNumber,
    deterministic: isBoolean,
    compensates: isBoolean,
    writes: patterns,
    limits: isRecord({}, { perSecond: isNumber, key: isName }),
    heartbeatMs: isNumber,
    scale: isRecord({}, { min: isNumber, max: isNumber, policy: isName, targetMs: isNumber, coolDownMs: isNumber }),
    trust: isOneOf("one", "compare", "quorum"),
    faults: isNumber,
    stateful: isBoolean,
    stateKey: isName,
  },
);

const isAlert = isRecord(
  { name: isName, function: isName },
  { durationMs: isNumber, memoryMb: isNumber, errorRate: isNumber, windowMs: isNumber, least: isNumber },
);

export const isManifest = isRecord(
  {
    functions: isListOf(isFunction, MOST_DEFINITIONS),
    coordinators: isListOf(isRecord({ name: isName }, shared), MOST_DEFINITIONS),
  },
  {
    tables: isListOf(isRecord({ name: isName }, { ttlMs: isNumber }), MOST_DEFINITIONS),
    buckets: isListOf(isName, MOST_DEFINITIONS),
    alerts: isListOf(isAlert, MOST_DEFINITIONS),
  },
);
