/**
 * Replica sets: gives functions whose results a quorum certifies what executes their calls, in place of pods.
 *
 * Owns: which sets there are, the platform's keys for them, what of them survives the control plane. Does not own: one set's work (set.ts),
 * layers and leases (the scheduler), the list of faults (the admin).
 *
 * P1  A set is asked for by the first call, and ended when none has come for a while: what its replicas keep on disk comes back with it.
 * P2  An epoch of a set is never used twice, so that a certificate names one membership.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import type { Admin } from "../admin/service.ts";
import type { PodExit } from "../cluster/port.ts";
import { membershipText } from "../consensus/canonical.ts";
import type { CertifiedMembership, Membership } from "../consensus/membership.ts";
import type { StateRows } from "../journal/port.ts";
import type { Clock } from "../lib/clock.ts";
import { LockstepError } from "../lib/errors.ts";
import type { EventBody } from "../protocol/events.ts";
import type { ReplicaDrillKind } from "../protocol/faults.ts";
import type { ToPod } from "../protocol/pod.ts";
import type { ReplicaSetView } from "../protocol/replica.ts";
import type { StateChange } from "../protocol/state.ts";
import type { Fleet } from "../scheduler/fleet.ts";
import type { Pod, Tenant } from "../scheduler/pod.ts";
import type { FunctionHome, PodSource } from "../scheduler/service.ts";
import { provokeReplica } from "./drills.ts";
import { openKeys, type PlatformKeys } from "./keys.ts";
import type { SetSpec } from "./machine.ts";
import { nodeCrypto } from "./node-crypto.ts";
import { ReplicaSet, type SetListener, type SetParts, type SetTenant, type StoredSet } from "./set.ts";

export interface ReplicaSetsParts {
  fleet: Pick<Fleet, "acquire" | "send" | "end">;
  clock: Clock;
  turn: { state(changes: readonly StateChange[]): void; event(body: EventBody): void; after(effect: () => void): void };
  rows: Pick<StateRows, "list">;
  nextVersion(): number;
  home(fn: string, version: string): FunctionHome | undefined;
  /** Calls of a function that are under way, as `run/seq/attempt`. */
  pending(fn: string, version: string): string[];
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

const SPACE = "$replicas";
const PAGE = 1_000;
/** Sessions of one life of the control plane. */
const SESSIONS = 2 ** 20;

export class ReplicaSets implements PodSource {
  readonly #parts: ReplicaSetsParts;
  readonly #options: ReplicaSetsOptions;
  readonly #sets = new Map<string, ReplicaSet>();
  readonly #byPod = new Map<Pod, ReplicaSet>();
  readonly #stored = new Map<string, StoredSet>();
  readonly #certified = new Map<string, CertifiedMembership>();
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
    for (const set of this.#sets.values()) set.want();
  }

  stop(): void {
    for (const set of this.#sets.values()) set.stop();
  }

  // ---------------------------------------------------------------- as a source of pods

  acquire(tenant: Tenant): Pod | undefined {
    const home = this.#parts.home(tenant.role, tenant.version);
    if (home === undefined) return undefined;
    const name = nameOf(home.application, tenant.role, tenant.version);
    const known = this.#sets.get(name);
    if (known !== undefined) return known.pod;
    const set = this.#make(name, tenant as SetTenant, home);
    this.#sets.set(name, set);
    this.#byPod.set(set.pod, set);
    if (this.#isReady) set.want();
    return set.pod;
  }

  send(pod: Pod, message: ToPod): void {
    const set = this.#byPod.get(pod);
    if (message.t === "invoke") set?.invoke(message);
    else if (message.t === "abort") set?.abort(message.lease);
  }

  idle(pod: Pod): void {
    this.#byPod.get(pod)?.idle();
  }

  end(pod: Pod, _graceMs: number, _reason?: PodExit["reason"]): void {
    this.#byPod.get(pod)?.end();
  }

  loaded(): void {}

  // ---------------------------------------------------------------- for people

  views(): ReplicaSetView[] {
    return [...this.#sets.values()].map(viewOf);
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
    const set = [...this.#sets.values()].reverse().find(({ spec }) => fn === undefined || spec.function === fn);
    if (set?.machine.phase === "serving") return set;
    const whose = fn === undefined ? "" : ` of "${fn}"`;
    throw new LockstepError("UNKNOWN_POD", `no replica set${whose} is at work: call a function with trust "quorum" first`, {
      details: fn === undefined ? {} : { function: fn },
    });
  }

  // ---------------------------------------------------------------- making sets

  #make(name: string, tenant: SetTenant, { application, spec }: FunctionHome): ReplicaSet {
    const keys = this.#openKeys();
    const { directory, defaultMemoryMb, defaultTimeoutMs, idleMs, recoveryEveryMs, maxLogBytes } = this.#options;
    const { fleet, clock, turn, pending } = this.#parts;
    const setSpec: SetSpec = {
      set: name,
      application,
      function: tenant.role,
      version: tenant.version,
      faults: spec.faults ?? 1,
      durable: spec.stateful === true,
      client: keys.clientKey,
      ...(spec.stateKey === undefined ? {} : { stateKey: spec.stateKey }),
    };
    const parts: SetParts = {
      fleet,
      clock,
      crypto: nodeCrypto(keys.client),
      adminKey: keys.adminKey,
      certify: (membership) => this.#certify(membership),
      clientKey: keys.clientKey,
      nextSession: () => this.#options.epoch * SESSIONS + ++this.#session,
      pending: () => pending(tenant.role, tenant.version),
      afterCommit: (effect) => turn.after(effect),
      store: (stored) => this.#store(name, stored),
      codeOf: (version) => {
        const home = this.#parts.home(tenant.role, version);
        return { path: home?.path ?? "", timeoutMs: home?.spec.timeoutMs ?? defaultTimeoutMs };
      },
      directoryOf: (index, generation) => join(directory, "replicas", folderOf(name), `${index}-${generation}`),
      told: this.#listener(),
    };
    const options = { memoryMb: spec.memoryMb ?? defaultMemoryMb, idleMs, recoveryEveryMs, maxLogBytes };
    return new ReplicaSet(setSpec, tenant, options, parts, this.#stored.get(name));
  }

  #listener(): SetListener {
    const { turn, admin } = this.#parts;
    const tell = (set: ReplicaSet, state: "serving" | "waiting", reason: string): void => {
      const { set: name, function: fn, version } = set.spec;
      const { membership, serving, seats } = set.machine;
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
      fault: ({ spec, underWay }, { index, pod, what, isLeader, detail }) => {
        // One that is replaced to be on the safe side has not failed.
        if (what === "recovery") return;
        const seat = { set: spec.set, replica: index, pod, function: spec.function };
        admin.replicaFault({ ...seat, isLeader, what, detail, calls: underWay, detectionMs: 0 });
      },
      repaired: ({ spec }, { index, did }) => admin.replicaRepaired(spec.set, index, did),
      closed: (set, reason) => tell(set, "waiting", reason),
      ended: (set) => this.#ended(set),
    };
  }

  #ended(set: ReplicaSet): void {
    this.#sets.delete(set.spec.set);
    this.#byPod.delete(set.pod);
    const exit: PodExit = { reason: "deleted", memory: false, detail: "no calls", output: "" };
    set.pod.tenant?.gone(set.pod, exit);
  }

  #store(name: string, stored: StoredSet): void {
    this.#stored.set(name, stored);
    const { turn, nextVersion } = this.#parts;
    turn.state([{ space: SPACE, key: name, version: nextVersion(), value: JSON.stringify(stored) }]);
  }

  #certify(membership: Membership): CertifiedMembership {
    const text = membershipText(membership);
    const known = this.#certified.get(text);
    if (known !== undefined) return known;
    const certified = { membership, signature: nodeCrypto(this.#openKeys().admin).sign(text) };
    this.#certified.set(text, certified);
    return certified;
  }

  /** When the first set is made: most platforms have none. */
  #openKeys(): PlatformKeys {
    this.#keys ??= openKeys(join(this.#options.directory, "keys"));
    return this.#keys;
  }
}

const nameOf = (application: string, fn: string, version: string): string => `${application}/${fn}@${version}`;

/** Names of functions may have characters that folders can't. */
const folderOf = (name: string): string => createHash("sha256").update(name).digest("hex").slice(0, 32);

const viewOf = ({ spec, machine, underWay }: ReplicaSet): ReplicaSetView => {
  const { phase, membership, view, serving, seats, hasQuorum } = machine;
  return {
    set: spec.set,
    application: spec.application,
    function: spec.function,
    version: spec.version,
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
