/**
 * The registry: which versions exist, which is current, and where each name lives.
 *
 * Owns: names and versions. Does not own: bundles' storage (Journal), their files, or their loading (pods).
 *
 * A1  A name of a current version belongs to one application only.
 * A2  A version, once known, never changes: it is named by the hash of its code.
 */
import { LockstepError } from "../lib/errors.ts";
import type { ApplicationVersion, CoordinatorSpec, FunctionSpec, Manifest, TableSpec, Trigger } from "../protocol/application.ts";

interface Known {
  readonly version: ApplicationVersion;
  readonly functions: Map<string, FunctionSpec>;
  readonly coordinators: Map<string, CoordinatorSpec>;
}

export class Registry {
  readonly #versions = new Map<string, Known>();
  readonly #functions = new Map<string, ApplicationVersion>();
  readonly #coordinators = new Map<string, ApplicationVersion>();
  readonly #buckets = new Map<string, ApplicationVersion>();
  readonly #hooks = new Map<string, ApplicationVersion>();
  #revision = 0;

  /** Grows with each version that becomes known: what is made of the manifests is made anew when it has changed. */
  get revision(): number {
    return this.#revision;
  }

  /** Makes a version known; a current one takes over its application's names. */
  add(version: ApplicationVersion): void {
    const { manifest } = version;
    this.#revision++;
    this.#versions.set(version.version, {
      version,
      functions: new Map(manifest.functions.map((spec) => [spec.name, spec])),
      coordinators: new Map(manifest.coordinators.map((spec) => [spec.name, spec])),
    });
    if (!version.current) return;
    for (const names of [this.#functions, this.#coordinators, this.#buckets, this.#hooks]) {
      for (const [name, owner] of names) if (owner.application === version.application) names.delete(name);
    }
    for (const known of this.#versions.values()) {
      if (known.version.application === version.application) known.version.current = known.version.version === version.version;
    }
    for (const spec of manifest.functions) this.#functions.set(spec.name, version);
    for (const spec of manifest.coordinators) this.#coordinators.set(spec.name, version);
    for (const bucket of bucketsOf(manifest)) this.#buckets.set(bucket, version);
    for (const path of hooksOf(manifest)) this.#hooks.set(path, version);
  }

  /** @throws {LockstepError} NAME_TAKEN when another application defines one of the names */
  checkNames(version: ApplicationVersion): void {
    const check = (kind: string, name: string, owner: ApplicationVersion | undefined): void => {
      if (owner === undefined || owner.application === version.application) return;
      throw new LockstepError("NAME_TAKEN", `${kind} "${name}" is already defined by application "${owner.application}"`, {
        details: { name, application: owner.application },
      });
    };
    for (const { name } of version.manifest.functions) check("function", name, this.#functions.get(name));
    for (const { name } of version.manifest.coordinators) check("coordinator", name, this.#coordinators.get(name));
    for (const bucket of bucketsOf(version.manifest)) check("bucket", bucket, this.#buckets.get(bucket));
    for (const path of hooksOf(version.manifest)) check("webhook", path, this.#hooks.get(path));
  }

  list(): ApplicationVersion[] {
    return [...this.#versions.values()].map((known) => known.version);
  }

  version(version: string): ApplicationVersion | undefined {
    return this.#versions.get(version)?.version;
  }

  spec(fn: string, version: string): FunctionSpec | undefined {
    return this.#versions.get(version)?.functions.get(fn);
  }

  coordinatorSpec(name: string, version: string): CoordinatorSpec | undefined {
    return this.#versions.get(version)?.coordinators.get(name);
  }

  /** The tables that the application's current version defines. */
  tables(application: string): readonly TableSpec[] {
    return this.current().find((version) => version.application === application)?.manifest.tables ?? [];
  }

  /** The application whose current version declares the bucket, or is triggered by it. */
  ownerOfBucket(bucket: string): string | undefined {
    return this.#buckets.get(bucket)?.application;
  }

  /** All buckets that current versions declare. */
  buckets(): string[] {
    return [...this.#buckets.keys()];
  }

  /** The version of each application that new runs take. */
  current(): ApplicationVersion[] {
    return this.list().filter((version) => version.current);
  }

  /** The version that a call by name goes to: the caller's own if it defines the function, else the current owner of the name. */
  homeOfFunction(fn: string, own?: string): ApplicationVersion | undefined {
    const known = own === undefined ? undefined : this.#versions.get(own);
    return known?.functions.has(fn) ? known.version : this.#functions.get(fn);
  }

  homeOfCoordinator(name: string, own?: string): ApplicationVersion | undefined {
    const known = own === undefined ? undefined : this.#versions.get(own);
    return known?.coordinators.has(name) ? known.version : this.#coordinators.get(name);
  }

  /** All names that functions have now, for suggestions. */
  functionNames(): string[] {
    return [...this.#functions.keys()];
  }

  coordinatorNames(): string[] {
    return [...this.#coordinators.keys()];
  }
}

const triggersOf = ({ functions, coordinators }: Manifest): Trigger[] => [...functions, ...coordinators].flatMap(({ on = [] }) => on);

/** A bucket is an application's when it defines it, or has something that its PUTs start. */
const bucketsOf = (manifest: Manifest): Set<string> => {
  const triggered = triggersOf(manifest).flatMap((trigger) => ("object" in trigger ? [trigger.object.bucket] : []));
  return new Set([...(manifest.buckets ?? []), ...triggered]);
};

const hooksOf = (manifest: Manifest): Set<string> =>
  new Set(triggersOf(manifest).flatMap((trigger) => ("http" in trigger ? [trigger.http.path] : [])));
