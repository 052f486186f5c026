/**
 * The lives of a test's control plane: the real platform on a memory journal, which survives, and pods in memory, which don't.
 *
 * Owns: starting, killing and restarting it; what each version executes. Does not own: time (Timeline) or the test's interface.
 */

import { MemoryCluster } from "../cluster/memory.ts";
import type { MemoryJournal } from "../journal/memory.ts";
import { createMemoryJournal } from "../journal/memory.ts";
import type { Clock } from "../lib/clock.ts";
import { LockstepError } from "../lib/errors.ts";
import { DEFAULT_LIMITS } from "../limits.ts";
import { MemoryBytes } from "../objects/memory.ts";
import type { Platform, PlatformLimits } from "../platform.ts";
import { startPlatform } from "../platform.ts";
import type { LoadedApplication } from "../pod/bundle.ts";
import type { ControlPlane } from "../protocol/control-plane.ts";
import { mortalJournal } from "./mortal-journal.ts";
import type { PlatformFaults } from "./platform-faults.ts";
import { type Life, Timeline } from "./timeline.ts";

export interface LivesOptions {
  startMs: number;
  patienceMs: number;
  limits: Partial<PlatformLimits>;
  faults: PlatformFaults;
}

interface Current {
  readonly life: Life;
  readonly cluster: MemoryCluster;
  readonly died: Promise<undefined>;
  readonly die: () => void;
  platform: Platform | undefined;
}

// One number on every machine: how many pods a function gets must not depend on where the test runs.
const FIXED_LIMITS: Partial<PlatformLimits> = { maxPodsPerFunction: 4 };

export class Lives {
  readonly timeline: Timeline;
  /** What each version executes. */
  readonly versions = new Map<string, LoadedApplication>();
  readonly #options: LivesOptions;
  readonly #limits: PlatformLimits;
  #journal: MemoryJournal = createMemoryJournal();
  /** The bytes of objects survive as the journal does. */
  readonly #bytes = new MemoryBytes();
  #current: Current | undefined;
  /** Settled when a platform is up. */
  #up = Promise.withResolvers<void>();
  #stopped = false;
  crashes = 0;

  constructor(options: LivesOptions) {
    const { startMs, patienceMs, limits } = options;
    this.#options = options;
    this.#limits = { ...DEFAULT_LIMITS, ...FIXED_LIMITS, ...limits };
    const horizon = async () => (await this.#journal.dueBy(Number.MAX_SAFE_INTEGER, 1))[0]?.wakeAt;
    this.timeline = new Timeline({ startMs, patienceMs, horizon });
  }

  /** The control plane's own clock; it stands still for ever when its life ends. */
  get clock(): Clock {
    return this.#alive.life.clock;
  }

  get cluster(): MemoryCluster {
    return this.#alive.cluster;
  }

  /** @throws {LockstepError} NOT_CONNECTED while there is none */
  get platform(): Platform {
    const platform = this.#current?.platform;
    if (platform !== undefined) return platform;
    throw new LockstepError("NOT_CONNECTED", this.#stopped ? "the test platform was stopped" : "the control plane is down");
  }

  get isStopped(): boolean {
    return this.#stopped;
  }

  /** Starts a life on what the last one has left. */
  boot(): Promise<void> {
    this.timeline.hold(this.#boot()).catch((error: unknown) => this.#up.reject(error));
    return this.#up.promise;
  }

  /** Ends the control plane and all pods at once, as a power cut would. */
  crash(): void {
    const current = this.#current;
    if (current === undefined) return;
    this.crashes++;
    this.#current = undefined;
    if (current.platform !== undefined) this.#up = Promise.withResolvers();
    current.life.end();
    current.die();
  }

  /** Asks the control plane, as soon as there is one. Rejects with NOT_CONNECTED when it dies before it has answered. */
  ask<T>(question: (controlPlane: ControlPlane) => Promise<T>): Promise<T> {
    return this.timeline.drive(this.#ask(question));
  }

  async #ask<T>(question: (controlPlane: ControlPlane) => Promise<T>): Promise<T> {
    await this.#up.promise;
    const platform = this.platform;
    const died = this.#alive.died.then(() => {
      throw new LockstepError("NOT_CONNECTED", "the control plane died before it answered");
    });
    return Promise.race([question(platform.controlPlane), died]);
  }

  stop(): Promise<void> {
    return this.timeline.drive(this.#stop());
  }

  async #stop(): Promise<void> {
    await this.#up.promise;
    this.#stopped = true;
    const current = this.#current;
    await current?.platform?.stop();
    this.#current = undefined;
    current?.life.end();
  }

  get #alive(): Current {
    if (this.#current === undefined) throw new LockstepError("NOT_CONNECTED", "the control plane is down");
    return this.#current;
  }

  async #boot(): Promise<void> {
    const current = this.#conceive();
    this.#current = current;
    this.#journal = this.#journal.reopen();
    const faults = {
      crash: () => this.#options.faults.crash(),
      commitMs: () => this.#options.faults.commitMs(),
      die: () => {
        this.crash();
        void this.boot();
      },
    };
    const journal = mortalJournal(this.#journal, current.life, faults);
    const started = startPlatform({
      dataDirectory: false,
      gateway: false,
      limits: this.#limits,
      onFatal: (error) => this.timeline.fail(error),
      adapters: { clock: current.life.clock, journal, cluster: current.cluster, bytes: this.#bytes },
    });
    const platform = await Promise.race([started, current.died]);
    // It died while it started; whoever killed it begins another life.
    if (platform === undefined || current.life.ended) return;
    current.platform = platform;
    this.#up.resolve();
  }

  #conceive(): Current {
    const life = this.timeline.life();
    let die = (): void => {};
    const died = new Promise<undefined>((resolve) => {
      die = () => resolve(undefined);
    });
    const { maxPayloadBytes, maxLogBytesPerCall } = this.#limits;
    const { faults } = this.#options;
    const cluster = new MemoryCluster(
      {
        maxPayloadBytes,
        maxLogBytes: maxLogBytesPerCall,
        load: (version) => this.#load(version),
        startMs: () => faults.podStartMs(),
        failsToStart: () => faults.failsToStart(),
        disturb: (pod, message) => faults.befall(pod, message),
      },
      life.clock,
    );
    return { life, cluster, died, die, platform: undefined };
  }

  #load(version: string): LoadedApplication {
    const application = this.versions.get(version);
    if (application !== undefined) return application;
    throw new LockstepError("APPLICATION_INVALID", `this test never deployed version ${version}`);
  }
}
