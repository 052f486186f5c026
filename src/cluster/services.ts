/**
 * Which services there are: the specs that were given, a default one for every other function, and what each means for each version.
 *
 * Owns: the rows `service/…` of the space `$cluster`. Does not own: pods, the numbers that are decided (service.ts).
 */
import type { Registry } from "../application/registry.ts";
import { LockstepError } from "../lib/errors.ts";
import type { ServiceSpec } from "../protocol/cluster.ts";
import type { StateChange, StateEntry } from "../protocol/state.ts";
import type { ServiceDefaults, Settings } from "./specs.ts";
import { settingsOf } from "./specs.ts";

export const SPACE = "$cluster";
export const SERVICE_PREFIX = "service/";
const DEFAULT_SUFFIX = ".default";

export interface Service {
  readonly spec: ServiceSpec;
  /** 0 for a default one. */
  readonly resourceVersion: number;
}

export class Services {
  readonly #registry: Registry;
  readonly #defaults: ServiceDefaults;
  readonly #given = new Map<string, Service>();
  /** By function, and by function and version. */
  readonly #byFunction = new Map<string, Service>();

  constructor(registry: Registry, defaults: ServiceDefaults) {
    this.#registry = registry;
    this.#defaults = defaults;
  }

  load(rows: readonly StateEntry[]): void {
    for (const { value, version } of rows) this.#keep({ spec: JSON.parse(value) as ServiceSpec, resourceVersion: version });
  }

  /** Those that were given, and one for each other function that there is, in the order of their names. */
  list(): Service[] {
    const names = this.#registry.functionNames().filter((name) => !this.#byFunction.has(name));
    const all = [...this.#given.values(), ...names.map((name) => this.#byDefault(name))];
    return all.sort((a, b) => (a.spec.name < b.spec.name ? -1 : 1));
  }

  /** @throws {LockstepError} UNKNOWN_SERVICE */
  get(name: string): Service {
    const found = this.#given.get(name);
    if (found !== undefined) return found;
    const fn = name.endsWith(DEFAULT_SUFFIX) ? name.slice(0, -DEFAULT_SUFFIX.length) : name;
    const isDefault = this.#registry.homeOfFunction(fn) !== undefined && !this.#byFunction.has(fn);
    if (isDefault && this.#byDefault(fn).spec.name === name) return this.#byDefault(fn);
    const other = this.#byFunction.get(name);
    const hint = other === undefined ? "" : `: function "${name}" is behind service "${other.spec.name}"`;
    throw new LockstepError("UNKNOWN_SERVICE", `there is no service "${name}"${hint}`, { details: { name } });
  }

  /** The service that a function's version stands behind. */
  of(fn: string, version: string): Service {
    return this.#byFunction.get(`${fn}@${version}`) ?? this.#byFunction.get(fn) ?? this.#byDefault(fn);
  }

  settings(fn: string, version: string): Settings {
    const home = this.#registry.homeOfFunction(fn);
    const { spec } = this.of(fn, version);
    const isCurrent = home?.version === version || spec.version === version;
    return settingsOf(spec, this.#registry.spec(fn, version), isCurrent, this.#defaults);
  }

  isCurrent(fn: string, version: string): boolean {
    return this.#registry.homeOfFunction(fn)?.version === version;
  }

  isKnown(fn: string, version: string): boolean {
    return this.#registry.spec(fn, version) !== undefined;
  }

  /** The version whose pods a service has also without calls; `undefined` when nobody defines its function any more. */
  currentVersion({ spec }: Service): string | undefined {
    const version = spec.version ?? this.#registry.homeOfFunction(spec.function)?.version;
    return version !== undefined && this.#registry.spec(spec.function, version) !== undefined ? version : undefined;
  }

  /** Whether it was given, rather than followed from the function's definition. */
  isGiven(name: string): boolean {
    return this.#given.has(name);
  }

  /** @throws {LockstepError} SERVICE_EXISTS, UNKNOWN_FUNCTION */
  check(spec: ServiceSpec): void {
    const { name, function: fn, version } = spec;
    const isKnown = version === undefined ? this.#registry.homeOfFunction(fn) : this.#registry.spec(fn, version);
    if (isKnown === undefined) {
      const where = version === undefined ? "" : ` in version ${version}`;
      throw new LockstepError("UNKNOWN_FUNCTION", `there is no function "${fn}"${where}`, { details: { name: fn } });
    }
    if (name !== fn && this.#registry.homeOfFunction(name) !== undefined) {
      throw exists(name, `"${name}" is the name of function "${name}", whose service has it`);
    }
    if (name === fn && version !== undefined) {
      throw exists(name, `"${name}" is the service of all versions of function "${fn}": give the one of version ${version} another name`);
    }
    const other = this.#byFunction.get(keyOf(spec));
    if (other === undefined || other.spec.name === name) return;
    throw exists(other.spec.name, `function "${fn}" is behind service "${other.spec.name}" already: change that one`);
  }

  put(spec: ServiceSpec, resourceVersion: number): StateChange {
    const before = this.#given.get(spec.name);
    if (before !== undefined) this.#forget(before);
    this.#keep({ spec, resourceVersion });
    return { space: SPACE, key: `${SERVICE_PREFIX}${spec.name}`, value: JSON.stringify(spec), version: resourceVersion };
  }

  delete(name: string): StateChange {
    const service = this.#given.get(name);
    if (service !== undefined) this.#forget(service);
    return { space: SPACE, key: `${SERVICE_PREFIX}${name}`, version: 0 };
  }

  /** Under the function's name, unless a service that was given before the function was deployed has it: nothing that is given has a dot. */
  #byDefault(fn: string): Service {
    const isTaken = (this.#given.get(fn)?.spec.function ?? fn) !== fn;
    return { spec: { name: isTaken ? `${fn}${DEFAULT_SUFFIX}` : fn, function: fn }, resourceVersion: 0 };
  }

  #keep(service: Service): void {
    this.#given.set(service.spec.name, service);
    this.#byFunction.set(keyOf(service.spec), service);
  }

  #forget(service: Service): void {
    this.#given.delete(service.spec.name);
    this.#byFunction.delete(keyOf(service.spec));
  }
}

export const exists = (name: string, message: string): LockstepError => new LockstepError("SERVICE_EXISTS", message, { details: { name } });

const keyOf = ({ function: fn, version }: ServiceSpec): string => (version === undefined ? fn : `${fn}@${version}`);
