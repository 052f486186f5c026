/**
 * `npm run bench`: every path that matters, on the built platform as a user starts it, over HTTP where a user would.
 *
 * Options: --repetitions N (default 5), --duration-ms N (default 4000), --only TEXT (cases whose name contains it), --json.
 */
import { parseArgs } from "node:util";
import { lifeCases } from "./cases/life.ts";
import { objectCases } from "./cases/objects.ts";
import { scalingCases } from "./cases/scaling.ts";
import { throughputCases } from "./cases/throughput.ts";
import { endAll } from "./lib/cleanup.ts";
import { machineLine } from "./lib/machine.ts";
import { startBenchPlatform } from "./lib/platform.ts";
import { spread } from "./lib/repeat.ts";
import { figureWithSpread, markdownTable } from "./lib/table.ts";

const { values } = parseArgs({
  options: {
    repetitions: { type: "string", default: "5" },
    "duration-ms": { type: "string", default: "4000" },
    only: { type: "string", default: "" },
    json: { type: "boolean", default: false },
  },
});

const durationMs = Number(values["duration-ms"]);

const main = async (): Promise<void> => {
  const cases = [...throughputCases(durationMs), ...objectCases(durationMs), ...lifeCases(), ...scalingCases(durationMs)].filter(
    ({ name }) => name.includes(values.only),
  );
  const rows: { name: string; unit: string; goal: string; figures: number[][] }[] = [];
  for (const { name, unit, goal, measure } of cases) {
    const platform = await startBenchPlatform("bench/app");
    const figures: number[][] = [];
    for (let i = 0; i < Number(values.repetitions); i++) figures.push(await measure(platform));
    await platform.stop();
    rows.push({ name, unit, goal, figures });
    process.stderr.write(`${name}: ${figures.map((figure) => figure.map((value) => value.toFixed(2)).join(" / ")).join(", ")}\n`);
  }
  if (values.json) return void process.stdout.write(`${JSON.stringify({ machine: await machineLine(), rows }, undefined, 2)}\n`);
  const summary = rows.map(({ name, unit, goal, figures }) => [
    name,
    figures[0]!.map((_, i) => figureWithSpread(spread(figures.map((figure) => figure[i]!)))).join(" / "),
    unit,
    goal,
  ]);
  process.stdout.write(`${await machineLine()}\n\n${markdownTable(["path", "median (min–max)", "unit", "goal"], summary)}\n`);
};

try {
  await main();
} finally {
  await endAll();
}
