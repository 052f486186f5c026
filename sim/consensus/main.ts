/**
 * Simulates replica sets: the real machines of replicas and clients on a bad network, with crashes and liars, on virtual time.
 *
 *     npm run sim:consensus -- --seeds 1000 [--from 1] [--nodes 4|7] [--minutes 10]
 *     npm run sim:consensus -- --seed 17 --nodes 4 --trace
 *     npm run sim:consensus -- --planted
 *     npm run sim:consensus -- --twins [--every 7]
 */
import { execFileSync } from "node:child_process";
import { parseArgs } from "node:util";
import { generate } from "./generate.ts";
import type { Caught } from "./planted.ts";
import { FLAWS, hunt } from "./planted.ts";
import { describe } from "./scenario.ts";
import { shrink } from "./shrink.ts";
import type { Finding, Nodes } from "./simulate.ts";
import { play, simulate } from "./simulate.ts";
import { DISTINCT_TWINS, describeTwins, isDistinct, playTwins, TWINS } from "./twins.ts";
import type { Totals } from "./world.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "1000" },
    from: { type: "string", default: "1" },
    nodes: { type: "string" },
    seed: { type: "string" },
    trace: { type: "boolean", default: false },
    planted: { type: "boolean", default: false },
    twins: { type: "boolean", default: false },
    every: { type: "string", default: "1" },
    minutes: { type: "string", default: "0" },
    most: { type: "string", default: "5000" },
  },
});

const sizes = (): Nodes[] => {
  if (values.nodes === undefined) return [4, 7];
  if (values.nodes === "4" || values.nodes === "7") return [Number(values.nodes) as Nodes];
  throw new Error(`--nodes must be 4 or 7, not ${values.nodes}`);
};

const count = (name: "seeds" | "from" | "most" | "every" | "minutes"): number => {
  const number = Number(values[name]);
  if (!Number.isSafeInteger(number) || number < 0) throw new Error(`--${name} must be a whole number, not ${values[name]}`);
  return number;
};

const print = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

const commit = (): string => {
  try {
    return execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: import.meta.dirname, encoding: "utf8", stdio: "pipe" }).trim();
  } catch {
    // A copy without its history: seeds are worth something all the same.
    return "unknown";
  }
};

const told = ({ scenario, property, detail, atMs }: Finding): string =>
  `VIOLATED ${property} at ${atMs.toFixed(1)} ms, commit ${commit()}\n  ${detail.slice(0, 2_000)}\n${describe(scenario)}`;

const fail = (finding: Finding): void => {
  print(told(finding));
  const small = finding.property === "determinism" ? finding : shrink(finding);
  print(`\nshrunk:\n${told(small)}`);
  process.exitCode = 1;
};

/** @returns whether all properties hold */
const simulateAll = (nodes: Nodes): boolean => {
  const from = count("from");
  const seeds = count("seeds");
  const startedAt = performance.now();
  const sum: Totals = { operations: 0, certified: 0, messages: 0, views: 0, transfers: 0, epochs: 0, virtualMs: 0 };
  const untilMs = count("minutes") > 0 ? startedAt + 60_000 * count("minutes") : Number.POSITIVE_INFINITY;
  let next = from;
  for (; next < from + seeds && performance.now() < untilMs; next++) {
    const seed = next;
    const { report, finding } = simulate(seed, nodes);
    for (const key of Object.keys(sum) as (keyof Totals)[]) sum[key] += report[key];
    if (finding === undefined) continue;
    fail(finding);
    return false;
  }
  const seconds = (performance.now() - startedAt) / 1_000;
  const { virtualMs, ...counts } = sum;
  print(`n = ${nodes}, seeds ${from} to ${next - 1}, each twice, ${seconds.toFixed(1)} s, commit ${commit()}: all properties hold`);
  const cells = Object.entries({ ...counts, virtualHours: Math.round(virtualMs / 360_000) / 10 });
  print(`  ${cells.map(([name, value]) => `${name} ${value}`).join(", ")}`);
  return true;
};

const plant = (): void => {
  print(`commit ${commit()}; for each mistake: seeds until any checker notices, and until one of safety does`);
  for (const nodes of sizes()) {
    for (const flaw of FLAWS) {
      const first = hunt(flaw, nodes, count("from"), count("most"));
      const wrong = first.seeds === undefined ? first : hunt(flaw, nodes, count("from"), count("most"), true);
      if (first.seeds === undefined) process.exitCode = 1;
      print(`n = ${nodes}  ${flaw.padEnd(20)} ${cell(first)} ${cell(wrong)} ${(wrong.detail ?? first.detail ?? "").slice(0, 100)}`);
    }
  }
};

const cell = ({ seeds, property }: Caught): string =>
  (seeds === undefined ? `not in ${values.most} seeds` : `${seeds}: ${property}`).padEnd(26);

const twins = (): void => {
  const every = Math.max(1, count("every"));
  const startedAt = performance.now();
  let played = 0;
  const untilMs = count("minutes") > 0 ? startedAt + 60_000 * count("minutes") : Number.POSITIVE_INFINITY;
  for (let number = count("from") - 1; number < TWINS && performance.now() < untilMs; number += every) {
    if (!isDistinct(number)) continue;
    const finding = playTwins(number);
    played++;
    if (finding === undefined) continue;
    print(`${describeTwins(number)}\n${told(finding)}`);
    process.exitCode = 1;
    return;
  }
  const seconds = (performance.now() - startedAt) / 1_000;
  print(`twins: ${played} of ${DISTINCT_TWINS} cases, ${seconds.toFixed(1)} s, commit ${commit()}: all properties hold`);
};

const one = (seed: number): void => {
  for (const nodes of sizes()) {
    const scenario = generate(seed, nodes);
    print(describe(scenario));
    const report = play(scenario, values.trace ? { trace: print } : {});
    print(JSON.stringify(report, undefined, 2));
    if (report.violation !== undefined) process.exitCode = 1;
  }
};

if (values.planted) plant();
else if (values.twins) twins();
else if (values.seed !== undefined) one(Number(values.seed));
else for (const nodes of sizes()) if (!simulateAll(nodes)) break;
