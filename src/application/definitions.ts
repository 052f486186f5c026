import type { FunctionSpec, Trigger } from "../protocol/application.ts";
import type {
  BucketDefinition,
  CheckDefinition,
  CheckOptions,
  CoordinatorContext,
  CoordinatorDefinition,
  CoordinatorOptions,
  Definition,
  FunctionContext,
  FunctionDefinition,
  FunctionOptions,
  Resource,
  StatefulOptions,
  StateMachine,
  TableDefinition,
} from "./context.ts";
import { KIND } from "./context.ts";
import { invalid } from "./option-refusals.ts";
import {
  checkBounds,
  checkBucketName,
  checkDuration,
  checkFunctionSpec,
  checkName,
  checkOptionNames,
  checkShared,
  checkTableSpec,
} from "./options.ts";
import type { StandardSchemaV1 } from "./standard-schema.ts";

export type {
  BucketDefinition,
  CheckDefinition,
  CheckOptions,
  CoordinatorDefinition,
  CoordinatorOptions,
  Definition,
  FunctionDefinition,
  FunctionOptions,
  Resource,
  TableDefinition,
} from "./context.ts";

// Records, so that the compiler misses an option that is added to the types and not here.
const COORDINATOR_OPTIONS = Object.keys({
  input: true,
  output: true,
  recover: true,
  permissions: true,
  on: true,
} satisfies Record<keyof CoordinatorOptions<unknown, unknown>, true>);

const FUNCTION_OPTIONS = Object.keys({
  input: true,
  output: true,
  timeoutMs: true,
  retry: true,
  concurrency: true,
  memoryMb: true,
  deterministic: true,
  compensate: true,
  recover: true,
  writes: true,
  permissions: true,
  on: true,
  limits: true,
  heartbeatMs: true,
  scale: true,
  trust: true,
  faults: true,
} satisfies Record<keyof FunctionOptions<unknown, unknown>, true>);

/**
 * Defines a function: a named unit of work that runs in a pod of its own and may be executed more than once (at least once), while exactly
 * one attempt's result is committed.
 * @throws {LockstepError} APPLICATION_INVALID when the name or an option is wrong
 */
const define = <Input = void, Output = void>(
  name: string,
  handler: (input: Input, ctx: FunctionContext) => Output | Promise<Output>,
  options: FunctionOptions<Input, Output> = {},
): FunctionDefinition<Input, Output> => {
  checkName("function", name);
  checkHandler("function", name, handler);
  checkOptionNames(`function "${name}"`, options, FUNCTION_OPTIONS);
  checkOptional(`function "${name}"`, "compensate", options.compensate, "undoes a completed call");
  checkOptional(`function "${name}"`, "recover", options.recover, "decides what follows a failure");
  checkFunctionSpec(specOptions(options) as Omit<FunctionSpec, "name">, `function "${name}"`);
  nameHandler(name, handler);
  return { [KIND]: "function", name, handler, options };
};

const MACHINE = Object.keys({ initial: true, apply: true, compensate: true, key: true } satisfies Record<
  keyof StateMachine<unknown, unknown, unknown>,
  true
>);

/**
 * Defines a function that keeps state, by key, at a set of replicas that agree on each operation and its result: up to `faults` of them may
 * crash, lie or be silent, and neither state nor results are lost or wrong.
 * @throws {LockstepError} APPLICATION_INVALID when the name or an option is wrong
 */
const stateful = <State, Input = void, Output = void>(
  name: string,
  machine: StateMachine<State, Input, Output>,
  options: StatefulOptions<Input, Output> = {},
): FunctionDefinition<Input, Output> => {
  checkName("function", name);
  const owner = `function "${name}"`;
  if (typeof machine !== "object" || machine === null) {
    throw invalid(`${owner} needs { initial, apply } as its second argument`, "apply");
  }
  checkOptionNames(owner, machine, MACHINE);
  for (const field of ["initial", "apply"] as const) {
    if (typeof machine[field] !== "function") throw invalid(`${owner}: ${field} must be a function`, field);
  }
  checkOptional(owner, "compensate", machine.compensate, "gives the state without what it undoes");
  const given = options as { trust?: unknown; compensate?: unknown };
  if (given.compensate !== undefined) throw invalid(`${owner}: compensate stands beside apply, as it changes the state`, "compensate");
  if (given.trust !== undefined && given.trust !== "quorum") {
    throw invalid(`${owner}: trust is always "quorum" for a stateful function: leave it out`, "trust");
  }
  const replicated: FunctionOptions<Input, Output> = { ...options, trust: "quorum" };
  checkFunctionSpec({ ...replicaSpec(machine), trust: "quorum" }, owner);
  const handler = (): never => {
    // A pod has no state: only a replica executes `apply`.
    throw invalid(`${owner} is stateful: it is executed by its replicas only`);
  };
  return { ...define(name, handler, replicated), stateful: machine };
};

export const fn: typeof define & { stateful: typeof stateful } = Object.assign(define, { stateful });

/** What a manifest tells of a stateful function besides its options. */
export const replicaSpec = ({
  key,
  compensate,
}: {
  key?: string;
  compensate?: unknown;
}): Pick<FunctionSpec, "stateful" | "stateKey" | "compensates"> => ({
  stateful: true,
  ...(compensate === undefined ? {} : { compensates: true }),
  ...(key === undefined ? {} : { stateKey: key }),
});

/**
 * Defines a coordinator: durable code. It is replayed from its journal after a crash, so it must do the same again when given the same
 * results: use `ctx.now()`, `ctx.random()`, `ctx.uuid()` and keep effects in functions or `ctx.step`.
 * @throws {LockstepError} APPLICATION_INVALID when the name or an option is wrong
 */
export const coordinator = <Input = void, Output = void>(
  name: string,
  handler: (ctx: CoordinatorContext, input: Input) => Promise<Output>,
  options: CoordinatorOptions<Input, Output> = {},
): CoordinatorDefinition<Input, Output> => {
  checkName("coordinator", name);
  checkHandler("coordinator", name, handler);
  checkOptionNames(`coordinator "${name}"`, options, COORDINATOR_OPTIONS);
  checkOptional(`coordinator "${name}"`, "recover", options.recover, "decides what follows a failure");
  checkShared(specOptions(options), `coordinator "${name}"`);
  nameHandler(name, handler);
  return { [KIND]: "coordinator", name, handler, options };
};

/**
 * Names a table of the state store: what its values must be, and how long its keys live. Tables that need neither need no definition.
 * @throws {LockstepError} APPLICATION_INVALID when the name or an option is wrong
 */
export const table = <Value = unknown>(
  name: string,
  options: { schema?: StandardSchemaV1<unknown, Value>; ttlMs?: number } = {},
): TableDefinition<Value> => {
  checkName("table", name);
  checkOptionNames(`table "${name}"`, options, ["schema", "ttlMs"]);
  checkTable(name, options);
  return { [KIND]: "table", name, options };
};

/**
 * Names a bucket of objects that the application owns: it exists from the application's deployment on.
 * @throws {LockstepError} APPLICATION_INVALID when it can't be a bucket's name
 */
export const bucket = (name: string): BucketDefinition => {
  checkBucketName(name);
  return { [KIND]: "bucket", name };
};

/** How many checks of each function have no name of their own. */
const unnamed = new WeakMap<object, number>();

/**
 * Watches the executions of a function: `test` decides whether one that returned did its work, `bounds` raise alerts. Without a name it is
 * called after the function: `payment-check`, then `payment-check-2`.
 * @throws {LockstepError} APPLICATION_INVALID when the name or an option is wrong
 */
export function check<Input, Output>(options: CheckOptions<Input, Output>): CheckDefinition<Input, Output>;
export function check<Input, Output>(name: string, options: CheckOptions<Input, Output>): CheckDefinition<Input, Output>;
export function check<Input, Output>(
  ...given: [CheckOptions<Input, Output>] | [string, CheckOptions<Input, Output>]
): CheckDefinition<Input, Output> {
  const [name, options] = given.length === 1 ? [undefined, given[0]] : given;
  if (name !== undefined) checkName("check", name);
  checkCheck(name, options);
  return { [KIND]: "check", name: name ?? derivedName(options.watch), options };
}

const derivedName = (watched: Definition): string => {
  const number = (unnamed.get(watched) ?? 0) + 1;
  unnamed.set(watched, number);
  const suffix = number === 1 ? "-check" : `-check-${number}`;
  return `${watched.name.slice(0, 100 - suffix.length)}${suffix}`;
};

type Kind = (Definition | Resource)[typeof KIND];

/** What kind of a definition it is; `undefined` when it is none. */
export function kindOf(value: Definition | Resource): Kind;
export function kindOf(value: unknown): Kind | undefined;
export function kindOf(value: unknown): Kind | undefined {
  return typeof value === "object" && value !== null ? (value as Partial<Definition>)[KIND] : undefined;
}

export const isDefinition = (value: unknown): value is Definition => kindOf(value) === "function" || kindOf(value) === "coordinator";

export const isFunction = (definition: Definition): definition is FunctionDefinition => definition[KIND] === "function";

const RESOURCES: ReadonlySet<unknown> = new Set(["table", "bucket", "check"]);

export const isResource = (value: unknown): value is Resource => RESOURCES.has(kindOf(value));

/** The triggers of a definition, of which one may stand alone. */
export const triggersOf = ({ on }: { on?: Trigger | readonly Trigger[] }): readonly Trigger[] | undefined =>
  on === undefined || Array.isArray(on) ? (on as readonly Trigger[] | undefined) : [on as Trigger];

const checkHandler = (kind: string, name: string, handler: unknown): void => {
  if (typeof handler !== "function") throw invalid(`${kind} "${name}" needs a handler function as its second argument`, "handler");
};

/** Without a name, stacks call it after whatever stands around it in the code, such as `charge.timeoutMs`. */
const nameHandler = (name: string, handler: object): void => {
  if ((handler as { name?: unknown }).name === "") Reflect.defineProperty(handler, "name", { value: name, configurable: true });
};

const checkOptional = (owner: string, field: string, value: unknown, does: string): void => {
  if (value !== undefined && typeof value !== "function") throw invalid(`${owner}: ${field} must be a function that ${does}`, field);
};

/** The options that the manifest will have: the others are for the pod alone. */
const specOptions = <Options extends { on?: Trigger | readonly Trigger[] }>(options: Options): Options & { on?: Trigger[] } => {
  const on = triggersOf(options);
  return on === undefined ? (options as Options & { on?: Trigger[] }) : { ...options, on: on as Trigger[] };
};

/** What `check()` may be given by those who don't use TypeScript. */
type Unchecked = Pick<CheckOptions<unknown, unknown>, "timeoutMs" | "bounds"> & { watch: unknown; test?: unknown };

const checkTable = (name: string, { schema, ttlMs }: TableDefinition["options"]): void => {
  if (schema !== undefined && typeof (schema as Partial<StandardSchemaV1>)?.["~standard"]?.validate !== "function") {
    throw invalid(`table "${name}": schema must be a Standard Schema, such as one of zod, valibot or arktype`, "schema");
  }
  checkTableSpec({ name, ...(ttlMs === undefined ? {} : { ttlMs }) });
};

const checkCheck = (name: string | undefined, options: Unchecked): void => {
  const owner = name === undefined ? "a check" : `check "${name}"`;
  if (typeof options !== "object" || options === null) throw invalid(`${owner} needs an object of options: { watch, test }`, "watch");
  checkOptionNames(owner, options, ["watch", "test", "timeoutMs", "bounds"]);
  const { watch, test, bounds } = options;
  if (!isDefinition(watch) || !isFunction(watch))
    throw invalid(`${owner}: watch must be the function to watch, as fn() returned it`, "watch");
  checkOptional(owner, "test", test, "tells whether an execution did its work");
  checkDuration(owner, "timeoutMs", options.timeoutMs);
  if (bounds !== undefined) checkBounds(bounds, owner, "bounds");
  if (test !== undefined && watch.options.trust === "quorum") {
    throw invalid(
      `${owner}: replicas of function "${watch.name}" execute no checks: give bounds, or look at the result where it is used`,
      "test",
    );
  }
  if (test === undefined && bounds === undefined) throw invalid(`${owner} checks nothing: give it a test, bounds, or both`, "test");
};
