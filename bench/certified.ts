/**
 * `node bench/certified.ts [seconds] [folder of another build]`: what a certified call costs the built platform without HTTP, in CPU time of the
 * control plane, of the replicas and of the processes in which user code executes, and in bytes of the journal. Times on a machine that does
 * other work mean little; with the other folder two versions are compared in the same minutes, in turns.
 */
import { execFileSync } from "node:child_process";
import { statSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { endAll, temporaryFolder } from "./lib/cleanup.ts";
import { treeCpu } from "./lib/cpu-time.ts";
import { machineLine } from "./lib/machine.ts";
import { median } from "./lib/repeat.ts";
import { figure, markdownTable } from "./lib/table.ts";

const [first = "3", ...others] = process.argv.slice(2);
const IS_PART = first === "--measure";
const SECONDS = Number(IS_PART ? others[0] : first);
const CALLERS = [256, 1];
const WARM_UP_MS = 3_000;

interface Row {
  callers: number;
  controlPlane: number;
  replicas: number;
  executors: number;
  perSecond: number;
  p50Ms: number;
}

const measure = async (root: string): Promise<{ rows: Row[]; bytes: number }> => {
  const built = (path: string): string => pathToFileURL(resolve(root, "dist", path)).href;
  const [{ startPlatform }, { bundleApplication, stopBundler }] = await Promise.all([
    import(built("platform.js")) as Promise<typeof import("../src/platform.ts")>,
    import(built("application/bundler.js")) as Promise<typeof import("../src/application/bundler.ts")>,
  ]);
  const bundle = await bundleApplication(resolve(root, "bench/app"));
  await stopBundler();
  const folder = temporaryFolder("lockstep-certified");
  const platform = await startPlatform({ dataDirectory: folder.path, gateway: false, applications: [bundle] });
  const { controlPlane } = platform;
  let calls = 0;
  const call = async (): Promise<number> => {
    const calledAt = performance.now();
    const { id } = await controlPlane.start({ kind: "function", name: "certified", input: String(calls++) });
    const { status } = await controlPlane.result(id, 30_000);
    if (status !== "completed") throw new Error(`a call is ${status}`);
    return performance.now() - calledAt;
  };
  const loop = async (callers: number, ms: number): Promise<number[]> => {
    const until = performance.now() + ms;
    const latencies: number[] = [];
    const caller = async (): Promise<void> => {
      while (performance.now() < until) latencies.push(await call());
    };
    await Promise.all(Array.from({ length: callers }, caller));
    return latencies;
  };

  await loop(256, WARM_UP_MS);
  const rows: Row[] = [];
  for (const callers of CALLERS) {
    await loop(callers, 500);
    const before = treeCpu(process.pid);
    const own = process.cpuUsage();
    const startedAt = performance.now();
    const latencies = await loop(callers, SECONDS * 1_000);
    const ms = performance.now() - startedAt;
    const { user, system } = process.cpuUsage(own);
    const used = treeCpu(process.pid);
    const each = (us: number): number => us / latencies.length;
    rows.push({
      callers,
      controlPlane: each(user + system),
      replicas: each(used.children - before.children),
      executors: each(used.grandchildren - before.grandchildren),
      perSecond: (latencies.length * 1_000) / ms,
      p50Ms: median(latencies),
    });
  }
  await platform.stop();
  const bytes = statSync(resolve(folder.path, "journal.sqlite")).size / calls;
  folder.remove();
  return { rows, bytes };
};

/** In a process of its own: what V8 has learnt from one version must not serve, or harm, the other. */
const measureApart = (root: string): { rows: Row[]; bytes: number } => {
  const output = execFileSync(process.execPath, [import.meta.filename, "--measure", String(SECONDS), root], { encoding: "utf8" });
  return JSON.parse(output) as { rows: Row[]; bytes: number };
};

const compare = (): void => {
  const table: string[][] = [];
  for (const root of [resolve(import.meta.dirname, ".."), ...others]) {
    const { rows, bytes } = measureApart(root);
    for (const { callers, controlPlane, replicas, executors, perSecond, p50Ms } of rows) {
      table.push([root, String(callers), ...[controlPlane, replicas, executors, perSecond, p50Ms, bytes].map(figure)]);
    }
  }
  console.log(`${machineLine()}\n`);
  const head = ["build", "callers", "control plane, µs", "replicas, µs", "user code, µs", "per second", "p50 ms", "journal, bytes a call"];
  console.log(markdownTable(head, table));
};

try {
  if (IS_PART) console.log(JSON.stringify(await measure(others[1] as string)));
  else compare();
} finally {
  await endAll();
}
