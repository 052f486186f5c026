/**
 * The supply of pods: when a function's version gets another one, and when one is replaced that can't take calls any more.
 *
 * Owns: the scheduler's own rule for both, pauses after pods that did not start, telling a placement when there is one. Does not own: which
 * pods there can be (fleet), numbers that a placement decides, which call goes to which pod (the scheduler).
 */
import type { PodExit } from "../cluster/port.ts";
import type { Failure } from "../lib/errors.ts";
import type { Fleet } from "./fleet.ts";
import type { LayerHost } from "./layer-host.ts";
import type { Leases } from "./leases.ts";
import type { Placement } from "./placement.ts";
import type { Pod } from "./pod.ts";
import { LATE_MS } from "./sweep-timer.ts";

export interface PodSupplyParts {
  fleet: Pick<Fleet, "acquire">;
  leases: Pick<Leases, "of">;
  placement: Placement | undefined;
  options: { maxPodsPerFunction: number; patienceMs: number };
}

/** So long is not asked again for a pod that there was no room for. */
const STARVED_MS = 50;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;
/** So long may calls wait for slots whose attempts were withdrawn and have not ended. */
const CLOGGED_MS = 1_000;

export class PodSupply {
  readonly #parts: PodSupplyParts;
  #stopped = false;

  constructor(parts: PodSupplyParts) {
    this.#parts = parts;
  }

  /** No pod is added any more. */
  stop(): void {
    this.#stopped = true;
  }

  /** Whether somebody else decides how many pods this host has. */
  isPlaced(host: LayerHost): boolean {
    return this.#parts.placement !== undefined && !host.isReplicated;
  }

  /** Starts a pod when the waiting calls need one that is neither there nor on its way. */
  provide(host: LayerHost, now: number): void {
    if (host.retryAt > now) return;
    // One pod serves many calls at a time, and every further process costs all of them; more come when calls have to be patient (grow).
    for (const pod of host.pods.values()) if (pod.state !== "draining" && !host.solo.has(pod)) return;
    if (this.isPlaced(host)) this.#parts.placement?.activate(host, now);
    else this.#add(host, now);
  }

  /** One pod more for calls that have had to be patient although there are pods. */
  grow(host: LayerHost, now: number): void {
    if (this.isPlaced(host)) return;
    const { maxPodsPerFunction, patienceMs } = this.#parts.options;
    const { layer, pods } = host;
    const room = !this.#stopped && pods.size < maxPodsPerFunction && layer.peek(now) !== undefined && host.retryAt <= now;
    const starting = [...pods.values()].some((pod) => pod.state === "starting");
    if (room && !starting && layer.oldestWaitingMs(now) > patienceMs) this.#add(host, now);
  }

  /** For its placement. */
  add(host: LayerHost, isUrgent: boolean): Pod | undefined {
    const pod = this.#stopped ? undefined : this.#parts.fleet.acquire(host, isUrgent);
    if (pod !== undefined) host.pods.set(pod.id, pod);
    return pod;
  }

  /** Takes no calls any more, and ends when those that it executes have ended, by their timeouts at the latest. */
  drain(host: LayerHost, pod: Pod, now: number): void {
    let graceMs = 0;
    if (pod.inFlight > 0) {
      for (const [, { entry }] of this.#parts.leases.of(pod)) {
        graceMs = Math.max(graceMs, entry.leasedAt + entry.timeoutMs - now + LATE_MS);
      }
    }
    host.source.end(pod, graceMs);
  }

  /** When half of the slots are taken by attempts that never end, the pod serves what it has and is replaced. */
  replaceClogged(host: LayerHost, pod: Pod, now: number): void {
    if (pod.state === "ready" && pod.zombies * 2 >= host.template.slots) this.drain(host, pod, now);
  }

  /** Calls were withdrawn and their code goes on, which is harmless until others wait for its slots for too long. */
  unclog(host: LayerHost, now: number): void {
    const { layer } = host;
    if (layer.oldestWaitingMs(now) < CLOGGED_MS || layer.peek(now) === undefined) return;
    for (const pod of host.pods.values()) this.replaceClogged(host, pod, now);
  }

  /** A pod has answered after some had crashed. */
  served(host: LayerHost, pod: Pod): void {
    this.#parts.placement?.served(host, pod);
  }

  gone(host: LayerHost, pod: Pod, exit: PodExit, now: number): void {
    if (this.isPlaced(host)) this.#parts.placement?.gone(host, pod, exit, now);
    else if (exit.reason === "failed-to-start") this.#pause(host, now);
  }

  /** A pod has refused the bundle, and will be gone. */
  refused(host: LayerHost, failure: Failure, now: number): void {
    if (this.isPlaced(host)) this.#parts.placement?.refused(host, failure, now);
    else this.#pause(host, now);
  }

  #add(host: LayerHost, now: number): void {
    const pod = host.source.acquire(host);
    // No room on the machine: the tick tries again, and pods of idle functions make room.
    if (pod === undefined) host.retryAt = now + STARVED_MS;
    else host.pods.set(pod.id, pod);
  }

  #pause(host: LayerHost, now: number): void {
    host.retryAt = now + Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** host.failures++);
  }
}
