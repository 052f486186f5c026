/**
 * The auditor: checks that every run in memory has what will wake it (P3), and mends what has not. That its count is not 0 is a defect.
 *
 * Owns: what a run must have while it waits, and how long a coordinator may say nothing. Does not own: how calls are enqueued or code is
 * started (calls.ts, hosting.ts), when it is called (housekeeping.ts).
 */
import type { Clock } from "../lib/clock.ts";
import type { RunFeeder } from "./feeder.ts";
import type { CoordinatorHosts } from "./hosts.ts";
import { absolve, isSuspended, type Live, MAX_SOLO_LOSSES } from "./live.ts";
import type { RunMemory } from "./memory.ts";
import { hasEnded, isQueued } from "./run-state.ts";
import type { Turn } from "./turn.ts";

/** A call that was decided longer ago than this and is in no layer was forgotten. */
const SETTLED_MS = 1_000;
/** The longest that a coordinator may have nothing to wait for and yet not say what comes next. */
const SILENCE_MS = 15_000;

export interface AuditorParts {
  clock: Pick<Clock, "now">;
  turn: Pick<Turn, "settledAt">;
  memory: Pick<RunMemory, "values" | "size">;
  feeder: Pick<RunFeeder, "feed" | "calls" | "operations" | "hosting">;
  hosts: Pick<CoordinatorHosts, "isHosted" | "connectedMs">;
}

export class Auditor {
  readonly #parts: AuditorParts;

  constructor(parts: AuditorParts) {
    this.#parts = parts;
  }

  /** Returns how many runs it mended. */
  audit(): { checked: number; repaired: number } {
    let repaired = 0;
    for (const live of this.#parts.memory.values()) if (this.#repair(live)) repaired++;
    return { checked: this.#parts.memory.size, repaired };
  }

  #repair(live: Live): boolean {
    const { state } = live;
    const { clock, turn, feeder, hosts } = this.#parts;
    if (state.finished !== undefined || state.halted !== undefined) return false;
    // What its recovery decides is awaited, and that is a run that is looked after itself.
    if (state.recovering !== undefined) return false;
    // What was decided just now is carried out with the coming commit, however long that takes: nothing may begin before it (T1).
    if (clock.now() - live.touchedAt < SETTLED_MS || live.touchedAt >= turn.settledAt) return false;
    let repaired = false;
    for (const pending of state.pending.values()) {
      if (pending.t === "call" && isQueued(pending) && !live.entries.has(pending.seq)) feeder.calls.enqueue(live, pending);
      else if (pending.t === "state" && !live.operations?.has(pending.seq)) feeder.operations.execute(live, pending.seq, pending.op);
      else continue;
      repaired = true;
    }
    if (live.driver !== undefined || isSuspended(live) || hasEnded(state)) return repaired;
    if (live.hosting === "none" || (live.hosting === "hosted" && !hosts.isHosted(live.head.id))) {
      feeder.hosting.host(live);
      return true;
    }
    if (this.#isSilent(live)) return this.#rehost(live);
    if (this.#quietMs(live) > SILENCE_MS) absolve(live);
    return repaired;
  }

  /** A coordinator that waits for nothing of ours and says nothing: a message was lost, or it awaits a promise that is not of its `ctx`. */
  #isSilent(live: Live): boolean {
    return live.hosting === "hosted" && live.state.pending.size === 0 && live.steps.size === 0 && this.#quietMs(live) > SILENCE_MS;
  }

  /** For how long nothing has happened to the run while it had a pod: one that is long in coming is no silence of the coordinator's. */
  #quietMs({ head, touchedAt }: Live): number {
    return Math.min(this.#parts.clock.now() - touchedAt, this.#parts.hosts.connectedMs(head.id));
  }

  #rehost(live: Live): boolean {
    this.#parts.feeder.hosting.unhost(live);
    live.touchedAt = this.#parts.clock.now();
    if (++live.soloLosses < MAX_SOLO_LOSSES) {
      this.#parts.feeder.hosting.host(live);
      return true;
    }
    const message = `coordinator "${live.head.name}" waits for something that is not durable: it may await only what its ctx returns`;
    this.#parts.feeder.feed(live, { t: "halt", failure: { code: "COORDINATOR_STUCK", message } });
    return true;
  }
}
