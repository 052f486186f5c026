import { createHash } from "node:crypto";
import type { FunctionContext, StateRecord } from "../application/context.ts";
import type { BucketDefinition, CoordinatorDefinition, Definition, FunctionDefinition, Resource } from "../application/definitions.ts";
import { isFunction } from "../application/definitions.ts";
import { LockstepError } from "../lib/errors.ts";
import { toJson } from "../lib/json.ts";
import type { PlatformLimits } from "../platform.ts";
import { collect } from "../pod/bundle.ts";
import type { ApplicationVersion } from "../protocol/application.ts";
import type { ControlPlane, Rehearsal } from "../protocol/control-plane.ts";
import type { PlatformEvent } from "../protocol/events.ts";
import type { StartRun } from "../protocol/run.ts";
import type { FailureOf } from "./function-faults.ts";
import { FunctionFaults } from "./function-faults.ts";
import { Lives } from "./lives.ts";
import type { CrashPoint } from "./mortal-journal.ts";
import type { Disturber, RandomFaults } from "./platform-faults.ts";
import { PlatformFaults } from "./platform-faults.ts";
import { StatefulFunctions } from "./stateful-functions.ts";
import { TestRun } from "./test-run.ts";
import { isStartedBy, putObject, recordOf, type TestContent } from "./test-storage.ts";

/** A module (`import * as application from "./index.ts"`) or a list of definitions. */
export type TestApplication = Record<string, unknown> | readonly (Definition | Resource)[];

export interface TestPlatformOptions {
  application: TestApplication;
  /** What the faults are drawn from: the same seed gives the same faults. Default 1. */
  seed?: number;
  faults?: RandomFaults;
  /** What the clock shows first, in Unix milliseconds. Default: 2026-01-01T00:00Z. */
  startMs?: number;
  limits?: Partial<PlatformLimits>;
  /**
   * How long, in real milliseconds, a function's own waiting (a request to another server, a real timer) is waited for before virtual time
   * moves on without it. Default 1,000.
   */
  patienceMs?: number;
}

export interface StartOptions {
  /** Idempotency key: a second start of the same target with it gives back the first run. */
  key?: string;
  priority?: number;
}

/** A definition, or its name. */
type Named = { readonly name: string } | string;
type Target<Input, Output> = CoordinatorDefinition<Input, Output> | FunctionDefinition<Input, Output>;

const START_MS = Date.UTC(2026, 0, 1);
const PATIENCE_MS = 1_000;
const NAME = "application";
const EVENTS_PER_PAGE = 10_000;
const RUNS = 100_000;

/**
 * Starts a whole platform in this process: the real control plane, on a journal in memory, with pods in memory, under a clock that the test
 * moves. Nothing is written, no process or connection is opened, and no real time is spent waiting.
 */
export const createTestPlatform = (options: TestPlatformOptions): Promise<TestPlatform> => TestPlatform.create(options);

export class TestPlatform {
  readonly #lives: Lives;
  readonly #faults: FunctionFaults;
  readonly #stateful: StatefulFunctions;
  readonly #platformFaults: PlatformFaults;
  readonly #names = new Set<string>();
  #deployed = 0;
  #current = "";

  /** `createTestPlatform`. */
  static async create(options: TestPlatformOptions): Promise<TestPlatform> {
    const platform = new TestPlatform(options);
    await platform.#lives.boot();
    await platform.deploy(options.application);
    platform.#platformFaults.isOn = true;
    return platform;
  }

  private constructor({ seed = 1, faults = {}, startMs = START_MS, limits = {}, patienceMs = PATIENCE_MS }: TestPlatformOptions) {
    this.#platformFaults = new PlatformFaults(seed, faults, (pod) => void this.#lives.cluster.kill(pod));
    this.#lives = new Lives({ startMs, patienceMs, limits, faults: this.#platformFaults });
    this.#stateful = new StatefulFunctions(() => this.#lives.clock.now());
    this.#faults = new FunctionFaults(this.#lives.timeline, (ms, callback) => this.#lives.clock.after(ms, callback));
  }

  // ---------------------------------------------------------------- runs

  /** Starts a coordinator (by its definition or name) or a function, and lets everything happen that can happen now. */
  start<Output>(target: Target<void, Output>, input?: undefined, options?: StartOptions): Promise<TestRun<Output>>;
  start<Input, Output>(target: Target<Input, Output>, input: NoInfer<Input>, options?: StartOptions): Promise<TestRun<Output>>;
  start<Output = unknown>(coordinator: string, input?: unknown, options?: StartOptions): Promise<TestRun<Output>>;
  async start(target: Definition | string, input?: unknown, options: StartOptions = {}): Promise<TestRun<never>> {
    const kind = typeof target !== "string" && isFunction(target) ? "function" : "coordinator";
    const name = typeof target === "string" ? target : target.name;
    return this.#start({ kind, name, input: toJson(input, `the input of ${kind} "${name}"`), ...options });
  }

  /** Starts a coordinator and gives its result, moving time on as far as needed. Throws like `TestRun.result`. */
  run<Output>(target: CoordinatorDefinition<void, Output>, input?: undefined, options?: StartOptions): Promise<Output>;
  run<Input, Output>(target: CoordinatorDefinition<Input, Output>, input: NoInfer<Input>, options?: StartOptions): Promise<Output>;
  run<Output = unknown>(coordinator: string, input?: unknown, options?: StartOptions): Promise<Output>;
  async run(target: Named, input?: unknown, options?: StartOptions): Promise<unknown> {
    return (await this.start(target as string, input, options)).result();
  }

  /** Calls one function as a run of its own and gives its result. Throws like `TestRun.result`. */
  call<Output>(target: FunctionDefinition<void, Output>, input?: undefined, options?: StartOptions): Promise<Output>;
  call<Input, Output>(target: FunctionDefinition<Input, Output>, input: NoInfer<Input>, options?: StartOptions): Promise<Output>;
  call<Output = unknown>(name: string, input?: unknown, options?: StartOptions): Promise<Output>;
  async call(target: Named, input?: unknown, options: StartOptions = {}): Promise<unknown> {
    const name = nameOf(target);
    const run = await this.#start({ kind: "function", name, input: toJson(input, `the input of function "${name}"`), ...options });
    return run.result();
  }

  /** Evaluates an expression over the application's functions. Throws like `TestRun.result`. */
  async eval(expression: string, variables?: Record<string, unknown>): Promise<unknown> {
    return (await this.startExpression(expression, variables)).result();
  }

  async startExpression(expression: string, variables?: Record<string, unknown>, options: StartOptions = {}): Promise<TestRun> {
    return this.#start({ kind: "expression", name: expression, input: toJson(variables, "the variables"), ...options });
  }

  async #start(request: StartRun): Promise<TestRun<never>> {
    for (;;) {
      try {
        const { id, existing } = await this.#lives.ask((controlPlane) => controlPlane.start(request));
        await this.settle();
        return new TestRun<never>(this.#lives, id, existing);
      } catch (error) {
        // With a key it is the same start, whether or not the one that went unanswered was accepted.
        if (request.key === undefined || !isDeath(error) || this.#lives.isStopped) throw error;
      }
    }
  }

  /** The runs of a definition, also those that triggers have started; the first first. */
  async runs(target: Named): Promise<TestRun[]> {
    await this.settle();
    const { runs } = await this.ask((controlPlane) => controlPlane.runs({ name: nameOf(target) }, RUNS));
    return runs.map(({ id }) => new TestRun(this.#lives, id, true)).sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  // ---------------------------------------------------------------- storage

  /** Puts an object into a bucket, and gives the runs that this has started, the first first. */
  async put(bucket: BucketDefinition | string, key: string, content: TestContent): Promise<TestRun[]> {
    const before = (await this.events()).at(-1)?.position ?? 0;
    const version = await this.#lives.ask((controlPlane) => putObject(controlPlane, nameOf(bucket), key, content));
    const started: TestRun[] = [];
    for (const event of await this.events()) {
      if (event.position <= before || event.type !== "run.accepted") continue;
      const { input } = await this.ask((controlPlane) => controlPlane.run(event.run));
      if (isStartedBy(input, version)) started.push(new TestRun(this.#lives, event.run, false));
    }
    return started;
  }

  /** What the state store holds for a key of the application, such as `orders/17`, stale or not. */
  async state<Value = unknown>(key: string, application = NAME): Promise<StateRecord<Value>> {
    await this.settle();
    return recordOf(await this.ask((controlPlane) => controlPlane.state.get(application, key)));
  }

  // ---------------------------------------------------------------- time

  now(): number {
    return this.#lives.timeline.now;
  }

  /** Moves time by `ms`: what is due on the way happens at its time and in its order. */
  advance(ms: number): Promise<void> {
    return this.#lives.timeline.advance(ms);
  }

  /** Lets everything happen that can happen now, without moving time. */
  settle(): Promise<void> {
    return this.#lives.timeline.settle();
  }

  // ---------------------------------------------------------------- faults of functions

  /** From now on attempts of this function fail with `error`, or with what it returns for their input and number. */
  fail<Input, Output>(target: FunctionDefinition<Input, Output> | string, error: Error | FailureOf<Input>): void {
    this.#faultOf(target).fails = typeof error === "function" ? (error as FailureOf<never>) : () => error;
  }

  /** The next attempt of this function fails; asked for several times, so do as many. */
  failOnce(target: Named, error: unknown = new Error("the test let it fail")): void {
    this.#faultOf(target).once.push(error);
  }

  /** From now on each attempt of this function takes `ms` of virtual time before it executes. */
  delay(target: Named, ms: number): void {
    this.#faultOf(target).delayMs = ms;
  }

  /** From now on attempts of this function never answer, whatever they are told. */
  hang(target: Named): void {
    this.#faultOf(target).hangs = true;
  }

  /** From now on this is executed instead of the function's own handler. */
  mock<Input, Output>(
    target: FunctionDefinition<Input, Output>,
    handler: (input: Input, ctx: FunctionContext) => Output | Promise<Output>,
  ): void;
  mock(name: string, handler: (input: never, ctx: FunctionContext) => unknown): void;
  mock(target: Named, handler: unknown): void {
    this.#faultOf(target).handler = handler as FunctionDefinition["handler"];
  }

  /** Takes back all that was injected into this function, or into all functions. */
  mend(target?: Named): void {
    this.#faults.mend(target === undefined ? undefined : this.#known(target));
  }

  // ---------------------------------------------------------------- faults of pods and control plane

  /** Ends a pod as `kill -9` would: one of this function, of `"coordinator"`, or `"warm"`; the busiest of them. Returns its id. */
  async killPod(role: Named): Promise<string> {
    return this.#harm(role, (pod) => this.#lives.cluster.kill(pod));
  }

  /** Lets such a pod fall silent, as a stopped process: it is found by its missing heartbeats. Returns its id. */
  async hangPod(role: Named): Promise<string> {
    return this.#harm(role, (pod) => this.#lives.cluster.hang(pod));
  }

  /** Stops such a pod's event loop, as code that never yields does. Returns its id. */
  async blockPod(role: Named): Promise<string> {
    return this.#harm(role, (pod) => this.#lives.cluster.block(pod));
  }

  /** The next `count` pods fail to start. */
  failStarts(count: number): void {
    this.#platformFaults.failingStarts = count;
  }

  /** Decides what befalls each message between control plane and pods, until it is called with `undefined`. */
  disturb(decide: Disturber | undefined): void {
    this.#platformFaults.decide = decide;
  }

  /** Kills the control plane and all pods, and starts it again on its journal after `downMs`: all runs go on. */
  async crash({ downMs = 0 }: { downMs?: number } = {}): Promise<void> {
    this.#lives.crash();
    if (downMs > 0) await this.advance(downMs);
    await this.#lives.boot();
    await this.settle();
  }

  /** Lets the control plane die at the `commits`-th commit from now, before or after it became durable, and start again at once. */
  crashAtCommit(commits: number, point: CrashPoint = "after"): void {
    this.#platformFaults.crashAt = { commits, point };
  }

  /** How often the control plane has died. */
  get crashes(): number {
    return this.#lives.crashes;
  }

  /** Ends random and planned faults of pods and control plane, so that what is under way can come to its end. */
  calm(): void {
    this.#platformFaults.calm();
  }

  // ---------------------------------------------------------------- applications

  /** Deploys a new version: new runs take it, older ones stay on theirs. */
  async deploy(application: TestApplication, name = NAME): Promise<ApplicationVersion> {
    const loaded = loadedFrom(application);
    const code = `// ${name}, deployment ${++this.#deployed} of a test`;
    const version = createHash("sha256").update(code).digest("hex").slice(0, 16);
    this.#remember(version, loaded);
    const deployed = await this.#lives.ask((controlPlane) => controlPlane.deploy({ application: name, version, code }));
    this.#current = version;
    await this.settle();
    return deployed;
  }

  /** How the unfinished runs would fare under this code, as `lockstep check` tells: those that would diverge have a `failure`. */
  async check(application: TestApplication, name = NAME): Promise<Rehearsal[]> {
    const code = `// ${name}, check ${++this.#deployed} of a test`;
    const version = createHash("sha256").update(code).digest("hex").slice(0, 16);
    this.#lives.versions.set(version, loadedFrom(application));
    try {
      return await this.#lives.ask((controlPlane) => controlPlane.rehearse({ application: name, version, code }));
    } finally {
      this.#lives.versions.delete(version);
    }
  }

  /**
   * Changes what the newest version executes, without deploying, for pods that load it from now on. Together with `crash` it shows whether
   * changed code still replays the runs that are under way.
   */
  replaceCode(application: TestApplication): void {
    this.#remember(this.#current, loadedFrom(application));
  }

  #remember(version: string, loaded: ReturnType<typeof collect>): void {
    for (const name of loaded.functions.keys()) this.#names.add(name);
    this.#lives.versions.set(version, this.#faults.wrap(this.#stateful.wrap(loaded, version)));
  }

  // ---------------------------------------------------------------- views

  /** What gateway and CLI use, for whatever this class has no method for. A crash replaces it. */
  get controlPlane(): ControlPlane {
    return this.#lives.platform.controlPlane;
  }

  /** Asks the control plane, and asks again when it dies before it has answered: only for questions that may be asked twice. */
  async ask<T>(question: (controlPlane: ControlPlane) => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await this.#lives.ask(question);
      } catch (error) {
        if (!isDeath(error) || this.#lives.isStopped) throw error;
      }
    }
  }

  /** All events so far, oldest first. */
  async events(): Promise<PlatformEvent[]> {
    await this.settle();
    const events: PlatformEvent[] = [];
    for (let page: PlatformEvent[] | undefined; page === undefined || page.length === EVENTS_PER_PAGE; events.push(...page)) {
      page = await this.ask((controlPlane) => controlPlane.events(events.at(-1)?.position ?? 0, EVENTS_PER_PAGE));
    }
    return events;
  }

  /** Runs the auditor. `repaired` counts every run that was ever found without anything that would wake it: it must be 0. */
  async audit(): Promise<{ checked: number; repaired: number }> {
    const events = await this.events();
    const { checked, repaired } = this.#lives.platform.audit();
    const earlier = events.reduce((sum, event) => sum + (event.type === "platform.audited" ? event.repaired : 0), 0);
    return { checked, repaired: earlier + repaired };
  }

  async stop(): Promise<void> {
    this.calm();
    await this.settle();
    await this.#lives.stop();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  // ---------------------------------------------------------------- inside

  async #harm(role: Named, harm: (pod: string) => boolean): Promise<string> {
    const name = nameOf(role);
    const pods = this.controlPlane.pods().filter((pod) => pod.role === name && pod.state !== "draining");
    const busiest = pods.sort((a, b) => b.inFlight - a.inFlight)[0];
    if (busiest === undefined || !harm(busiest.id)) throw new Error(`there is no pod of "${name}" now`);
    await this.settle();
    return busiest.id;
  }

  #faultOf(target: Named): ReturnType<FunctionFaults["of"]> {
    return this.#faults.of(this.#known(target));
  }

  #known(target: Named): string {
    const name = nameOf(target);
    if (this.#names.has(name)) return name;
    throw new LockstepError("UNKNOWN_FUNCTION", `the application has no function "${name}"; it has ${[...this.#names].sort().join(", ")}`);
  }
}

const nameOf = (target: Named): string => (typeof target === "string" ? target : target.name);

const loadedFrom = (application: TestApplication): ReturnType<typeof collect> =>
  collect(Array.isArray(application) ? { default: application } : (application as Record<string, unknown>));

const isDeath = (error: unknown): boolean => error instanceof LockstepError && error.code === "NOT_CONNECTED";
