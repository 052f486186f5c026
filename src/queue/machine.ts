/**
 * Layers: one queue per function and version, in the order of priority, then arrival.
 *
 * Owns: which calls wait, which are delayed, which are leased, and the counters. Does not own: pods (the scheduler), retry decisions (the
 * run machine), durability (a layer is rebuilt from the journal), or the clock.
 *
 *   enqueue ─► delayed ─(due)─► waiting ─(take)─► leased ─(settle)─► gone
 *                  └──────────────┴── withdraw ──────┴────────────────▲
 *
 * I1  An entry is in exactly one of the four states, and only `waiting` entries are handed out.
 * I2  The leased entries of a function, over all its versions, never exceed its concurrency limit.
 * I3  Within one priority, entries leave in the order in which they came to wait; those of a function with a fairness key in turns of its
 *     values, and of one value in that order.
 * I4  Attempts of a function, over all its versions, begin no faster than its limit per second and one second's worth of them at once.
 */
import { Deque } from "../lib/deque.ts";
import { Heap } from "../lib/heap.ts";
import type { RunId } from "../lib/ids.ts";
import type { Json } from "../lib/json.ts";
import { getOrMake } from "../lib/map.ts";
import type { CallLimits } from "../protocol/application.ts";
import { Load } from "./load.ts";
import { Pace } from "./pace.ts";
import { Turns } from "./turns.ts";

export interface Entry {
  readonly run: RunId;
  readonly seq: number;
  readonly attempt: number;
  readonly fn: string;
  readonly version: string;
  readonly input: Json;
  readonly priority: number;
  readonly timeoutMs: number;
  /** Must execute in a pod of its own: its pod died often enough to suspect it. */
  readonly solo: boolean;
  readonly notBefore: number;
  /** The output of the call to be compensated; then `seq` is the negative one of that call's. */
  readonly undo?: Json;
  /** What an earlier attempt told last of its progress. */
  readonly progress?: Json;
  state: "delayed" | "waiting" | "leased" | "gone";
  waitingSince: number;
  /** Set while leased. */
  lease: number;
  pod: string;
  leasedAt: number;
}

/** The limits of one function, shared by the layers of its versions. */
interface Gate {
  limit: number;
  leased: number;
  pace: Pace | undefined;
}

const WINDOW_S = 10;

/** Counts per second over the last ten seconds. */
class Rate {
  readonly #buckets: number[] = new Array(WINDOW_S).fill(0);
  #second = 0;

  count(now: number): void {
    this.#advance(now);
    this.#buckets[this.#second % WINDOW_S]!++;
  }

  perSecond(now: number): number {
    this.#advance(now);
    return this.#buckets.reduce((sum, count) => sum + count, 0) / WINDOW_S;
  }

  #advance(now: number): void {
    const second = Math.floor(now / 1000);
    if (second <= this.#second) return;
    const first = Math.max(this.#second + 1, second - WINDOW_S + 1);
    for (let at = first; at <= second; at++) this.#buckets[at % WINDOW_S] = 0;
    this.#second = second;
  }
}

export class Layer {
  readonly key: string;
  readonly fn: string;
  readonly version: string;
  readonly #gate: Gate;
  /** The field of the input whose values take turns. */
  readonly #fairness: string | undefined;
  readonly #byPriority = new Map<number, Deque<Entry> | Turns<Entry>>();
  #priorities: number[] = [];
  readonly #delayed = new Heap<Entry>();
  readonly #enqueued = new Rate();
  readonly #settled = new Rate();
  /** What the autoscaler measures by. */
  readonly load = new Load();
  waiting = 0;
  delayed = 0;
  leased = 0;
  completed = 0;
  failed = 0;

  constructor(fn: string, version: string, gate: Gate, fairness?: string) {
    this.key = layerKey(fn, version);
    this.fn = fn;
    this.version = version;
    this.#gate = gate;
    this.#fairness = fairness;
  }

  /** Whether its function has a limit, which it shares with other versions. */
  get isLimited(): boolean {
    return this.#gate.limit !== Number.POSITIVE_INFINITY || this.#gate.pace !== undefined;
  }

  /** When the function's pace lets the next call begin; `undefined` when none waits or it isn't the pace that holds them back. */
  throttledUntil(now: number): number | undefined {
    const { pace, leased, limit } = this.#gate;
    if (pace === undefined || this.waiting === 0 || leased >= limit || pace.allows(now)) return undefined;
    return pace.nextAt(now);
  }

  enqueue(entry: Entry, now: number): void {
    this.#enqueued.count(now);
    if (entry.notBefore > now) {
      entry.state = "delayed";
      this.delayed++;
      this.#delayed.push(entry.notBefore, entry);
      return;
    }
    this.#wait(entry, now);
  }

  /** Moves what is due from `delayed` to `waiting`; returns when the next one is due. */
  wake(now: number): number | undefined {
    for (;;) {
      const entry = this.#delayed.first;
      if (entry === undefined) return undefined;
      // A withdrawn entry stays in the heap until its time comes: searching for it would cost more than skipping it.
      if (entry.state === "delayed" && entry.notBefore > now) return entry.notBefore;
      this.#delayed.pop();
      if (entry.state !== "delayed") continue;
      this.delayed--;
      this.#wait(entry, now);
    }
  }

  /** The entry that `take` would hand out; `undefined` when none waits or one of the function's limits is reached. */
  peek(now: number): Entry | undefined {
    const gate = this.#gate;
    if (this.waiting === 0 || gate.leased >= gate.limit || gate.pace?.allows(now) === false) return undefined;
    for (const priority of this.#priorities) {
      const queue = this.#byPriority.get(priority)!;
      for (let entry = queue.first; entry !== undefined; entry = queue.first) {
        if (entry.state === "waiting") return entry;
        queue.shift();
      }
    }
    return undefined;
  }

  take(lease: number, pod: string, now: number): Entry | undefined {
    const entry = this.peek(now);
    if (entry === undefined) return undefined;
    this.#byPriority.get(entry.priority)!.shift();
    entry.state = "leased";
    entry.lease = lease;
    entry.pod = pod;
    entry.leasedAt = now;
    this.waiting--;
    this.leased++;
    this.load.begin(now);
    this.#gate.leased++;
    this.#gate.pace?.spend(now);
    return entry;
  }

  /** Ends a lease. Returns false when the entry was not leased any more: its outcome is stale. */
  settle(entry: Entry, succeeded: boolean, now: number): boolean {
    if (entry.state !== "leased") return false;
    this.#unlease(entry);
    this.load.end(entry.waitingSince, entry.leasedAt, now);
    this.#settled.count(now);
    if (succeeded) this.completed++;
    else this.failed++;
    return true;
  }

  /** Takes an entry out, whatever its state. Returns the state it had. */
  withdraw(entry: Entry): Entry["state"] {
    const before = entry.state;
    if (before === "leased") {
      this.#unlease(entry);
      this.load.withdraw(entry.waitingSince, entry.leasedAt);
    } else if (before === "waiting") {
      this.#unwait();
      this.load.withdraw(entry.waitingSince, undefined);
    } else if (before === "delayed") this.delayed--;
    entry.state = "gone";
    return before;
  }

  oldestWaitingMs(now: number): number {
    let oldest = 0;
    for (const queue of this.#byPriority.values()) {
      if (queue instanceof Turns) {
        oldest = Math.max(oldest, now - (queue.since ?? now));
        continue;
      }
      for (let entry = queue.first; entry !== undefined && entry.state !== "waiting"; entry = queue.first) queue.shift();
      if (queue.first !== undefined) oldest = Math.max(oldest, now - queue.first.waitingSince);
    }
    return oldest;
  }

  rates(now: number): { enqueuedPerSecond: number; completedPerSecond: number } {
    return { enqueuedPerSecond: this.#enqueued.perSecond(now), completedPerSecond: this.#settled.perSecond(now) };
  }

  #wait(entry: Entry, now: number): void {
    let queue = this.#byPriority.get(entry.priority);
    if (queue === undefined) {
      queue = this.#fairness === undefined ? new Deque<Entry>() : new Turns<Entry>(this.#fairness);
      this.#byPriority.set(entry.priority, queue);
      this.#priorities = [...this.#byPriority.keys()].sort((a, b) => b - a);
    }
    entry.state = "waiting";
    entry.waitingSince = now;
    queue.push(entry);
    this.waiting++;
    this.load.arrive(now);
  }

  // Withdrawn entries are skipped when they come to the head. When no entry waits, nobody would come across them, and their inputs would stay.
  #unwait(): void {
    if (--this.waiting > 0) return;
    this.#byPriority.clear();
    this.#priorities = [];
  }

  #unlease(entry: Entry): void {
    entry.state = "gone";
    this.leased--;
    this.#gate.leased--;
  }
}

export const layerKey = (fn: string, version: string): string => `${fn}@${version}`;

const setPace = (gate: Gate, perSecond: number | undefined): void => {
  // What is no pace would hold the function's calls back for ever.
  if (perSecond === undefined || !(perSecond > 0)) gate.pace = undefined;
  else if (gate.pace === undefined) gate.pace = new Pace(perSecond);
  else gate.pace.set(perSecond);
};

/** All layers, with the gates that versions of one function share. */
export class Layers {
  readonly #layers = new Map<string, Layer>();
  readonly #gates = new Map<string, Gate>();

  [Symbol.iterator](): IterableIterator<Layer> {
    return this.#layers.values();
  }

  find(fn: string, version: string): Layer | undefined {
    return this.#layers.get(layerKey(fn, version));
  }

  /**
   * @param limit the function's concurrency in this version; the newest version that opens a layer decides for all, as it does of the pace
   * in `limits`, while their fairness key is each version's own
   */
  open(fn: string, version: string, limit = Number.POSITIVE_INFINITY, limits?: CallLimits): Layer {
    const found = this.find(fn, version);
    if (found !== undefined) return found;
    const gate = getOrMake(this.#gates, fn, (): Gate => ({ limit, leased: 0, pace: undefined }));
    gate.limit = limit;
    setPace(gate, limits?.perSecond);
    const layer = new Layer(fn, version, gate, limits?.key);
    this.#layers.set(layer.key, layer);
    return layer;
  }

  /** Forgets a layer that holds nothing, so that old versions cost no memory. */
  close(layer: Layer): void {
    if (layer.waiting + layer.delayed + layer.leased === 0) this.#layers.delete(layer.key);
  }

  /** Waiting and delayed calls of all layers. */
  get depth(): number {
    let depth = 0;
    for (const layer of this.#layers.values()) depth += layer.waiting + layer.delayed;
    return depth;
  }
}
