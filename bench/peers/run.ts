/**
 * The comparison with the peers: every contender does the same work, one after another on an otherwise idle machine, in turns.
 * How it is kept fair: docs/decisions/0005-peers.md.
 */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { endAll } from "../lib/cleanup.ts";
import type { LoadResult } from "../lib/http-load.ts";
import { load } from "../lib/http-load.ts";
import { machineLine, residentBytes } from "../lib/machine.ts";
import type { Outcome } from "../lib/repeat.ts";
import { interleave, spreadOf } from "../lib/repeat.ts";
import { figure, figureWithSpread, markdownTable, ratio } from "../lib/table.ts";
import { bullmq, bullmqDirect } from "./bullmq.ts";
import type { Contender, Running } from "./contender.ts";
import { measureDurability } from "./durability.ts";
import { lockstep } from "./lockstep.ts";
import { restate } from "./restate.ts";
import type { Work } from "./work.ts";
import { WORK } from "./work.ts";

const CONTENDERS: readonly Contender[] = [lockstep, ...restate, bullmq, bullmqDirect];

const USAGE = `Usage: node bench/peers/run.ts [options]
  --cases <a,b>          of ${WORK.map(({ name }) => name).join(", ")} (default all)
  --connections <1,64>   requests in flight, for every case (default: each case's own)
  --repetitions <n>      default 3
  --duration-ms <ms>     measured time of each repetition (default 4000)
  --warmup-ms <ms>       load before it (default 2000)
  --only <a,b>           of ${CONTENDERS.map(({ name }) => name).join(", ")},
                         or the beginnings of several, such as restate (default all but bullmq-direct)
  --start                also measure the time from start to first result, and memory when idle
  --durability           only count each contender's fsync calls (needs strace)
  --json                 print everything measured as JSON`;

interface Measured extends LoadResult {
  contender: string;
}

interface Row {
  work: Work;
  connections: number;
  outcomes: Map<string, Outcome<Measured>>;
}

const say = (text: string): void => console.error(text);

const main = async (): Promise<void> => {
  const options = readOptions();
  if (options === undefined) return;
  installPeers(options.contenders);
  const versions = Object.assign({}, ...options.contenders.map((contender) => contender.versions()));
  const machine = machineLine(versions);
  say(machine);
  if (options.durability) {
    console.log(await measureDurability(options.contenders, options.cases, say));
    return;
  }
  const rows: Row[] = [];
  for (const work of options.cases) {
    for (const connections of options.connections ?? work.connections) rows.push(await measureCase(work, connections, options));
  }
  const starts = options.start ? await measureStarts(options.contenders, options.repetitions) : undefined;
  if (options.json)
    console.log(JSON.stringify({ machine, rows: rows.map(plainRow), starts: starts && Object.fromEntries(starts) }, undefined, 2));
  else console.log(report(machine, rows, starts));
};

const readOptions = () => {
  const { values } = parseArgs({
    options: {
      cases: { type: "string" },
      connections: { type: "string" },
      repetitions: { type: "string", default: "3" },
      "duration-ms": { type: "string", default: "4000" },
      "warmup-ms": { type: "string", default: "2000" },
      only: { type: "string" },
      start: { type: "boolean", default: false },
      durability: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return void console.log(USAGE);
  return {
    cases: pick("cases", values.cases, WORK),
    contenders: pick("only", values.only, values.only === undefined ? CONTENDERS.filter(({ optional }) => optional !== true) : CONTENDERS),
    connections: values.connections?.split(",").map((text) => positive("connections", text)),
    repetitions: positive("repetitions", values.repetitions),
    durationMs: positive("duration-ms", values["duration-ms"]),
    warmupMs: positive("warmup-ms", values["warmup-ms"]),
    start: values.start,
    durability: values.durability,
    json: values.json,
  };
};

type Options = NonNullable<ReturnType<typeof readOptions>>;

/** Those of `all` that the comma-separated text names, or, where a name is nobody's, those whose names begin with it. */
const pick = <T extends { name: string }>(option: string, text: string | undefined, all: readonly T[]): readonly T[] => {
  if (text === undefined) return all;
  const picked = text.split(",").flatMap((wanted) => {
    const exact = all.filter(({ name }) => name === wanted);
    const found = exact.length > 0 ? exact : all.filter(({ name }) => name.startsWith(`${wanted}-`));
    if (found.length === 0) throw new Error(`--${option}: there is no "${wanted}"\n${USAGE}`);
    return found;
  });
  return all.filter((item) => picked.includes(item));
};

const positive = (option: string, text: string): number => {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${option}: "${text}" is not a whole number of at least 1`);
  return value;
};

/** Installs what bench/peers/package-lock.json lists, when a peer is asked for and it is not there. */
const installPeers = (contenders: readonly Contender[]): void => {
  const folder = fileURLToPath(new URL(".", import.meta.url));
  if (contenders.every((contender) => contender === lockstep) || existsSync(`${folder}node_modules/.package-lock.json`)) return;
  say("installing the peers into bench/peers/node_modules …");
  execFileSync("npm", ["ci", "--prefix", folder], { cwd: folder, stdio: ["ignore", 2, 2] });
};

const withRunning = async <T>(contender: Contender, use: (running: Running) => Promise<T>): Promise<T> => {
  try {
    const running = await contender.start();
    const result = await use(running);
    await running.stop();
    return result;
  } finally {
    // Whatever a failure left behind would disturb the next contender.
    await endAll();
  }
};

const measureCase = async (work: Work, connections: number, options: Options): Promise<Row> => {
  const title = `${work.name} c${connections}`;
  const contestants = options.contenders
    .filter(({ lacks }) => lacks?.includes(work.name) !== true)
    .map((contender) => ({ name: contender.name, measure: () => measureOnce(contender, work, connections, options) }));
  const outcomes = await interleave(contestants, options.repetitions, (name, repetition, result) => {
    const text =
      result instanceof Error ? `failed: ${clip(result.message)}` : `${figure(result.perSecond)}/s, p50 ${figure(result.p50Ms)} ms`;
    say(`${title} · ${name} · ${repetition + 1}/${options.repetitions}: ${text}`);
    if (!(result instanceof Error) && result.errors > 0) say(`  ${result.errors} errors, such as: ${result.errorSamples.join("; ")}`);
  });
  return { work, connections, outcomes };
};

const measureOnce = (contender: Contender, work: Work, connections: number, options: Options): Promise<Measured> =>
  withRunning(contender, async ({ port, request, loop }) => {
    const window = { connections, warmupMs: options.warmupMs, durationMs: options.durationMs * (work.stretch ?? 1) };
    const result = loop === undefined ? await load({ ...window, port, request: (i) => request(work, i) }) : await loop(work, window);
    return { contender: contender.name, ...result };
  });

interface Start {
  firstResultMs: number;
  idleMiB: number;
}

const IDLE_AFTER_MS = 2_000;

const measureStarts = (contenders: readonly Contender[], repetitions: number): Promise<Map<string, Outcome<Start>>> => {
  const work = WORK.find(({ name }) => name === "chain-2") as Work;
  const contestants = contenders.map((contender) => ({ name: contender.name, measure: () => measureStart(contender, work) }));
  return interleave(contestants, repetitions, (name, _, result) =>
    say(
      `start · ${name}: ${result instanceof Error ? clip(result.message) : `${figure(result.firstResultMs)} ms, ${figure(result.idleMiB)} MiB`}`,
    ),
  );
};

const measureStart = async (contender: Contender, work: Work): Promise<Start> => {
  const startedAt = performance.now();
  return withRunning(contender, async ({ port, request, pids }) => {
    const { path, body, expect } = request(work, 1);
    const response = await fetch(`http://127.0.0.1:${port}${path}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: body ?? "",
    });
    const text = await response.text();
    if (response.status !== expect.status || expect.body?.test(text) === false)
      throw new Error(`wrong first result: ${response.status} ${text}`);
    const firstResultMs = performance.now() - startedAt;
    await new Promise((resolve) => setTimeout(resolve, IDLE_AFTER_MS));
    return { firstResultMs, idleMiB: residentBytes(pids) / 2 ** 20 };
  });
};

const report = (machine: string, rows: readonly Row[], starts: Map<string, Outcome<Start>> | undefined): string => {
  const parts = [machine, "", caseTable(rows)];
  const failures = rows.flatMap(({ work, connections, outcomes }) =>
    [...outcomes].flatMap(([name, { failure }]) =>
      failure === undefined ? [] : [`- ${work.name} c${connections}, ${name}: ${clip(failure)}`],
    ),
  );
  if (failures.length > 0) parts.push("", "Not measured:", ...failures);
  if (starts !== undefined) parts.push("", startTable(starts));
  return parts.join("\n");
};

/** Medians with the least and the greatest; "lockstep is" compares throughput, and alone the p50 too. */
const caseTable = (rows: readonly Row[]): string => {
  const header = ["case", "in flight", "contender", "runs/s", "calls/s", "lockstep is", "p50 ms", "lockstep is", "p99 ms", "errors"];
  const lines = rows.flatMap(({ work, connections, outcomes }) => {
    const ours = outcomes.get(lockstep.name)?.results ?? [];
    return [...outcomes].map(([name, { results }]) => {
      const of = (value: (result: Measured) => number) => spreadOf(results, value);
      const rate = of((result) => result.perSecond);
      const p50 = of((result) => result.p50Ms);
      const itself = name === lockstep.name;
      return [
        work.name,
        connections === 1 ? "1 (alone)" : String(connections),
        name,
        figureWithSpread(rate),
        figure(rate.median * work.callsPerRun),
        itself ? "" : ratio(spreadOf(ours, (result) => result.perSecond).median, rate.median),
        figureWithSpread(p50),
        itself ? "" : ratio(p50.median, spreadOf(ours, (result) => result.p50Ms).median),
        figureWithSpread(of((result) => result.p99Ms)),
        String(results.reduce((sum, { errors }) => sum + errors, 0)),
      ];
    });
  });
  return markdownTable(header, lines);
};

const startTable = (starts: Map<string, Outcome<Start>>): string =>
  markdownTable(
    ["contender", "start to first result, ms", "idle memory of all processes, MiB"],
    [...starts].map(([name, { results, failure }]) => [
      name,
      failure === undefined ? figureWithSpread(spreadOf(results, (start) => start.firstResultMs)) : clip(failure),
      failure === undefined ? figureWithSpread(spreadOf(results, (start) => start.idleMiB)) : "",
    ]),
  );

const clip = (text: string): string => (text.length <= 400 ? text : `${text.slice(0, 400)} …`);

const plainRow = ({ work, connections, outcomes }: Row) => ({ case: work.name, connections, contenders: Object.fromEntries(outcomes) });

try {
  await main();
} catch (error) {
  say((error as Error).message);
  process.exitCode = 1;
} finally {
  await endAll();
}
