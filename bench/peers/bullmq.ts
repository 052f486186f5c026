import { execFileSync } from "node:child_process";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { temporaryFolder } from "../lib/cleanup.ts";
import type { LoadResult } from "../lib/http-load.ts";
import { packageVersion } from "../lib/machine.ts";
import type { StartedProcess } from "../lib/processes.ts";
import { freePort, startProcess } from "../lib/processes.ts";
import type { Contender, Running, Window } from "./contender.ts";
import type { Work } from "./work.ts";

const here = dirname(fileURLToPath(import.meta.url));

const versions = (): Record<string, string> => ({
  bullmq: packageVersion(new URL("node_modules/bullmq/package.json", import.meta.url)),
  ioredis: packageVersion(new URL("node_modules/ioredis/package.json", import.meta.url)),
  redis: redisVersion() ?? "missing",
});

/** BullMQ flows on Redis that syncs its append-only file before it answers. */
export const bullmq: Contender = {
  name: "bullmq",
  versions,
  start: async () => (await start()).running,
};

/** The same without HTTP: the callers are in the process that adds the flows. */
export const bullmqDirect: Contender = {
  name: "bullmq-direct",
  optional: true,
  versions,
  start: async () => {
    const { running, client } = await start();
    return { ...running, loop: (work, window) => loop(client, work, window) };
  },
};

const loop = async (client: StartedProcess, work: Work, window: Window): Promise<LoadResult> => {
  const answer = client.message<{ result?: LoadResult; failure?: string }>(window.warmupMs + window.durationMs + 60_000);
  client.child.send({ loop: work.name, window });
  const { result, failure } = await answer;
  if (result === undefined) throw new Error(failure);
  return result;
};

const start = async (): Promise<{ running: Running; client: StartedProcess }> => {
  if (redisVersion() === undefined) throw new Error("redis-server is not installed; on Debian: apt-get install redis-server");
  const folder = temporaryFolder("redis");
  const [redisPort, port] = [await freePort(), await freePort()];
  const redis = startProcess({ command: "redis-server", args: redisArguments(redisPort, folder.path) });
  await redis.until("Redis is not ready", async () => (await ask(redisPort, "PING").catch(() => "")).startsWith("+PONG"), 10_000);
  const node = (service: string, ...args: string[]) =>
    startProcess({ command: process.execPath, args: [join(here, "services", service), String(redisPort), ...args], ipc: true });
  const worker = node("bullmq-worker.ts");
  const client = node("bullmq-client.ts", String(port));
  await Promise.all([worker.message(10_000), client.message(10_000)]);
  const running: Running = {
    port,
    pids: [redis.pid, worker.pid, client.pid],
    journalPids: [redis.pid],
    request: (work, i) => ({
      path: `/${work.name}`,
      body: String(work.input(i)),
      expect: { status: 200, body: new RegExp(`^${work.expected(work.input(i))}$`) },
    }),
    durability: async () => {
      const enabled = /aof_enabled:\d/.exec(await ask(redisPort, "INFO persistence"))?.[0];
      const sync = (await ask(redisPort, "CONFIG GET appendfsync"))
        .split("\r\n")
        .filter((line) => /^[a-z]/.test(line))
        .join(" ");
      return `append-only file; ${enabled}, ${sync}`;
    },
    stop: async () => {
      await Promise.all([client.stop("SIGKILL"), worker.stop("SIGKILL")]);
      await redis.stop("SIGKILL");
      folder.remove();
    },
  };
  return { running, client };
};

const redisArguments = (port: number, folder: string): string[] => [
  ...["--port", String(port), "--bind", "127.0.0.1", "--dir", folder],
  ...["--appendonly", "yes", "--appendfsync", "always", "--save", ""],
  ...["--maxmemory-policy", "noeviction", "--loglevel", "warning"],
];

/** Sends one inline command to Redis and returns the raw answer. */
const ask = (port: number, command: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port }, () => socket.write(`${command}\r\n`));
    socket.once("data", (data) => {
      socket.destroy();
      resolve(data.toString("utf8"));
    });
    socket.once("error", reject);
    socket.once("end", () => reject(new Error("Redis closed the connection")));
  });

/** `undefined` when it is not installed. */
const redisVersion = (): string | undefined => {
  try {
    return /v=([\d.]+)/.exec(execFileSync("redis-server", ["--version"], { encoding: "utf8" }))?.[1];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
};
