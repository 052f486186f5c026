import { LockstepError } from "../../src/lib/errors.ts";
import { runIdOf } from "../../src/lib/ids.ts";
import type { Json } from "../../src/lib/json.ts";
import type { ApplicationVersion, Bundle } from "../../src/protocol/application.ts";
import type {
  ControlPlane,
  Counters,
  HookRequest,
  LayerView,
  PodView,
  Rehearsal,
  Repair,
  RepairFilter,
  TriggerView,
} from "../../src/protocol/control-plane.ts";
import type { EventBody, PlatformEvent } from "../../src/protocol/events.ts";
import type { Drill, DrillRequest, FaultView } from "../../src/protocol/faults.ts";
import type { Resolution } from "../../src/protocol/recovery.ts";
import type { ReplicaSetView } from "../../src/protocol/replica.ts";
import type { JournalRecord, RunFilter, RunKind, RunResult, RunSummary, StartRun } from "../../src/protocol/run.ts";
import { FINAL } from "../../src/protocol/run.ts";
import { FakeClusterPlane } from "./fake-cluster-plane.ts";
import { FakeObjects } from "./fake-objects.ts";
import { FakeState } from "./fake-state.ts";

interface FakeRun {
  request: StartRun;
  result: RunResult;
  waiters: (() => void)[];
}

type Method = keyof ControlPlane;

/** A control plane whose runs do only what the test tells them. It records what it was asked. */
export class FakeControlPlane implements ControlPlane {
  /** What was asked, in order, but for mere views. */
  readonly asked: [method: Method, ...parameters: unknown[]][] = [];
  /** What the methods throw. */
  readonly failing: Partial<Record<Method, unknown>> = {};
  readonly all: PlatformEvent[] = [];
  readonly listeners = new Set<(events: readonly PlatformEvent[]) => void>();
  records: JournalRecord[] = [];
  readonly objects = new FakeObjects();
  readonly cluster = new FakeClusterPlane();
  readonly state = new FakeState();
  /** What `rehearse` tells. */
  rehearsals: Rehearsal[] = [];
  allFaults: FaultView[] = [];
  notReadyBecause: string | undefined;
  readonly #runs = new Map<string, FakeRun>();
  readonly #keys = new Map<string, string>();
  #ordinal = 1_000_000;

  async start(request: StartRun): Promise<{ id: string; existing: boolean }> {
    this.#ask("start", request);
    const key = `${request.kind}/${request.name}/${request.key}`;
    const existing = request.key === undefined ? undefined : this.#keys.get(key);
    if (existing !== undefined) return { id: existing, existing: true };
    const id = runIdOf(this.#ordinal++);
    this.#runs.set(id, { request, result: { id, status: "running" }, waiters: [] });
    if (request.key !== undefined) this.#keys.set(key, id);
    return { id, existing: false };
  }

  /** Puts a run without HTTP; gives its id. */
  async put(kind: RunKind, name: string, input: Json = ""): Promise<string> {
    const { id } = await this.start({ kind, name, input });
    this.asked.pop();
    return id;
  }

  settle(id: string, result: Omit<RunResult, "id">): void {
    const run = this.#find(id);
    run.result = { id, ...result };
    for (const waiter of run.waiters.splice(0)) waiter();
  }

  async result(id: string, waitMs: number): Promise<RunResult> {
    this.#ask("result", id, waitMs);
    const run = this.#find(id);
    const isSettled = FINAL.has(run.result.status) || run.result.status === "suspended";
    if (!isSettled && waitMs > 0) await new Promise<void>((resolve) => run.waiters.push(resolve));
    return run.result;
  }

  /** How many wait for the run. */
  waiting(id: string): number {
    return this.#find(id).waiters.length;
  }

  async run(id: string): ReturnType<ControlPlane["run"]> {
    this.#ask("run", id);
    const { request, result } = this.#find(id);
    return { ...this.#summary(id), ...result, input: request.input, waitingFor: FINAL.has(result.status) ? [] : ["call 1 of pay"] };
  }

  async runs(filter: RunFilter, limit: number, cursor?: string): ReturnType<ControlPlane["runs"]> {
    this.#ask("runs", filter, limit, cursor);
    const ids = [...this.#runs.keys()].slice(Number(cursor ?? 0));
    const runs = ids.slice(0, limit).map((id) => this.#summary(id));
    return ids.length > limit ? { runs, cursor: String(Number(cursor ?? 0) + limit) } : { runs };
  }

  async journal(id: string): Promise<JournalRecord[]> {
    this.#ask("journal", id);
    this.#find(id);
    return this.records;
  }

  async logs(filter: Parameters<ControlPlane["logs"]>[0]): ReturnType<ControlPlane["logs"]> {
    this.#ask("logs", filter);
    const lines = [{ at: 1_700_000_000_000, level: "info" as const, text: 'said "hello"\nand more' }];
    return { logs: [{ run: filter.run ?? runIdOf(7), seq: 1, attempt: 1, function: filter.function ?? "pay", lines }], next: 12 };
  }

  async signal(id: string, name: string, value: Json): Promise<void> {
    this.#ask("signal", id, name, value);
    this.#unfinished(id);
  }

  async cancel(id: string, options: { reason: string; force?: boolean }): Promise<void> {
    this.#ask("cancel", id, options);
    this.#unfinished(id);
  }

  async resume(id: string): Promise<void> {
    this.#ask("resume", id);
    if (this.#find(id).result.status !== "suspended") throw new LockstepError("RUN_NOT_SUSPENDED", `${id} is not suspended`);
    this.#find(id).result = { id, status: "running" };
  }

  async resolve(id: string, resolution: Resolution, by: string): Promise<void> {
    this.#ask("resolve", id, resolution, by);
    if (this.#find(id).result.status !== "suspended") throw new LockstepError("RUN_NOT_SUSPENDED", `${id} is not suspended`);
    this.#find(id).result = { id, status: "running" };
  }

  async repair(filter: RepairFilter, dryRun: boolean): Promise<Repair[]> {
    this.#ask("repair", filter, dryRun);
    const suspended = [...this.#runs.values()].filter(({ result }) => result.status === "suspended");
    return suspended.map(({ request, result }) => {
      if (!dryRun) result.status = "running";
      return { run: result.id, name: request.name, functions: ["pay"], failure: "FUNCTION_FAILED: no" };
    });
  }

  async restart(id: string, from?: number): Promise<{ id: string; reused: number }> {
    this.#ask("restart", id, from);
    const { kind, name, input } = this.#find(id).request;
    return { id: await this.put(kind, name, input), reused: from === undefined ? 0 : from - 1 };
  }

  async rehearse(bundle: Bundle): Promise<Rehearsal[]> {
    this.#ask("rehearse", bundle);
    return this.rehearsals;
  }

  triggers(): TriggerView[] {
    return [
      { kind: "coordinator", name: "nightly", application: "shop", trigger: { cron: "0 3 * * *" }, next: 1_767_236_400_000 },
      {
        kind: "function",
        name: "import",
        application: "shop",
        trigger: { object: { bucket: "orders", prefix: "incoming/" } },
        last: { at: 1_767_225_600_000, run: "run_00000000001" },
      },
    ];
  }

  async hook(request: HookRequest): Promise<{ runs: string[] }> {
    this.#ask("hook", request);
    return { runs: [await this.put("coordinator", request.path)] };
  }

  async deploy(bundle: Bundle): Promise<ApplicationVersion> {
    this.#ask("deploy", bundle);
    const { application, version } = bundle;
    const functions = [{ name: "pay", timeoutMs: 5_000, retry: { attempts: 3, backoff: { initialMs: 10 } }, deterministic: true }];
    return {
      application,
      version,
      manifest: { functions, coordinators: [{ name: "booking" }] },
      deployedAt: 1_700_000_000_000,
      current: true,
    };
  }

  async applications(): Promise<ApplicationVersion[]> {
    this.#ask("applications");
    return [
      { application: "shop", version: "0123456789abcdef", manifest: { functions: [], coordinators: [] }, deployedAt: 5, current: true },
    ];
  }

  pods(): PodView[] {
    const pod = { role: "pay", pid: 41, state: "ready" as const, inFlight: 2, slots: 8, startedAt: 5 };
    return [
      { ...pod, id: "pod-1", application: "shop", version: "0123456789abcdef", coldStartMs: 7.5 },
      { ...pod, id: "pod-2", inFlight: 1 },
      { ...pod, id: "pod-3", role: "warm", inFlight: 0 },
    ];
  }

  replicaSets(): ReplicaSetView[] {
    this.#ask("replicaSets");
    const key = "k".repeat(43);
    const replicas = [0, 1, 2, 3].map((index) => ({ index, state: "serving" as const, pod: `pod-${index + 5}`, key, leader: index === 1 }));
    replicas[3] = { ...replicas[3]!, state: "starting" as never };
    const named = { set: "shop/quote@0123456789abcdef", application: "shop", function: "quote", version: "0123456789abcdef" };
    return [{ ...named, faults: 1, durable: false, state: "serving", epoch: 2, view: 5, serving: 3, underWay: 4, replicas }];
  }

  faults(limit: number): FaultView[] {
    this.#ask("faults", limit);
    return this.allFaults.slice(0, limit);
  }

  drill(request: DrillRequest): Drill {
    this.#ask("drill", request);
    return { kind: request.kind, pod: "pod-1", function: "pay", pid: 41, calls: 2, at: 1_700_000_000_000, position: this.all.length };
  }

  layers(): LayerView[] {
    const counts = {
      waiting: 3,
      delayed: 1,
      running: 2,
      dead: 1,
      pods: 2,
      oldestWaitingMs: 1_500,
      throttled: false,
      completed: 40,
      failed: 4,
    };
    return [
      { function: "pay", application: "shop", version: "0123456789abcdef", enqueuedPerSecond: 1.5, completedPerSecond: 2, ...counts },
    ];
  }

  position(): number {
    return this.all.at(-1)?.position ?? 0;
  }

  async events(position: number, limit: number): Promise<PlatformEvent[]> {
    this.#ask("events", position, limit);
    return this.all.filter((event) => event.position > position).slice(0, limit);
  }

  onEvents(listener: (events: readonly PlatformEvent[]) => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  /** Commits events, as one batch. */
  emit(...bodies: EventBody[]): void {
    const first = this.position() + 1;
    const events = bodies.map((body, i) => ({ position: first + i, at: 1_700_000_000_000, ...body }));
    this.all.push(...events);
    for (const listener of this.listeners) listener(events);
  }

  counters(): Counters {
    return {
      runsAccepted: 11,
      runsFinished: { completed: 5, failed: 2, cancelled: 1 },
      runsLive: 3,
      callsCompleted: 40,
      callsFailed: 4,
      callsRetried: 6,
      commits: 90,
      records: 400,
      auditRepairs: 0,
      admissionRefused: 7,
      podsStarted: 3,
      podsLost: 1,
      coldStarts: [{ application: "shop", function: "pay", count: 2, totalMs: 15 }],
    };
  }

  notReady(): string | undefined {
    return this.notReadyBecause;
  }

  #ask(method: Method, ...parameters: unknown[]): void {
    this.asked.push([method, ...parameters]);
    if (Object.hasOwn(this.failing, method)) throw this.failing[method];
  }

  #find(id: string): FakeRun {
    const run = this.#runs.get(id);
    if (run === undefined) throw new LockstepError("UNKNOWN_RUN", `there is no run ${id}`);
    return run;
  }

  #unfinished(id: string): void {
    const { status } = this.#find(id).result;
    if (FINAL.has(status)) throw new LockstepError("RUN_FINISHED", `${id} is ${status}`);
  }

  #summary(id: string): RunSummary {
    const { request, result } = this.#find(id);
    const finished = FINAL.has(result.status) ? { finishedAt: 1_700_000_001_000 } : {};
    const key = request.key === undefined ? {} : { key: request.key };
    const { kind, name } = request;
    return {
      id,
      kind,
      name,
      application: "shop",
      version: "0123456789abcdef",
      status: result.status,
      acceptedAt: 1_700_000_000_000,
      ...finished,
      ...key,
    };
  }
}
