/**
 * Simulates replica sets: the real machines of replicas and clients on a bad network, with crashes and liars, on virtual time.
 *
 *     npm run sim:consensus -- --seeds 1000 [--from 1] [--nodes 4|7]
 *     npm run sim:consensus -- --seed 17 --nodes 4 --trace
 *     npm run sim:consensus -- --planted
 *     npm run sim:consensus -- --twins [--every 7]
 */
import { execFileSync } from "node:child_process";
import { parseArgs } from "node:util";
import { generate } from "./generate.ts";
import { FLAWS, hunt } from "./planted.ts";
import { describe } from "./scenario.ts";
import { shrink } from "./shrink.ts";
import type { Finding, Nodes } from "./simulate.ts";
import { play, simulate } from "./simulate.ts";
import { describeTwins, playTwins, TWINS } from "./twins.ts";
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
    most: { type: "string", default: "5000" },
  },
});

const sizes = (): Nodes[] => {
  if (values.nodes === undefined) return [4, 7];
  if (values.nodes === "4" || values.nodes === "7") return [Number(values.nodes) as Nodes];
  throw new Error(`--nodes must be 4 or 7, not ${values.nodes}`);
};

const count = (name: "seeds" | "from" | "most" | "every"): number => {
  const number = Number(values[name]);
  if (!Number.isSafeInteger(number) || number < 0) throw new Error(`--${name} must be a whole number, not ${values[name]}`);
  return number;
};

const print = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

const commit = (): string => execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim();

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
  for (let seed = from; seed < from + seeds; seed++) {
    const { report, finding } = simulate(seed, nodes);
    for (const key of Object.keys(sum) as (keyof Totals)[]) sum[key] += report[key];
    if (finding === undefined) continue;
    fail(finding);
    return false;
  }
  const seconds = (performance.now() - startedAt) / 1_000;
  const { virtualMs, ...counts } = sum;
  print(`n = ${nodes}, seeds ${from} to ${from + seeds - 1}, each twice, ${seconds.toFixed(1)} s, commit ${commit()}: all properties hold`);
  const cells = Object.entries({ ...counts, virtualHours: Math.round(virtualMs / 360_000) / 10 });
  print(`  ${cells.map(([name, value]) => `${name} ${value}`).join(", ")}`);
  return true;
};

const plant = (): void => {
  for (const nodes of sizes()) {
    for (const flaw of FLAWS) {
      const { seeds, property, detail = "" } = hunt(flaw, nodes, count("from"), count("most"));
      if (seeds === undefined) process.exitCode = 1;
      const result = seeds === undefined ? `NOT CAUGHT in ${values.most} seeds` : `caught by ${property} after ${seeds} seeds`;
      print(`n = ${nodes}  ${flaw.padEnd(22)} ${result.padEnd(50)} ${detail.slice(0, 120)}`);
    }
  }
};

const twins = (): void => {
  const every = Math.max(1, count("every"));
  const startedAt = performance.now();
  let played = 0;
  for (let number = count("from") - 1; number < TWINS; number += every) {
    const finding = playTwins(number);
    played++;
    if (finding === undefined) continue;
    print(`${describeTwins(number)}\n${told(finding)}`);
    process.exitCode = 1;
    return;
  }
  const seconds = (performance.now() - startedAt) / 1_000;
  print(`twins: ${played} of ${TWINS} cases, ${seconds.toFixed(1)} s, commit ${commit()}: all properties hold`);
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
