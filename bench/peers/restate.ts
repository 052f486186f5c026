import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { arch, platform } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { temporaryFolder } from "../lib/cleanup.ts";
import { packageVersion } from "../lib/machine.ts";
import type { StartedProcess } from "../lib/processes.ts";
import { answers, cleanEnvironment, freePort, startProcess } from "../lib/processes.ts";
import type { Contender, Running } from "./contender.ts";

const here = dirname(fileURLToPath(import.meta.url));

interface Form {
  /** The work as durable steps inside one handler, or as calls from service to service. */
  service: "steps" | "callers";
  /** Default: Restate's own, 24. */
  partitions?: number;
}

const contender = (name: string, form: Form): Contender => ({
  name,
  // A single call is an invocation of the service itself, whichever form the rest takes: it is measured once, with the steps.
  lacks: form.service === "callers" ? ["one-call"] : [],
  versions: () => ({
    "restate-server": packageVersion(new URL("node_modules/@restatedev/restate-server/package.json", import.meta.url)),
    "restate-sdk": packageVersion(new URL("node_modules/@restatedev/restate-sdk/package.json", import.meta.url)),
  }),
  start: () => start(form),
});

/** As it ships, and with one partition: of all settings tried the only one that made a great difference on two cores. */
export const restate: readonly Contender[] = [
  contender("restate-steps", { service: "steps" }),
  contender("restate-calls", { service: "callers" }),
  contender("restate-1p-steps", { service: "steps", partitions: 1 }),
  contender("restate-1p-calls", { service: "callers", partitions: 1 }),
];

const start = async ({ service, partitions }: Form): Promise<Running> => {
  const folder = temporaryFolder("restate");
  const [ingress, admin, node, code] = [await freePort(), await freePort(), await freePort(), await freePort()];
  const env = settings(folder.path, ingress, admin, node);
  if (partitions !== undefined) env.RESTATE_DEFAULT_NUM_PARTITIONS = String(partitions);
  const server = startProcess({ command: serverBinary(), args: ["--no-logo"], env });
  const functions = startProcess({
    command: process.execPath,
    args: [join(here, "services/restate-service.ts"), String(code)],
    env: { RESTATE_LOGGING: "ERROR" },
    ipc: true,
  });
  await functions.message(10_000);
  for (const health of [`http://127.0.0.1:${admin}/health`, `http://127.0.0.1:${ingress}/restate/health`]) {
    await server.until("not ready", () => answers(health), 30_000);
  }
  await register(admin, code, server);
  return {
    port: ingress,
    pids: [server.pid, functions.pid],
    journalPids: [server.pid],
    request: (work, i) => ({
      path: service === "steps" && work.name === "one-call" ? "/functions/increment" : `/${service}/${work.name.replace("-", "_")}`,
      body: String(work.input(i)),
      expect: { status: 200, body: new RegExp(`^${work.expected(work.input(i))}$`) },
    }),
    durability: () => Promise.resolve(durabilityOf(env)),
    stop: async () => {
      // Its own shutdown takes up to a minute, and the store is thrown away.
      await Promise.all([server.stop("SIGKILL"), functions.stop("SIGKILL")]);
      folder.remove();
    },
  };
};

/** Ports, paths and quiet logs; the one limit that a closed loop of 512 callers meets is raised, everything else is its default. */
const settings = (folder: string, ingress: number, admin: number, node: number): Record<string, string> => ({
  RESTATE_BASE_DIR: folder,
  RESTATE_NODE_NAME: "bench",
  RESTATE_CLUSTER_NAME: "bench",
  RESTATE_LISTEN_MODE: "tcp",
  RESTATE_BIND_IP: "127.0.0.1",
  RESTATE_BIND_PORT: String(node),
  RESTATE_INGRESS__BIND_PORT: String(ingress),
  RESTATE_ADMIN__BIND_PORT: String(admin),
  RESTATE_LOG_FILTER: "error",
  RESTATE_DISABLE_TELEMETRY: "true",
  RESTATE_ADMIN__DISABLE_WEB_UI: "true",
  // A caller holds its slot while it waits for what it calls: with the default of 1,000 the callers of a fan-out would starve their calls.
  RESTATE_WORKER__INVOKER__CONCURRENT_INVOCATIONS_LIMIT: "20000",
});

const register = async (admin: number, code: number, server: StartedProcess): Promise<void> => {
  const response = await fetch(`http://127.0.0.1:${admin}/deployments`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ uri: `http://127.0.0.1:${code}` }),
  });
  if (!response.ok) throw new Error(`Restate refused the services: ${response.status} ${await response.text()} ${server.output()}`);
  await response.arrayBuffer();
};

/** What the server itself says of its log with these settings. */
const durabilityOf = (env: Record<string, string>): string => {
  const config = execFileSync(serverBinary(), ["--dump-config"], { env: cleanEnvironment(env), encoding: "utf8" });
  const facts = ["default-provider", "default-replication", "default-num-partitions"].map(
    (key) => new RegExp(`^${key} = .*$`, "m").exec(config)?.[0],
  );
  const logServer = config.slice(config.indexOf("\n[log-server]"));
  return [...facts, /^rocksdb-disable-wal-fsync = .*$/m.exec(logServer)?.[0]].join(", ");
};

/** The binary itself: the package's launcher would be one more process. */
const serverBinary = (): string => {
  const launcher = createRequire(import.meta.url).resolve("@restatedev/restate-server/package.json");
  const binary = join(dirname(launcher), `../restate-server-${platform()}-${arch()}/bin/restate-server`);
  if (!existsSync(binary)) throw new Error(`there is no Restate server for ${platform()}-${arch()}`);
  return binary;
};
