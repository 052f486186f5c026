import { readFileSync } from "node:fs";
import { createRequire, isBuiltin } from "node:module";
import { Script } from "node:vm";
import type {
  BucketDefinition,
  CheckDefinition,
  CoordinatorDefinition,
  Definition,
  FunctionDefinition,
  Resource,
  TableDefinition,
} from "../application/definitions.ts";
import { isDefinition, isResource, kindOf, replicaSpec, triggersOf } from "../application/definitions.ts";
import * as sdk from "../index.ts";
import { LockstepError } from "../lib/errors.ts";
import type { AlertSpec, CoordinatorSpec, FunctionSpec, Manifest } from "../protocol/application.ts";
import { isManifest } from "../protocol/manifest.ts";

/** The definitions of a loaded application. */
export interface LoadedApplication {
  functions: Map<string, FunctionDefinition>;
  coordinators: Map<string, CoordinatorDefinition>;
  tables: Map<string, TableDefinition>;
  buckets: Map<string, BucketDefinition>;
  checks: Map<string, CheckDefinition>;
}

/**
 * Executes a bundle in this process and collects what it exports.
 * @throws {LockstepError} APPLICATION_INVALID when it is no JavaScript, throws, exports nothing, or defines a name twice
 */
export const loadBundle = (path: string): LoadedApplication =>
  execute(preloaded.get(path) ?? compile(readFileSync(path, "utf8"), path), path);

const MOST_PRELOADED = 2;
/** By path: a version's file never changes. */
const preloaded = new Map<string, Script>();

/**
 * Reads and compiles a bundle that may be loaded next, and executes nothing of it: the pod is still anybody's. What is wrong with it is told
 * when it is loaded.
 */
export const preloadBundle = (path: string): void => {
  if (preloaded.has(path)) return;
  try {
    preloaded.set(path, compile(readFileSync(path, "utf8"), path));
  } catch {
    // Whoever loads it gets the same error, and has somebody to tell it to.
    return;
  }
  for (const oldest of preloaded.keys()) {
    if (preloaded.size <= MOST_PRELOADED) break;
    preloaded.delete(oldest);
  }
};

/** Executes a bundle's text. `path` names it in stacks, and is where it finds Node's own modules. */
export const loadText = (text: string, path: string): LoadedApplication => execute(compile(text, path), path);

const compile = (text: string, path: string): Script =>
  attempt("is no JavaScript", () => new Script(`(function (exports, require, module) {${text}\n})`, { filename: path }));

const execute = (script: Script, path: string): LoadedApplication => {
  const module = { exports: {} as unknown };
  const values = attempt("threw while it loaded", () => {
    (script.runInThisContext() as (...parts: unknown[]) => void)(module.exports, requireFrom(path), module);
    return exported(module.exports);
  });
  return definitionsAmong(values);
};

const attempt = <T>(what: string, part: () => T): T => {
  try {
    return part();
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new LockstepError("APPLICATION_INVALID", `the application ${what}: ${message}${placeOf(cause)}`, { cause });
  }
};

/** Where in the user's own files it was: stack-trace.ts names these by relative paths, all others have absolute ones or a scheme. */
const placeOf = (cause: unknown): string => {
  const stack = cause instanceof Error && typeof cause.stack === "string" ? cause.stack : "";
  const place = /^ {4}at (?:[^\n]* \()?((?!file:|node:|\/)[^\n():]+:\d+:\d+)\)?$/m.exec(stack)?.[1];
  return place === undefined ? "" : ` (at ${place})`;
};

/** The one module that is not in the bundle is the SDK, so that its errors are the same classes for user code and pod. */
const requireFrom = (path: string): ((name: string) => unknown) => {
  const native = createRequire(path);
  return (name) => {
    if (name === "lockstep") return sdk;
    if (isBuiltin(name)) return native(name);
    throw new LockstepError("APPLICATION_INVALID", `module "${name}" is not in the bundle`, { details: { module: name } });
  };
};

/** Finds the definitions among a module's exports. @throws {LockstepError} APPLICATION_INVALID */
export const collect = (exports: unknown): LoadedApplication => definitionsAmong(exported(exports));

const definitionsAmong = (values: readonly unknown[]): LoadedApplication => {
  const application: LoadedApplication = {
    functions: new Map(),
    coordinators: new Map(),
    tables: new Map(),
    buckets: new Map(),
    checks: new Map(),
  };
  for (const value of values) {
    if (!isDefinition(value) && !isResource(value)) continue;
    const kind = kindOf(value);
    const into: Map<string, unknown> = application[`${kind}s`];
    const earlier = into.get(value.name);
    if (earlier !== undefined && earlier !== value) {
      throw new LockstepError("APPLICATION_INVALID", `${kind} "${value.name}" is defined twice`, { details: { name: value.name } });
    }
    into.set(value.name, value);
  }
  for (const { name, options } of application.checks.values()) checkWatched(application, name, options.watch);
  if (application.functions.size + application.coordinators.size > 0) return application;
  throw new LockstepError(
    "APPLICATION_INVALID",
    "the application exports no function and no coordinator: export what fn() and coordinator() return",
  );
};

/** A check of a function that isn't the application's would never execute, and nobody would notice. */
const checkWatched = ({ functions }: LoadedApplication, name: string, watched: FunctionDefinition): void => {
  if (functions.get(watched.name) === watched) return;
  throw new LockstepError("APPLICATION_INVALID", `check "${name}" watches function "${watched.name}": export that function too`, {
    details: { name, field: "watch" },
  });
};

// CommonJS may put one definition in place of its exports; a default export may be one definition, an array or an object of them.
const exported = (exports: unknown): unknown[] => {
  if (isExported(exports)) return [exports];
  if (typeof exports !== "object" || exports === null) return [];
  const values = Object.values(exports);
  const more = (exports as { default?: unknown }).default;
  return typeof more === "object" && more !== null && !isExported(more) ? [...values, ...Object.values(more)] : values;
};

const isExported = (value: unknown): value is Definition | Resource => isDefinition(value) || isResource(value);

/**
 * What the control plane must know of an application: names and plain options.
 * @throws {LockstepError} APPLICATION_INVALID when that is more than the control plane takes
 */
export const manifestOf = ({ functions, coordinators, tables, buckets, checks }: LoadedApplication): Manifest => {
  const manifest: Manifest = {
    functions: [...functions.values()].map(specOf),
    coordinators: [...coordinators.values()].map(coordinatorSpecOf),
  };
  if (tables.size > 0) {
    manifest.tables = [...tables.values()].map(({ name, options: { ttlMs } }) => ({ name, ...(ttlMs === undefined ? {} : { ttlMs }) }));
  }
  if (buckets.size > 0) manifest.buckets = [...buckets.keys()];
  const alerts = [...checks.values()].flatMap(alertOf);
  if (alerts.length > 0) manifest.alerts = alerts;
  // The control plane ends a pod that sends what is no manifest, and could tell no more of it than that.
  if (isManifest(manifest)) return manifest;
  throw new LockstepError("APPLICATION_INVALID", "the application has more definitions, or longer lists and names in one, than is allowed");
};

const specOf = ({ name, options, stateful }: FunctionDefinition): FunctionSpec => {
  const { input: _input, output: _output, compensate, recover, on: _on, ...plain } = options;
  const on = triggersOf(options);
  return plainly({
    ...plain,
    name,
    ...(compensate === undefined ? {} : { compensates: true }),
    ...(recover === undefined ? {} : { recovers: true }),
    ...(on === undefined ? {} : { on }),
    ...(stateful === undefined ? {} : replicaSpec(stateful)),
  });
};

const coordinatorSpecOf = ({ name, options }: CoordinatorDefinition): CoordinatorSpec => {
  const { recover, permissions } = options;
  return plainly({ name, ...(recover === undefined ? {} : { recovers: true }), permissions, on: triggersOf(options) });
};

const alertOf = ({ name, options: { watch, bounds } }: CheckDefinition): AlertSpec[] =>
  bounds === undefined ? [] : [plainly({ ...bounds, name, function: watch.name })];

// A round trip drops `undefined` and whatever else a manifest can't hold.
const plainly = <Spec>(spec: unknown): Spec => JSON.parse(JSON.stringify(spec)) as Spec;
