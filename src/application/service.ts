/**
 * Deployment: makes a bundle a version that new runs take.
 *
 * Owns: inspection, the order "saved, then current", and the bundles' files for pods. Does not own: bundling (the client does it), names
 * (Registry), storage (Journal).
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Journal } from "../journal/port.ts";
import type { Clock } from "../lib/clock.ts";
import { LockstepError } from "../lib/errors.ts";
import { getOrMake } from "../lib/map.ts";
import {
  APPLICATION_NAME,
  type ApplicationVersion,
  type Bundle,
  type FunctionSpec,
  type Manifest,
  type Trust,
} from "../protocol/application.ts";
import type { Fleet } from "../scheduler/fleet.ts";
import { checkSchedules } from "../triggers/schedule.ts";
import { inspect } from "./inspection.ts";
import { checkManifest } from "./options.ts";
import type { Registry } from "./registry.ts";

export interface ApplicationOptions {
  /** Where the bundles' files are kept for pods; `undefined` when pods find what a version holds without a file. */
  directory: string | undefined;
  memoryMb: number;
  /** The longest that an application may take to load. */
  inspectTimeoutMs: number;
  /** What functions may have as their `trust`. Default: `one`, as nothing but replicas can certify results. */
  trust?: readonly Trust[];
  /** Refuses a version that can't go on with what earlier ones have left. @throws {LockstepError} APPLICATION_INVALID */
  check?(version: ApplicationVersion): void;
  /** This application has another current version now. */
  deployed?(application: string): void;
}

export class Applications {
  readonly #journal: Journal;
  readonly #registry: Registry;
  readonly #fleet: Fleet;
  readonly #clock: Clock;
  readonly #options: ApplicationOptions;
  readonly #paths = new Map<string, string>();

  constructor(journal: Journal, registry: Registry, fleet: Fleet, clock: Clock, options: ApplicationOptions) {
    this.#journal = journal;
    this.#registry = registry;
    this.#fleet = fleet;
    this.#clock = clock;
    this.#options = options;
  }

  /** Brings back what was deployed before. */
  async recover(): Promise<void> {
    const { directory } = this.#options;
    if (directory !== undefined) mkdirSync(directory, { recursive: true });
    for (const version of await this.#journal.applications()) {
      const isMissing = directory !== undefined && !existsSync(this.pathOf(version.version));
      const bundle = isMissing ? await this.#journal.bundle(version.version) : undefined;
      if (bundle !== undefined) this.#write(bundle);
      this.#registry.add(version);
    }
  }

  /** The file of a version's bundle, for pods. */
  readonly pathOf = (version: string): string => {
    const { directory } = this.#options;
    return directory === undefined ? "" : getOrMake(this.#paths, version, () => join(directory, `${version}.cjs`));
  };

  /** What the scheduler must know of a function's version; `undefined` when there is none. */
  readonly homeOf = (fn: string, version: string): { application: string; path: string; spec: FunctionSpec } | undefined => {
    const spec = this.#registry.spec(fn, version);
    if (spec === undefined) return undefined;
    return { spec, application: this.#registry.version(version)?.application ?? "", path: this.pathOf(version) };
  };

  /** @throws {LockstepError} APPLICATION_INVALID, NAME_TAKEN, POD_FAILED_TO_START */
  async deploy(given: Bundle): Promise<ApplicationVersion> {
    const bundle = this.#verified(given);
    const known = this.#registry.version(bundle.version);
    if (known !== undefined && known.application !== bundle.application) {
      throw new LockstepError("APPLICATION_INVALID", `version ${bundle.version} is already deployed as application "${known.application}"`);
    }
    this.#write(bundle);
    const version = this.check(bundle, known?.manifest ?? (await this.#inspect(bundle)));
    await this.#journal.saveApplication(bundle, version);
    this.#registry.add(version);
    this.#options.deployed?.(version.application);
    return version;
  }

  /**
   * The version that deploying this would make: what it defines is checked, also against other applications.
   * @throws {LockstepError} APPLICATION_INVALID, NAME_TAKEN
   */
  check({ application, version: named }: Bundle, manifest: Manifest): ApplicationVersion {
    checkManifest(manifest);
    this.#checkTrust(manifest);
    const version: ApplicationVersion = { application, version: named, manifest, deployedAt: this.#clock.now(), current: true };
    checkSchedules(version);
    this.#registry.checkNames(version);
    this.#options.check?.(version);
    return version;
  }

  /** A function of which certified results are asked must never be executed without. */
  #checkTrust({ functions }: Manifest): void {
    const offered = this.#options.trust ?? ["one"];
    const asking = functions.find(({ trust = "one" }) => !offered.includes(trust));
    if (asking === undefined) return;
    throw new LockstepError(
      "APPLICATION_INVALID",
      `function "${asking.name}" asks for trust "${asking.trust}", and this platform offers ${offered.map((trust) => `"${trust}"`).join(" and ")}`,
      { details: { field: "trust", function: asking.name } },
    );
  }

  /** Puts a bundle where pods find it, without deploying it; `discard` takes it away again. @throws {LockstepError} APPLICATION_INVALID */
  stage(given: Bundle): { bundle: Bundle; discard(): void } {
    const bundle = this.#verified(given);
    this.#write(bundle);
    const discard = (): void => {
      // It may have been deployed meanwhile, or long before.
      if (this.#options.directory === undefined || this.#registry.version(bundle.version) !== undefined) return;
      rmSync(this.pathOf(bundle.version), { force: true });
    };
    return { bundle, discard };
  }

  /** Whose code a run executes. */
  applicationOf(run: { application: string; version: string }): string {
    return this.#registry.version(run.version)?.application ?? run.application;
  }

  #verified(bundle: Bundle): Bundle {
    if (!APPLICATION_NAME.test(bundle.application)) {
      throw new LockstepError(
        "APPLICATION_INVALID",
        `application name ${JSON.stringify(bundle.application)} is invalid: use letters, digits, ".", "_" or "-"`,
        {
          details: { field: "application" },
        },
      );
    }
    const version = createHash("sha256").update(bundle.code).digest("hex").slice(0, 16);
    if (bundle.version !== "" && bundle.version !== version) {
      throw new LockstepError("APPLICATION_INVALID", `version ${bundle.version} is not the hash of the code, which is ${version}`, {
        details: { field: "version" },
      });
    }
    return { ...bundle, version };
  }

  // Written aside and renamed, so that no pod ever reads half a bundle.
  #write(bundle: Bundle): void {
    if (this.#options.directory === undefined) return;
    const path = this.pathOf(bundle.version);
    const partial = `${path}.partial`;
    writeFileSync(partial, bundle.code);
    renameSync(partial, path);
  }

  #inspect(bundle: Bundle): Promise<Manifest> {
    const { memoryMb, inspectTimeoutMs: timeoutMs } = this.#options;
    return inspect(bundle, this.pathOf(bundle.version), this.#fleet, this.#clock, { memoryMb, timeoutMs });
  }
}
