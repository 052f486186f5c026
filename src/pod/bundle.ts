import { readFileSync } from "node:fs";
import { createRequire, isBuiltin } from "node:module";
import { Script } from "node:vm";
import { type CoordinatorDefinition, type FunctionDefinition, isDefinition, isFunction } from "../application/definitions.ts";
import * as sdk from "../index.ts";
import { LockstepError } from "../lib/errors.ts";
import type { FunctionSpec, Manifest } from "../protocol/application.ts";

/** The definitions of a loaded application. */
export interface LoadedApplication {
  functions: Map<string, FunctionDefinition>;
  coordinators: Map<string, CoordinatorDefinition>;
}

/**
 * Executes a bundle in this process and collects what it exports.
 * @throws {LockstepError} APPLICATION_INVALID when it is no JavaScript, throws, exports nothing, or defines a name twice
 */
export const loadBundle = (path: string): LoadedApplication => {
  const code = `(function (exports, require, module) {${readFileSync(path, "utf8")}\n})`;
  const script = attempt("is no JavaScript", () => new Script(code, { filename: path }));
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
    throw new LockstepError("APPLICATION_INVALID", `the application ${what}: ${message}`, { cause });
  }
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
  const application: LoadedApplication = { functions: new Map(), coordinators: new Map() };
  for (const value of values) {
    if (!isDefinition(value)) continue;
    const [kind, into] = isFunction(value)
      ? (["function", application.functions] as const)
      : (["coordinator", application.coordinators] as const);
    const earlier = into.get(value.name);
    if (earlier !== undefined && earlier !== value) {
      throw new LockstepError("APPLICATION_INVALID", `${kind} "${value.name}" is defined twice`, { details: { name: value.name } });
    }
    (into as Map<string, unknown>).set(value.name, value);
  }
  if (application.functions.size + application.coordinators.size > 0) return application;
  throw new LockstepError(
    "APPLICATION_INVALID",
    "the application exports no function and no coordinator: export what fn() and coordinator() return",
  );
};

// CommonJS may put one definition in place of its exports; a default export may be one definition, an array or an object of them.
const exported = (exports: unknown): unknown[] => {
  if (isDefinition(exports)) return [exports];
  if (typeof exports !== "object" || exports === null) return [];
  const values = Object.values(exports);
  const more = (exports as { default?: unknown }).default;
  return typeof more === "object" && more !== null && !isDefinition(more) ? [...values, ...Object.values(more)] : values;
};

export const manifestOf = ({ functions, coordinators }: LoadedApplication): Manifest => ({
  functions: [...functions.values()].map(specOf),
  coordinators: [...coordinators.values()].map(({ name }) => ({ name })),
});

const specOf = ({ name, options }: FunctionDefinition): FunctionSpec => {
  const { input: _input, output: _output, ...plain } = options;
  // A round trip drops `undefined` and whatever else a manifest can't hold.
  return { name, ...(JSON.parse(JSON.stringify(plain)) as Omit<FunctionSpec, "name">) };
};
