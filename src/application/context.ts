import type { Failure } from "../lib/errors.ts";
import type { Verdict } from "../lib/verdict.ts";
import type { CallLimits, Permissions, ScaleOptions, Trigger, Trust } from "../protocol/application.ts";
import type { ByteRange, ObjectInfo, ObjectPage, PutOptions } from "../protocol/objects.ts";
import type { Decision } from "../protocol/recovery.ts";
import type { CallMetrics, CallOptions, LogLine, RetryPolicy } from "../protocol/run.ts";
import type { Staleness, StaleRead } from "../protocol/state.ts";
import type { StandardSchemaV1 } from "./standard-schema.ts";

// Contexts and definitions name each other (a handler takes a context, a context calls definitions), so their shapes share this file.

/** Writes log lines that stay with the call or run. Values that are not text are shown as `console.log` would. */
export interface Logger {
  debug(...values: unknown[]): void;
  info(...values: unknown[]): void;
  warn(...values: unknown[]): void;
  error(...values: unknown[]): void;
}

/** What a read of the state store gives. */
export interface StateRecord<Value = unknown> {
  /** `table/key`, or the key alone in a table's own view. */
  readonly key: string;
  /** `undefined` when the key has none. */
  readonly value: Value | undefined;
  /** 0 when the key has no value. */
  readonly version: number;
  readonly freshness: { readonly stale: false } | ({ readonly stale: true } & Staleness);
}

export interface StateSetOptions {
  /** After this time the key is gone. Default: its table's, else never. */
  ttlMs?: number;
}

/**
 * The application's state, by keys such as `orders/17`: a table's name, a slash, and the key. In a function all reads and writes of one
 * invocation are a serializable transaction that commits with its result; in a coordinator each operation is one by itself.
 *
 * A value whose writer failed is stale, and a read of it rejects with a `StaleStateError` unless `stale` allows it.
 */
export interface State<Default = unknown> {
  get<Value = Default>(key: string, options?: { stale?: StaleRead }): Promise<StateRecord<Value>>;
  /** @throws {LockstepError} STATE_VALUE_INVALID, STATE_KEY_INVALID, ACCESS_DENIED */
  set<Value = Default>(key: string, value: Value, options?: StateSetOptions): Promise<void>;
  delete(key: string): Promise<void>;
  /** Reads, applies `change`, and writes what it returns (`undefined` deletes). In a coordinator, `change` may be called again. */
  update<Value = Default>(
    key: string,
    change: (value: Value | undefined) => Value | undefined,
    options?: StateSetOptions,
  ): Promise<Value | undefined>;
  /** Keys that begin with `prefix` and have a value, in order; stale ones too. `limit` is 1,000 by default, and at most. */
  list<Value = Default>(prefix: string, options?: { limit?: number; after?: string }): Promise<StateRecord<Value>[]>;
  /** Declares that the value is right as it is: it is stale no longer. */
  refresh(key: string): Promise<void>;
}

/** The state store of an invocation, and its views of tables that the application defines with `table()`. */
export interface StateStore extends State {
  /** Keys are relative to the table. */
  table<Value>(table: TableDefinition<Value>): State<Value>;
}

/** The body of an object that is read: one pass. */
export interface ObjectBody extends AsyncIterable<Uint8Array> {
  readonly info: ObjectInfo;
  bytes(): Promise<Uint8Array>;
  text(): Promise<string>;
  json<Value = unknown>(): Promise<Value>;
}

/** What a function may put. Anything that is neither bytes nor text nor a stream is written as JSON. */
export type ObjectContent = string | Uint8Array | AsyncIterable<Uint8Array> | object;

/**
 * Objects in buckets. What an invocation puts and deletes becomes visible, and starts what it triggers, when its call commits.
 * Errors: UNKNOWN_BUCKET, UNKNOWN_OBJECT, PRECONDITION_FAILED, STORAGE_FULL, STORAGE_UNAVAILABLE, ACCESS_DENIED.
 */
export interface Objects {
  put(bucket: string, key: string, content: ObjectContent, options?: PutOptions): Promise<{ size: number; etag: string }>;
  get(bucket: string, key: string, range?: ByteRange): Promise<ObjectBody>;
  /** `undefined` when there is none. */
  head(bucket: string, key: string): Promise<ObjectInfo | undefined>;
  list(bucket: string, options?: { prefix?: string; cursor?: string; limit?: number }): Promise<ObjectPage>;
  copy(from: { bucket: string; key: string }, to: { bucket: string; key: string }): Promise<{ size: number; etag: string }>;
  delete(bucket: string, key: string): Promise<void>;
}

/** What a function's handler knows of its call. */
export interface FunctionContext {
  readonly runId: string;
  /** The idempotency key `run/call`: the same for every attempt, so that outside effects can be deduplicated with it. */
  readonly key: string;
  /** From 1. */
  readonly attempt: number;
  /** Aborted when the call is cancelled or out of time. */
  readonly signal: AbortSignal;
  readonly log: Logger;
  readonly state: StateStore;
  readonly objects: Objects;
  /** Tells how far the work has come: it shows in the run, restarts `heartbeatMs`, and the next attempt finds it in `lastProgress`. */
  progress(value: unknown): void;
  /** What the attempt before this one told last; `undefined` when there is none. */
  readonly lastProgress: unknown;
}

/** Options of one `ctx.call`. */
export interface CallRequest extends CallOptions {
  /** Aborting it cancels the call: the promise rejects with CALL_CANCELLED and the function's `ctx.signal` fires. */
  signal?: AbortSignal;
}

/** A child run that was started without waiting for it. */
export interface RunHandle {
  readonly id: string;
}

/**
 * What coordinator code may do. Every method is durable: its outcome is journaled, and a replay sees the same one.
 */
export interface CoordinatorContext {
  readonly runId: string;
  /** Calls a function in a pod of its own. Rejects with a `CallError`. */
  call<Input, Output>(fn: FunctionDefinition<Input, Output>, input: NoInfer<Input>, options?: CallRequest): Promise<Output>;
  call<Output = unknown>(name: string, input?: unknown, options?: CallRequest): Promise<Output>;
  /** Resolves after `ms` milliseconds, also across restarts. */
  sleep(ms: number): Promise<void>;
  /** Executes `f` here, once, and journals what it returns or throws. It may execute again only if the platform died before that. */
  step<Output>(name: string, f: () => Output | Promise<Output>): Promise<Output>;
  /** Runs another coordinator as a child and waits for its result. */
  run<Input, Output>(child: CoordinatorDefinition<Input, Output>, input: NoInfer<Input>): Promise<Output>;
  /** Starts a child that lives on by itself. */
  start<Input, Output>(child: CoordinatorDefinition<Input, Output>, input: NoInfer<Input>): Promise<RunHandle>;
  /** Waits for a signal by name; rejects with SIGNAL_TIMEOUT after `timeoutMs`. Signals that came earlier wait in order. */
  signal<Value = unknown>(name: string, options?: { timeoutMs?: number }): Promise<Value>;
  /**
   * Calls `fn` for each item, at most `concurrency` (default: all) at a time; results are in the order of the items. With
   * `tolerateFailures` it resolves with `{ ok, value | error }` for each, unless more than so many fail; without it the first failure
   * rejects and no further items are begun.
   */
  map<Item, Output>(
    items: readonly Item[],
    fn: FunctionDefinition<Item, Output> | ((item: Item, index: number) => Promise<Output>),
    options?: MapOptions & { tolerateFailures?: undefined },
  ): Promise<Output[]>;
  map<Item, Output>(
    items: readonly Item[],
    fn: FunctionDefinition<Item, Output> | ((item: Item, index: number) => Promise<Output>),
    options: MapOptions & { tolerateFailures: number },
  ): Promise<MapOutcome<Output>[]>;
  readonly state: StateStore;
  /**
   * Compensates the run's completed calls, the last to complete first, each once; calls that are under way end first and are compensated
   * too. Resolves with what was compensated.
   */
  compensate(): Promise<{ seq: number; function: string }[]>;
  /** From now on `told` is called when a value that this run has read, itself or by its functions, becomes stale. */
  onStale(told: (key: string, stale: Staleness) => void | Promise<void>): void;
  /** The time of the event that this code reacts to, in Unix milliseconds: the same in every replay. */
  now(): number;
  /** A float in [0, 1), from a sequence that belongs to the run. */
  random(): number;
  /** A version 4 UUID from the same sequence. */
  uuid(): string;
  /** Not written again in a replay. */
  readonly log: Logger;
}

export interface MapOptions {
  concurrency?: number;
}

export type MapOutcome<Output> = { readonly ok: true; readonly value: Output } | { readonly ok: false; readonly error: Error };

/** What recovery knows of a failure. */
export interface FailureReport {
  readonly failure: Failure;
  readonly verdict: Verdict;
  readonly run: { readonly id: string; readonly kind: string; readonly name: string; readonly input: unknown };
  /** Absent when the coordinator itself failed. */
  readonly call?: { readonly seq: number; readonly function: string; readonly input: unknown; readonly attempts: number };
  /** The calls that the run had done before, in the order in which they ended. */
  readonly calls: readonly {
    readonly seq: number;
    readonly function: string;
    readonly input: unknown;
    readonly value?: unknown;
    readonly failure?: Failure;
  }[];
  /** Recoveries of the same call or run that went before. */
  readonly recoveries: number;
}

/** What `recover` is given: all that coordinators have, and the decisions. */
export interface RecoveryContext extends Omit<CoordinatorContext, "compensate" | "onStale"> {
  /** The failed call gets a fresh set of attempts, with another input if one is given. */
  retry(options?: { afterMs?: number; input?: unknown }): RecoveryDecision;
  /** The call, or the run, is completed with this value. */
  resumeWith(value: unknown): RecoveryDecision;
  /** The run's completed calls are compensated, the last first; then it fails with what failed it. */
  compensate(): RecoveryDecision;
  fail(error: Error): RecoveryDecision;
  /** Suspends the run until a person decides. */
  escalate(message: string): RecoveryDecision;
}

declare const DECISION: unique symbol;

/** Made by the methods of `RecoveryContext`; `recover` returns one. */
export type RecoveryDecision = Decision & { readonly [DECISION]?: never };

export type Recover = (ctx: RecoveryContext, failure: FailureReport) => RecoveryDecision | Promise<RecoveryDecision>;

/** How a function is executed. Everything is optional. */
export interface FunctionOptions<Input, Output> {
  /** Checks (and may transform) the input before the handler sees it: any Standard Schema, such as zod, valibot or arktype. */
  input?: StandardSchemaV1<unknown, Input>;
  /** Checks the result before it is journaled. */
  output?: StandardSchemaV1<unknown, Output>;
  /** The longest that one attempt may take. Default 60,000. */
  timeoutMs?: number;
  retry?: RetryPolicy;
  /** Calls of this function that may execute at the same time on the whole platform. Default: no limit. */
  concurrency?: number;
  /** Heap of a pod of this function, in MiB. Default 256. */
  memoryMb?: number;
  /** The same input always gives the same result. Default false. */
  deterministic?: boolean;
  /** Undoes a completed call. It may be executed more than once, like the function itself, and has the same options. */
  compensate?: (ctx: FunctionContext, done: { input: Input; output: Output }) => unknown;
  /** Decides what follows when the call has failed for good. */
  recover?: Recover;
  /** State keys that become stale when it fails: `orders/{id}`, where `{id}` is a field of its input. */
  writes?: readonly string[];
  permissions?: Permissions;
  on?: Trigger | readonly Trigger[];
  limits?: CallLimits;
  /** An attempt that says nothing by `ctx.progress` for longer is given up. Default: never. */
  heartbeatMs?: number;
  /** How many pods there are, and what decides it. Default: as many as the load needs, and none without calls. */
  scale?: ScaleOptions;
  /**
   * Whose word a result is. `one` (default): that of the pod that executed it. `compare`: two pods must agree. `quorum`: 3 × `faults` + 1
   * replicas execute it, and a result counts only with the certificate of 2 × `faults` + 1 of them.
   */
  trust?: Trust;
  /** With trust `quorum`: how many replicas may crash, lie or be silent without harm. 1 to 10, default 1. */
  faults?: number;
}

/** What `apply` of a stateful function may use: nothing in which replicas could differ. */
export interface ReplicaContext {
  readonly runId: string;
  /** Identifies the operation: the same at all replicas. */
  readonly key: string;
  /** The time on which the replicas have agreed, in Unix milliseconds; never less than that of an earlier operation. */
  now(): number;
  /** A float in [0, 1), from a sequence that belongs to the operation and that all replicas share: it is no secret. */
  random(): number;
  /** A version 4 UUID from the same sequence. */
  uuid(): string;
  readonly log: Logger;
}

/** A deterministic state machine: what it begins with, and what an input makes of it. States and values must be JSON. */
export interface StateMachine<State, Input, Output> {
  /** The state of a key before its first operation. */
  initial: (key: string) => State;
  /**
   * Gives the next state and the call's result. Throwing leaves the state as it was, and fails the call. Whatever it decides must follow
   * from its arguments alone: replicas that come to different results certify none.
   */
  apply: (state: State, input: Input, ctx: ReplicaContext) => { state: State; value: Output } | Promise<{ state: State; value: Output }>;
  /** Undoes a completed operation, when its call is compensated: gives the next state. */
  compensate?: (state: State, done: { input: Input; output: Output }, ctx: ReplicaContext) => { state: State } | Promise<{ state: State }>;
  /** The path of the input's field that tells which state it concerns, such as `account` or `customer.id`. Default: all calls share one state. */
  key?: string;
}

/** Options of a stateful function: those that a replicated function has. */
export type StatefulOptions<Input, Output> = Omit<
  FunctionOptions<Input, Output>,
  "trust" | "scale" | "heartbeatMs" | "writes" | "permissions" | "deterministic" | "compensate"
>;

export interface CoordinatorOptions<Input, Output> {
  input?: StandardSchemaV1<unknown, Input>;
  output?: StandardSchemaV1<unknown, Output>;
  /** Decides what follows when the coordinator has failed. */
  recover?: Recover;
  permissions?: Permissions;
  on?: Trigger | readonly Trigger[];
}

/** What a check is given of an execution that returned. */
export interface CheckedExecution<Input = unknown, Output = unknown> {
  readonly input: Input;
  readonly output: Output;
  readonly metrics: Pick<CallMetrics, "durationMs" | "cpuMs" | "memoryMb">;
  readonly lines: readonly LogLine[];
}

export interface CheckOptions<Input, Output> {
  /** The function whose executions are checked. */
  watch: FunctionDefinition<Input, Output>;
  /**
   * Called after the function has returned and before its result counts. Throwing, or returning `false`, fails the call with CHECK_FAILED.
   * `ctx` is the invocation's own: its state reads see what the invocation has written.
   */
  test?: (execution: CheckedExecution<Input, Output>, ctx: FunctionContext) => unknown;
  /** The longest that `test` may take. Default 10,000. */
  timeoutMs?: number;
  /** Bounds on measurements over a window, beyond which an alert is raised. */
  bounds?: { durationMs?: number; memoryMb?: number; errorRate?: number; windowMs?: number; least?: number };
}

// A registered symbol, so that a definition is known across copies of this module.
export const KIND: unique symbol = Symbol.for("lockstep.definition") as never;

export interface FunctionDefinition<Input = unknown, Output = unknown> {
  readonly [KIND]: "function";
  readonly name: string;
  readonly options: FunctionOptions<Input, Output>;
  readonly handler: (input: Input, ctx: FunctionContext) => Output | Promise<Output>;
  /** Of a function that `fn.stateful` has made. */
  // biome-ignore lint/suspicious/noExplicitAny: nobody outside `apply` knows what its state is
  readonly stateful?: StateMachine<any, Input, Output>;
}

export interface CoordinatorDefinition<Input = unknown, Output = unknown> {
  readonly [KIND]: "coordinator";
  readonly name: string;
  readonly options: CoordinatorOptions<Input, Output>;
  readonly handler: (ctx: CoordinatorContext, input: Input) => Promise<Output>;
}

/** A table of the state store: what its values must be, and how long they live. */
export interface TableDefinition<Value = unknown> {
  readonly [KIND]: "table";
  readonly name: string;
  readonly options: { schema?: StandardSchemaV1<unknown, Value>; ttlMs?: number };
}

/** A bucket that the application owns: it exists from its deployment on. */
export interface BucketDefinition {
  readonly [KIND]: "bucket";
  readonly name: string;
}

export interface CheckDefinition<Input = unknown, Output = unknown> {
  readonly [KIND]: "check";
  readonly name: string;
  readonly options: CheckOptions<Input, Output>;
}

/** Any definition of code, whatever its types. */
// biome-ignore lint/suspicious/noExplicitAny: the handler's input is contravariant, so `unknown` would accept no definition at all
export type Definition = FunctionDefinition<any, any> | CoordinatorDefinition<any, any>;

/** What else an application module exports. */
// biome-ignore lint/suspicious/noExplicitAny: as above
export type Resource = TableDefinition<any> | BucketDefinition | CheckDefinition<any, any>;
