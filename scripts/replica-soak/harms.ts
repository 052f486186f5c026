/**
 * What is done to replica sets and to the platform under them, one harm after the other in each lane: a set is hurt again once it is whole.
 * Lanes don't wait for one another, so that a control plane is killed while a replica lies.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { Random } from "../../src/lib/random.ts";
import { type FaultView, REPLICA_DRILLS, type ReplicaDrillKind } from "../../src/protocol/faults.ts";
import type { ReplicaSetView } from "../../src/protocol/replica.ts";
import { signal } from "../../test/support/processes.ts";
import type { Violations } from "../soak/report.ts";
import type { World } from "../soak/world.ts";

/** `kill`: any replica, by `kill -9`. `stop`: one that stands still. `two`, `all`: more than f at the same time. */
export type SetHarm = ReplicaDrillKind | "kill" | "stop" | "two" | "all";

/** `again`: once more while it starts. `power`: all processes in one moment. */
export type PlatformHarm = "control-plane" | "again" | "power" | "coordinator" | "deploy";

export const SET_HARMS: readonly SetHarm[] = [...REPLICA_DRILLS, "kill", "stop", "two", "all"];
export const PLATFORM_HARMS: readonly PlatformHarm[] = ["control-plane", "again", "power", "coordinator", "deploy"];

/** A pod that was hurt on purpose. */
interface Victim {
  pod: string;
  harm: SetHarm | "coordinator";
  at: number;
  /** Of a replica that was told to do something. */
  seat?: { fn: string; replica: number };
}

const POLL_MS = 20;
const WHOLE_WITHIN_MS = 60_000;
const FOUND_WITHIN_MS = 30_000;
/** A leader that loses its office before it has told two things is none that anybody could find out. */
const IN_OFFICE_MS = 4_000;
/** How often it is looked whether one can still be found out. */
const LOOK_MS = 1_000;
const LONGEST_PAUSE_MS = 400;
const LONGEST_START_MS = 400;
/** A pod's name is used again in the next life of the control plane. Who lies may do so long after it was told to. */
const BLAMED_WITHIN_MS = 30_000;
const LIES_BLAMED_WITHIN_MS = 120_000;

export class Harms {
  readonly counts: Record<string, number> = {};
  /** From a harm until the set was whole again, by harm. */
  readonly healedMs = new Map<string, number[]>();
  readonly #world: World;
  readonly #violations: Violations;
  readonly #random: Random;
  readonly #say: (line: string) => void;
  readonly #victims: Victim[] = [];

  constructor(world: World, violations: Violations, random: Random, say: (line: string) => void) {
    this.#world = world;
    this.#violations = violations;
    this.#random = random;
    this.#say = say;
  }

  async hurtSet(fn: string, harms: readonly SetHarm[]): Promise<void> {
    for (const harm of harms) {
      await delay(this.#random.below(LONGEST_PAUSE_MS));
      const { victims, life } = await this.#hurtOnceWhole(fn, harm);
      const at = performance.now();
      this.#count(`${fn} ${harm}`);
      this.#victims.push(...victims);
      this.#say(`${fn}: ${harm}`);
      const healed = await this.#isHealed(fn, victims, life);
      // In between, another life of the control plane has begun with other pods.
      if (healed) this.healedMs.set(harm, [...(this.healedMs.get(harm) ?? []), performance.now() - at]);
    }
    await this.isWhole(fn);
  }

  /** In between something else may happen to the set, or to the control plane: then it is waited for once more. */
  async #hurtOnceWhole(fn: string, harm: SetHarm): Promise<{ victims: Victim[]; life: number }> {
    for (;;) {
      await this.isWhole(fn);
      const life = this.#world.lives;
      const victims = await this.#hurt(fn, harm);
      if (victims.length > 0) return { victims, life };
      await delay(POLL_MS);
    }
  }

  async hurtPlatform(harms: readonly PlatformHarm[], everyMs: number): Promise<void> {
    for (const harm of harms) {
      await delay(everyMs / 2 + this.#random.below(everyMs));
      this.#say(`platform: ${harm}`);
      this.#count(harm);
      if (harm === "control-plane") await this.#world.killControlPlane();
      else if (harm === "again") await this.#world.killControlPlane(this.#random.below(LONGEST_START_MS));
      else if (harm === "power") await this.#world.cutPower();
      else if (harm === "deploy") await this.#world.deploy();
      else await this.#killCoordinators();
    }
  }

  /** Resolves when all of the function's sets have all of their replicas, and none of them is at fault. */
  async isWhole(fn: string): Promise<void> {
    const giveUpAt = performance.now() + WHOLE_WITHIN_MS;
    for (;;) {
      const wrong = await this.#wrongWith(fn);
      if (wrong === undefined) return;
      if (performance.now() > giveUpAt) return this.#violations.add(`${fn} is not whole after ${WHOLE_WITHIN_MS} ms: ${wrong}`);
      await delay(POLL_MS);
    }
  }

  /** Faults of replicas that nobody has hurt: what is suspected on a busy machine. A lie is never. */
  async unexplained(): Promise<FaultView[]> {
    const faults = (await this.#world.client.faults(1_000)).filter(({ set }) => set !== undefined);
    const left = faults.filter((fault) => {
      const { pod, detectedAt } = fault;
      const isIt = (victim: Victim) =>
        (victim.pod === pod || isOfItsKey(victim, fault)) && detectedAt >= victim.at && detectedAt < victim.at + blamedMs(victim.harm);
      return !this.#victims.some(isIt);
    });
    for (const { what, pod, set, detail } of left) {
      if (what === "lie" || what === "equivocation")
        this.#violations.add(`${pod} of ${set} is accused of a ${what} that it was not told to do: ${detail}`);
    }
    return left;
  }

  async #wrongWith(fn: string): Promise<string | undefined> {
    try {
      const { client } = this.#world;
      const [sets, faults] = await Promise.all([client.replicaSets(), client.faults(1_000)]);
      const own = sets.filter((set) => set.function === fn);
      if (own.length === 0) return "it has no set";
      const broken = own.find(({ state, serving, replicas }) => state !== "serving" || serving < replicas.length);
      if (broken !== undefined) return `${broken.set} is ${broken.state}, ${broken.serving} of ${broken.replicas.length} work`;
      const names = new Set(own.map(({ set }) => set));
      const left = faults.find(({ set, repairedAt }) => repairedAt === undefined && names.has(set ?? ""));
      return left === undefined ? undefined : `the ${left.what} of ${left.pod} is not repaired: ${left.detail}`;
    } catch (error) {
      return (error as Error).message;
    }
  }

  async #hurt(fn: string, harm: SetHarm): Promise<Victim[]> {
    try {
      if ((REPLICA_DRILLS as readonly string[]).includes(harm)) {
        const { pod = "", at, replica = -1 } = await this.#world.client.drill({ kind: harm as ReplicaDrillKind, function: fn });
        return [{ pod, harm, at, seat: { fn, replica } }];
      }
      return await this.#signalReplicas(fn, harm as "kill" | "stop" | "two" | "all");
    } catch (error) {
      // Something else has happened to the set, or to the control plane, since it was whole.
      if (["UNKNOWN_POD", "NOT_CONNECTED", "SHUTTING_DOWN"].includes((error as { code?: string }).code ?? "")) return [];
      throw error;
    }
  }

  async #signalReplicas(fn: string, harm: "kill" | "stop" | "two" | "all"): Promise<Victim[]> {
    const { client } = this.#world;
    const sets: ReplicaSetView[] = (await client.replicaSets()).filter((each) => each.function === fn);
    const set = sets.at(-1);
    if (set === undefined) return [];
    const pidOf = new Map((await client.pods()).map(({ id, pid }) => [id, pid]));
    const first = this.#random.below(set.replicas.length);
    const count = harm === "two" ? 2 : harm === "all" ? set.replicas.length : 1;
    const chosen = Array.from({ length: count }, (_, i) => set.replicas[(first + i) % set.replicas.length]!.pod);
    const at = Date.now();
    return chosen.flatMap((pod) => {
      const pid = pod === undefined ? undefined : pidOf.get(pod);
      if (pod === undefined || pid === undefined || pid <= 0) return [];
      signal(pid, harm === "stop" ? "SIGSTOP" : "SIGKILL");
      return [{ pod, harm, at }];
    });
  }

  async #killCoordinators(): Promise<void> {
    const pods = await this.#world.client.pods().catch(() => []);
    for (const { id, pid, role } of pods) {
      if (role !== "coordinator" || pid <= 0) continue;
      this.#victims.push({ pod: id, harm: "coordinator", at: Date.now() });
      signal(pid, "SIGKILL");
    }
  }

  /** Whether what was done was found and repaired in this life of the control plane. */
  async #isHealed(fn: string, victims: readonly Victim[], life: number): Promise<boolean> {
    const giveUpAt = performance.now() + FOUND_WITHIN_MS;
    let lookAt = performance.now() + IN_OFFICE_MS;
    for (;;) {
      const faults = await this.#world.client.faults(1_000).catch(() => []);
      const left = victims.filter(({ pod, at }) => !faults.some((fault) => fault.pod === pod && fault.detectedAt >= at));
      if (this.#world.lives !== life || this.#world.pid === undefined) return false;
      // A set that keeps nothing is founded anew once it has no quorum: nobody asks then who else has failed.
      if (left.length === 0 || (victims.length > 1 && left.length < victims.length)) break;
      if (performance.now() > lookAt) {
        const isOver =
          left[0]!.harm === "leader-equivocate" ? await this.#endEquivocator(left[0]!.pod) : await this.#endUncalled(fn, left[0]!);
        lookAt = isOver ? Number.POSITIVE_INFINITY : performance.now() + LOOK_MS;
      }
      if (performance.now() > giveUpAt) {
        const { pod, harm } = left[0]!;
        this.#violations.add(`${harm} of ${pod} (${fn}) was not noticed within ${FOUND_WITHIN_MS} ms`);
        return false;
      }
      await delay(POLL_MS);
    }
    await this.isWhole(fn);
    return this.#world.lives === life;
  }

  /** Unless it leads still: then it should have been found. @returns that there is nothing more to do about it */
  async #endEquivocator(pod: string): Promise<true> {
    const sets = await this.#world.client.replicaSets().catch(() => []);
    if (sets.some(({ replicas }) => replicas.some((seat) => seat.pod === pod && seat.leader))) return true;
    if (await this.#kill(pod)) this.#count("equivocators that lost their office first");
    return true;
  }

  /** One that lies in the set of a version that was replaced in that moment: no call comes to it any more, and so no lie. */
  async #endUncalled(fn: string, { pod, harm }: Victim): Promise<boolean> {
    if (harm !== "replica-lie") return true;
    const own = (await this.#world.client.replicaSets().catch(() => [])).filter((set) => set.function === fn);
    const isUncalled = own.slice(0, -1).some(({ replicas }) => replicas.some((seat) => seat.pod === pod));
    if (!isUncalled || !(await this.#kill(pod))) return false;
    this.#count("liars that nobody called any more");
    return true;
  }

  async #kill(pod: string): Promise<boolean> {
    const pods = await this.#world.client.pods().catch(() => []);
    const pid = pods.find(({ id }) => id === pod)?.pid ?? 0;
    if (pid > 0) signal(pid, "SIGKILL");
    return pid > 0;
  }

  #count(harm: string): void {
    this.counts[harm] = (this.counts[harm] ?? 0) + 1;
  }
}

/**
 * A leader that one replica has caught, and that another has missed, is only ended: it comes back with its state under its key, in another pod.
 * When a second one says that it has seen two proposals, that pod is given up for what the one before it has done.
 */
const isOfItsKey = ({ harm, seat }: Victim, fault: FaultView): boolean =>
  harm === "leader-equivocate" && fault.what === "equivocation" && fault.function === seat?.fn && fault.replica === seat?.replica;

const blamedMs = (harm: Victim["harm"]): number =>
  harm === "replica-lie" || harm === "leader-equivocate" ? LIES_BLAMED_WITHIN_MS : BLAMED_WITHIN_MS;
