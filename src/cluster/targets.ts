/**
 * How many pods each function's version should have.
 *
 * Owns: the numbers and their reasons, kept in the rows `desired/…` of the space `$cluster`; which versions are looked at. Does not own: what
 * decides a number (autoscaler, specs, users), and what is done about it (the reconciler).
 *
 * T1  A number survives the control plane with the tick after it was decided.
 * T2  It is within the bounds of the service that the version stands behind, also when these change.
 * T3  What has no pods, no calls and no number to keep is not looked at; of versions that are not current either, nothing is kept.
 */
import type { Clock } from "../lib/clock.ts";
import { getOrMake } from "../lib/map.ts";
import type { Condition, ScaleForecast, ServiceView } from "../protocol/cluster.ts";
import type { EventBody } from "../protocol/events.ts";
import type { StateChange, StateEntry } from "../protocol/state.ts";
import type { PodSet } from "../scheduler/service.ts";
import type { CrashRecord } from "./reconcile-machine.ts";
import { NO_CRASH } from "./reconcile-machine.ts";
import type { Services } from "./services.ts";
import { SPACE } from "./services.ts";
import type { Settings } from "./specs.ts";
import { isSamePod } from "./specs.ts";

/** One function's version. */
export interface Target {
  readonly fn: string;
  readonly version: string;
  readonly settings: Settings;
  /** Pods that there should be, and why. */
  readonly desired: number;
  readonly reason: string;
  readonly set: PodSet | undefined;
}

/** The same, for those who drive it. */
export interface Kept extends Target {
  settings: Settings;
  desired: number;
  reason: string;
  set: PodSet | undefined;
  /** What the row says. */
  stored: number;
  crash: CrashRecord;
  lacks: "pods" | "memory" | undefined;
  /** There was no room for a call's pod: it is not asked for again before. */
  starvedUntil: number;
  /** Pods that were created by hand, or that a deployment has taken over, stay for a while, whatever the policy says. */
  held: { pods: number; until: number } | undefined;
  conditions: readonly Condition[];
}

export interface TargetParts {
  services: Services;
  clock: Clock;
  turn: { state(changes: readonly StateChange[]): void; event(body: EventBody): void };
  nextVersion(): number;
}

export const DESIRED_PREFIX = "desired/";
const NO_FORECAST: ScaleForecast = { arrivalsPerS: 0, serviceMs: 0, delayMs: 0, responseMs: 0 };
/** How long a version that has become current keeps as many pods as the one before: until its own load can be measured. */
const TAKEOVER_MS = 5_000;

export class Targets {
  readonly #parts: TargetParts;
  readonly #all = new Map<string, Kept>();
  readonly #active = new Set<Kept>();
  /** Told when a number has changed. */
  changed: () => void = () => {};

  constructor(parts: TargetParts) {
    this.#parts = parts;
  }

  /** Versions with calls, pods, or pods that are desired. */
  active(): ReadonlySet<Kept> {
    return this.#active;
  }

  /** Those that stand behind a service and have something, whatever their version. */
  behind({ spec }: Pick<ServiceView, "spec">): Kept[] {
    const isBehind = ({ settings, desired, set }: Kept) => settings.template.service === spec.name && (desired > 0 || set !== undefined);
    return [...this.#all.values()].filter(isBehind);
  }

  of(fn: string, version: string): Kept {
    return getOrMake(this.#all, `${fn}@${version}`, () => ({
      fn,
      version,
      settings: this.#parts.services.settings(fn, version),
      desired: 0,
      reason: "nothing calls it",
      set: undefined,
      stored: 0,
      crash: NO_CRASH,
      lacks: undefined,
      starvedUntil: 0,
      held: undefined,
      conditions: [{ type: "Ready", reason: "0 of 0 pods are ready", since: this.#parts.clock.now() }],
    }));
  }

  /** From now on there should be so many pods, within the service's bounds. */
  scale(kept: Kept, pods: number, reason: string, forecast: ScaleForecast = NO_FORECAST): void {
    const held = kept.held !== undefined && this.#parts.clock.now() < kept.held.until ? kept.held.pods : 0;
    const desired = bounded(kept.settings, Math.max(pods, held));
    if (desired === kept.desired) return;
    const { fn, version, desired: from, settings } = kept;
    const { service } = settings.template;
    kept.desired = desired;
    kept.reason = reason;
    this.#active.add(kept);
    this.#parts.turn.event({ type: "scale.decided", service, function: fn, version, from, pods: desired, reason, forecast });
    this.changed();
  }

  /** It has calls, pods, or something to be stored. */
  activate(kept: Kept): void {
    this.#active.add(kept);
  }

  /** T3. */
  rest(kept: Kept): void {
    if (kept.stored !== kept.desired) return;
    this.#active.delete(kept);
    if (!this.#parts.services.isCurrent(kept.fn, kept.version)) this.#all.delete(`${kept.fn}@${kept.version}`);
  }

  restore(rows: readonly StateEntry[]): void {
    for (const { key, value } of rows) {
      const name = key.slice(DESIRED_PREFIX.length);
      const at = name.lastIndexOf("@");
      const [fn, version] = [name.slice(0, at), name.slice(at + 1)];
      const kept = this.of(fn, version);
      kept.stored = (JSON.parse(value) as { pods: number }).pods;
      kept.desired = this.#parts.services.isKnown(fn, version) ? bounded(kept.settings, kept.stored) : 0;
      kept.reason = "restored";
      this.#active.add(kept);
    }
  }

  /** T1. */
  store(): void {
    const changes: StateChange[] = [];
    for (const kept of this.#active) {
      if (kept.stored === kept.desired) continue;
      kept.stored = kept.desired;
      const key = `${DESIRED_PREFIX}${kept.fn}@${kept.version}`;
      if (kept.desired === 0) changes.push({ space: SPACE, key, version: 0 });
      else changes.push({ space: SPACE, key, value: JSON.stringify({ pods: kept.desired }), version: this.#parts.nextVersion() });
    }
    if (changes.length > 0) this.#parts.turn.state(changes);
  }

  /** Makes each version what its service says now (T2). */
  configure(): void {
    const { services } = this.#parts;
    for (const kept of this.#all.values()) this.#set(kept, services.settings(kept.fn, kept.version));
    for (const service of services.list()) {
      const version = services.currentVersion(service);
      if (version === undefined) continue;
      const fn = service.spec.function;
      const settings = services.settings(fn, version);
      if (settings.scale.min > 0) this.#set(this.of(fn, version), settings);
    }
  }

  /** Versions that have become current: what calls the one before will call them, and is not to wait until that is noticed. */
  takeOver(): void {
    const { services, clock } = this.#parts;
    for (const before of [...this.#active]) {
      const { fn, version, desired } = before;
      const current = services.currentVersion(services.of(fn, version));
      if (desired === 0 || current === undefined || current === version) continue;
      const next = this.of(fn, current);
      if (next.settings.isFixed || next.desired >= desired || this.#active.has(next)) continue;
      next.held = { pods: desired, until: clock.now() + TAKEOVER_MS };
      this.scale(next, desired, `as many as version ${version} had before it`);
    }
  }

  #set(kept: Kept, settings: Settings): void {
    // Pods of another make have not crashed yet.
    if (!isSamePod(kept.settings.template, settings.template)) kept.crash = NO_CRASH;
    kept.settings = settings;
    if (kept.set !== undefined) kept.set.template = settings.template;
    const { min, max } = settings.scale;
    if (kept.desired < min) this.scale(kept, min, settings.isFixed ? "its replicas" : "its minimum");
    else if (kept.desired > max) this.scale(kept, max, "its maximum");
  }
}

const bounded = ({ scale: { min, max } }: Settings, pods: number): number => Math.min(max, Math.max(min, pods));
