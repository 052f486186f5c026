/**
 * What the SQLite journal commits in a second and how long one commit takes, next to the bare write and sync of the same disk.
 *
 * Usage: node bench/journal.ts [--repetitions 5] [--checkpoint-pages 1000] [--directory <where the files go>]
 */
import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { AcceptedRun, Batch, Journal } from "../src/journal/port.ts";
import { openSqliteJournal } from "../src/journal/sqlite.ts";
import type { RunId } from "../src/lib/ids.ts";
import { firstOrdinalAt, runIdOf } from "../src/lib/ids.ts";
import type { JournalRecord } from "../src/protocol/run.ts";
import { machineLine } from "./lib/machine.ts";
import type { Contestant } from "./lib/repeat.ts";
import { interleave, spreadOf } from "./lib/repeat.ts";
import { figure, figureWithSpread, markdownTable } from "./lib/table.ts";

const { values: options } = parseArgs({
  options: {
    repetitions: { type: "string", default: "5" },
    "checkpoint-pages": { type: "string" },
    directory: { type: "string", default: tmpdir() },
  },
});

interface Figures {
  perSecond: number;
  /** Of this process, for each of what is counted. */
  cpuMicros: number;
  p50: number;
  p99: number;
}

const NOW = Date.UTC(2026, 0, 1);
const INPUT = '{"item":"flight","order":12}';
const VALUE = '{"order":12,"ok":true}';
const VERSION = "0123456789abcdef";

const empty = (): Batch => ({ accepted: [], appended: [], changed: [], events: [], logs: [], purged: [] });

const called = (seq: number): JournalRecord => ({ t: "call", seq, at: NOW, fn: "payment", version: VERSION, input: VALUE });

const done = (seq: number): JournalRecord => {
  const metrics = { durationMs: 1.25, cpuMs: 0.5, queueMs: 0.1, memoryMb: 48.2, coldStart: false, pod: "pod_12" };
  return { t: "done", seq, at: NOW, attempt: 1, value: VALUE, metrics };
};

const accepted = (id: RunId): AcceptedRun => ({
  id,
  kind: "coordinator",
  name: "booking",
  application: "examples",
  version: VERSION,
  input: INPUT,
  acceptedAt: NOW,
  priority: 0,
});

/** Each batch appends one row to each of `rows` runs; the runs change after ten. */
const recordBatches =
  (rows: number) =>
  (step: number): Batch => {
    const first = firstOrdinalAt(NOW) + Math.floor(step / 10) * rows;
    const from = step % 10;
    return { ...empty(), appended: Array.from({ length: rows }, (_, i) => ({ run: runIdOf(first + i), from, records: [done(from)] })) };
  };

/** The commits of runs that call twice: what accepts them, what follows the first result, and what ends them. */
const chainCommits: readonly ((runs: RunId[]) => Partial<Batch>)[] = [
  (runs) => ({
    accepted: runs.map(accepted),
    appended: runs.map((run) => ({ run, from: 0, records: [called(1)] })),
    events: runs.map((run) => ({ at: NOW, body: { type: "run.accepted", run, kind: "coordinator", name: "booking" } })),
  }),
  (runs) => ({ appended: runs.map((run) => ({ run, from: 1, records: [done(1), called(2)] })) }),
  (runs) => ({
    appended: runs.map((run) => ({ run, from: 3, records: [done(2), { t: "finish", at: NOW, status: "completed", value: VALUE }] })),
    changed: runs.map((id) => ({ id, status: "completed", live: false, finishedAt: NOW, value: VALUE })),
    events: runs.map((run) => ({ at: NOW, body: { type: "run.finished", run, name: "booking", status: "completed", durationMs: 5 } })),
  }),
];

const chainRuns = (round: number, runs: number): RunId[] =>
  round < 0 ? [] : Array.from({ length: runs }, (_, i) => runIdOf(firstOrdinalAt(NOW + round) + i));

/** One run after the other. */
const chainAlone = (step: number): Batch => ({ ...empty(), ...chainCommits[step % 3]?.(chainRuns(Math.floor(step / 3), 1)) });

/** At every moment as many runs are in each of the three commits. */
const chainsTogether =
  (runs: number) =>
  (step: number): Batch => {
    const batch = empty();
    for (const [age, commit] of chainCommits.entries()) {
      const part = commit(chainRuns(step - age, runs));
      batch.accepted.push(...(part.accepted ?? []));
      batch.appended.push(...(part.appended ?? []));
      batch.changed.push(...(part.changed ?? []));
      batch.events.push(...(part.events ?? []));
    }
    return batch;
  };

/** Times each of `commits` after a warm-up of a tenth of them; `unitsOf` a commit are what is counted by the second. */
const measure = async (commits: number, units: number, commit: (step: number) => Promise<unknown>): Promise<Figures> => {
  const warmUp = Math.ceil(commits / 10);
  const times: number[] = [];
  let cpu = process.cpuUsage();
  for (let step = 0; step < warmUp + commits; step++) {
    if (step === warmUp) cpu = process.cpuUsage();
    const start = performance.now();
    await commit(step);
    if (step >= warmUp) times.push(performance.now() - start);
  }
  const { user, system } = process.cpuUsage(cpu);
  const total = times.reduce((sum, time) => sum + time, 0);
  times.sort((a, b) => a - b);
  const quantile = (q: number): number => (times[Math.floor(times.length * q)] as number) * 1000;
  return {
    perSecond: (commits * units * 1000) / total,
    cpuMicros: (user + system) / (commits * units),
    p50: quantile(0.5),
    p99: quantile(0.99),
  };
};

const inDirectory = async <T>(work: (directory: string) => Promise<T>): Promise<T> => {
  const directory = mkdtempSync(join(options.directory, "lockstep-bench-"));
  try {
    return await work(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
};

const journalContestant = (name: string, commits: number, units: number, batchOf: (step: number) => Batch): Contestant<Figures> => {
  const pages = options["checkpoint-pages"];
  const commitAll = async (journal: Journal): Promise<Figures> => {
    const batches = Array.from({ length: Math.ceil(commits * 1.1) }, (_, step) => batchOf(step));
    const figures = await measure(commits, units, (step) => journal.commit(batches[step] as Batch));
    await journal.close();
    return figures;
  };
  return {
    name,
    measure: () =>
      inDirectory(async (directory) =>
        commitAll(await openSqliteJournal(directory, pages === undefined ? {} : { checkpointPages: Number(pages) })),
      ),
  };
};

/** What a commit cannot beat: the same bytes over a file that has its length already, then a sync. */
const diskContestant = (name: string, commits: number, bytes: number): Contestant<Figures> => ({
  name,
  measure: () =>
    inDirectory(async (directory) => {
      const fd = openSync(join(directory, "raw"), "w");
      const block = Buffer.alloc(bytes, 7);
      const total = 16 * 2 ** 20;
      for (let at = 0; at < total; at += bytes) writeSync(fd, block, 0, bytes, at);
      fdatasyncSync(fd);
      const figures = await measure(commits, 1, async (step) => {
        writeSync(fd, block, 0, bytes, (step * bytes) % (total - bytes));
        fdatasyncSync(fd);
      });
      closeSync(fd);
      return figures;
    }),
});

const contestants: Contestant<Figures>[] = [
  diskContestant("disk: overwrite 4 KiB, sync", 1_000, 4096),
  diskContestant("disk: overwrite 12 KiB, sync", 1_000, 3 * 4096),
  journalContestant("1 record", 1_500, 1, recordBatches(1)),
  journalContestant("3 records", 1_500, 3, recordBatches(3)),
  journalContestant("64 records", 500, 64, recordBatches(64)),
  journalContestant("500 records", 200, 500, recordBatches(500)),
  journalContestant("1,024 records", 100, 1_024, recordBatches(1_024)),
  journalContestant("chain of 2 calls, alone (3 commits a run)", 1_500, 1 / 3, chainAlone),
  journalContestant("chains of 2 calls, 510 in flight (runs)", 150, 170, chainsTogether(170)),
];

const machine = machineLine();
const outcomes = await interleave(contestants, Number(options.repetitions), (name, repetition, result) =>
  console.error(`${repetition + 1}  ${name}: ${result instanceof Error ? result.message : `${figure(result.perSecond)}/s`}`),
);
const rows = contestants.map(({ name }) => {
  const { results } = outcomes.get(name)!;
  const cell = (of: (figures: Figures) => number): string => figureWithSpread(spreadOf(results, of));
  return [name, cell(({ perSecond }) => perSecond), cell(({ cpuMicros }) => cpuMicros), cell(({ p50 }) => p50), cell(({ p99 }) => p99)];
});
console.log(`${machine}\n`);
console.log(markdownTable(["in each commit", "per second", "CPU µs of each", "commit p50, µs", "commit p99, µs"], rows));
