/**
 * Which definitions an event starts: the triggers of current versions, arranged by what they listen to. Pure.
 */
import { fitsGlob } from "../lib/glob.ts";
import type { ApplicationVersion, Trigger, Webhook } from "../protocol/application.ts";
import type { EventBody } from "../protocol/events.ts";
import { EVENT_TYPES } from "../protocol/events.ts";

/** What a trigger starts. */
export interface Target {
  readonly kind: "coordinator" | "function";
  readonly name: string;
  readonly application: string;
  readonly version: string;
}

export interface Subscription<Form extends Trigger = Trigger> {
  /** The same for the same trigger of the same definition in every version. */
  readonly id: string;
  readonly target: Target;
  readonly trigger: Form;
}

export type CronTrigger = Extract<Trigger, { cron: string }>;
export type HookTrigger = Extract<Trigger, { http: Webhook }>;

/** All triggers of some versions. */
export interface Subscriptions {
  readonly all: readonly Subscription[];
  /** Those that listen to events, by the events' types; types that nobody listens to are missing. */
  readonly byType: ReadonlyMap<EventBody["type"], readonly Subscription[]>;
  readonly crons: readonly Subscription<CronTrigger>[];
  /** By path. */
  readonly hooks: ReadonlyMap<string, readonly Subscription<HookTrigger>[]>;
}

export const NO_SUBSCRIPTIONS: Subscriptions = { all: [], byType: new Map(), crons: [], hooks: new Map() };

/** The name of a target among all: names are unique per kind. */
export const nameOfTarget = ({ kind, name }: Pick<Target, "kind" | "name">): string => `${kind}/${name}`;

export const subscriptionsOf = (versions: readonly ApplicationVersion[]): Subscriptions => {
  const all = versions.flatMap(ofVersion);
  const byType = new Map<EventBody["type"], Subscription[]>();
  for (const type of EVENT_TYPES) {
    const listening = all.filter(({ trigger }) => listensTo(trigger, type));
    if (listening.length > 0) byType.set(type, listening);
  }
  const hooks = new Map<string, Subscription<HookTrigger>[]>();
  for (const one of all) {
    if (!("http" in one.trigger)) continue;
    const { path } = one.trigger.http;
    hooks.set(path, [...(hooks.get(path) ?? []), one as Subscription<HookTrigger>]);
  }
  return { all, byType, crons: all.filter(isCron), hooks };
};

const isCron = (one: Subscription): one is Subscription<CronTrigger> => "cron" in one.trigger;

const ofVersion = ({ application, version, manifest }: ApplicationVersion): Subscription[] => {
  const of = (kind: Target["kind"]) => (spec: { name: string; on?: Trigger[] }) =>
    (spec.on ?? []).map((trigger) => {
      const target = { kind, name: spec.name, application, version };
      return { id: `${application}/${nameOfTarget(target)} ${JSON.stringify(trigger)}`, target, trigger };
    });
  return [...manifest.coordinators.flatMap(of("coordinator")), ...manifest.functions.flatMap(of("function"))];
};

const listensTo = (trigger: Trigger, type: EventBody["type"]): boolean => {
  if ("object" in trigger) return type === "object.put";
  if ("stale" in trigger) return type === "state.stale";
  if (!("event" in trigger)) return false;
  const patterns = typeof trigger.event === "string" ? [trigger.event] : trigger.event;
  return patterns.some((pattern) => fitsGlob(pattern, type));
};

/** The subscriptions that an event starts: of each definition the first that fits, so that it starts once. */
export const matching = ({ byType }: Subscriptions, event: EventBody): Subscription[] => {
  const found: Subscription[] = [];
  for (const one of byType.get(event.type) ?? []) {
    const { target } = one;
    if (!fits(one, event) || found.some((other) => other.target.kind === target.kind && other.target.name === target.name)) continue;
    found.push(one);
  }
  return found;
};

/** Whether the PUT of such an object starts anything. What listens to events as such is not held against whoever puts. */
export const startsByPut = ({ byType }: Subscriptions, bucket: string, key: string): boolean =>
  (byType.get("object.put") ?? []).some(({ trigger }) => "object" in trigger && fitsObject(trigger.object, { bucket, key }));

const fits = ({ target, trigger }: Subscription, event: EventBody): boolean => {
  if ("object" in trigger) return event.type === "object.put" && fitsObject(trigger.object, event.object);
  // State belongs to one application, and so does what becomes of it.
  if ("stale" in trigger)
    return event.type === "state.stale" && event.application === target.application && fitsGlob(trigger.stale, event.key);
  if (!("event" in trigger)) return false;
  return Object.entries(trigger.where ?? {}).every(([path, value]) => valueAt(event, path) === value);
};

const fitsObject = (
  { bucket, prefix = "", suffix = "" }: { bucket: string; prefix?: string; suffix?: string },
  object: { bucket: string; key: string },
): boolean =>
  object.bucket === bucket &&
  object.key.startsWith(prefix) &&
  object.key.endsWith(suffix) &&
  // A prefix and a suffix that overlap would take "a.json" for both "a." and ".json" of a shorter key.
  object.key.length >= prefix.length + suffix.length;

const valueAt = (value: unknown, path: string): unknown => {
  let found = value;
  for (const name of path.split(".")) {
    if (typeof found !== "object" || found === null || !Object.hasOwn(found, name)) return undefined;
    found = (found as Record<string, unknown>)[name];
  }
  return found;
};

/** The run that an event is of, or comes from. */
export const causeOf = (event: EventBody): string | undefined => {
  if (event.type === "state.stale") return event.stale.run;
  return "run" in event ? event.run : undefined;
};

/** Whether the event is of a run of the target itself: of its name, as far as the event tells. */
export const isOfTarget = (event: EventBody, { kind, name }: Target): boolean => {
  if ("name" in event && event.name === name) return true;
  if (event.type === "run.recovering" || event.type === "run.recovered" || event.type === "call.retrying") {
    return kind === "function" && event.function === name;
  }
  if (event.type === "pod.started" || event.type === "pod.stopped" || event.type === "pod.lost") {
    return event.function === (kind === "function" ? name : "coordinator");
  }
  return false;
};
