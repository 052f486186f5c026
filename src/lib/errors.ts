import type { Verdict } from "./verdict.ts";

/**
 * Every error that Lockstep itself raises has a code of this catalogue: stable, documented in docs/errors.md (a test keeps the two equal).
 * Application code may use codes of its own through `TerminalError`.
 */
// biome-ignore format: one row per code reads as the table that it is
export const catalogue = {
  ACCESS_DENIED: { status: 403, means: "The caller may not do this.", mend: "Add the permission that the message names to the definition; for the API, send the key or call from the address that the platform was bound to." },
  ADDRESS_UNAVAILABLE: { status: 503, means: "The platform cannot listen at this address.", mend: "Stop what listens there, or choose another port or host." },
  APPLICATION_INVALID: { status: 422, means: "The application could not be bundled or loaded, or a definition in it is wrong.", mend: "Mend what the message names and deploy again." },
  BAD_REQUEST: { status: 400, means: "The request is malformed.", mend: "Mend the field that the message names." },
  BUCKET_NAME_INVALID: { status: 422, means: "The name cannot be a bucket's.", mend: "Use 3 to 63 lower-case letters, digits, dots and hyphens, beginning and ending with a letter or digit." },
  CALL_CANCELLED: { status: 409, means: "The call was cancelled by its coordinator or with its run.", mend: "Nothing, if the cancellation was meant." },
  CALL_NOT_FOUND: { status: 404, means: "The run has no such call.", mend: "Look the calls up with `lockstep runs show <id> --journal`." },
  CALL_TIMEOUT: { status: 504, means: "The function did not answer within its timeoutMs, or told no progress for its heartbeatMs.", mend: "Make the function faster, let it call ctx.progress() more often, or raise the time that the message names in its definition." },
  CHECK_FAILED: { status: 500, means: "The function returned, but a check of the application says that it did not do its work.", mend: "Read the check's message; mend the function, or the check." },
  COMPENSATION_FAILED: { status: 500, means: "A compensation failed, and a person decided that the run fails.", mend: "Undo by hand what the message names." },
  COORDINATOR_CRASHED: { status: 500, means: "The pod died each time that it ran this coordinator.", mend: "Read the run's log, mend the coordinator, then resume or cancel the run." },
  COORDINATOR_FAILED: { status: 500, means: "The coordinator threw an error of its own.", mend: "Read the cause; mend the coordinator and start a new run." },
  COORDINATOR_STUCK: { status: 500, means: "The coordinator kept its pod busy without ever yielding, or awaits something that is not durable.", mend: "Move heavy work into a function, and await only what ctx returns; wrap other promises in ctx.step." },
  DATA_DIRECTORY_IN_USE: { status: 503, means: "Another Lockstep process owns this data directory.", mend: "Stop that process, or choose another directory with --data." },
  DATA_DIRECTORY_NEWER: { status: 503, means: "The data directory was written by a newer Lockstep.", mend: "Use that version or a later one." },
  DRILLS_DISABLED: { status: 403, means: "The platform provokes no faults.", mend: "Start it with `lockstep dev`, or with `lockstep start --drills`: never one that others depend on." },
  EPOCH_FENCED: { status: 503, means: "A newer owner has taken this journal; this process may not write any more.", mend: "Stop this process." },
  ESCALATED: { status: 500, means: "Recovery has left the decision to a person.", mend: "Decide with `lockstep runs resolve <id>` --retry, --with <json> or --fail." },
  EXPRESSION_INVALID: { status: 422, means: "The expression does not parse.", mend: "Mend the text at the position that the message names." },
  EXPRESSION_TOO_LARGE: { status: 413, means: "The expression exceeds the limit of length, depth or operators.", mend: "Split it, or raise the limit in the platform's configuration." },
  FUNCTION_FAILED: { status: 500, means: "The function threw.", mend: "Read the cause and the log of the call; mend the function." },
  IDEMPOTENCY_CONFLICT: { status: 409, means: "This idempotency key was used before for another target or input.", mend: "Use a new key for new work." },
  INPUT_INVALID: { status: 422, means: "The input does not fit the definition's validator.", mend: "Mend the field that the message names." },
  INTERNAL: { status: 500, means: "A defect in Lockstep.", mend: "Report it with the message and the platform's log." },
  JOURNAL_UNAVAILABLE: { status: 503, means: "The journal could not be written or read.", mend: "Look at the cause (disk full, permissions), then start the platform again: nothing accepted is lost." },
  KEYS_UNREADABLE: { status: 503, means: "A key of the platform's replica sets can't be read.", mend: "Put the file that the message names back from a backup; removing it makes a new key, and no certificate of before can be checked with that." },
  MAP_FAILED: { status: 500, means: "More items of a ctx.map have failed than it tolerates.", mend: "Read the cause, which is the first failure; mend the function, or raise tolerateFailures." },
  METHOD_NOT_ALLOWED: { status: 405, means: "This address does not answer that HTTP method.", mend: "Use one of the methods in the Allow header." },
  NAME_TAKEN: { status: 409, means: "Another application already defines this name.", mend: "Rename the definition, or deploy it as part of that application." },
  NOT_CONNECTED: { status: 503, means: "No Lockstep platform answers at this address.", mend: "Start one with `lockstep dev <app>`, or give its address with --url." },
  OBJECT_CORRUPT: { status: 500, means: "The stored bytes of an object do not fit its checksum.", mend: "Put the object again; look at the disk." },
  OBJECT_KEY_INVALID: { status: 422, means: "The key cannot be an object's.", mend: "Use 1 to 1,024 bytes of UTF-8 without control characters." },
  OUT_OF_MEMORY: { status: 500, means: "The call's pod ran out of memory.", mend: "Use less memory or raise memoryMb in the function's definition." },
  OUTPUT_INVALID: { status: 500, means: "The result does not fit the definition's output validator.", mend: "Mend the function or the validator." },
  OVERLOADED: { status: 429, means: "The platform has as much work waiting as it may hold.", mend: "Try again after the time in Retry-After." },
  PAYLOAD_TOO_LARGE: { status: 413, means: "An input, result or request is larger than the limit.", mend: "Pass a reference instead of the data, or raise the limit in the platform's configuration." },
  POD_FAILED_TO_START: { status: 503, means: "A pod did not start or could not load the application.", mend: "Read the pod's last output in the message." },
  POD_LOST: { status: 500, means: "The pod that executed the call died, each time.", mend: "Look whether the function ends its process or uses too much memory; then resume the run." },
  PRECONDITION_FAILED: { status: 412, means: "The object or key is not in the state that the request asks for.", mend: "Read it again and decide anew." },
  PROCESS_EXIT: { status: 500, means: "The function called process.exit, which would end its pod.", mend: "Return or throw instead." },
  RANGE_NOT_SATISFIABLE: { status: 416, means: "The object has no such bytes.", mend: "Ask for a range within its size." },
  RECOVERY_FAILED: { status: 500, means: "The recovery of a failure failed itself, each time.", mend: "Read the cause; then decide with `lockstep runs resolve <id>`." },
  RECOVERY_INVALID: { status: 500, means: "A recover function returned no decision.", mend: "Return one of ctx.retry(), ctx.resumeWith(), ctx.compensate(), ctx.fail() and ctx.escalate()." },
  REPLAY_DIVERGED: { status: 500, means: "The coordinator's code no longer does what its journal says.", mend: "Deploy changed coordinators as a new version; this run stays suspended at the step that the message names." },
  REPLICAS_DIVERGED: { status: 500, means: "The replicas of a function, or the pods that are compared, came to different results, so that none counts.", mend: "Make the function deterministic: use ctx.now() and ctx.random() where there are replicas, and nothing outside its input and state. The message names the replicas or pods, and the first field that differs." },
  RESULT_NOT_JSON: { status: 500, means: "A value cannot be written as JSON (a BigInt, a cycle, a non-finite number …).", mend: "Return plain data; convert at the path that the message names." },
  RUN_CANCELLED: { status: 409, means: "The run was cancelled.", mend: "Nothing, if the cancellation was meant." },
  RUN_FINISHED: { status: 409, means: "The run has already finished.", mend: "Start a new run." },
  RUN_NOT_SUSPENDED: { status: 409, means: "The run is not suspended, so there is nothing to resume.", mend: "Look at its status with `lockstep runs show`." },
  SERVICE_EXISTS: { status: 409, means: "There is a service of this name, or for this function, already.", mend: "Change that one with `lockstep services set`, or delete it first." },
  SHUTTING_DOWN: { status: 503, means: "The platform is stopping and takes no new work.", mend: "Try again after the time in Retry-After." },
  SIGNAL_TIMEOUT: { status: 504, means: "The awaited signal did not arrive in time.", mend: "Send the signal earlier or raise the timeout." },
  SIGNATURE_INVALID: { status: 401, means: "The webhook's signature is missing or wrong.", mend: "Sign the body with the secret that the trigger names." },
  STATE_CONFLICT: { status: 409, means: "The key has changed since it was read.", mend: "Read it again and decide anew." },
  STATE_KEY_INVALID: { status: 422, means: "The text cannot be a state key.", mend: "Use `table/key`: a table's name, a slash, and up to 1,000 bytes without control characters." },
  STATE_STALE: { status: 409, means: "The value is stale: the call that should have written it failed.", mend: "Wait for its recovery, or read it with stale: \"allow\" or \"wait\"." },
  STATE_VALUE_INVALID: { status: 422, means: "The value does not fit the schema of its table.", mend: "Mend the field that the message names." },
  STEP_FAILED: { status: 500, means: "A step inside a coordinator threw.", mend: "Read the cause; mend the step." },
  STORAGE_FULL: { status: 507, means: "There is no room left where objects are stored.", mend: "Free space, then put the object again." },
  STORAGE_UNAVAILABLE: { status: 503, means: "Where objects are stored does not answer, or refuses.", mend: "Look at the cause, then try again." },
  UNAUTHENTICATED: { status: 401, means: "The API key is missing or wrong.", mend: "Send it as `Authorization: Bearer <key>`." },
  UNKNOWN_BUCKET: { status: 404, means: "There is no bucket of this name.", mend: "Declare it with bucket() in the application, or create it with `lockstep objects mb <bucket>`." },
  UNKNOWN_COORDINATOR: { status: 404, means: "No deployed application defines this coordinator.", mend: "Deploy it, or mend the name." },
  UNKNOWN_FUNCTION: { status: 404, means: "No deployed application defines this function.", mend: "Deploy it, or mend the name." },
  UNKNOWN_KEY: { status: 404, means: "The state store has no such key.", mend: "Look it up with `lockstep state ls <application> <table>`." },
  UNKNOWN_OBJECT: { status: 404, means: "There is no object with this key.", mend: "Look it up with `lockstep objects ls <bucket>`." },
  UNKNOWN_POD: { status: 404, means: "There is no such pod; it may have ended.", mend: "Look it up with `lockstep pods`." },
  UNKNOWN_ROUTE: { status: 404, means: "There is nothing at this address.", mend: "Look the address up in /v1/openapi.json." },
  UNKNOWN_RUN: { status: 404, means: "There is no run with this id; it may have been purged by retention.", mend: "Look it up with `lockstep runs list`." },
  UNKNOWN_SERVICE: { status: 404, means: "There is no such service.", mend: "Look it up with `lockstep services ls`." },
  UNKNOWN_VARIABLE: { status: 422, means: "The expression uses a variable that was given no value.", mend: "Give the variable in `variables`." },
  UNSUPPORTED_MEDIA_TYPE: { status: 415, means: "The body is not of a type that the platform reads.", mend: "Send JSON with `Content-Type: application/json`." },
  UNSUPPORTED_NODE: { status: 500, means: "This Node.js is too old.", mend: "Use Node.js 22.13 or later." },
  WAIT_TIMEOUT: { status: 504, means: "The run did not finish in the time that the caller wanted to wait; it goes on.", mend: "Wait again, or give a longer time." },
} as const satisfies Record<string, { status: number; means: string; mend: string }>;

export type ErrorCode = keyof typeof catalogue;

/** An operating error of Lockstep: a stable code, what happened, and (from the catalogue) what to do. */
export class LockstepError extends Error {
  override readonly name: string = "LockstepError";
  readonly code: ErrorCode;
  /** Facts for programs, such as `{ position: 3 }` or `{ field: "input.amount" }`. */
  readonly details: Readonly<Record<string, unknown>> | undefined;

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; details?: Record<string, unknown> } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.details = options.details;
  }

  /** What the catalogue advises for this code. */
  get mend(): string {
    return catalogue[this.code].mend;
  }
}

/** What a thrown error carried beside its code and message: `{ status: 404, syscall: "connect", $fault: "client" }`. */
export type Facts = Record<string, string | number | boolean>;

/**
 * A failure as data: what is journaled, sent between processes and shown. `code` is of the catalogue or the application's own.
 */
export interface Failure {
  code: string;
  message: string;
  /** The thrown error's class, for example `TypeError`. */
  name?: string;
  stack?: string;
  details?: unknown;
  /** The call that failed, when the failure is one of a call. */
  call?: { function: string; seq: number };
  attempts?: number;
  cause?: Failure;
  /** Set when trying again cannot help. */
  terminal?: boolean;
  /** What libraries' errors tell beside their code, for the monitor: HTTP statuses, `errno`, SQL states. */
  facts?: Facts;
  /** What the monitor makes of it. */
  verdict?: Verdict;
}

const STACK_LIMIT = 4_000;
const MESSAGE_LIMIT = 8_000;
const NAME_LIMIT = 100;
const CAUSE_DEPTH = 4;

const clip = (text: string, limit: number): string =>
  text.length <= limit ? text : `${text.slice(0, limit)}… [${text.length - limit} more characters]`;

/**
 * Describes anything thrown, an `Error` or not, as a bounded `Failure`. Never throws itself, whatever it is given: a proxy, getters that
 * throw, a `message` that is no text.
 */
export const failureOf = (thrown: unknown, fallbackCode: string, depth = 0): Failure => {
  const code = read(thrown, "code");
  if (!looksLikeError(thrown, code)) {
    const message = clip(`a value was thrown that is no Error: ${preview(thrown)}`, MESSAGE_LIMIT);
    return { code: fallbackCode, message, name: typeof thrown };
  }
  const failure: Failure = { code: isCode(code) ? code : fallbackCode, message: clip(textOf(read(thrown, "message")), MESSAGE_LIMIT) };
  const name = read(thrown, "name");
  if (typeof name === "string") failure.name = clip(name, NAME_LIMIT);
  const stack = read(thrown, "stack");
  if (typeof stack === "string") failure.stack = clip(stack, STACK_LIMIT);
  const details = read(thrown, "details");
  if (details !== undefined && details !== null) failure.details = jsonSafe(details);
  if (read(thrown, "terminal") === true) failure.terminal = true;
  const facts = factsOf(thrown);
  if (facts !== undefined) failure.facts = facts;
  const cause = read(thrown, "cause") ?? firstOf(read(thrown, "errors"));
  if (cause !== undefined && cause !== null && depth < CAUSE_DEPTH) failure.cause = failureOf(cause, "CAUSE", depth + 1);
  return failure;
};

/**
 * What is kept of errors beside code and message: scalars of these names, and none that could hold a secret (headers, bodies, queries, URLs).
 * `code` only when it is a number, as those of gRPC, MongoDB and DOMExceptions are; `type` is that of Kafka's errors.
 */
const FACT_KEYS = [
  ...["code", "status", "statusCode", "errno", "errcode", "syscall", "address", "port", "hostname"],
  ...["severity", "routine", "sqlState", "codeName", "type", "retriable", "$fault", "$retryable"],
] as const;
/** Objects within errors, the scalars that are kept of each, and under which names. */
const NESTED_FACTS = [
  ["$metadata", "httpStatusCode", "httpStatusCode"],
  ["response", "status", "response.status"],
  ["response", "statusCode", "response.status"],
] as const;
const KNOWN_FACTS: ReadonlySet<string> = new Set([...FACT_KEYS, ...NESTED_FACTS.map(([, , name]) => name)]);
const FACT_LIMIT = 100;

const factsOf = (thrown: unknown): Facts | undefined => {
  let facts: Facts | undefined;
  const keep = (name: string, value: unknown): void => {
    const fact = name === "$retryable" && typeof value === "object" && value !== null ? true : factOf(value);
    if (fact === undefined || (name === "code" && typeof fact !== "number")) return;
    facts ??= {};
    facts[name] = fact;
  };
  for (const key of FACT_KEYS) keep(key, read(thrown, key));
  for (const [object, key, name] of NESTED_FACTS) keep(name, read(read(thrown, object), key));
  // A failure that travelled as data brings those of the error that it was.
  const given = read(thrown, "facts");
  if (given !== undefined) for (const name of KNOWN_FACTS) keep(name, read(given, name));
  return facts;
};

const factOf = (value: unknown): string | number | boolean | undefined => {
  if (typeof value === "string") return value === "" ? undefined : clip(withoutCredentials(value), FACT_LIMIT);
  if (typeof value === "number") return Number.isFinite(value) ? value : undefined;
  return typeof value === "boolean" ? value : undefined;
};

/** The text with the user and password of any URL in it blotted out. */
export const withoutCredentials = (text: string): string => text.replace(/(:\/\/)[^\s/@]{1,500}@/g, "$1***@");

/** What an AggregateError is about when it names no cause: the first of its errors. */
const firstOf = (errors: unknown): unknown => (isArray(errors) ? read(errors, "0") : undefined);

const isArray = (value: unknown): boolean => {
  try {
    return Array.isArray(value);
  } catch {
    // Only a revoked proxy comes here.
    return false;
  }
};

// Not only `instanceof Error`: errors that cross a vm context, come from a second copy of a library or travelled as a `Failure` are none here.
const looksLikeError = (value: unknown, code: unknown): boolean =>
  typeof value === "object" &&
  value !== null &&
  (isInstance(value) || (typeof read(value, "message") === "string" && (typeof read(value, "name") === "string" || isCode(code))));

const isInstance = (value: object): boolean => {
  try {
    return value instanceof Error;
  } catch {
    // Only a revoked proxy, or one with a hostile trap, comes here.
    return false;
  }
};

const isCode = (value: unknown): value is string => typeof value === "string" && value.length > 0 && value.length <= NAME_LIMIT;

const read = (value: unknown, key: string): unknown => {
  if (typeof value !== "object" || value === null) return undefined;
  try {
    return (value as Record<string, unknown>)[key];
  } catch {
    // A getter or a proxy that throws: what it hides is not worth the report of the failure.
    return undefined;
  }
};

const textOf = (value: unknown): string => (typeof value === "string" ? value : preview(value));

const preview = (value: unknown): string => {
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "number") return `${value}`;
  try {
    return JSON.stringify(value) ?? String(value);
  } catch (error) {
    return `[${typeof value} that cannot be shown: ${String(read(error, "message"))}]`;
  }
};

const jsonSafe = (value: unknown): unknown => {
  try {
    const text = JSON.stringify(value);
    return text === undefined || text.length > MESSAGE_LIMIT ? clip(preview(value), MESSAGE_LIMIT) : JSON.parse(text);
  } catch {
    // Details are only an aid: one that is not JSON (a cycle, a BigInt) is described instead of failing the report of the failure.
    return clip(preview(value), MESSAGE_LIMIT);
  }
};
