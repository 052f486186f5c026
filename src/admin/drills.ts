/**
 * Drills: faults that are provoked on purpose, to see how they are found and repaired.
 *
 * Owns: whether drills are allowed, and which pod is hit. Does not own: what follows, which is what any such fault has.
 */
import type { PodHarm } from "../cluster/port.ts";
import type { Clock } from "../lib/clock.ts";
import { LockstepError } from "../lib/errors.ts";
import { type Drill, type DrillRequest, REPLICA_DRILLS, type ReplicaDrillKind } from "../protocol/faults.ts";
import type { Pod } from "../scheduler/fleet.ts";

export interface DrillParts {
  clock: Clock;
  /** Whether the platform was started for them. */
  allowed: boolean;
  pods(): Iterable<Pod>;
  harm(pod: string, harm: PodHarm): boolean;
  /** Lets a replica misbehave, of this function's set or of the one that was made last. @throws {LockstepError} UNKNOWN_POD */
  replica(kind: ReplicaDrillKind, fn: string | undefined): { pod: Pod; replica: number; calls: number };
  /** Of the newest event. */
  position(): number;
  /** Ends this process as `kill -9` would; `undefined` where that would end more than a platform. */
  killControlPlane: (() => void) | undefined;
  /** Does the same and begins it anew; `undefined` where somebody else has to. */
  restartControlPlane?: (() => void) | undefined;
}

const SLOW_MS = 3_000;
/** Shorter than what makes a pod hang: a slow pod must not be taken for a dead one. */
const SLOW_STOP_MS = 200;
const SLOW_GO_MS = 100;
/** The answer to whoever asked for it leaves first. */
const KILL_AFTER_MS = 50;

export class Drills {
  readonly #parts: DrillParts;
  /** Pods that are being slowed down, with what ends that. */
  readonly #slow = new Map<string, () => void>();

  constructor(parts: DrillParts) {
    this.#parts = parts;
  }

  /** @throws {LockstepError} DRILLS_DISABLED, UNKNOWN_POD */
  provoke({ kind, function: role }: DrillRequest): Drill {
    this.check();
    const { clock, position } = this.#parts;
    const told = { kind, at: clock.now(), position: position() };
    if (kind === "control-plane") return { ...told, ...this.#killControlPlane() };
    if (isOfReplicas(kind)) {
      const { pod, replica, calls } = this.#parts.replica(kind, role);
      return { ...told, pod: pod.id, function: pod.tenant?.role ?? "", replica, pid: pod.pid, calls };
    }
    const pod = this.#busiest(role);
    const { id, pid, inFlight } = pod;
    const drill: Drill = { ...told, pod: id, function: pod.tenant?.role ?? "warm", pid, calls: inFlight };
    if (kind === "slow") {
      this.#slowDown(id, clock.now() + SLOW_MS);
      return { ...drill, lastsMs: SLOW_MS };
    }
    if (this.#parts.harm(id, kind === "pod" ? "kill" : "stop")) return drill;
    throw notFound(role);
  }

  /** @throws {LockstepError} DRILLS_DISABLED */
  check(): void {
    if (this.#parts.allowed) return;
    throw new LockstepError("DRILLS_DISABLED", "this platform takes no drills: it was not started by `lockstep dev` or with --drills");
  }

  /** Lets every pod that is slowed down go on. */
  stop(): void {
    for (const [pod, cancel] of this.#slow) {
      cancel();
      this.#parts.harm(pod, "continue");
    }
    this.#slow.clear();
  }

  #killControlPlane(): Pick<Drill, "pid" | "calls" | "restarts"> {
    const { restartControlPlane, killControlPlane, clock, pods } = this.#parts;
    const kill = restartControlPlane ?? killControlPlane;
    if (kill === undefined) {
      throw new LockstepError(
        "DRILLS_DISABLED",
        "this control plane shares its process with something else, which the drill would kill too",
      );
    }
    clock.after(KILL_AFTER_MS, kill);
    let calls = 0;
    for (const { inFlight } of pods()) calls += inFlight;
    return { pid: process.pid, calls, ...(restartControlPlane === undefined ? {} : { restarts: true }) };
  }

  #busiest(role: string | undefined): Pod {
    let best: Pod | undefined;
    for (const pod of this.#parts.pods()) {
      if (pod.state !== "ready" || this.#slow.has(pod.id)) continue;
      if (role !== undefined && (pod.tenant?.role ?? "warm") !== role) continue;
      if (best === undefined || rank(pod) > rank(best)) best = pod;
    }
    if (best === undefined) throw notFound(role);
    return best;
  }

  /** Bursts of standing still. */
  #slowDown(pod: string, until: number): void {
    const { clock, harm } = this.#parts;
    const go = (): void => {
      const isThere = harm(pod, "continue");
      if (!isThere || clock.now() >= until) return void this.#slow.delete(pod);
      this.#slow.set(pod, clock.after(SLOW_GO_MS, stop));
    };
    const stop = (): void => {
      if (!harm(pod, "stop")) return void this.#slow.delete(pod);
      this.#slow.set(pod, clock.after(SLOW_STOP_MS, go));
    };
    stop();
  }
}

const isOfReplicas = (kind: DrillRequest["kind"]): kind is ReplicaDrillKind => (REPLICA_DRILLS as readonly string[]).includes(kind);

// A function's pod that works, then any that works, then one of a function, then any.
const rank = ({ inFlight, tenant }: Pod): number => {
  const isFunction = tenant !== undefined && tenant.role !== "coordinator";
  return (inFlight > 0 ? 1_000_000 : 0) + (isFunction ? 500_000 : 0) + Math.min(inFlight, 100_000);
};

const notFound = (role: string | undefined): LockstepError =>
  new LockstepError("UNKNOWN_POD", role === undefined ? "no pod is ready" : `no pod of "${role}" is ready`, {
    details: role === undefined ? {} : { function: role },
  });
