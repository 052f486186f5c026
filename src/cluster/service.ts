/**
 * The cluster service: pods and services as users ask for them.
 *
 * Owns: what may be asked, and what is shown. Does not own: specs (services), numbers of pods (targets), what is done about them (the reconciler).
 *
 * C1  A spec is durable when its change is answered, and the answer shows what that change has made, whatever came after.
 */
import type { Clock } from "../lib/clock.ts";
import { LockstepError } from "../lib/errors.ts";
import type {
  ChangeFeed,
  ClusterPlane,
  ClusterPodView,
  PodWatchEvent,
  ScaleForecast,
  ServiceSpec,
  ServiceVersionView,
  ServiceView,
  ServiceWatchEvent,
} from "../protocol/cluster.ts";
import type { EventBody } from "../protocol/events.ts";
import type { StateChange, StateEntry } from "../protocol/state.ts";
import type { Fleet, Pod } from "../scheduler/fleet.ts";
import type { Placement, PodTemplate } from "../scheduler/service.ts";
import { Feed } from "./feed.ts";
import type { Cluster } from "./port.ts";
import type { PodSets } from "./reconciler.ts";
import { countsOf, Reconciler } from "./reconciler.ts";
import type { Service } from "./services.ts";
import { exists, SERVICE_PREFIX, Services, SPACE } from "./services.ts";
import type { ServiceDefaults } from "./specs.ts";
import { checkServiceSpec, completed } from "./specs.ts";
import type { Kept, Target } from "./targets.ts";
import { DESIRED_PREFIX, Targets } from "./targets.ts";

export interface ClusterParts {
  registry: ConstructorParameters<typeof Services>[0];
  fleet: Pick<Fleet, "pods" | "lacks" | "fits" | "end">;
  cluster: Pick<Cluster, "get" | "watch">;
  /** Which life of the data directory this is. */
  epoch: number;
  clock: Clock;
  turn: {
    state(changes: readonly StateChange[]): void;
    event(body: EventBody): void;
    durable(): Promise<void>;
  };
  rows: { list(space: string, prefix: string, limit: number, after?: string): Promise<StateEntry[]> };
  nextVersion(): number;
  defaults: ServiceDefaults;
  /** Pods that may start at the same time although no call waits. */
  mostStarting: number;
}

const PAGE = 1_000;
/** More changes than one life has. */
const CHANGES_PER_LIFE = 2 ** 30;
const DELETE_GRACE_MS = 30_000;

export class ClusterService implements ClusterPlane {
  readonly #parts: ClusterParts;
  readonly #services: Services;
  readonly #targets: Targets;
  readonly #reconciler: Reconciler;
  readonly podChanges: ChangeFeed<PodWatchEvent>;
  readonly serviceChanges: ChangeFeed<ServiceWatchEvent>;
  #revision = -1;

  constructor(parts: ClusterParts) {
    const { registry, defaults, clock, turn, fleet, mostStarting } = parts;
    this.#parts = parts;
    this.#services = new Services(registry, defaults);
    this.#targets = new Targets({ services: this.#services, clock, turn, nextVersion: () => parts.nextVersion() });
    this.#reconciler = new Reconciler({ targets: this.#targets, fleet, clock, turn, mostStarting, refresh: () => this.#refresh() });
    const base = parts.epoch * CHANGES_PER_LIFE;
    const hints = (look: () => void) => parts.cluster.watch(look);
    this.podChanges = new Feed({
      ...{ field: "pod", base, clock, hints },
      list: () => this.pods(),
      keyOf: ({ id }) => id,
      // What changes with each call is not told: a watcher would be told of nothing else.
      textOf: ({ inFlight: _, ...pod }) => JSON.stringify(pod),
    });
    this.serviceChanges = new Feed({
      ...{ field: "service", base, clock, hints },
      list: () => this.services(),
      keyOf: ({ spec }) => spec.name,
      textOf: (service) => JSON.stringify(service),
    });
  }

  /** What the scheduler asks for pods. */
  get placement(): Placement {
    return this.#reconciler;
  }

  /** @param look decides for the active targets, at every tick */
  connect(sets: PodSets, look: (now: number) => void): void {
    this.#reconciler.connect(sets, look);
  }

  /** Reads what is desired. Comes after the applications. */
  async load(): Promise<void> {
    this.#services.load(await this.#rowsOf(SERVICE_PREFIX));
    this.#targets.restore(await this.#rowsOf(DESIRED_PREFIX));
  }

  /** Brings the pods back that are desired, and sees to it from now on. Comes after fleet and scheduler. */
  start(): void {
    this.#reconciler.start();
  }

  stop(): void {
    this.#reconciler.stop();
  }

  /** Versions with calls, pods, or pods that are desired. */
  active(): Iterable<Target> {
    return this.#targets.active();
  }

  scale(target: Target, pods: number, reason: string, forecast: ScaleForecast): void {
    this.#targets.scale(target as Kept, pods, reason, forecast);
  }

  /** Follows the registry: a deployment changes which versions are current. */
  #refresh(): void {
    const { revision } = this.#parts.registry;
    if (this.#revision === revision) return;
    const isFirst = this.#revision < 0;
    this.#revision = revision;
    this.#targets.configure();
    // After a restart, what was desired says how many each version needs.
    if (!isFirst) this.#targets.takeOver();
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
    // C1: another writer may have changed or deleted it by the time that this is durable.
    const view = this.service(spec.name);
    await this.#parts.turn.durable();
    return view;
  }

  #changed({ name, function: fn }: ServiceSpec, change: "created" | "replaced" | "deleted"): void {
    this.#parts.turn.event({ type: "service.changed", service: name, function: fn, change });
    this.#targets.configure();
    const now = this.#parts.clock.now();
    for (const target of [...this.#targets.active()]) if (target.fn === fn) this.#reconciler.reconcile(target, now);
  }

  #checkVersion(name: string, version: number, wanted: number | undefined): void {
    if (wanted === undefined || wanted === version) return;
    const details = { name, resourceVersion: version, ifVersion: wanted };
    throw new LockstepError("PRECONDITION_FAILED", `service "${name}" has resource version ${version}, not ${wanted}`, { details });
  }

  #viewOf(service: Service): ServiceView {
    const { spec, resourceVersion } = service;
    const current = this.#services.currentVersion(service);
    const versions = this.#targets.behind(service).filter(({ version }) => version !== current);
    if (current !== undefined) versions.unshift(this.#targets.of(spec.function, current));
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
    const conditions = this.#reconciler.conditionsOf(target, set, this.#parts.clock.now());
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
    const target = version === undefined ? undefined : this.#targets.of(service.spec.function, version);
    const set = target === undefined ? undefined : this.#reconciler.setOf(target);
    if (target === undefined || set === undefined) throw new LockstepError("UNKNOWN_FUNCTION", `nobody defines "${service.spec.function}"`);
    // From here on it is looked at, and put to rest if nothing comes of it.
    this.#targets.activate(target);
    if (target.desired >= target.settings.scale.max) throw overloaded(`service "${name}" has ${target.desired} pods, as many as it may`);
    const pod = this.#reconciler.add(target, set, false);
    if (pod === undefined) throw overloaded(`there is no room for another pod: the machine lacks ${target.lacks}`);
    target.held = { pods: target.desired + 1, until: this.#parts.clock.now() + target.settings.scale.coolDownMs };
    this.#targets.scale(target, target.held.pods, "a pod was created by hand");
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
      // Connected is not enough: the code may not load.
      ready: pod.state === "ready" && (tenant === undefined || pod.coldStartMs !== undefined),
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

const overloaded = (message: string): LockstepError => new LockstepError("OVERLOADED", message, { details: { retryAfterMs: 1_000 } });
