/** The pods of one function: start after a delay, take calls by least load, and end once idle. */
import { Deque } from "../../src/lib/deque.ts";

export interface Pod {
  busy: number;
  /** Where it stands among the pods that have as many calls; -1 when it doesn't take any. */
  place: number;
  isLeaving: boolean;
}

export class Pods {
  readonly #slotsPerPod: number;
  readonly #startDelayMs: number;
  /** Ready pods by the number of their calls. */
  readonly #byBusy: Pod[][];
  #starting = new Deque<number>();
  #readyCount = 0;
  #leaving = 0;
  #leavingBusy = 0;
  most = 0;
  podMs = 0;

  constructor(slotsPerPod: number, startDelayMs: number) {
    this.#slotsPerPod = slotsPerPod;
    this.#startDelayMs = startDelayMs;
    this.#byBusy = Array.from({ length: slotsPerPod + 1 }, () => []);
  }

  get readyCount(): number {
    return this.#readyCount;
  }

  get wanted(): number {
    return this.#readyCount + this.#starting.size;
  }

  /** All that cost something. */
  get alive(): number {
    return this.wanted + this.#leaving;
  }

  get slots(): number {
    return this.#readyCount * this.#slotsPerPod + this.#leavingBusy;
  }

  get nextReadyAt(): number {
    return this.#starting.first ?? Number.POSITIVE_INFINITY;
  }

  advance(spanMs: number): void {
    this.podMs += this.alive * spanMs;
  }

  scaleTo(count: number, now: number): void {
    while (this.wanted < count) this.#starting.push(now + this.#startDelayMs);
    this.most = Math.max(this.most, this.alive);
    // Those that still start go first, the latest of them first: they are of no use to anybody yet.
    if (this.wanted > count && this.#starting.size > 0) this.#cancel(Math.min(this.#starting.size, this.wanted - count));
    while (this.wanted > count) this.#leave();
  }

  #cancel(count: number): void {
    const kept = new Deque<number>();
    for (let left = this.#starting.size - count; left > 0; left--) kept.push(this.#starting.shift()!);
    this.#starting = kept;
  }

  #leave(): void {
    const pod = this.#byBusy.find((pods) => pods.length > 0)?.at(-1);
    if (pod === undefined) return;
    this.#remove(pod);
    this.#readyCount--;
    if (pod.busy === 0) return;
    pod.isLeaving = true;
    this.#leaving++;
    this.#leavingBusy += pod.busy;
  }

  /** The one that was to be ready next is. */
  ready(): void {
    this.#starting.shift();
    this.#readyCount++;
    this.#insert({ busy: 0, place: -1, isLeaving: false });
  }

  /** A slot of the pod with the fewest calls. */
  take(): Pod | undefined {
    for (let busy = 0; busy < this.#slotsPerPod; busy++) {
      const pod = this.#byBusy[busy]!.at(-1);
      if (pod === undefined) continue;
      this.#remove(pod);
      pod.busy++;
      this.#insert(pod);
      return pod;
    }
    return undefined;
  }

  release(pod: Pod): void {
    if (pod.isLeaving) {
      pod.busy--;
      this.#leavingBusy--;
      if (pod.busy === 0) this.#leaving--;
      return;
    }
    this.#remove(pod);
    pod.busy--;
    this.#insert(pod);
  }

  #insert(pod: Pod): void {
    const pods = this.#byBusy[pod.busy]!;
    pod.place = pods.length;
    pods.push(pod);
  }

  #remove(pod: Pod): void {
    const pods = this.#byBusy[pod.busy]!;
    const last = pods.pop()!;
    if (last === pod) return;
    pods[pod.place] = last;
    last.place = pod.place;
  }
}
