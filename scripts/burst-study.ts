/**
 * The burst study: expressions, then calls, arrive all at once at functions without pods. Layers grow, pods are added, the burst is served,
 * and the pods go away again. Prints what happened as a timeline, and ends with 1 when something of that was not seen.
 *
 * Usage: node scripts/burst-study.ts [--expressions 400] [--calls 2000] [--work-ms 50] [--pods 4] [--slots 32] [--svg FILE], after a build.
 * A burst of 0 is left out. With --svg, each burst is drawn: FILE is the calls' picture, and the expressions' beside it.
 */
import { writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Burst, calls, expressions } from "./burst-study/bursts.ts";
import { plotOf } from "./burst-study/plot.ts";
import { figuresOf, missingIn, summaryOf, timelineOf } from "./burst-study/report.ts";
import { play } from "./burst-study/study.ts";
import { createDemoPlatform } from "./demo/platform.ts";

const INTERRUPTED = 130;

const { values } = parseArgs({
  options: {
    expressions: { type: "string", default: "400" },
    calls: { type: "string", default: "2000" },
    "work-ms": { type: "string", default: "50" },
    pods: { type: "string", default: "4" },
    slots: { type: "string", default: "32" },
    svg: { type: "string" },
  },
});

const whole = (name: "expressions" | "calls" | "work-ms" | "pods" | "slots", least: number): number => {
  const value = Number(values[name]);
  if (Number.isInteger(value) && value >= least) return value;
  console.error(`burst study: --${name} must be a whole number, ${least} or more`);
  process.exit(2);
};

const size = { pods: whole("pods", 2), slots: whole("slots", 1) };
const bursts = [
  // An operator's pod takes fewer calls at a time, so that its layer grows as well: four functions share the machine.
  expressions({ ...size, slots: Math.ceil(size.slots / 4), count: whole("expressions", 0) }),
  calls({ ...size, count: whole("calls", 0) }, whole("work-ms", 1)),
].filter(({ count }) => count > 0);

const platform = createDemoPlatform();
let ending = false;
const cleanUpAndExit = (code: number): void => {
  ending = true;
  void platform.dispose().finally(() => process.exit(code));
};
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => cleanUpAndExit(INTERRUPTED));

const show = async (burst: Burst): Promise<string[]> => {
  console.log(`\n${burst.name}: ${burst.what}; at most ${burst.pods} pods of ${burst.slots} slots a function\n`);
  const recording = await play(platform.client, burst);
  for (const line of timelineOf(recording)) console.log(line);
  console.log("");
  for (const line of summaryOf(figuresOf(burst, recording), burst.functions.length === 1)) console.log(`  ${line}`);
  if (values.svg !== undefined) {
    const file = burst.name === "calls" ? values.svg : `${values.svg.replace(/\.svg$/, "")}-${burst.name}.svg`;
    writeFileSync(file, plotOf(burst.what, recording));
    console.log(`  drawn in             ${file}`);
  }
  return missingIn(burst, recording).map((text) => `${burst.name}: ${text}`);
};

const main = async (): Promise<number> => {
  await platform.start([join("scripts", "burst-study")]);
  const missing: string[] = [];
  for (const burst of bursts) missing.push(...(await show(burst)));
  console.log(`\nload average of the machine: ${loadavg()[0]?.toFixed(1)}`);
  for (const text of missing) console.error(`not shown: ${text}`);
  return missing.length === 0 ? 0 : 1;
};

await main().then(cleanUpAndExit, (error: Error) => {
  // What an interruption breaks is no finding.
  if (ending) return;
  console.error(`burst study: ${error.name === "NotShown" ? error.message : (error.stack ?? error.message)}`);
  cleanUpAndExit(1);
});
