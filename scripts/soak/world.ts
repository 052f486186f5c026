/**
 * The platform under soak: launches it, kills it and its pods, and notices what goes wrong with its processes.
 */
import { createHash } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { Client } from "lockstep/client";
import { createClient } from "lockstep/client";
import { bundleApplication } from "../../src/application/bundler.ts";
import type { PlatformLimits } from "../../src/platform.ts";
import type { Bundle } from "../../src/protocol/application.ts";
import type { LaunchedPlatform, PlatformProcess } from "../../test/support/platform-process.ts";
import { launchPlatform } from "../../test/support/platform-process.ts";
import { isAlive, signal } from "../../test/support/processes.ts";
import type { Sandbox } from "../../test/support/sandbox.ts";
import type { Violations } from "./report.ts";

const AUDIT_EVERY_MS = 200;
const ORPHANS_END_WITHIN_MS = 5_000;
const POLL_MS = 20;
const USUAL_RECOVERY_MS = 500;
const MOST_SLOWNESS = 6;

// Runs leave memory and pods end as soon as they can, so that coming back is what happens all the time.
const LIMITS: Partial<PlatformLimits> = { evictAfterMs: 300, podIdleMs: 3_000, maxPods: 24 };

export interface WorldOptions {
  limits?: Partial<PlatformLimits>;
  /** Whether the platform takes drills. */
  drills?: boolean;
}

export class World {
  readonly recoveries: number[] = [];
  readonly #options: WorldOptions;
  readonly #sandbox: Sandbox;
  readonly #violations: Violations;
  #platform: PlatformProcess | undefined;
  #client: Client | undefined;
  #bundle: Bundle | undefined;
  #deployments = 0;
  #lives = 0;
  #told = "";
  #port = 0;
  #killing = false;
  #repaired = 0;
  readonly #burials: Promise<void>[] = [];

  constructor(sandbox: Sandbox, violations: Violations, options: WorldOptions = {}) {
    this.#options = options;
    this.#sandbox = sandbox;
    this.#violations = violations;
  }

  get client(): Client {
    if (this.#client === undefined) throw new Error("the platform was not started");
    return this.#client;
  }

  /** How many times slower than usual this machine is now: what the last control plane took to come. */
  get slowness(): number {
    return Math.min(MOST_SLOWNESS, Math.max(1, (this.recoveries.at(-1) ?? 0) / USUAL_RECOVERY_MS));
  }

  /** The same in all lives. */
  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Control planes that have taken work so far. */
  get lives(): number {
    return this.#lives;
  }

  /** Of the control plane; `undefined` while there is none. */
  get pid(): number | undefined {
    return this.#platform?.pid;
  }

  /** What the control planes have written to their standard error, the end of each. */
  get told(): string {
    return this.#told + (this.#platform?.output() ?? "");
  }

  /** Runs that auditors mended, over all lives so far. */
  get repaired(): number {
    return this.#repaired + (this.#platform?.repaired() ?? 0);
  }

  async start(application: string): Promise<void> {
    await this.#ready(this.#launch());
    this.#bundle = await bundleApplication(application);
    await this.deploy();
  }

  /** Makes a new version of the application the current one. */
  async deploy(): Promise<void> {
    const { application, code } = this.#bundle as Bundle;
    const changed = `${code}\n// ${++this.#deployments}\n`;
    const version = createHash("sha256").update(changed).digest("hex").slice(0, 16);
    await this.client.deploy({ application, version, code: changed }).catch((error: { code?: string }) => {
      // There may be no room for the pod that inspects it: then it is not deployed this time.
      if (error.code !== "POD_FAILED_TO_START") throw error;
    });
  }

  /** Kills the control plane and starts the next one, which may be killed once more while it starts, after `againAfterMs`. */
  async killControlPlane(againAfterMs?: number): Promise<void> {
    const killedAt = performance.now();
    await this.#end();
    let next = this.#launch();
    if (againAfterMs !== undefined) {
      await delay(againAfterMs);
      await next.kill();
      this.#bury();
      next = this.#launch();
    }
    await this.#ready(next);
    if (againAfterMs === undefined) this.recoveries.push(performance.now() - killedAt);
  }

  /** Kills all processes in one moment, and starts the next control plane. */
  async cutPower(): Promise<void> {
    this.#killing = true;
    for (const pid of this.#sandbox.processes()) signal(pid, "SIGKILL");
    await this.killControlPlane();
  }

  /** Stops in order and looks for what was left behind. */
  async stop(): Promise<void> {
    this.#killing = true;
    this.#repaired = this.repaired;
    await this.#platform?.stop();
    this.#told = this.told;
    this.#platform = undefined;
    this.#bury();
    await Promise.all(this.#burials);
  }

  #launch(): LaunchedPlatform {
    const { limits = LIMITS, drills = false } = this.#options;
    return launchPlatform(this.#sandbox, { port: this.#port, limits, drills, auditEveryMs: AUDIT_EVERY_MS });
  }

  async #ready(launched: LaunchedPlatform): Promise<void> {
    const platform = await launched.ready;
    this.#platform = platform;
    this.#lives++;
    this.#port = platform.port;
    this.#client ??= createClient({ url: platform.url });
    this.#killing = false;
    void platform.exited.then(({ code, signal }) => {
      if (this.#killing || this.#platform !== platform) return;
      this.#violations.add(`the control plane ended by itself (${signal ?? code}): ${platform.output()}`);
    });
  }

  async #end(): Promise<void> {
    this.#killing = true;
    this.#repaired = this.repaired;
    const platform = this.#platform;
    this.#told = this.told;
    this.#platform = undefined;
    await platform?.kill();
    this.#bury();
  }

  /** What is there when a control plane has just died must end by itself. */
  #bury(): void {
    const left = this.#sandbox.processes();
    // A stopped process can do nothing by itself, not even end.
    for (const pid of left) signal(pid, "SIGCONT");
    const giveUpAt = performance.now() + ORPHANS_END_WITHIN_MS;
    const wait = async (): Promise<void> => {
      while (left.some(isAlive)) {
        if (performance.now() > giveUpAt) {
          this.#violations.add(`${left.filter(isAlive).length} processes outlived their control plane by ${ORPHANS_END_WITHIN_MS} ms`);
          return;
        }
        await delay(POLL_MS);
      }
    };
    this.#burials.push(wait());
  }
}
