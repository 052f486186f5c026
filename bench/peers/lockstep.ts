import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { packageVersion } from "../lib/machine.ts";
import { startBenchPlatform } from "../lib/platform.ts";
import type { Contender, Running } from "./contender.ts";
import type { CaseName } from "./work.ts";

const root = new URL("../../", import.meta.url);

/** The built platform as a user starts it: every setting is its default. */
export const lockstep: Contender = {
  name: "lockstep",
  versions: () => ({ lockstep: packageVersion(new URL("package.json", root)) }),
  start: () => start(),
};

const PATHS: Record<CaseName, string> = {
  "one-call": "/v1/functions/increment/calls?wait=30s",
  "chain-2": "/v1/coordinators/chain2/runs?wait=30s",
  "chain-10": "/v1/coordinators/chain10/runs?wait=30s",
  "fan-32": "/v1/coordinators/fan32/runs?wait=30s",
  "inside-1000": "/v1/coordinators/inside/runs?wait=30s",
};

const inputOf = (name: CaseName, x: number): unknown => {
  if (name === "one-call") return x;
  return name === "inside-1000" ? { calls: x } : { x };
};

const start = async (): Promise<Running> => {
  if (!existsSync(fileURLToPath(new URL("dist/cli/main.js", root)))) throw new Error("the platform is not built: npm run build");
  const platform = await startBenchPlatform("bench/app");
  return {
    port: platform.port,
    pids: [platform.process.pid],
    journalPids: [platform.process.pid],
    request: (work, i) => ({
      path: PATHS[work.name],
      body: JSON.stringify({ input: inputOf(work.name, work.input(i)) }),
      expect: { status: 200, body: new RegExp(`"value":${work.expected(work.input(i))}[,}]`) },
    }),
    durability: () => Promise.resolve("SQLite, write-ahead log, synchronous = FULL (its default)"),
    stop: () => platform.stop(),
  };
};
