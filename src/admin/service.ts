/**
 * The admin: tells which parts of the platform have failed, how long it took to notice, and what became of it.
 *
 * Owns: the list of faults, their events, and the mark by which a start tells a crash from a stop. Does not own: detection (cluster, fleet),
 * repair (scheduler, coordinator hosts, recovery of runs), provoking faults (drills.ts).
 *
 * M1  Each fault is published once as detected and at most once as repaired, in the turn in which that happens.
 * M2  While nothing has failed, nothing is looked at: dispatching calls costs no more than a look whether anybody listens.
 */
import type { PodExit } from "../cluster/port.ts";
import type { StateRows } from "../journal/port.ts";
import type { Clock } from "../lib/clock.ts";
import type { EventBody } from "../protocol/events.ts";
import type { FaultCause, FaultView } from "../protocol/faults.ts";
import type { ToPod } from "../protocol/pod.ts";
import type { StateChange } from "../protocol/state.ts";
import type { Pod } from "../scheduler/fleet.ts";
import { controlPlaneFault, detectionMs, isLifeMark, type LifeMark, podFault, podRepair } from "./classify.ts";
import type { Pulse } from "./pulse.ts";

export interface AdminParts {
  turn: { event(body: EventBody): void; state(changes: readonly StateChange[]): void };
  rows: Pick<StateRows, "get" | "list">;
  clock: Clock;
  epoch: number;
  nextVersion(): number;
  /** Absent: the next life learns only when this one began. */
  pulse?: Pulse | undefined;
  /** Listens to what is sent to pods from now on; `undefined`: not any more. */
  watchSends(listener: ((pod: Pod, message: ToPod) => void) | undefined): void;
}

interface OpenFault {
  view: FaultView;
  /** Work that was lost: `run/seq` of calls, ids of runs. */
  lost: readonly string[];
  cancel: () => void;
}

/** A replica of a set that is not to be counted on any more. */
export interface ReplicaFault {
  isLeader: boolean;
  set: string;
  replica: number;
  pod: string;
  function: string;
  what: FaultCause;
  detail: string;
  /** Of the set, not certified then. */
  calls: number;
  detectionMs: number;
}

const SPACE = "$admin";
const LIFE_KEY = "life";
const FAULT_PREFIX = "fault/";
const KEPT = 500;
const PAGE = 1_000;
const BEAT_MS = 1_000;
/** A fault none of whose calls is dispatched again in this time is closed: they were cancelled, or are out of attempts. */
const GIVE_UP_MS = 30_000;
const WORK_KEPT = 10_000;

export class Admin {
  readonly #parts: AdminParts;
  readonly #startedAt: number;
  /** The newest last. */
  readonly #faults: FaultView[] = [];
  readonly #openByWork = new Map<string, OpenFault>();
  readonly #failingStarts = new Map<string, OpenFault>();
  /** By set and seat. */
  readonly #failedSeats = new Map<string, FaultView>();
  #dead: { mark: LifeMark; downMs: number } | undefined;
  #serial = 0;
  #beating = false;
  #cancelBeat = () => {};

  constructor(parts: AdminParts) {
    this.#parts = parts;
    this.#startedAt = parts.clock.now();
  }

  /** Reads what earlier lives have left, and marks that this one lives. Comes after the state store, before pods. */
  async load(): Promise<void> {
    const { rows } = this.#parts;
    const mark = markOf((await rows.get(SPACE, LIFE_KEY))?.value);
    const seenAt = Math.max(mark?.at ?? 0, this.#parts.pulse?.last ?? 0);
    const last = mark === undefined ? undefined : { ...mark, at: seenAt };
    const fault = controlPlaneFault(last, this.#startedAt);
    if (last !== undefined && fault !== undefined) this.#dead = { mark: last, ...fault };
    for (const { value } of await rows.list(SPACE, FAULT_PREFIX, PAGE)) this.#faults.push(JSON.parse(value) as FaultView);
    this.#serial = this.#faults.reduce((last, { id }) => Math.max(last, serialOf(id)), 0);
    this.#beating = true;
    this.#mark(false);
    this.#beat();
  }

  /** All runs move again: tells of the control plane that was found dead, and of what it was in the middle of. */
  recovered(runs: number): void {
    const { clock } = this.#parts;
    const dead = this.#dead;
    this.#dead = undefined;
    // Nobody waits any more for what the last life has lost: it was recovered with everything else.
    for (const view of [...this.#faults].filter(({ repairedAt }) => repairedAt === undefined)) {
      this.#repair(view, dead === undefined ? "the platform was stopped" : "recovered with the control plane");
    }
    if (dead === undefined) return;
    const view: FaultView = {
      id: this.#nextId(),
      type: "IV",
      what: "control-plane-down",
      detectedAt: this.#startedAt,
      detectionMs: dead.downMs,
      calls: runs,
      detail: `epoch ${dead.mark.epoch} ended without a stop; it was seen alive at ${new Date(dead.mark.at).toISOString()}`,
    };
    this.#add(view);
    this.#repair(view, `journal replayed, ${runs} ${runs === 1 ? "run" : "runs"} recovered`, clock.now() - this.#startedAt);
  }

  /** Marks that this life ends in order; nothing may be recorded after it but the turn's end. */
  stop(): void {
    this.#cancelBeat();
    for (const open of [...this.#openByWork.values(), ...this.#failingStarts.values()]) open.cancel();
    // A start that was given up before it could tell of the dead one leaves that to the next.
    if (this.#beating && this.#dead === undefined) this.#mark(true);
    this.#beating = false;
  }

  /** The newest first. */
  faults(limit: number): FaultView[] {
    return this.#faults.slice(-limit).reverse();
  }

  // ---------------------------------------------------------------- pods

  podStopped(pod: Pod, exit: PodExit): void {
    const what = podFault(exit);
    // Those of replicas are told with their seat and set.
    if (what === undefined || !this.#beating || pod.tenant?.isReplica === true) return;
    const now = this.#parts.clock.now();
    const role = pod.tenant?.role ?? "warm";
    const lost = pod.tenant?.held?.(pod) ?? [];
    const repeated = what === "failed-to-start" ? this.#failingStarts.get(role) : undefined;
    if (repeated !== undefined) {
      // A loop of failing starts is one fault: a row and two events for each of them would bury all else.
      repeated.view.repeated = (repeated.view.repeated ?? 0) + 1;
      return;
    }
    const { startedAt, lastBeat } = pod;
    const view: FaultView = {
      id: this.#nextId(),
      type: "I",
      what,
      pod: pod.id,
      function: role,
      detectedAt: now,
      detectionMs: detectionMs(what, { startedAt, lastBeat, noticedAt: exit.noticedAt, now }),
      calls: lost.length,
      detail: exit.detail,
    };
    this.#add(view);
    if (what === "failed-to-start") this.#failingStarts.set(role, { view, lost, cancel: () => undefined });
    else if (lost.length === 0) this.#repair(view, podRepair(what, role, 0, undefined), 0);
    else this.#await({ view, lost: lost.slice(0, WORK_KEPT), cancel: () => undefined });
  }

  // ---------------------------------------------------------------- replicas

  /** A replica is given up: `isLeader` makes it a fault of type II, otherwise it is one of type III. */
  replicaFault({ isLeader, set, replica, pod, function: role, what, detail, calls, detectionMs: noticedMs }: ReplicaFault): void {
    if (!this.#beating) return;
    const view: FaultView = {
      id: this.#nextId(),
      type: isLeader ? "II" : "III",
      what,
      pod,
      function: role,
      set,
      replica,
      detectedAt: this.#parts.clock.now(),
      detectionMs: noticedMs,
      calls,
      detail,
    };
    // A seat that fails again before it was whole is one fault after the other: the older one is over.
    this.replicaRepaired(set, replica, "its successor failed too");
    this.#failedSeats.set(`${set}/${replica}`, view);
    this.#add(view);
  }

  /** The seat has a replica that works. */
  replicaRepaired(set: string, replica: number, did: string): void {
    const view = this.#failedSeats.get(`${set}/${replica}`);
    if (view === undefined) return;
    this.#failedSeats.delete(`${set}/${replica}`);
    this.#repair(view, did);
  }

  // ---------------------------------------------------------------- compared pods

  /** A pod has said what two others contradict, and is ended. What is returned tells what was done when others have its work. */
  podLied({ pod, function: role, calls, detail }: { pod: string; function: string; calls: number; detail: string }): (did: string) => void {
    if (!this.#beating) return () => undefined;
    const view: FaultView = {
      id: this.#nextId(),
      type: "I",
      what: "lie",
      pod,
      function: role,
      detectedAt: this.#parts.clock.now(),
      detectionMs: 0,
      calls,
      detail,
    };
    this.#add(view);
    return (did) => this.#repair(view, did);
  }

  podStarted(pod: Pod): void {
    if (this.#failingStarts.size === 0) return;
    // Whosever it is: processes start again.
    for (const { view } of this.#failingStarts.values()) this.#repair(view, podRepair(view.what, view.function ?? "", 0, pod.id));
    this.#failingStarts.clear();
  }

  /** Waits for the first piece of lost work that a pod is given again. */
  #await(open: OpenFault): void {
    for (const work of open.lost) this.#openByWork.set(work, open);
    open.cancel = this.#parts.clock.after(GIVE_UP_MS, () => this.#taken(open, undefined), "upkeep");
    this.#parts.watchSends((pod, message) => this.#sent(pod, message));
  }

  #sent(pod: Pod, message: ToPod): void {
    const open = this.#openByWork.get(workOf(message));
    if (open !== undefined) this.#taken(open, pod.id);
  }

  #taken(open: OpenFault, successor: string | undefined): void {
    open.cancel();
    // A later fault may have lost the same call again: then it waits for it.
    for (const work of open.lost) if (this.#openByWork.get(work) === open) this.#openByWork.delete(work);
    if (this.#openByWork.size === 0) this.#parts.watchSends(undefined);
    const { what, function: role = "", calls } = open.view;
    this.#repair(open.view, podRepair(what, role, calls, successor));
  }

  // ---------------------------------------------------------------- the list

  #add(view: FaultView): void {
    this.#faults.push(view);
    const dropped = this.#faults.length > KEPT ? this.#faults.splice(0, this.#faults.length - KEPT) : [];
    this.#parts.turn.state([...dropped.map(({ id }) => ({ space: SPACE, key: keyOf(id), version: 0 })), this.#rowOf(view)]);
    const { id, type, what, detectionMs: noticedMs, calls, detail } = view;
    this.#parts.turn.event({
      type: "fault.detected",
      fault: id,
      kind: type,
      what,
      ...placeOf(view),
      detectionMs: noticedMs,
      calls,
      detail,
    });
  }

  #repair(view: FaultView, did: string, tookMs?: number): void {
    if (view.repairedAt !== undefined) return;
    const now = this.#parts.clock.now();
    view.repairMs = tookMs ?? Math.max(0, now - view.detectedAt);
    view.repairedAt = now;
    view.did = did;
    this.#parts.turn.state([this.#rowOf(view)]);
    const { id, type, what, detectionMs: noticedMs, calls, repairMs } = view;
    const body = { fault: id, kind: type, what, ...placeOf(view), detectionMs: noticedMs, calls, repairMs, did };
    this.#parts.turn.event({ type: "fault.repaired", ...body });
  }

  #rowOf(view: FaultView): StateChange {
    return { space: SPACE, key: keyOf(view.id), version: this.#parts.nextVersion(), value: JSON.stringify(view) };
  }

  #nextId(): string {
    return `fault-${++this.#serial}`;
  }

  // ---------------------------------------------------------------- life

  #mark(clean: boolean): void {
    const { clock, epoch, turn, nextVersion } = this.#parts;
    const mark: LifeMark = { epoch, startedAt: this.#startedAt, at: clock.now(), clean };
    turn.state([{ space: SPACE, key: LIFE_KEY, version: nextVersion(), value: JSON.stringify(mark) }]);
  }

  #beat(): void {
    const { clock, pulse } = this.#parts;
    if (pulse === undefined) return;
    pulse.beat(clock.now());
    this.#cancelBeat = clock.after(BEAT_MS, () => this.#beat(), "upkeep");
  }
}

const markOf = (value: string | undefined): LifeMark | undefined => {
  if (value === undefined || value === "") return undefined;
  const mark: unknown = JSON.parse(value);
  return isLifeMark(mark) ? mark : undefined;
};

// Keys sort as numbers do.
const keyOf = (id: string): string => `${FAULT_PREFIX}${String(serialOf(id)).padStart(12, "0")}`;
const serialOf = (id: string): number => Number(id.slice("fault-".length));

const placeOf = ({ pod, function: fn, set, replica }: FaultView): Pick<FaultView, "pod" | "function" | "set" | "replica"> => ({
  ...(pod === undefined ? {} : { pod }),
  ...(fn === undefined ? {} : { function: fn }),
  ...(set === undefined ? {} : { set }),
  ...(replica === undefined ? {} : { replica }),
});

const workOf = (message: ToPod): string => {
  if (message.t === "invoke") return `${message.run}/${message.seq}`;
  return message.t === "begin" ? message.run : "";
};
