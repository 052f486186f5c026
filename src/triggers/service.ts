/**
 * Triggers: what events, schedules and webhooks start.
 *
 * Owns: which triggers hold (those of current versions), and that each fires once. Does not own: what matches (match.ts), when a schedule
 * is due (crons.ts), how long chains are (chains.ts), what becomes of the runs (RunService).
 *
 * G1  An event and the runs that it starts are one commit (P5): the runs are accepted while the event is told, in the same turn.
 * G2  A definition is started once by an event, however many of its triggers fit.
 * G3  Runs that start one another by their events form no endless chain: what listens to events of runs is not started by its own, and no
 *     chain is longer than `MAX_CHAIN`. What is not started for its length is an event.
 */
import type { Registry } from "../application/registry.ts";
import type { NewRun } from "../coordinator/admission.ts";
import type { StateRows } from "../journal/port.ts";
import type { Clock } from "../lib/clock.ts";
import { LockstepError } from "../lib/errors.ts";
import type { RunId } from "../lib/ids.ts";
import type { HookRequest, TriggerView } from "../protocol/control-plane.ts";
import type { EventBody } from "../protocol/events.ts";
import type { StateChange, StateEntry } from "../protocol/state.ts";
import { CHAIN_PREFIX, Chains } from "./chains.ts";
import { CRON_PREFIX, Crons, SPACE } from "./crons.ts";
import { checkSignature, deliveryOf, inputOf } from "./hooks.ts";
import type { CronTrigger, HookTrigger, Subscription, Subscriptions, Target } from "./match.ts";
import { causeOf, isOfTarget, matching, NO_SUBSCRIPTIONS, nameOfTarget, startsByPut, subscriptionsOf } from "./match.ts";

/** What triggers use of the run service. */
export interface RunStarter {
  /** Accepts a run in this turn, without admission. */
  trigger(request: NewRun): RunId;
  /** @throws {LockstepError} OVERLOADED, IDEMPOTENCY_CONFLICT with the run's id in `details.run` */
  start(request: NewRun): Promise<{ id: RunId; existing: boolean }>;
  /** @throws {LockstepError} OVERLOADED when no more is taken from outside */
  admit(): void;
  /** The parent of a run that is in memory. */
  parentOf(run: RunId): RunId | undefined;
}

/** What triggers use of the turn. */
export interface TriggerTurn {
  observe(observe: (event: EventBody, at: number) => void): void;
  state(changes: readonly StateChange[]): void;
  event(body: EventBody): void;
  durable(): Promise<void>;
}

export interface TriggerParts {
  registry: Registry;
  runs: RunStarter;
  turn: TriggerTurn;
  rows: StateRows;
  clock: Clock;
  /** The next of the state store's versions. */
  nextVersion(): number;
  /** The platform's environment. */
  secretOf(name: string): string | undefined;
  maxPayloadBytes: number;
  /** Told what a person should mend. */
  warn(line: string): void;
}

const MAX_CHAIN = 16;
const PAGE = 1_000;

export class Triggers {
  readonly #parts: TriggerParts;
  readonly #crons: Crons;
  readonly #chains: Chains;
  #subscriptions: Subscriptions = NO_SUBSCRIPTIONS;
  #revision = -1;
  /** What each trigger but schedules has started last, since the platform started. */
  readonly #last = new Map<string, { run: RunId; at: number }>();

  constructor(parts: TriggerParts) {
    this.#parts = parts;
    const { clock, registry, turn, nextVersion, warn } = parts;
    this.#chains = new Chains((change) => {
      turn.state([{ space: SPACE, version: change.value === undefined ? 0 : nextVersion(), ...change }]);
    });
    this.#crons = new Crons({
      clock,
      nextVersion,
      warn,
      put: (changes) => turn.state(changes),
      start: (subscription, tick) => this.#start(subscription.target, JSON.stringify({ scheduledAt: tick })),
      deployedAt: ({ target }) => registry.version(target.version)?.deployedAt ?? clock.now(),
    });
  }

  /** Reads what the last life has left, and listens to events from then on. Comes after the applications, before the runs. */
  async load(): Promise<void> {
    this.#crons.load(await this.#rowsOf(CRON_PREFIX));
    this.#chains.load(await this.#rowsOf(CHAIN_PREFIX));
    this.#parts.turn.observe((event, at) => this.#observe(event, at));
    this.#refresh();
  }

  /** Lets schedules tick. Comes after the runs are back: those that it starts must not be taken for some of the last life. */
  start(): void {
    this.#crons.start();
  }

  /** Ends the schedules. Events that still happen start what they start. */
  stop(): void {
    this.#crons.stop();
  }

  /** Starts what the webhook starts. @throws {LockstepError} UNKNOWN_ROUTE, METHOD_NOT_ALLOWED, SIGNATURE_INVALID, BAD_REQUEST, OVERLOADED */
  async hook(request: HookRequest): Promise<{ runs: RunId[] }> {
    this.#refresh();
    const found = this.#hooksOf(request);
    // All or none: what has no signature must not open the door to what has one.
    for (const { trigger } of found) checkSignature(request, trigger.http, this.#parts.secretOf);
    const input = inputOf(request);
    const bytes = Buffer.byteLength(input);
    if (bytes > this.#parts.maxPayloadBytes) {
      throw new LockstepError("PAYLOAD_TOO_LARGE", `the webhook's input is ${bytes} bytes; the limit is ${this.#parts.maxPayloadBytes}`, {
        details: { bytes, limit: this.#parts.maxPayloadBytes },
      });
    }
    const deliveries = found.map(({ trigger }) => deliveryOf(request, trigger.http));
    if (deliveries.includes(undefined)) return { runs: await this.#startTogether(found, input) };
    return { runs: await Promise.all(found.map((one, i) => this.#startOnce(one, input, deliveries[i] as string))) };
  }

  /** Whether a PUT there starts a run. */
  startsByPut({ bucket, key }: { bucket: string; key: string }): boolean {
    this.#refresh();
    return startsByPut(this.#subscriptions, bucket, key);
  }

  /** Every trigger of the current versions. */
  views(): TriggerView[] {
    this.#refresh();
    return this.#subscriptions.all.map((subscription) => {
      const { target, trigger } = subscription;
      const view: TriggerView = { kind: target.kind, name: target.name, application: target.application, trigger };
      if ("cron" in trigger) return Object.assign(view, this.#crons.view(subscription as Subscription<CronTrigger>));
      const last = this.#last.get(subscription.id);
      return last === undefined ? view : { ...view, last };
    });
  }

  // ---------------------------------------------------------------- events

  #observe(event: EventBody, at: number): void {
    this.#refresh();
    if (event.type === "run.accepted") this.#inherit(event.run);
    if (this.#subscriptions.byType.has(event.type)) for (const one of matching(this.#subscriptions, event)) this.#answer(one, event, at);
    if (event.type === "run.finished") this.#chains.end(event.run);
  }

  #answer(subscription: Subscription, event: EventBody, at: number): void {
    const { target, trigger } = subscription;
    const cause = causeOf(event);
    const chain = this.#chains.of(cause);
    if ("event" in trigger && (isOfTarget(event, target) || chain.includes(nameOfTarget(target)))) return;
    if (chain.length >= MAX_CHAIN) return this.#refuse(target, event, cause);
    const run = this.#start(target, JSON.stringify({ at, ...event }), cause === undefined ? undefined : [...chain, nameOfTarget(target)]);
    this.#last.set(subscription.id, { run, at });
  }

  /** Nothing is dropped without a word; of that word nothing follows, or it would be endless itself. */
  #refuse({ kind, name }: Target, event: EventBody, cause: RunId | undefined): void {
    if (event.type === "trigger.refused" || cause === undefined) return;
    const reason = `${MAX_CHAIN} runs have started one another by their events`;
    this.#parts.turn.event({ type: "trigger.refused", run: cause, name, kind, event: event.type, reason });
  }

  // What a run of a chain starts, as a child or as a recovery, is of the chain too.
  #inherit(run: RunId): void {
    if (this.#chains.isEmpty || this.#chains.of(run).length > 0) return;
    const chain = this.#chains.of(this.#parts.runs.parentOf(run));
    if (chain.length > 0) this.#chains.add(run, chain);
  }

  #start({ kind, name, application, version }: Target, input: string, chain?: readonly string[]): RunId {
    const id = this.#parts.runs.trigger({ kind, name, application, version, input });
    if (chain !== undefined) this.#chains.add(id, chain);
    return id;
  }

  // ---------------------------------------------------------------- webhooks

  #hooksOf({ path, method }: HookRequest): readonly Subscription<HookTrigger>[] {
    const atPath = this.#subscriptions.hooks.get(path) ?? [];
    if (atPath.length === 0) throw new LockstepError("UNKNOWN_ROUTE", `no webhook is received at /v1/hooks/${path.slice(0, 200)}`);
    const found = atPath.filter(({ trigger }) => methodOf(trigger) === method);
    if (found.length > 0) return found;
    const allow = [...new Set(atPath.map(({ trigger }) => methodOf(trigger)))];
    throw new LockstepError("METHOD_NOT_ALLOWED", `/v1/hooks/${path} answers ${allow.join(" and ")}, not ${method}`, {
      details: { allow },
    });
  }

  /** In one commit, so that a sender that hears nothing and tries again finds all or none of them started. */
  async #startTogether(found: readonly Subscription[], input: string): Promise<RunId[]> {
    this.#parts.runs.admit();
    const at = this.#parts.clock.now();
    const runs = found.map((one) => {
      const run = this.#start(one.target, input);
      this.#last.set(one.id, { run, at });
      return run;
    });
    await this.#parts.turn.durable();
    return runs;
  }

  /** Each by the delivery's own key: what was started already is found again when the delivery is repeated. */
  async #startOnce(subscription: Subscription<HookTrigger>, input: string, delivery: string): Promise<RunId> {
    const { kind, name, application, version } = subscription.target;
    const key = `hook/${subscription.trigger.http.path}/${delivery}`;
    try {
      const { id, existing } = await this.#parts.runs.start({ kind, name, application, version, input, key });
      if (!existing) this.#last.set(subscription.id, { run: id, at: this.#parts.clock.now() });
      return id;
    } catch (error) {
      // A repeated delivery is the same although it isn't word for word: its headers tell another time.
      const run = error instanceof LockstepError && error.code === "IDEMPOTENCY_CONFLICT" ? error.details?.run : undefined;
      if (typeof run === "string") return run;
      throw error;
    }
  }

  // ---------------------------------------------------------------- versions

  /** Follows the registry: a deployment changes which triggers hold. */
  #refresh(): void {
    const { registry } = this.#parts;
    if (this.#revision === registry.revision) return;
    this.#revision = registry.revision;
    this.#subscriptions = subscriptionsOf(registry.current());
    this.#crons.replace(this.#subscriptions.crons);
    const held = new Set(this.#subscriptions.all.map(({ id }) => id));
    for (const id of this.#last.keys()) if (!held.has(id)) this.#last.delete(id);
    this.#warnOfSecrets();
  }

  #warnOfSecrets(): void {
    for (const { target, trigger } of [...this.#subscriptions.hooks.values()].flat()) {
      const name = trigger.http.signature?.secretEnv;
      if (name === undefined || (this.#parts.secretOf(name) ?? "") !== "") continue;
      this.#parts.warn(
        `${target.kind} "${target.name}": webhooks at ${trigger.http.path} are refused until the platform's environment has ${name}`,
      );
    }
  }

  async #rowsOf(prefix: string): Promise<StateEntry[]> {
    const rows: StateEntry[] = [];
    for (let page: StateEntry[] | undefined; page === undefined || page.length === PAGE; rows.push(...page)) {
      page = await this.#parts.rows.list(SPACE, prefix, PAGE, rows.at(-1)?.key);
    }
    return rows;
  }
}

const methodOf = ({ http }: HookTrigger): string => http.method ?? "POST";
