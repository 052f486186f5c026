/**
 * Functions whose calls are executed by two pods and compared: gives what executes them, in place of pods.
 *
 * Owns: which of them are at work. Does not own: one function's pods (compared-pods.ts), layers and leases (the scheduler).
 */
import type { PodExit } from "../cluster/port.ts";
import type { ToPod } from "../protocol/pod.ts";
import type { Pod, Tenant } from "../scheduler/pod.ts";
import type { PodSource } from "../scheduler/service.ts";
import { ComparedPods, type ComparedPodsParts } from "./compared-pods.ts";

export class Comparisons implements PodSource {
  readonly #parts: Omit<ComparedPodsParts, "ended">;
  readonly #idleMs: number;
  readonly #byPod = new Map<Pod, ComparedPods>();
  #serial = 0;

  /** @param idleMs the pods of a function without calls are ended after this time */
  constructor(parts: Omit<ComparedPodsParts, "ended">, idleMs: number) {
    this.#parts = parts;
    this.#idleMs = idleMs;
  }

  stop(): void {
    for (const pods of [...this.#byPod.values()]) pods.end();
  }

  acquire(tenant: Tenant): Pod {
    const pods = new ComparedPods(`compared-${++this.#serial}`, tenant, this.#idleMs, {
      ...this.#parts,
      ended: (which, exit) => this.#ended(which, exit),
    });
    this.#byPod.set(pods.pod, pods);
    pods.start();
    return pods.pod;
  }

  send(pod: Pod, message: ToPod): void {
    const pods = this.#byPod.get(pod);
    if (message.t === "invoke") pods?.invoke(message);
    else if (message.t === "abort") pods?.abort(message);
  }

  idle(pod: Pod): void {
    this.#byPod.get(pod)?.idle();
  }

  end(pod: Pod, graceMs: number, reason: PodExit["reason"] = "deleted"): void {
    this.#byPod.get(pod)?.drain(graceMs, reason);
  }

  loaded(pod: Pod): void {
    pod.coldStartMs ??= this.#parts.clock.now() - pod.startedAt;
  }

  #ended({ pod }: ComparedPods, exit: PodExit): void {
    this.#byPod.delete(pod);
    pod.tenant?.gone(pod, exit);
  }
}
