/**
 * A function's layer and pods on simulated time: calls arrive, wait in one line, execute in the slots of pods; a scaler looks at every tick.
 * Each call's service time is drawn as it arrives, so that all policies get the very same calls.
 *
 * What it leaves out: pods that fail, calls that fail, and that pods on one machine slow each other down.
 */

import { Scaler } from "../../src/autoscaler/decide.ts";
import type { Sample, ScaleSpec } from "../../src/autoscaler/scale.ts";
import { Deque } from "../../src/lib/deque.ts";
import { Heap } from "../../src/lib/heap.ts";
import { hashText, seeded } from "../../src/lib/random.ts";
import { Histogram } from "./histogram.ts";
import type { Pod } from "./pods.ts";
import { Pods } from "./pods.ts";
import type { Point } from "./series.ts";
import { Series } from "./series.ts";
import type { Distribution, Load } from "./workload.ts";
import { arrivalsOf, serviceTimes } from "./workload.ts";

export interface Options {
  readonly spec: ScaleSpec;
  readonly seed: number;
  readonly serviceMs: number;
  readonly distribution: Distribution;
  /** What each call takes on its way, besides the pod's time. */
  readonly delayMs: number;
  readonly tickMs: number;
}

export interface Result {
  readonly policy: string;
  readonly requests: number;
  readonly late: number;
  readonly latePercent: number;
  /** Calls whose own time is over the target: late whatever the policy does. */
  readonly unavoidable: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly podSeconds: number;
  readonly maxPods: number;
  /** Decisions that changed the number of pods. */
  readonly decisions: number;
  /** Calls for which a pod was started because there was none. */
  readonly activations: number;
  readonly series: readonly Point[];
}

interface Call {
  readonly arrivedAt: number;
  readonly serviceMs: number;
}

interface Running {
  readonly call: Call;
  readonly pod: Pod;
}

export const simulate = (load: Load, options: Options): Result => new Simulation(load, options).run();

class Simulation {
  readonly #options: Options;
  readonly #durationMs: number;
  readonly #arrivals: Generator<number>;
  readonly #draw: () => number;
  readonly #scaler: Scaler;
  readonly #pods: Pods;
  readonly #waiting = new Deque<Call>();
  readonly #completions = new Heap<Running>();
  readonly #responses = new Histogram();
  readonly #series: Series;
  #now = 0;
  #late = 0;
  #requests = 0;
  #unavoidable = 0;
  #decisions = 0;
  #activations = 0;
  // Of the time since the last tick.
  #tickedAt = 0;
  #arrived = 0;
  #completed = 0;
  #responseMs = 0;
  #serviceMs = 0;
  #busyMs = 0;
  #slotMs = 0;
  #inFlightMs = 0;

  constructor(load: Load, options: Options) {
    this.#options = options;
    this.#durationMs = load.counts.length * load.intervalMs;
    this.#arrivals = arrivalsOf(load, options.seed);
    this.#draw = serviceTimes(options.distribution, options.serviceMs, seeded(options.seed ^ hashText("service")));
    this.#scaler = new Scaler(options.spec, 0);
    this.#pods = new Pods(options.spec.slotsPerPod, options.spec.startDelayMs);
    this.#series = new Series(this.#durationMs);
  }

  run(): Result {
    this.#pods.scaleTo(this.#options.spec.min, 0);
    let arrival = this.#arrivals.next();
    let tickAt = this.#options.tickMs;
    while (arrival.done !== true || this.#waiting.size > 0 || this.#completions.size > 0 || tickAt <= this.#durationMs) {
      const arrivesAt = arrival.done === true ? Number.POSITIVE_INFINITY : arrival.value;
      const next = Math.min(arrivesAt, this.#completions.firstKey ?? Number.POSITIVE_INFINITY, this.#pods.nextReadyAt, tickAt);
      this.#advance(next);
      if (next === this.#completions.firstKey) this.#complete();
      else if (next === this.#pods.nextReadyAt) this.#ready();
      else if (next === arrivesAt) {
        this.#arrive();
        arrival = this.#arrivals.next();
      } else {
        this.#tick();
        tickAt += this.#options.tickMs;
      }
    }
    return this.#result();
  }

  #advance(to: number): void {
    const span = to - this.#now;
    this.#now = to;
    this.#busyMs += this.#completions.size * span;
    this.#slotMs += this.#pods.slots * span;
    this.#inFlightMs += (this.#completions.size + this.#waiting.size) * span;
    this.#pods.advance(span);
  }

  #arrive(): void {
    this.#requests++;
    this.#arrived++;
    this.#waiting.push({ arrivedAt: this.#now, serviceMs: this.#draw() });
    // Activation: the platform doesn't wait for the next sample when there is nobody to serve.
    if (this.#pods.wanted === 0) {
      this.#pods.scaleTo(1, this.#now);
      this.#activations++;
    }
    this.#dispatch();
  }

  #dispatch(): void {
    while (this.#waiting.size > 0) {
      const pod = this.#pods.take();
      if (pod === undefined) return;
      const call = this.#waiting.shift()!;
      this.#completions.push(this.#now + call.serviceMs, { call, pod });
    }
  }

  #ready(): void {
    this.#pods.ready();
    this.#dispatch();
  }

  #complete(): void {
    const { call, pod } = this.#completions.pop()!;
    this.#pods.release(pod);
    const responseMs = this.#now - call.arrivedAt + this.#options.delayMs;
    const isLate = responseMs > this.#options.spec.targetMs;
    this.#completed++;
    this.#responseMs += responseMs;
    this.#serviceMs += call.serviceMs;
    if (isLate) this.#late++;
    if (call.serviceMs + this.#options.delayMs > this.#options.spec.targetMs) this.#unavoidable++;
    this.#responses.add(responseMs);
    this.#series.call(call.arrivedAt, responseMs, isLate);
    this.#dispatch();
  }

  #tick(): void {
    const sample = this.#sample();
    const { pods } = this.#scaler.decide(sample);
    if (pods !== this.#pods.wanted) this.#decisions++;
    this.#pods.scaleTo(pods, this.#now);
    this.#series.pods(this.#now, this.#pods.alive);
    this.#tickedAt = this.#now;
    this.#arrived = this.#completed = this.#responseMs = this.#serviceMs = this.#busyMs = this.#slotMs = this.#inFlightMs = 0;
  }

  #sample(): Sample {
    const spanMs = this.#now - this.#tickedAt;
    return {
      at: this.#now,
      arrivals: this.#arrived,
      completed: this.#completed,
      waiting: this.#waiting.size,
      running: this.#completions.size,
      inFlight: this.#inFlightMs / spanMs,
      pods: this.#pods.wanted,
      readyPods: this.#pods.readyCount,
      responseMs: this.#completed === 0 ? 0 : this.#responseMs / this.#completed,
      serviceMs: this.#completed === 0 ? 0 : this.#serviceMs / this.#completed,
      utilisation: this.#slotMs === 0 ? 0 : Math.min(1, this.#busyMs / this.#slotMs),
    };
  }

  #result(): Result {
    return {
      policy: this.#options.spec.policy,
      requests: this.#requests,
      late: this.#late,
      latePercent: this.#requests === 0 ? 0 : (100 * this.#late) / this.#requests,
      unavoidable: this.#unavoidable,
      p50Ms: this.#responses.quantile(0.5),
      p99Ms: this.#responses.quantile(0.99),
      podSeconds: this.#pods.podMs / 1_000,
      maxPods: this.#pods.most,
      decisions: this.#decisions,
      activations: this.#activations,
      series: this.#series.points(),
    };
  }
}
