import type { Journal } from "../journal/port.ts";
import type { Clock } from "../lib/clock.ts";
import type { RunService } from "./service.ts";
import type { Turn } from "./turn.ts";

export interface HousekeepingParts {
  journal: Journal;
  clock: Clock;
  turn: Turn;
  runs: RunService;
  limits: { retainMs: number; retainRuns: number; retainEvents: number; retainLogs: number; retainEveryMs: number };
  counts: { auditRepairs: number };
  /** Position of the newest event. */
  position(): number;
  /** Told when the journal could not be read. */
  failed(error: unknown): void;
}

const AUDIT_MS = 5_000;
// Small slices, so that removing old runs never holds up the commit of a new one for long.
const SLICE = 100;
const LOG_SLICE = 2_000;
const NEXT_SLICE_MS = 50;

/** Starts the auditor (P3) and retention; returns what stops them. */
export const startHousekeeping = (parts: HousekeepingParts): (() => void) => {
  const { clock } = parts;
  const cancels = new Map<string, () => void>();
  const every = (name: string, delayMs: number, task: () => number | Promise<number>): void => {
    const run = async (): Promise<void> => {
      const nextMs = await task();
      if (cancels.has(name)) every(name, nextMs, task);
    };
    cancels.set(
      name,
      clock.after(delayMs, () => void run().catch(parts.failed), "upkeep"),
    );
  };
  every("audit", AUDIT_MS, () => audit(parts));
  every("retention", parts.limits.retainEveryMs, () => retain(parts));
  every("logs", parts.limits.retainEveryMs, () => trimLogs(parts));
  return () => {
    for (const cancel of cancels.values()) cancel();
    cancels.clear();
  };
};

const audit = ({ runs, turn, counts }: HousekeepingParts): number => {
  const { checked, repaired } = runs.audit();
  counts.auditRepairs += repaired;
  if (repaired > 0) turn.event({ type: "platform.audited", checked, repaired });
  return AUDIT_MS;
};

const retain = async ({ journal, clock, turn, limits, position }: HousekeepingParts): Promise<number> => {
  const runs = await journal.purgeable({ before: clock.now() - limits.retainMs, keep: limits.retainRuns }, SLICE);
  const oldest = position() - limits.retainEvents;
  if (runs.length === 0 && oldest <= 0) return limits.retainEveryMs;
  turn.purge(runs, oldest > 0 ? oldest : undefined);
  return runs.length === SLICE ? NEXT_SLICE_MS : limits.retainEveryMs;
};

const trimLogs = async ({ journal, turn, limits }: HousekeepingParts): Promise<number> => {
  const { next: newest } = await journal.logs({ after: "latest" }, 1);
  const surplus = newest - limits.retainLogs;
  if (surplus <= 0) return limits.retainEveryMs;
  const { logs, next: oldest } = await journal.logs({}, 1);
  if (logs.length === 0 || oldest > surplus) return limits.retainEveryMs;
  const to = Math.min(surplus, oldest + LOG_SLICE);
  turn.trimLogs(to);
  return to < surplus ? NEXT_SLICE_MS : limits.retainEveryMs;
};
