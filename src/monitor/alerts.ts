/**
 * Alerts: what the executions of a function measure over a sliding window, against the bounds that its application sets. Pure.
 *
 *              value > bound, with enough executions
 *     quiet ───────────────────────────────────────────► raised
 *       ▲                                                  │
 *       └──────── value ≤ bound, or nothing measured ──────┘
 *
 * L1  An alert is raised once for each measure that is beyond its bound, and cleared once when it is back.
 * L2  A window takes the same memory however many executions it holds: they are counted in slots, so it ends up to a slot's length early.
 */
import type { AlertSpec } from "../protocol/application.ts";
import type { EventBody } from "../protocol/events.ts";

export type AlertEvent = EventBody & { type: "alert.raised" | "alert.cleared" };

export interface Measured {
  at: number;
  durationMs: number;
  /** 0 when it is not known. */
  memoryMb: number;
  failed: boolean;
}

interface Slot {
  /** Which one of all slots since the beginning of time. */
  number: number;
  count: number;
  failed: number;
  durationMs: number;
  memoryMb: number;
}

const SLOTS = 30;
const WINDOW_MS = 60_000;
const LEAST = 5;
const MEASURES = ["durationMs", "memoryMb", "errorRate"] as const;
type Measure = (typeof MEASURES)[number];

/** One alert's window, and which of its measures are beyond their bounds. */
class Watch {
  readonly spec: AlertSpec;
  readonly raised = new Set<Measure>();
  readonly #slotMs: number;
  readonly #slots: Slot[] = [];

  constructor(spec: AlertSpec) {
    this.spec = spec;
    this.#slotMs = Math.max(1, (spec.windowMs ?? WINDOW_MS) / SLOTS);
  }

  add({ at, durationMs, memoryMb, failed }: Measured): void {
    const slot = this.#slotAt(at);
    slot.count++;
    slot.durationMs += durationMs;
    if (failed) slot.failed++;
    if (memoryMb > slot.memoryMb) slot.memoryMb = memoryMb;
  }

  /** What has changed, as events. */
  judge(now: number): AlertEvent[] {
    const oldest = Math.floor(now / this.#slotMs) - SLOTS + 1;
    while (this.#slots[0] !== undefined && this.#slots[0].number < oldest) this.#slots.shift();
    let count = 0;
    for (const slot of this.#slots) count += slot.count;
    const events: AlertEvent[] = [];
    for (const measure of MEASURES) {
      const bound = this.spec[measure];
      if (bound === undefined) continue;
      const value = count === 0 ? 0 : this.#value(measure, count);
      const isRaised = this.raised.has(measure);
      if (!isRaised && value > bound && count >= (this.spec.least ?? LEAST)) {
        this.raised.add(measure);
        events.push(this.#event("alert.raised", measure, value, bound));
      } else if (isRaised && value <= bound) {
        this.raised.delete(measure);
        events.push(this.#event("alert.cleared", measure, value, bound));
      }
    }
    return events;
  }

  /** The events that end what is raised, for an alert that is no more. */
  end(): AlertEvent[] {
    return [...this.raised].map((measure) => this.#event("alert.cleared", measure, 0, this.spec[measure] ?? 0));
  }

  // A clock that is set back counts in the newest slot: the window only ever moves on.
  #slotAt(at: number): Slot {
    const last = this.#slots.at(-1);
    const number = Math.floor(at / this.#slotMs);
    if (last !== undefined && last.number >= number) return last;
    const slot: Slot = { number, count: 0, failed: 0, durationMs: 0, memoryMb: 0 };
    this.#slots.push(slot);
    if (this.#slots.length > SLOTS) this.#slots.shift();
    return slot;
  }

  #value(measure: Measure, count: number): number {
    if (measure === "memoryMb") return this.#slots.reduce((most, slot) => Math.max(most, slot.memoryMb), 0);
    const of = measure === "durationMs" ? "durationMs" : "failed";
    const value = this.#slots.reduce((sum, slot) => sum + slot[of], 0) / count;
    return Math.round(value * 1000) / 1000;
  }

  #event(type: AlertEvent["type"], measure: Measure, value: number, bound: number): AlertEvent {
    return { type, alert: this.spec.name, function: this.spec.function, measure, value, bound };
  }
}

export class Alerts {
  #watches = new Map<string, Watch[]>();

  /** Whether anything is watched at all. */
  get isEmpty(): boolean {
    return this.#watches.size === 0;
  }

  get isRaised(): boolean {
    return [...this.#watches.values()].some((watches) => watches.some(({ raised }) => raised.size > 0));
  }

  /** Watches these from now on. An alert that was there before, the same, keeps its window; what was raised of one that is gone is cleared. */
  configure(specs: readonly AlertSpec[]): AlertEvent[] {
    const before = new Map([...this.#watches.values()].flat().map((watch) => [JSON.stringify(watch.spec), watch]));
    this.#watches = new Map();
    for (const spec of specs) {
      const key = JSON.stringify(spec);
      const watch = before.get(key) ?? new Watch(spec);
      before.delete(key);
      this.#watches.set(spec.function, [...(this.#watches.get(spec.function) ?? []), watch]);
    }
    return [...before.values()].flatMap((watch) => watch.end());
  }

  /** Counts an execution. */
  observe(fn: string, measured: Measured): AlertEvent[] {
    const watches = this.#watches.get(fn);
    if (watches === undefined) return [];
    return watches.flatMap((watch) => {
      watch.add(measured);
      return watch.judge(measured.at);
    });
  }

  /** Lets the windows slide on while nothing executes. */
  sweep(now: number): AlertEvent[] {
    return [...this.#watches.values()].flatMap((watches) => watches.flatMap((watch) => watch.judge(now)));
  }
}
