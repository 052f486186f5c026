/**
 * Prints how the policies fare on a trace or on generated load.
 *
 *     npm run sim:autoscaler
 *     npm run sim:autoscaler -- --trace FILE --interval-s 60 --service-ms 200 --start-delay-ms 500 --json
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import type { Arguments } from "./arguments.ts";
import { HELP, readArguments } from "./arguments.ts";
import type { Half } from "./matrix.ts";
import { matrix } from "./matrix.ts";
import { matrixTable, summaryOf } from "./matrix-report.ts";
import { plotOf } from "./plot.ts";
import type { Report } from "./report.ts";
import { summarise, tableOf, verdictOf } from "./report.ts";
import type { Result } from "./simulate.ts";
import { simulate } from "./simulate.ts";
import { InputError, parseTrace } from "./trace.ts";
import type { Load } from "./workload.ts";
import { generate, scaled } from "./workload.ts";

/** Bounds the time that a simulation takes: an hour of a busy site is a million calls. */
const MOST_CALLS = 50_000_000;

const main = (argv: readonly string[]): void => {
  const options = readArguments(argv);
  if (options.isHelp) {
    process.stdout.write(HELP);
    return;
  }
  if (options.matrix !== undefined) {
    printMatrix(options, options.matrix);
    return;
  }
  const reports = namesOf(options).map((name) => report(name, options));
  if (options.isJson) process.stdout.write(`${JSON.stringify({ options: shown(options), loads: reports }, undefined, 2)}\n`);
  else process.stdout.write(`${tableOf(reports)}\n\n${LEGEND}\n\n${verdictOf(reports).join("\n")}\n`);
};

const printMatrix = (options: Arguments, half: Half): void => {
  const traces = (options.trace?.split(",") ?? []).map((trace) => traceOf({ ...options, trace }));
  const cells = [...matrix(half, traces, options.every)];
  if (options.isJson) process.stdout.write(`${JSON.stringify({ half, summary: summaryOf(cells), cells }, undefined, 2)}\n`);
  else process.stdout.write(`${matrixTable(cells)}\n`);
};

const LEGEND =
  'Late: over the target; behind the load\'s name, the calls whose own time is over it, whatever the policy. "*": the least of a load.';

const namesOf = (options: Arguments): readonly string[] => (options.trace === undefined ? options.generators : [options.trace]);

const report = (name: string, options: Arguments): Report => {
  const loads = options.seeds.map((seed) => loadOf(name, options, seed));
  const results = options.policies.map((policy) =>
    loads.map((load, i) => simulate(load, { ...options, spec: { ...options.spec, policy }, seed: options.seeds[i]! })),
  );
  const load = loads[0]?.name ?? name;
  if (options.plot !== undefined)
    plot(
      options.plot,
      load,
      results.map((each) => each[0]!),
      options.spec.targetMs,
    );
  return { load, seeds: options.seeds, policies: results.map(summarise) };
};

const loadOf = (name: string, options: Arguments, seed: number): Load => {
  const whole =
    options.trace === undefined ? generate(options.generators.find((each) => each === name)!, { ...options, seed }) : traceOf(options);
  const load = scaled(whole, options.factor, seed);
  const calls = load.counts.reduce((sum, count) => sum + count, 0);
  if (calls > MOST_CALLS)
    throw new InputError(`${load.name}: ${calls} calls are more than ${MOST_CALLS}; make it less with --scale, or --from and --to`);
  return load;
};

const traceOf = ({ trace = "", intervalMs, from, to }: Arguments): Load => {
  const load = parseTrace(basename(trace), read(trace), intervalMs);
  const counts = load.counts.slice(from, to);
  if (counts.length === 0) throw new InputError(`${load.name} has ${load.counts.length} counts: there is none from ${from} to ${to}`);
  return { ...load, counts };
};

const read = (path: string): string => {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new InputError(`--trace: ${(error as Error).message}`, { cause: error });
  }
};

const plot = (directory: string, name: string, results: readonly Result[], targetMs: number): void => {
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, `${name.replaceAll(/[^\w.-]/g, "_")}.svg`), plotOf(name, results, targetMs));
};

/** All that it takes to have the same again. */
const shown = ({
  spec,
  trace,
  intervalMs,
  from,
  to,
  rate,
  durationS,
  seeds,
  serviceMs,
  distribution,
  delayMs,
  tickMs,
  factor,
}: Arguments) => {
  const { policy: _policy, ...rest } = spec;
  const load =
    trace === undefined ? { rate, durationS } : { trace: basename(trace), intervalMs, from, to: Number.isFinite(to) ? to : undefined };
  return { ...rest, ...load, scale: factor, seeds, serviceMs, distribution, delayMs, tickMs };
};

try {
  main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof InputError)) throw error;
  process.stderr.write(`sim:autoscaler: ${error.message}\n`);
  process.exitCode = 2;
}
