import type { RetryPolicy } from "./run.ts";

/** What an application can be called. */
export const APPLICATION_NAME = /^[a-zA-Z0-9][a-zA-Z0-9._-]{0,99}$/;

/** A function as its version's manifest tells it: the options with their defaults not yet applied. */
export interface FunctionSpec {
  name: string;
  timeoutMs?: number;
  retry?: RetryPolicy;
  /** Calls that may execute at the same time on the whole platform. */
  concurrency?: number;
  memoryMb?: number;
  /** The same input always gives the same result: identical sub-expressions are computed once. */
  deterministic?: boolean;
  /** It has a `compensate`, a `recover`. */
  compensates?: boolean;
  recovers?: boolean;
  /** State keys that become stale when it fails: `orders/{id}`, where `{id}` is a field of its input. */
  writes?: string[];
  permissions?: Permissions;
  on?: Trigger[];
  limits?: CallLimits;
  /** An attempt that says nothing by `ctx.progress` for longer is given up. */
  heartbeatMs?: number;
  scale?: ScaleOptions;
  /** `one` (default): a pod's word. `compare`: two pods must agree. `quorum`: 3 × `faults` + 1 replicas certify each result. */
  trust?: Trust;
  /** Replicas that may fail in any way, with `quorum`. Default 1. */
  faults?: number;
  /** Its replicas keep state by key. */
  stateful?: boolean;
  /** Where the key is in the input: the path of a field, such as `customer.id`. Without it, all calls share one state. */
  stateKey?: string;
}

export type Trust = "one" | "compare" | "quorum";

/** How many pods a function has, and what decides it. */
export interface ScaleOptions {
  /** Pods that are there also when nothing calls. Default 0. */
  min?: number;
  /** Default: the platform's limit per function. */
  max?: number;
  /** `predictive` (default) foresees the load; `threshold` follows the length of the layer; `kpa` and `hpa` are the rules of Knative and Kubernetes. */
  policy?: "predictive" | "threshold" | "kpa" | "hpa";
  /** How long a call may take, from its arrival in the layer to its result. Default 1,000. */
  targetMs?: number;
  /** A function without calls for so long goes back to `min`. Default: the platform's time for idle pods. */
  coolDownMs?: number;
}

/**
 * What a definition may touch. One that lists nothing may use all of its own application's; one that lists anything may do what it lists
 * and no more. `*` stands for any text.
 */
export interface Permissions {
  /** `read:orders/*`, `write:orders/*`, or `orders/*` for both: action, bucket, key. */
  objects?: string[];
  /** `read:orders/*`, `write:orders/*`, or `orders/*` for both: action, table, key. */
  state?: string[];
  /** Names of functions and coordinators, for coordinators. */
  call?: string[];
}

/** How fast, and how fairly, a function's waiting calls are taken. */
export interface CallLimits {
  /** Attempts of the function that may begin each second, on the whole platform. */
  perSecond?: number;
  /** The path of a field of the input, such as `customer.id`: calls with different values there take turns. */
  key?: string;
}

/** What starts a run of the definition that lists it. */
export type Trigger =
  /** Each PUT of such an object. The input is the `object.put` event. */
  | { object: { bucket: string; prefix?: string; suffix?: string } }
  /**
   * Five fields, or six with seconds first. The input is `{ scheduledAt }`. `catchUp` tells what becomes of ticks that were missed while the
   * platform was down: all of them, the `latest` (default), or `none`.
   */
  | { cron: string; timezone?: string; catchUp?: "all" | "latest" | "none" }
  /** A request to `/v1/hooks/<path>`. The input is `{ method, path, query, headers, body }`. */
  | { http: Webhook }
  /** A platform event of one of these types; `*` stands for any text. `where` compares fields of it. The input is the event. */
  | { event: string | string[]; where?: Record<string, string | number | boolean> }
  /** A state key like this becomes stale. The input is the `state.stale` event. */
  | { stale: string };

/** Where a webhook is received, and from whom. */
export interface Webhook {
  /** What follows `/v1/hooks/`. */
  path: string;
  /** Default `POST`. */
  method?: "POST" | "PUT" | "GET";
  signature?: WebhookSignature;
  /**
   * The header that names a delivery: one that comes again starts nothing. Besides it `idempotency-key`, `webhook-id` and
   * `x-github-delivery` are looked at, in this order.
   */
  delivery?: string;
}

/** How a webhook proves who sent it. */
export interface WebhookSignature {
  /** The environment variable of the platform that holds the secret. */
  secretEnv: string;
  /** Where the signature is: hexadecimal or base64 HMAC-SHA256 of the body, with or without `sha256=` before it. Default `x-signature-256`. */
  header?: string;
}

export interface CoordinatorSpec {
  name: string;
  /** It has a `recover`. */
  recovers?: boolean;
  permissions?: Permissions;
  on?: Trigger[];
}

/** A table of the state store whose keys have options. */
export interface TableSpec {
  name: string;
  /** After this time a key is gone, unless it was set with a time of its own. */
  ttlMs?: number;
}

/** Bounds on what a function measures: beyond one of them, an alert is raised. */
export interface AlertSpec {
  name: string;
  function: string;
  /** Upper bounds on the average duration and on the peak memory of the window's executions, and on the part of them that fail (0–1). */
  durationMs?: number;
  memoryMb?: number;
  errorRate?: number;
  /** Default 60,000. */
  windowMs?: number;
  /** Executions that the window must hold. Default 5. */
  least?: number;
}

/** What an application version defines; read from its bundle inside a pod, never in the control plane. */
export interface Manifest {
  functions: FunctionSpec[];
  coordinators: CoordinatorSpec[];
  tables?: TableSpec[];
  buckets?: string[];
  alerts?: AlertSpec[];
}

/** An immutable version: the bundle's text and its content hash. */
export interface Bundle {
  application: string;
  /** `sha256` of the code, the first 16 hexadecimal digits. */
  version: string;
  /** A CommonJS script that requires nothing but `lockstep` and Node's own modules. */
  code: string;
}

export interface ApplicationVersion {
  application: string;
  version: string;
  manifest: Manifest;
  deployedAt: number;
  /** New runs take this version. */
  current: boolean;
}
