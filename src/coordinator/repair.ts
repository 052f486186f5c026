/** Bulk repair: gives the dead letters of all suspended runs that fit fresh attempts. */
import type { Journal } from "../journal/port.ts";
import { LockstepError } from "../lib/errors.ts";
import type { RunId } from "../lib/ids.ts";
import type { Repair, RepairFilter } from "../protocol/control-plane.ts";
import type { RunSummary } from "../protocol/run.ts";
import { apply } from "./run-records.ts";
import { createRun, type PendingCall, suspensionOf } from "./run-state.ts";
import type { RunService } from "./service.ts";

export interface RepairParts {
  journal: Pick<Journal, "list" | "load" | "records">;
  runs: Pick<RunService, "resume" | "resolve">;
}

const DEFAULT_LIMIT = 1_000;
const PAGE = 100;
/** Runs that one request looks at: each costs the reading of its journal. */
const MOST_SEEN = 20_000;
const FAILURE_SHOWN = 300;
/** What is told of a run that somebody else has changed meanwhile: then there is nothing left to repair. */
const CHANGED: ReadonlySet<string> = new Set(["RUN_NOT_SUSPENDED", "RUN_FINISHED", "UNKNOWN_RUN", "CALL_NOT_FOUND"]);

interface Suspended extends Repair {
  dead: PendingCall[];
}

/** @returns what was repaired or, with `dryRun`, would be; the latest run first */
export const repairRuns = async (parts: RepairParts, filter: RepairFilter, dryRun: boolean): Promise<Repair[]> => {
  const limit = filter.limit ?? DEFAULT_LIMIT;
  const repaired: Repair[] = [];
  for await (const summary of suspendedRuns(parts, filter)) {
    const found = await suspensionIn(parts, summary);
    if (found === undefined || (filter.function !== undefined && !found.functions.includes(filter.function))) continue;
    const { dead, ...repair } = found;
    if (!dryRun && !(await repairRun(parts, repair.run, filter.function, dead))) continue;
    repaired.push(repair);
    if (repaired.length >= limit) break;
  }
  return repaired;
};

async function* suspendedRuns({ journal }: RepairParts, { name, since }: RepairFilter): AsyncGenerator<RunSummary, void, undefined> {
  const filter = { status: ["suspended" as const], ...(name === undefined ? {} : { name }), ...(since === undefined ? {} : { since }) };
  let cursor: string | undefined;
  for (let seen = 0; seen < MOST_SEEN; seen += PAGE) {
    const page = await journal.list(filter, PAGE, cursor);
    yield* page.runs;
    cursor = page.cursor;
    if (cursor === undefined) return;
  }
}

const suspensionIn = async ({ journal }: RepairParts, { id, name }: RunSummary): Promise<Suspended | undefined> => {
  const stored = await journal.load(id);
  if (stored === undefined || stored.finishedAt !== undefined) return undefined;
  const state = createRun(stored);
  for (const record of await journal.records(id)) apply(state, record);
  const failure = suspensionOf(state);
  if (failure === undefined) return undefined;
  const dead = [...state.pending.values()].filter((pending) => pending.t === "call" && pending.dead !== undefined) as PendingCall[];
  const functions = [...new Set(dead.map(({ fn }) => fn))];
  return { run: id, name, functions, failure: `${failure.code}: ${failure.message}`.slice(0, FAILURE_SHOWN), dead };
};

/** Other functions' dead letters stay as they are when one function was asked for. Tells whether anything was done. */
const repairRun = async ({ runs }: RepairParts, run: RunId, fn: string | undefined, dead: readonly PendingCall[]): Promise<boolean> => {
  if (fn === undefined) return isDone(runs.resume(run));
  let done = false;
  for (const call of dead) {
    if (call.fn !== fn) continue;
    done = (await isDone(runs.resolve(run, { action: "retry", call: call.seq }, "bulk retry"))) || done;
  }
  return done;
};

const isDone = async (change: Promise<void>): Promise<boolean> => {
  try {
    await change;
    return true;
  } catch (error) {
    if (error instanceof LockstepError && CHANGED.has(error.code)) return false;
    throw error;
  }
};
