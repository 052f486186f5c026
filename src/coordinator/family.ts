/**
 * What runs tell each other: a child or a recovery its parent of its end, a parent its child that nobody wants it any more.
 *
 * Owns: the way of such a word, also when the other run is not in memory, or the control plane died before it got there. Does not own: what
 * follows from it (machine.ts), which runs are in memory (memory.ts), what a recovery's end means (recoveries.ts).
 *
 * F1  When both runs are in memory, the word is in the commit of what it tells of. A run that isn't counts as live from that commit on, and
 *     asks by itself when it comes back: no crash in between loses the word.
 */
import type { Registry } from "../application/registry.ts";
import type { AcceptedRun, Journal } from "../journal/port.ts";
import type { Clock } from "../lib/clock.ts";
import type { Failure } from "../lib/errors.ts";
import type { RunId, RunIds } from "../lib/ids.ts";
import type { Json } from "../lib/json.ts";
import { childFailure, type Feed, type Live } from "./live.ts";
import type { RunInput } from "./machine.ts";
import type { RunMemory } from "./memory.ts";
import { decisionOf } from "./recoveries.ts";
import type { RunEffect } from "./run-effects.ts";
import { callOf, type Recovering } from "./run-state.ts";
import type { Turn } from "./turn.ts";

export interface FamilyParts {
  journal: Pick<Journal, "load">;
  turn: Pick<Turn, "wake" | "after">;
  ids: Pick<RunIds, "next">;
  clock: Pick<Clock, "now">;
}

export class RunFamily {
  readonly #parts: FamilyParts;
  readonly #memory: Pick<RunMemory, "get" | "find">;
  readonly #feed: Feed;
  readonly #readFailed: (error: unknown) => void;

  /** @param readFailed told when a run could not be read from the journal */
  constructor(parts: FamilyParts, memory: Pick<RunMemory, "get" | "find">, feed: Feed, readFailed: (error: unknown) => void) {
    this.#parts = parts;
    this.#memory = memory;
    this.#feed = feed;
    this.#readFailed = readFailed;
  }

  // In the commit of what cancels it when it is in memory, so that no crash comes between; else it asks its parent when it comes back.
  cancelChild(child: RunId, reason: string): void {
    const input: RunInput = { t: "cancel", reason, force: false };
    const live = this.#memory.get(child);
    if (live === undefined) this.#feedLater(child, input);
    else this.#feed(live, input);
  }

  tellParent(child: AcceptedRun, outcome: { value?: Json; failure?: Failure }): void {
    if (child.parent === undefined || child.parentSeq === undefined) return;
    const seq = child.parentSeq;
    const input: RunInput = child.kind === "recovery" ? this.#recovered(seq, child, outcome) : { t: "child", seq, ...outcome };
    const parent = this.#memory.get(child.parent);
    // A parent in memory learns of it in the same commit; one that was evicted looks its children up when it comes back.
    if (parent === undefined) this.#feedLater(child.parent, input);
    else this.#feed(parent, input);
  }

  /** Asks for all that a run may not have been told while it was away, or before the control plane's last life ended. */
  async ask(live: Live): Promise<void> {
    await this.#askChildren(live);
    await this.#askRecoveries(live);
    await this.#askParent(live);
  }

  // It counts as live from this commit on: when the control plane dies before the run was fed, recovery finds it, and it asks by itself.
  #feedLater(run: RunId, input: RunInput): void {
    this.#parts.turn.wake(run);
    this.#parts.turn.after(() => {
      void this.#memory.find(run).then((live) => {
        if (live !== undefined) this.#feed(live, input);
      }, this.#readFailed);
    });
  }

  /** A child may have finished while this run was away, in a commit of its own. */
  async #askChildren(live: Live): Promise<void> {
    for (const pending of [...live.state.pending.values()]) {
      if (pending.t !== "child" || this.#memory.get(pending.child) !== undefined) continue;
      const child = await this.#parts.journal.load(pending.child);
      if (child?.finishedAt === undefined) continue;
      const outcome = child.failure === undefined ? { value: child.value ?? "" } : { failure: childFailure(child, child.failure) };
      this.#feed(live, { t: "child", seq: pending.seq, ...outcome });
    }
  }

  /** The recovery of one of its calls may have ended while this run was away, or never have begun to execute. */
  async #askRecoveries(live: Live): Promise<void> {
    const open: [number, Recovering][] = [];
    for (const pending of live.state.pending.values()) {
      if (pending.t === "call" && pending.recovering !== undefined) open.push([pending.seq, pending.recovering]);
    }
    if (live.state.recovering !== undefined) open.push([0, live.state.recovering]);
    for (const [seq, { recovery }] of open) {
      if (this.#memory.get(recovery) !== undefined) continue;
      const stored = await this.#parts.journal.load(recovery);
      if (stored?.finishedAt !== undefined) this.#feed(live, this.#recovered(seq, stored, stored));
    }
  }

  /** The order to cancel this run may have been lost with the control plane that was to carry it out. */
  async #askParent(live: Live): Promise<void> {
    const { parent: id, parentSeq } = live.head;
    if (id === undefined || parentSeq === undefined || live.state.cancelled !== undefined) return;
    const parent = this.#memory.get(id);
    const stored = parent === undefined ? await this.#parts.journal.load(id) : undefined;
    const isAwaited = parent === undefined ? stored !== undefined && stored.finishedAt === undefined : awaits(parent, live.head);
    if (!isAwaited) this.#feed(live, { t: "cancel", reason: "nothing awaits it any more", force: false });
  }

  #recovered(seq: number, recovery: AcceptedRun, outcome: { value?: Json; failure?: Failure }): RunInput {
    const next = this.#parts.ids.next(this.#parts.clock.now());
    return { t: "recovered", seq, recovery: recovery.id, next, ...decisionOf(outcome) };
  }
}

/** The run that a coordinator's `ctx.run` or `ctx.start` begins. */
export const childHead = (
  { head: parent }: Live,
  { seq, child, coordinator, input, detached }: RunEffect & { t: "start-child" },
  registry: Pick<Registry, "homeOfCoordinator">,
  now: number,
): AcceptedRun => {
  const home = registry.homeOfCoordinator(coordinator, parent.version);
  const head: AcceptedRun = {
    id: child,
    kind: "coordinator",
    name: coordinator,
    application: home?.application ?? parent.application,
    version: home?.version ?? parent.version,
    input,
    acceptedAt: now,
    priority: parent.priority,
    parent: parent.id,
  };
  if (!detached) head.parentSeq = seq;
  return head;
};

/** Whether the parent still waits for this child, or recovery, of its. */
const awaits = ({ state }: Live, { id, kind, parentSeq = 0 }: AcceptedRun): boolean => {
  if (kind !== "recovery") return state.pending.has(parentSeq);
  const recovering = parentSeq === 0 ? state.recovering : callOf(state, parentSeq)?.recovering;
  return recovering?.recovery === id;
};
