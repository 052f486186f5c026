/**
 * `node bench/certified-http.ts [rounds] <folder of another build>`: certified calls by HTTP through the whole platform, of this build and another
 * one. Both run all the time, and are loaded in turns for a second each, so that whatever else the machine does meets both alike; what a call costs
 * is CPU time, of the control plane, of the replicas and of the processes in which user code executes. Rates on a busy machine mean little.
 */
import { resolve } from "node:path";
import { endAll, temporaryFolder } from "./lib/cleanup.ts";
import { treeCpu } from "./lib/cpu-time.ts";
import { load } from "./lib/http-load.ts";
import { machineLine } from "./lib/machine.ts";
import { answers, freePort, type StartedProcess, startProcess } from "./lib/processes.ts";
import { median } from "./lib/repeat.ts";
import { figure, markdownTable } from "./lib/table.ts";

const [rounds = "6", ...others] = process.argv.slice(2);
const OWN = resolve(import.meta.dirname, "..");
const CONNECTIONS = [256, 1];
const WARM_UP_MS = 4_000;
const TURN_MS = 1_200;

interface Turn {
  controlPlane: number;
  replicas: number;
  userCode: number;
  all: number;
  perSecond: number;
  p50Ms: number;
}

interface Platform {
  readonly root: string;
  readonly port: number;
  readonly process: StartedProcess;
  readonly turns: Map<number, Turn[]>;
}

const start = async (root: string): Promise<Platform> => {
  const port = await freePort();
  const data = temporaryFolder("certified-http");
  const cli = resolve(root, "bin/lockstep.js");
  const args = [cli, "start", "--app", resolve(OWN, "bench/app"), "--data", data.path, "--port", String(port)];
  const started = startProcess({ command: process.execPath, args, cwd: OWN });
  await started.until("not ready", () => answers(`http://127.0.0.1:${port}/readyz`), 30_000);
  return { root, port, process: started, turns: new Map(CONNECTIONS.map((connections) => [connections, []])) };
};

const request = (i: number) => ({
  path: "/v1/functions/certified/calls?wait=30s",
  body: JSON.stringify({ input: i }),
  expect: { status: 200, body: new RegExp(`"value":${i + 1}[,}]`) },
});

const take = async ({ port, process: { pid } }: Platform, connections: number, durationMs: number): Promise<Turn> => {
  const before = treeCpu(pid);
  const { count, errors, errorSamples, perSecond, p50Ms } = await load({ port, connections, request, warmupMs: 0, durationMs });
  if (errors > 0) throw new Error(`${errors} errors: ${errorSamples.join("; ")}`);
  const after = treeCpu(pid);
  const controlPlane = (after.own - before.own) / count;
  const replicas = (after.children - before.children) / count;
  const userCode = (after.grandchildren - before.grandchildren) / count;
  return { controlPlane, replicas, userCode, all: controlPlane + replicas + userCode, perSecond, p50Ms };
};

const compare = async (platforms: Platform[]): Promise<void> => {
  for (const platform of platforms) await take(platform, 256, WARM_UP_MS);
  for (let round = 0; round < Number(rounds); round++) {
    // Neither is always the one that comes after the other.
    const order = round % 2 === 0 ? platforms : [...platforms].reverse();
    for (const connections of CONNECTIONS) {
      for (const platform of order) platform.turns.get(connections)?.push(await take(platform, connections, TURN_MS));
    }
  }
};

const rowOf = ({ root, turns }: Platform, connections: number): string[] => {
  const all = turns.get(connections) ?? [];
  const parts = ["controlPlane", "replicas", "userCode", "all", "perSecond", "p50Ms"] as const;
  return [root, String(connections), ...parts.map((part) => figure(median(all.map((turn) => turn[part]))))];
};

try {
  const platforms: Platform[] = [];
  for (const root of [OWN, ...others.map((folder) => resolve(folder))]) platforms.push(await start(root));
  await compare(platforms);
  console.log(`${machineLine()}\n`);
  const head = ["build", "connections", "control plane, µs", "replicas, µs", "user code, µs", "all, µs", "per second", "p50 ms"];
  const rows = CONNECTIONS.flatMap((connections) => platforms.map((platform) => rowOf(platform, connections)));
  console.log(markdownTable(head, rows));
} finally {
  await endAll();
}
