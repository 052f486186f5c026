/** The examination afterwards: every run there is, every record, every trace of an execution. */
import { existsSync, readFileSync } from "node:fs";
import type { JournalEntry, RunDetails } from "lockstep/client";
import type { Books } from "./books.ts";
import { CANCELLED, type Load, type Seen } from "./load.ts";
import type { SoakReport, Violations } from "./report.ts";
import type { World } from "./world.ts";

export type Findings = Pick<SoakReport, "executions"> & { children: number; finished: number };

const AT_ONCE = 8;

export const examine = async (
  world: World,
  load: Load,
  { effectsFile, books, violations }: { effectsFile: string; books: Books; violations: Violations },
): Promise<Findings> => {
  const effects = new Effects(effectsFile);
  const runs = await Array.fromAsync(world.client.runs({ limit: 1_000 }));
  const listed = new Set(runs.map(({ id }) => id));
  for (const id of load.seen.keys()) if (!listed.has(id)) violations.add(`${id} was accepted and is lost`);
  for (const { id, name, status } of runs) {
    const expected = CANCELLED.has(name) ? "cancelled" : "completed";
    // A saga that is compensated by its recovery fails with what failed it; which one should is known of those that are seen.
    if (status !== expected && !(name === "saga-recovered" && status === "failed"))
      violations.add(`${id} (${name}) is ${status} at the end`);
  }
  const queue = runs.map(({ id }) => id);
  const lane = async (): Promise<void> => {
    for (let id = queue.pop(); id !== undefined; id = queue.pop()) {
      for (const fault of await faultsOf(world, id, load.seen.get(id), effects, books)) violations.add(`${id}: ${fault}`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  return {
    executions: { total: effects.total, repeated: effects.total - effects.committed },
    children: runs.filter(({ parent }) => parent !== undefined).length,
    finished: runs.filter(({ finishedAt }) => finishedAt !== undefined).length,
  };
};

const faultsOf = async ({ client }: World, id: string, seen: Seen | undefined, effects: Effects, books: Books): Promise<string[]> => {
  const run = client.run(id);
  const [details, journal] = await Promise.all([run.get(), run.journal()]);
  books.take(details, journal);
  const faults = [...generalFaults(journal, details.finishedAt !== undefined), ...effects.faultsOf(id, journal)];
  if (seen === undefined) return faults;
  const outcome = JSON.stringify(await run.outcome());
  if (seen.outcome !== undefined && seen.outcome !== outcome) faults.push(`was ${seen.outcome} and is ${outcome} at the end`);
  if (details.status !== seen.task.status) return faults;
  return [...faults, ...taskFaults(seen, details, journal)];
};

const taskFaults = (
  { task }: Seen,
  { name, value, acceptedAt, finishedAt = 0 }: RunDetails,
  journal: readonly JournalEntry[],
): string[] => {
  const faults = task.faults(value, journal).map((fault) => `${name}: ${fault}`);
  if (finishedAt - acceptedAt < task.leastMs)
    faults.push(`${name}: took ${finishedAt - acceptedAt} ms, less than its sleep of ${task.leastMs} ms`);
  return faults;
};

/** What holds for the journal of every run. */
const generalFaults = (journal: readonly JournalEntry[], finished: boolean): string[] => {
  const faults: string[] = [];
  const commands = new Set<number>();
  const outcomes = new Set<number>();
  let at = 0;
  for (const entry of journal) {
    if (entry.at < at - CLOCK_SLACK_MS) faults.push(`its journal goes back in time at ${JSON.stringify(entry)}`);
    at = entry.at;
    const seq = entry.seq as number;
    if (entry.t === "done") {
      if (outcomes.has(seq)) faults.push(`command ${seq} has two outcomes`);
      if (!commands.has(seq)) faults.push(`command ${seq} has an outcome before it was made`);
      outcomes.add(seq);
    } else if (COMMANDS.has(entry.t)) {
      if (commands.has(seq)) faults.push(`command ${seq} is there twice`);
      commands.add(seq);
    }
  }
  const ends = journal.filter(({ t }) => t === "finish").length;
  const isEnded = ends === 1 && journal.at(-1)?.t === "finish";
  if (finished ? !isEnded : ends > 0) faults.push("its journal does not end as its run does");
  return faults;
};

const COMMANDS = new Set(["call", "sleep", "signal", "step", "child", "withdraw", "state", "compensate", "on-stale", "undo"]);
// The wall clock may be adjusted a little between two lives.
const CLOCK_SLACK_MS = 5;

/** The traces that executions left in the file. */
class Effects {
  readonly #byKey = new Map<string, { attempt: number; token: string }[]>();
  readonly #tokens = new Set<string>();
  total = 0;
  committed = 0;

  constructor(file: string) {
    const lines = existsSync(file) ? readFileSync(file, "utf8").split("\n") : [];
    for (const line of lines) {
      const [key = "", attempt, token] = line.split(" ");
      if (token === undefined) continue;
      this.total++;
      const executions = this.#byKey.get(key);
      if (executions === undefined) this.#byKey.set(key, [{ attempt: Number(attempt), token }]);
      else executions.push({ attempt: Number(attempt), token });
    }
  }

  /** Each committed result is that of one execution, of the attempt that the journal names. */
  faultsOf(run: string, journal: readonly JournalEntry[]): string[] {
    const faults: string[] = [];
    for (const entry of journal) {
      const token = entry.t === "done" ? (entry.value as { token?: string } | undefined)?.token : undefined;
      if (token === undefined) continue;
      this.committed++;
      if (this.#tokens.has(token)) faults.push(`the result of ${entry.seq} is committed twice`);
      this.#tokens.add(token);
      const execution = this.#byKey.get(`${run}/${entry.seq}`)?.find((candidate) => candidate.token === token);
      if (execution === undefined) faults.push(`no execution of ${entry.seq} gave the result that is committed`);
      else if (execution.attempt !== entry.attempt)
        faults.push(`${entry.seq} is committed as attempt ${entry.attempt}, but was attempt ${execution.attempt}`);
    }
    return faults;
  }
}
