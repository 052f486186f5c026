/**
 * The cluster service: how many pods each function's version should have, and the reconciler that sees to it.
 *
 * Owns: the desired numbers (rows `desired/…` of the space `$cluster`), crash loops, conditions. Does not own: what decides the numbers (the
 * autoscaler), which calls a pod executes (the scheduler), processes (the fleet and its cluster).
 *
 * C1  What is desired survives the control plane: specs at once, numbers with the tick after they were decided.
 * C2  A call that waits without a pod gets one at once, whatever was decided, unless its pods crash in a loop: then after the pause.
 * C3  Nobody's pods are ended for pods that no call waits for; what there is no room for is a condition of its service.
 * C4  Functions without calls and pods cost nothing: only targets that are active are looked at.
 */
import type { PodExit } from "../cluster/port.ts";
import type { Clock } from "../lib/clock.ts";
import type { Failure } from "../lib/errors.ts";
import { LockstepError } from "../lib/errors.ts";
import { getOrMake } from "../lib/map.ts";
import type {
  ClusterPlane,
  ClusterPodView,
  Condition,
  ScaleForecast,
  ServiceSpec,
  ServiceVersionView,
  ServiceView,
} from "../protocol/cluster.ts";
import type { EventBody } from "../protocol/events.ts";
import type { StateChange, StateEntry } from "../protocol/state.ts";
import type { Fleet, Pod } from "../scheduler/fleet.ts";
import type { Placement, PodSet, PodTemplate } from "../scheduler/service.ts";
import type { Cluster } from "./port.ts";
import type { CrashRecord, ObservedPod } from "./reconcile-machine.ts";
import { conditionsOf, crashed, NO_CRASH, plan } from "./reconcile-machine.ts";
import type { Service } from "./services.ts";
import { exists, SERVICE_PREFIX, Services, SPACE } from "./services.ts";
import type { ServiceDefaults, Settings } from "./specs.ts";
import { checkServiceSpec, completed, isSamePod } from "./specs.ts";

export interface ClusterParts {
  registry: ConstructorParameters<typeof Services>[0];
  fleet: Fleet;
  cluster: Cluster;
  clock: Clock;
  turn: {
    state(changes: readonly StateChange[]): void;
    event(body: EventBody): void;
    durable(): Promise<void>;
  };
  rows: { list(space: string, prefix: string, limit: number, after?: string): Promise<StateEntry[]> };
  nextVersion(): number;
  defaults: ServiceDefaults;
  /** Pods that may start at the same time, and twice as many while calls wait: more would only slow each other, and all calls, down. */
  mostStarting: number;
}

/** The scheduler, as far as pods are concerned. */
export interface PodSets {
  podSet(fn: string, version: string): PodSet | undefined;
  release(set: PodSet): void;
}

/** One function's version. */
export interface Target {
  readonly fn: string;
  readonly version: string;
  settings: Settings;
  /** Pods that there should be, and why. */
  desired: number;
  reason: string;
  set: PodSet | undefined;
}

interface Kept extends Target {
  /** What the row says. */
  stored: number;
  crash: CrashRecord;
  lacks: "pods" | "memory" | undefined;
  starvedUntil: number;
  /** Pods that were created by hand are kept for a while, whatever the policy says. */
  held: { pods: number; until: number } | undefined;
  conditions: Condition[];
}

const DESIRED_PREFIX = "desired/";
/** Between two looks while calls wait or pods are missing, and while all is well. */
const TICK_MS = 100;
const CALM_MS = 500;
const STARVED_MS = 50;
const PAGE = 1_000;
const NO_FORECAST: ScaleForecast = { arrivalsPerS: 0, serviceMs: 0, delayMs: 0, responseMs: 0 };
/** What users hear of as events; the others change with every pod. */
const TROUBLES: ReadonlySet<Condition["type"]> = new Set(["CrashLoop", "InsufficientMemory", "InsufficientPods"]);
const DELETE_GRACE_MS = 30_000;
/** A pod that has lived for so long is in no crash loop, although nothing has called it. */
const STABLE_MS = 10_000;

export class ClusterService implements Placement, ClusterPlane {
  readonly #parts: ClusterParts;
  readonly #services: Services;
  readonly #targets = new Map<string, Kept>();
  readonly #active = new Set<Kept>();
  /** By which template each pod was made. */
  readonly #made = new WeakMap<Pod, PodTemplate>();
  #sets!: PodSets;
  #revision = -1;
  #isOn = false;
  #tickAt = Number.POSITIVE_INFINITY;
  #cancelTick = () => {};
  #look: (now: number) => void = () => {};

  constructor(parts: ClusterParts) {
    this.#parts = parts;
    this.#services = new Services(parts.registry, parts.defaults);
  }

  /** @param look decides for the active targets, at every tick */
  connect(sets: PodSets, look: (now: number) => void): void {
    this.#sets = sets;
    this.#look = look;
  }

  /** Reads what is desired. Comes after the applications. */
  async load(): Promise<void> {
    this.#services.load(await this.#rowsOf(SERVICE_PREFIX));
    for (const { key, value } of await this.#rowsOf(DESIRED_PREFIX)) {
      const name = key.slice(DESIRED_PREFIX.length);
      const at = name.lastIndexOf("@");
      const [fn, version] = [name.slice(0, at), name.slice(at + 1)];
      const { pods } = JSON.parse(value) as { pods: number };
      const target = this.#targetOf(fn, version);
      target.stored = pods;
      const isKnown = this.#parts.registry.spec(fn, version) !== undefined;
      target.desired = isKnown ? bounded(target.settings, pods) : 0;
      target.reason = "restored";
      this.#active.add(target);
    }
  }

  /** Brings the pods back that are desired, and sees to it from now on. Comes after fleet and scheduler. */
  start(): void {
    this.#isOn = true;
    this.#tick();
  }

  stop(): void {
    this.#isOn = false;
    this.#tickAt = Number.POSITIVE_INFINITY;
    this.#cancelTick();
  }

  // ---------------------------------------------------------------- scaling

  /** Versions with calls, pods, or pods that are desired. */
  active(): Iterable<Target> {
    return this.#active;
  }

  /** From now on there should be so many pods, within the service's bounds. */
  scale(target: Target, pods: number, reason: string, forecast: ScaleForecast = NO_FORECAST): void {
    const kept = target as Kept;
    const held = kept.held !== undefined && this.#parts.clock.now() < kept.held.until ? kept.held.pods : 0;
    const desired = bounded(kept.settings, Math.max(pods, held));
    if (desired === kept.desired) return;
    const { fn, version, settings } = kept;
    const from = kept.desired;
    kept.desired = desired;
    kept.reason = reason;
    this.#active.add(kept);
    this.#tickWithin(TICK_MS);
    const { service } = settings.template;
    this.#parts.turn.event({ type: "scale.decided", service, function: fn, version, from, pods: desired, reason, forecast });
  }

  // ---------------------------------------------------------------- placement

  template(fn: string, version: string): PodTemplate {
    return this.#targetOf(fn, version).settings.template;
  }

  activate(set: PodSet, now: number): void {
    const target = this.#targetOf(set.layer.fn, set.layer.version);
    target.set = set;
    this.#active.add(target);
    if (target.crash.retryAt > now || target.starvedUntil > now) return;
    if (target.desired < 1) this.scale(target, 1, "activation: a call waits and there is no pod");
    // Also beyond what was decided: pods that execute a suspect call alone take no other.
    if (this.#add(target, set, true) === undefined) target.starvedUntil = now + STARVED_MS;
  }

  served(set: PodSet): void {
    const target = this.#targetOf(set.layer.fn, set.layer.version);
    target.crash = NO_CRASH;
    set.crashes = 0;
  }

  refused(set: PodSet, { message }: Failure, now: number): void {
    this.#crashed(this.#targetOf(set.layer.fn, set.layer.version), set, false, message, now);
  }

  gone(set: PodSet, pod: Pod, exit: PodExit, now: number): void {
    const target = this.#targetOf(set.layer.fn, set.layer.version);
    // One that was ended by us, or with a call that is suspected of ending pods, tells nothing about the code.
    const isOwnFault = exit.reason !== "deleted" && exit.reason !== "killed" && !set.solo.has(pod) && pod.answered === 0;
    if (isOwnFault) {
      const hadConnected = exit.reason !== "failed-to-start";
      const output = exit.output === "" ? "" : `: ${exit.output.split("\n").at(-1)?.slice(0, 200)}`;
      this.#crashed(target, set, hadConnected, `${exit.reason} (${exit.detail})${output}`, now);
    }
    if (!this.#isOn) return;
    this.#reconcile(target, now);
    this.#tickWithin(TICK_MS);
  }

  #crashed(target: Kept, set: PodSet, hadConnected: boolean, reason: string, now: number): void {
    target.crash = crashed(target.crash, hadConnected, reason, now);
    set.crashes = target.crash.count;
  }

  // ---------------------------------------------------------------- reconciling

  #tick(): void {
    const now = this.#parts.clock.now();
    this.#tickAt = Number.POSITIVE_INFINITY;
    this.#refresh();
    this.#look(now);
    let isBusy = false;
    for (const target of [...this.#active]) {
      this.#reconcile(target, now);
      isBusy ||= (target.set?.layer.waiting ?? 0) > 0 || !target.conditions.some(({ type }) => type === "Ready");
    }
    this.#store();
    this.#tickWithin(isBusy ? TICK_MS : CALM_MS);
  }

  #tickWithin(ms: number): void {
    const at = this.#parts.clock.now() + ms;
    if (!this.#isOn || at >= this.#tickAt) return;
    this.#cancelTick();
    this.#tickAt = at;
    this.#cancelTick = this.#parts.clock.after(ms, () => this.#tick(), "upkeep");
  }

  #reconcile(target: Kept, now: number): void {
    const set = target.desired > 0 ? this.#setOf(target) : target.set;
    if (set === undefined) return this.#rest(target);
    if (target.crash.count > 0 && isStable(set, now)) this.served(set);
    set.reserved = target.settings.scale.min;
    set.isKept = target.desired > 0;
    const todo = plan(target.desired, this.#observed(target, set), target.crash.retryAt, now);
    for (const id of todo.drain) set.drain(set.pods.get(id) as Pod);
    target.lacks = undefined;
    for (let started = 0; started < todo.start && this.#mayStart(set); started++) if (this.#add(target, set, false) === undefined) break;
    this.#judge(target, set, now);
    if (set.pods.size === 0 && target.desired === 0) this.#rest(target);
  }

  /** Looks at the target no more, until something is in its layer. */
  #rest(target: Kept): void {
    const { set } = target;
    if (set !== undefined) {
      const { waiting, delayed, leased } = set.layer;
      if (waiting + delayed + leased > 0) return;
      this.#sets.release(set);
    }
    target.set = undefined;
    if (target.stored === target.desired) this.#active.delete(target);
  }

  #setOf(target: Kept): PodSet | undefined {
    target.set ??= this.#sets.podSet(target.fn, target.version);
    return target.set;
  }

  #observed({ settings }: Kept, set: PodSet): ObservedPod[] {
    return [...set.pods.values()].map((pod) => ({
      id: pod.id,
      state: pod.state,
      inFlight: pod.inFlight + pod.zombies,
      idleSince: pod.idleSince,
      solo: set.solo.has(pod),
      outdated: !isSamePod(this.#made.get(pod) ?? settings.template, settings.template),
    }));
  }

  #mayStart({ layer }: PodSet): boolean {
    const { mostStarting } = this.#parts;
    let starting = 0;
    for (const pod of this.#parts.fleet.pods.values()) if (pod.state === "starting") starting++;
    return starting < (layer.waiting > 0 ? 2 * mostStarting : mostStarting);
  }

  #add(target: Kept, set: PodSet, isUrgent: boolean): Pod | undefined {
    const pod = set.add(isUrgent);
    if (pod === undefined) target.lacks = this.#parts.fleet.lacks;
    else this.#made.set(pod, set.template);
    return pod;
  }

  #judge(target: Kept, set: PodSet, now: number): void {
    const before = target.conditions;
    target.conditions = this.#conditionsOf(target, set, now);
    for (const one of target.conditions) if (!has(before, one)) this.#tell(target, one, true);
    for (const one of before) if (!has(target.conditions, one)) this.#tell(target, one, false);
  }

  #conditionsOf(target: Kept, set: PodSet | undefined, now: number): Condition[] {
    const { desired, crash, lacks, conditions } = target;
    const { starting, ready } = countsOf(set);
    const detail = lacks === undefined ? "" : this.#lackOf(target);
    return conditionsOf({ desired, starting, ready, crash, lacks, detail }, conditions, now);
  }

  #lackOf({ desired, lacks, settings }: Kept): string {
    const { fleet } = this.#parts;
    if (lacks === "memory") {
      return `${desired} pods are desired; another one of ${settings.template.memoryMb} MiB exceeds what pods may have together on this machine`;
    }
    return `${desired} pods are desired; there are ${fleet.pods.size} pods on this machine, as many as there may be`;
  }

  #tell({ fn, version, settings }: Kept, { type, reason }: Condition, holds: boolean): void {
    if (!TROUBLES.has(type)) return;
    const { service } = settings.template;
    this.#parts.turn.event({ type: "service.condition", service, function: fn, version, condition: type, holds, reason });
  }

  /** C1. */
  #store(): void {
    const changes: StateChange[] = [];
    for (const target of this.#active) {
      if (target.stored === target.desired) continue;
      target.stored = target.desired;
      const key = `${DESIRED_PREFIX}${target.fn}@${target.version}`;
      if (target.desired === 0) changes.push({ space: SPACE, key, version: 0 });
      else changes.push({ space: SPACE, key, value: JSON.stringify({ pods: target.desired }), version: this.#parts.nextVersion() });
    }
    if (changes.length > 0) this.#parts.turn.state(changes);
  }

  /** Follows the registry: a deployment changes which versions are current. */
  #refresh(): void {
    if (this.#revision === this.#parts.registry.revision) return;
    this.#revision = this.#parts.registry.revision;
    this.#configure();
  }

  /** Makes each version what its service says now. */
  #configure(): void {
    for (const target of this.#targets.values()) this.#set(target, this.#services.settings(target.fn, target.version));
    for (const service of this.#services.list()) {
      const version = this.#services.currentVersion(service);
      if (version === undefined) continue;
      const settings = this.#services.settings(service.spec.function, version);
      if (settings.scale.min > 0) this.#set(this.#targetOf(service.spec.function, version), settings);
    }
  }

  #set(target: Kept, settings: Settings): void {
    target.settings = settings;
    if (target.set !== undefined) target.set.template = settings.template;
    const { min, max } = settings.scale;
    if (target.desired < min) this.scale(target, min, settings.isFixed ? "its replicas" : "its minimum");
    else if (target.desired > max) this.scale(target, max, "its maximum");
  }

  #targetOf(fn: string, version: string): Kept {
    return getOrMake(this.#targets, `${fn}@${version}`, () => ({
      fn,
      version,
      settings: this.#services.settings(fn, version),
      desired: 0,
      reason: "nothing calls it",
      set: undefined,
      stored: 0,
      crash: NO_CRASH,
      lacks: undefined,
      starvedUntil: 0,
      held: undefined,
      conditions: [],
    }));
  }

  async #rowsOf(prefix: string): Promise<StateEntry[]> {
    const rows: StateEntry[] = [];
    for (let page: StateEntry[] | undefined; page === undefined || page.length === PAGE; rows.push(...page)) {
      page = await this.#parts.rows.list(SPACE, prefix, PAGE, rows.at(-1)?.key);
    }
    return rows;
  }

  // ---------------------------------------------------------------- services

  services(): ServiceView[] {
    return this.#services.list().map((service) => this.#viewOf(service));
  }

  service(name: string): ServiceView {
    return this.#viewOf(this.#services.get(name));
  }

  async createService(spec: ServiceSpec): Promise<ServiceView> {
    checkServiceSpec(spec);
    if (this.#services.isGiven(spec.name)) throw exists(spec.name, `there is a service "${spec.name}" already`);
    return this.#put(spec, "created");
  }

  async putService(spec: ServiceSpec, ifVersion?: number): Promise<ServiceView> {
    checkServiceSpec(spec);
    const isGiven = this.#services.isGiven(spec.name);
    this.#checkVersion(spec.name, isGiven ? this.#services.get(spec.name).resourceVersion : 0, ifVersion);
    return this.#put(spec, isGiven ? "replaced" : "created");
  }

  async deleteService(name: string, ifVersion?: number): Promise<void> {
    const service = this.#services.get(name);
    if (!this.#services.isGiven(name)) {
      const message = `"${name}" is the default service of its function, and goes with it`;
      throw new LockstepError("BAD_REQUEST", message, { details: { name } });
    }
    this.#checkVersion(name, service.resourceVersion, ifVersion);
    this.#parts.turn.state([this.#services.delete(name)]);
    this.#changed(service.spec, "deleted");
    await this.#parts.turn.durable();
  }

  async #put(spec: ServiceSpec, change: "created" | "replaced"): Promise<ServiceView> {
    this.#services.check(spec);
    this.#parts.turn.state([this.#services.put(spec, this.#parts.nextVersion())]);
    this.#changed(spec, change);
    await this.#parts.turn.durable();
    return this.service(spec.name);
  }

  #changed({ name, function: fn }: ServiceSpec, change: "created" | "replaced" | "deleted"): void {
    this.#parts.turn.event({ type: "service.changed", service: name, function: fn, change });
    this.#configure();
    const now = this.#parts.clock.now();
    if (this.#isOn) for (const target of [...this.#active]) if (target.fn === fn) this.#reconcile(target, now);
  }

  #checkVersion(name: string, version: number, wanted: number | undefined): void {
    if (wanted === undefined || wanted === version) return;
    const details = { name, resourceVersion: version, ifVersion: wanted };
    throw new LockstepError("PRECONDITION_FAILED", `service "${name}" has resource version ${version}, not ${wanted}`, { details });
  }

  #viewOf(service: Service): ServiceView {
    const { spec, resourceVersion } = service;
    const current = this.#services.currentVersion(service);
    const versions = [...this.#targets.values()].filter(
      (target) =>
        target.settings.template.service === spec.name && target.version !== current && (target.desired > 0 || target.set !== undefined),
    );
    if (current !== undefined) versions.unshift(this.#targetOf(spec.function, current));
    const settings = this.#services.settings(spec.function, current ?? "");
    return {
      spec: completed(spec, settings),
      application: this.#parts.registry.version(current ?? "")?.application ?? "",
      default: !this.#services.isGiven(spec.name),
      resourceVersion,
      versions: versions.map((target) => this.#versionView(target, target.version === current)),
    };
  }

  #versionView(target: Kept, current: boolean): ServiceVersionView {
    const { version, desired, reason, set } = target;
    const conditions = this.#conditionsOf(target, set, this.#parts.clock.now());
    return { version, current, desired, ...countsOf(set), reason, conditions };
  }

  // ---------------------------------------------------------------- pods

  pods(): ClusterPodView[] {
    return [...this.#parts.fleet.pods.values()].map((pod) => this.#podView(pod));
  }

  pod(id: string): ClusterPodView {
    return this.#podView(this.#podOf(id));
  }

  createPod(name: string): ClusterPodView {
    const service = this.#services.get(name);
    const version = this.#services.currentVersion(service);
    const target = version === undefined ? undefined : this.#targetOf(service.spec.function, version);
    const set = target === undefined ? undefined : this.#setOf(target);
    if (target === undefined || set === undefined) throw new LockstepError("UNKNOWN_FUNCTION", `nobody defines "${service.spec.function}"`);
    if (target.desired >= target.settings.scale.max) throw overloaded(`service "${name}" has ${target.desired} pods, as many as it may`);
    const pod = this.#add(target, set, false);
    if (pod === undefined) throw overloaded(`there is no room for another pod: the machine lacks ${target.lacks}`);
    target.held = { pods: target.desired + 1, until: this.#parts.clock.now() + target.settings.scale.coolDownMs };
    this.scale(target, target.held.pods, "a pod was created by hand");
    return this.#podView(pod);
  }

  deletePod(id: string, graceMs = DELETE_GRACE_MS): void {
    this.#parts.fleet.end(this.#podOf(id), graceMs);
  }

  #podOf(id: string): Pod {
    const pod = this.#parts.fleet.pods.get(id);
    if (pod === undefined) throw new LockstepError("UNKNOWN_POD", `there is no pod ${JSON.stringify(id)}`, { details: { pod: id } });
    return pod;
  }

  #podView(pod: Pod): ClusterPodView {
    const { tenant } = pod;
    const status = this.#parts.cluster.get(pod.id);
    const service = tenant?.service;
    const view: ClusterPodView = {
      id: pod.id,
      role: tenant?.role ?? "warm",
      pid: pod.pid,
      state: pod.state,
      ready: pod.state === "ready",
      inFlight: pod.inFlight,
      slots: (tenant as { template?: PodTemplate } | undefined)?.template?.slots ?? this.#parts.defaults.slotsPerPod,
      memoryMb: pod.memoryMb,
      startedAt: pod.startedAt,
      labels: { ...status?.labels },
      resourceVersion: status?.resourceVersion ?? 0,
    };
    if (tenant !== undefined) Object.assign(view, { application: tenant.application, version: tenant.version });
    if (service !== undefined) view.service = service;
    if (pod.coldStartMs !== undefined) view.coldStartMs = pod.coldStartMs;
    return view;
  }
}

const bounded = ({ scale: { min, max } }: Settings, pods: number): number => Math.min(max, Math.max(min, pods));

const has = (conditions: readonly Condition[], { type }: Condition): boolean => conditions.some((one) => one.type === type);

const overloaded = (message: string): LockstepError => new LockstepError("OVERLOADED", message, { details: { retryAfterMs: 1_000 } });

const isStable = (set: PodSet, now: number): boolean => {
  for (const pod of set.pods.values()) if (pod.state === "ready" && now - pod.takenAt >= STABLE_MS) return true;
  return false;
};

const countsOf = (set: PodSet | undefined): Record<"starting" | "ready" | "draining", number> => {
  const counts = { starting: 0, ready: 0, draining: 0 };
  for (const pod of set?.pods.values() ?? []) counts[pod.state]++;
  return counts;
};
