import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { temporaryFolder } from "../lib/cleanup.ts";
import { packageVersion } from "../lib/machine.ts";
import { answers, freePort, startProcess } from "../lib/processes.ts";
import type { Contender, Running } from "./contender.ts";
import type { CaseName } from "./work.ts";

const root = new URL("../../", import.meta.url);
const cli = fileURLToPath(new URL("bin/lockstep.js", root));

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
  if (!existsSync(cli)) throw new Error("bin/lockstep.js is missing: build the platform first");
  const folder = temporaryFolder("lockstep");
  const port = await freePort();
  const application = fileURLToPath(new URL("bench/app", root));
  const platform = startProcess({
    command: process.execPath,
    args: [cli, "start", "--app", application, "--data", folder.path, "--port", String(port)],
    cwd: fileURLToPath(root),
  });
  await platform.until("not ready", () => answers(`http://127.0.0.1:${port}/readyz`), 15_000);
  return {
    port,
    pids: [platform.pid],
    journalPids: [platform.pid],
    request: (work, i) => ({
      path: PATHS[work.name],
      body: JSON.stringify({ input: inputOf(work.name, work.input(i)) }),
      expect: { status: 200, body: new RegExp(`"value":${work.expected(work.input(i))}[,}]`) },
    }),
    durability: () => Promise.resolve("SQLite WAL, synchronous = FULL (its default)"),
    stop: async () => {
      await platform.stop();
      folder.remove();
    },
  };
};
