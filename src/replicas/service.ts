/**
 * Replica sets: gives functions whose results a quorum certifies what executes their calls, in place of pods.
 *
 * Owns: which sets there are, the platform's keys for them, what of them survives the control plane. Does not own: one set's work (set.ts),
 * layers and leases (the scheduler), the list of faults (the admin).
 *
 * P1  A set is asked for by the first call, and ended when none has come for a while: what its replicas keep on disk comes back with it.
 * P2  An epoch of a set is never used twice, so that a certificate names one membership.
 * P3  A function that keeps state has one set for all versions of its application. It executes the code of the current version, or of the
 *     last one in which the function has kept state: a deployment without it leaves the state where it is.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import type { Admin } from "../admin/service.ts";
import type { PodExit } from "../cluster/port.ts";
import { setNameOf } from "../consensus/membership.ts";
import type { StateRows } from "../journal/port.ts";
import type { Clock } from "../lib/clock.ts";
import { LockstepError } from "../lib/errors.ts";
import type { ApplicationVersion } from "../protocol/application.ts";
import type { EventBody } from "../protocol/events.ts";
import type { ReplicaDrillKind } from "../protocol/faults.ts";
import type { ToPod } from "../protocol/pod.ts";
import type { ReplicaSetView } from "../protocol/replica.ts";
import type { StateChange } from "../protocol/state.ts";
import type { Fleet } from "../scheduler/fleet.ts";
import type { Pod, Tenant } from "../scheduler/pod.ts";
import type { FunctionHome, PodSource } from "../scheduler/service.ts";
import { Certifier } from "./certifier.ts";
import { directoryOf, removeEarlier } from "./directories.ts";
import { provokeReplica } from "./drills.ts";
import { openKeys, type PlatformKeys } from "./keys.ts";
import type { SetSpec } from "./machine.ts";
import { nodeCrypto } from "./node-crypto.ts";
import { ReplicaSet, type SetListener, type SetParts, type SetTenant, type StoredSet } from "./set.ts";
import { SetTenants } from "./tenants.ts";

export interface ReplicaSetsParts {
  fleet: Pick<Fleet, "acquire" | "send" | "end">;
  clock: Clock;
  turn: { state(changes: readonly StateChange[]): void; event(body: EventBody): void; after(effect: () => void): void };
  rows: Pick<StateRows, "list">;
  nextVersion(): number;
  home(fn: string, version: string): FunctionHome | undefined;
  /** The version in which new runs call the function. */
  currentOf(fn: string): string | undefined;
  /** Calls of a function that are under way, as `run/seq/attempt`; without a version those of all. */
  pending(fn: string, version?: string): string[];
  /** Told of replicas that fail, and of seats that are whole again. */
  admin: Pick<Admin, "replicaFault" | "replicaRepaired">;
}

export interface ReplicaSetsOptions {
  /** Where keys and replicas' state are kept. */
  directory: string;
  /** Grows with each life of the control plane. */
  epoch: number;
  defaultMemoryMb: number;
  defaultTimeoutMs: number;
  idleMs: number;
  recoveryEveryMs: number;
  /** What a correct replica tells of one call's log at the most. */
  maxLogBytes: number;
}

/** A set at work, and whose calls it executes. */
interface Work {
  readonly set: ReplicaSet;
  readonly tenants: SetTenants;
}

const SPACE = "$replicas";
const PAGE = 1_000;
/** Sessions of one life of the control plane. */
const SESSIONS = 2 ** 20;

export class ReplicaSets implements PodSource {
  readonly #parts: ReplicaSetsParts;
  readonly #options: ReplicaSetsOptions;
  readonly #sets = new Map<string, Work>();
  readonly #byPod = new Map<Pod, Work>();
  readonly #stored = new Map<string, StoredSet>();
  readonly #certifier = new Certifier((text) => nodeCrypto(this.#openKeys().admin).sign(text));
  #keys: PlatformKeys | undefined;
  #session = 0;
  #isReady = false;

  constructor(parts: ReplicaSetsParts, options: ReplicaSetsOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  /** Reads what earlier lives have left. Comes after the state store. */
  async load(): Promise<void> {
    const { rows } = this.#parts;
    for (let after = ""; ; ) {
      const page = await rows.list(SPACE, "", PAGE, after);
      for (const { key, value } of page) this.#stored.set(key, JSON.parse(value) as StoredSet);
      if (page.length < PAGE) return;
      after = page.at(-1)!.key;
    }
  }

  /** All runs that were under way are read back: which results the replicas must keep is known. */
  recovered(): void {
    this.#isReady = true;
    for (const { set } of this.#sets.values()) set.want();
  }

  stop(): void {
    for (const { set, tenants } of this.#sets.values()) {
      tenants.stop();
      set.stop();
    }
  }

  // ---------------------------------------------------------------- as a source of pods

  acquire(tenant: Tenant): Pod | undefined {
    const home = this.#parts.home(tenant.role, tenant.version);
    if (home === undefined) return undefined;
    const name = setNameOf({ application: home.application, function: tenant.role, version: tenant.version }, home.spec.stateful === true);
    let work = this.#sets.get(name);
    if (work === undefined) {
      work = this.#make(name, tenant, home);
      this.#sets.set(name, work);
      if (this.#isReady) work.set.want();
    }
    const pod = work.tenants.podOf(tenant as SetTenant);
    this.#byPod.set(pod, work);
    work.tenants.welcome(pod);
    return pod;
  }

  send(pod: Pod, message: ToPod): void {
    const work = this.#byPod.get(pod);
    if (work === undefined) return;
    if (message.t === "invoke") {
      work.tenants.leased(pod, message.lease);
      work.set.pod.inFlight = work.tenants.underWay;
      work.set.invoke(message);
    } else if (message.t === "abort") {
      work.tenants.withdrawn(pod, message.lease);
      work.set.abort(message.lease);
      this.#rest(work);
    }
  }

  idle(pod: Pod): void {
    const work = this.#byPod.get(pod);
    if (work === undefined) return;
    work.tenants.idle(pod, () => this.#leave(work, pod));
    this.#rest(work);
  }

  end(pod: Pod, _graceMs: number, _reason?: PodExit["reason"]): void {
    const work = this.#byPod.get(pod);
    if (work !== undefined) this.#leave(work, pod);
  }

  #rest({ set, tenants }: Work): void {
    set.pod.inFlight = tenants.underWay;
    if (tenants.underWay === 0) set.idle();
  }

  /** The set goes with the last whose calls it has executed. */
  #leave({ set, tenants }: Work, pod: Pod): void {
    this.#byPod.delete(pod);
    if (tenants.pods().every((each) => each === pod)) set.end();
    else tenants.leave(pod, NO_CALLS);
  }

  loaded(): void {}

  // ---------------------------------------------------------------- deployments

  /**
   * Whether the version can go on with the state that its functions have.
   * @throws {LockstepError} APPLICATION_INVALID
   */
  check({ application, manifest }: Pick<ApplicationVersion, "application" | "manifest">): void {
    for (const spec of manifest.functions) {
      const stored = spec.stateful === true ? this.#storedOf(application, spec.name) : undefined;
      if (stored === undefined) continue;
      const { faults, version } = stored.membership.membership;
      const before = this.#parts.home(spec.name, version)?.spec;
      if ((spec.faults ?? 1) !== faults) throw misfit(spec.name, "faults", faults, spec.faults ?? 1);
      if (before !== undefined && before.stateKey !== spec.stateKey) throw misfit(spec.name, "key", before.stateKey, spec.stateKey);
    }
  }

  /** This is the current version of its application now. Sets that are not at work learn of it when they are asked for. */
  deployed(application: string): void {
    for (const { set } of this.#sets.values()) {
      const { spec } = set;
      if (spec.application === application && spec.durable) set.deploy(this.#versionOf(application, spec.function, spec.version));
    }
  }

  #storedOf(application: string, fn: string): StoredSet | undefined {
    return this.#stored.get(setNameOf({ application, function: fn, version: "" }, true));
  }

  /** Whose code the set of a function that keeps state executes (P3). */
  #versionOf(application: string, fn: string, asked: string): string {
    const { currentOf, home } = this.#parts;
    const current = currentOf(fn);
    const found = current === undefined ? undefined : home(fn, current);
    if (current !== undefined && found?.application === application && found.spec.stateful === true) return current;
    const stored = this.#storedOf(application, fn);
    return (stored?.next ?? stored?.membership)?.membership.version ?? asked;
  }

  // ---------------------------------------------------------------- for people

  views(): ReplicaSetView[] {
    return [...this.#sets.values()].map(({ set }) => viewOf(set));
  }

  /** The key by which certificates are checked, as PEM lies in `keys/admin.pub` too. */
  get adminKey(): string {
    return this.#openKeys().adminKey;
  }

  /** For drills. @throws {LockstepError} UNKNOWN_POD */
  provoke(kind: ReplicaDrillKind, fn: string | undefined, kill: (pod: Pod) => boolean): { pod: Pod; replica: number; calls: number } {
    const set = this.#setOf(fn);
    return { ...provokeReplica(set, kind, kill), calls: set.underWay };
  }

  /** The function's set that was made last. @throws {LockstepError} UNKNOWN_POD when none is at work */
  #setOf(fn: string | undefined): ReplicaSet {
    const set = [...this.#sets.values()].reverse().find((work) => fn === undefined || work.set.spec.function === fn)?.set;
    if (set?.machine.phase === "serving") return set;
    const whose = fn === undefined ? "" : ` of "${fn}"`;
    throw new LockstepError("UNKNOWN_POD", `no replica set${whose} is at work: call a function with trust "quorum" first`, {
      details: fn === undefined ? {} : { function: fn },
    });
  }

  // ---------------------------------------------------------------- making sets

  #make(name: string, { role, version: asked }: Tenant, home: FunctionHome): Work {
    const { application } = home;
    const durable = home.spec.stateful === true;
    const version = durable ? this.#versionOf(application, role, asked) : asked;
    const { spec } = this.#parts.home(role, version) ?? home;
    const stored = this.#stored.get(name);
    const keys = this.#openKeys();
    const { directory, defaultMemoryMb, defaultTimeoutMs, idleMs, recoveryEveryMs, maxLogBytes } = this.#options;
    const { fleet, clock, turn, pending } = this.#parts;
    const setSpec: SetSpec = {
      set: name,
      application,
      function: role,
      version,
      faults: durable && stored !== undefined ? stored.membership.membership.faults : (spec.faults ?? 1),
      durable,
      client: keys.clientKey,
      ...(spec.stateKey === undefined ? {} : { stateKey: spec.stateKey }),
    };
    const folder = join(directory, "replicas", folderOf(name));
    const parts: SetParts = {
      fleet,
      clock,
      crypto: nodeCrypto(keys.client),
      adminKey: keys.adminKey,
      certify: (membership) => this.#certifier.certify(membership),
      clientKey: keys.clientKey,
      nextSession: () => this.#options.epoch * SESSIONS + ++this.#session,
      pending: () => pending(role, durable ? undefined : version),
      afterCommit: (effect) => turn.after(effect),
      store: (stored) => this.#store(name, stored),
      codeOf: (of) => {
        const code = this.#parts.home(role, of);
        const { timeoutMs = defaultTimeoutMs, memoryMb = defaultMemoryMb } = code?.spec ?? {};
        return { path: code?.path ?? "", timeoutMs, memoryMb };
      },
      directoryOf: (index, generation) => directoryOf(folder, index, generation),
      forget: (index, generation) => void removeEarlier(folder, index, generation),
      told: this.#listener(),
    };
    const options = { memoryMb: spec.memoryMb ?? defaultMemoryMb, idleMs, recoveryEveryMs, maxLogBytes };
    const { path } = parts.codeOf(version);
    const tenants = new SetTenants({ set: name, role, application, version, path, memoryMb: options.memoryMb }, clock, idleMs);
    return { set: new ReplicaSet(setSpec, tenants, options, parts, stored), tenants };
  }

  #listener(): SetListener {
    const { turn, admin } = this.#parts;
    const tell = (set: ReplicaSet, state: "serving" | "waiting", reason: string): void => {
      const { set: name, function: fn } = set.spec;
      const { version, membership, serving, seats } = set.machine;
      turn.event({
        type: "replicas.changed",
        set: name,
        function: fn,
        version,
        state,
        epoch: membership?.epoch ?? 0,
        serving,
        of: seats.length,
        reason,
      });
    };
    return {
      changed: (set) => tell(set, "serving", ""),
      fault: ({ spec }, { index, pod, what, isLeader, detail, forMs }) => {
        // One that is replaced to be on the safe side has not failed.
        if (what === "recovery") return;
        const seat = { set: spec.set, replica: index, pod, function: spec.function };
        // Calls that are under way go on, or wait; none is lost with a replica.
        admin.replicaFault({ ...seat, isLeader, what, detail, calls: 0, detectionMs: forMs });
      },
      doubted: (set) => tell(set, set.machine.hasQuorum ? "serving" : "waiting", doubtOf(set.spec.function)),
      repaired: ({ spec }, { index, did }) => admin.replicaRepaired(spec.set, index, did),
      closed: (set, reason) => {
        if (set.machine.phase !== "serving") this.#sets.get(set.spec.set)?.tenants.closed();
        tell(set, "waiting", reason);
      },
      ended: (set) => this.#ended(set),
    };
  }

  #ended({ spec }: ReplicaSet): void {
    const tenants = this.#sets.get(spec.set)?.tenants;
    this.#sets.delete(spec.set);
    for (const pod of tenants?.pods() ?? []) this.#byPod.delete(pod);
    tenants?.gone(undefined, NO_CALLS);
  }

  #store(name: string, stored: StoredSet): void {
    this.#stored.set(name, stored);
    const { turn, nextVersion } = this.#parts;
    turn.state([{ space: SPACE, key: name, version: nextVersion(), value: JSON.stringify(stored) }]);
  }

  /** When the first set is made: most platforms have none. */
  #openKeys(): PlatformKeys {
    this.#keys ??= openKeys(join(this.#options.directory, "keys"));
    return this.#keys;
  }
}

const NO_CALLS: PodExit = { reason: "deleted", memory: false, detail: "no calls", output: "" };

const doubtOf = (fn: string): string =>
  `replicas of "${fn}" that have begun anew differ from the others at once: what it keeps in its module is not agreed on, and must not change results`;

const misfit = (fn: string, field: string, before: unknown, now: unknown): LockstepError =>
  new LockstepError(
    "APPLICATION_INVALID",
    `function "${fn}" keeps state with ${field} ${JSON.stringify(before) ?? "unset"}, and can't go on with ${JSON.stringify(now) ?? "none"}: leave it as it was, or give the function another name`,
    { details: { field, function: fn } },
  );

/** Names of functions may have characters that folders can't. */
const folderOf = (name: string): string => createHash("sha256").update(name).digest("hex").slice(0, 32);

const viewOf = ({ spec, machine, underWay }: ReplicaSet): ReplicaSetView => {
  const { phase, membership, view, serving, seats, hasQuorum } = machine;
  return {
    set: spec.set,
    application: spec.application,
    function: spec.function,
    version: machine.version,
    faults: spec.faults,
    durable: spec.durable,
    state: phase === "serving" ? (hasQuorum ? "serving" : "waiting") : "forming",
    epoch: membership?.epoch ?? 0,
    view,
    serving,
    underWay,
    replicas: seats.map(({ index, state, pod, key }) => ({
      index,
      state,
      ...(pod === undefined ? {} : { pod }),
      ...(key === undefined ? {} : { key }),
      leader: phase === "serving" && view % seats.length === index,
    })),
  };
};
