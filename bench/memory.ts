/**
 * `node bench/memory.ts [calls] [between looks] [path] [folder for heap snapshots]`: what the control plane, a pod and the process of a replica's
 * user code keep in memory after so many calls by HTTP, each with another input, after garbage was collected. What grows with the calls for
 * ever is a leak. `path` is `functions/certified/calls` by default; `coordinators/chain2/runs` is one with a run's journal.
 */
import { setTimeout as delay } from "node:timers/promises";
import { endAll } from "./lib/cleanup.ts";
import { childrenOf, type Kept, keptBy } from "./lib/heap.ts";
import { load } from "./lib/http-load.ts";
import { machineLine } from "./lib/machine.ts";
import { podsOf, startBenchPlatform } from "./lib/platform.ts";
import { figure, markdownTable } from "./lib/table.ts";

const [calls = "100000", between = "10000", path = "functions/certified/calls", snapshots] = process.argv.slice(2);
const CONNECTIONS = 128;
/** What is under way at the end of the load, such as the commit of what was told to replicas. */
const REST_MS = 500;
const MIB = 1_048_576;

const table = (): void => {
  const head = ["calls", "per second"];
  for (const who of ["control plane", "pod", "its user code"]) head.push(`${who}: heap`, "outside", "resident", "with garbage");
  console.log(`${machineLine()}\n\nMiB\n\n${markdownTable(head, [])}`);
};

const measure = async (): Promise<void> => {
  const platform = await startBenchPlatform("bench/app");
  table();
  const isRun = path.startsWith("coordinators");
  for (let made = 0; made < Number(calls); made += Number(between)) {
    const from = made;
    const request = (i: number) => ({
      path: `/v1/${path}?wait=30s`,
      body: JSON.stringify({ input: isRun ? { x: from + i } : from + i }),
      expect: { status: 200 },
    });
    const count = Number(between);
    const { perSecond, errors, errorSamples } = await load({
      port: platform.port,
      connections: CONNECTIONS,
      request,
      variants: count,
      warmupMs: 0,
      count,
    });
    if (errors > 0) throw new Error(`${errors} errors: ${errorSamples.join("; ")}`);
    await delay(REST_MS);
    const pod = (await podsOf(platform)).find(({ role }) => path.includes(`/${role}/`))?.pid;
    const [userCode] = pod === undefined ? [] : childrenOf(pod);
    const kept: Kept[] = [];
    for (const [name, pid] of Object.entries({ "control-plane": platform.process.pid, pod, "user-code": userCode })) {
      const file = snapshots === undefined ? undefined : `${snapshots}/${name}-${from + count}.heapsnapshot`;
      if (pid !== undefined) kept.push(await keptBy(pid, file));
    }
    const figures = kept.flatMap(({ heap, outside, resident, withGarbage }) =>
      [heap, outside, resident, withGarbage].map((bytes) => figure(bytes / MIB)),
    );
    console.log(`| ${[figure(from + count), figure(perSecond), ...figures].join(" | ")} |`);
  }
  await platform.stop();
};

try {
  await measure();
} finally {
  await endAll();
}
