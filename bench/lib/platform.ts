/** The built platform as a process of its own, as a user starts it, and what a bench asks of it. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { temporaryFolder } from "./cleanup.ts";
import type { StartedProcess } from "./processes.ts";
import { answers, freePort, startProcess } from "./processes.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const cli = fileURLToPath(new URL("../../bin/lockstep.js", import.meta.url));

export interface BenchPlatform {
  readonly url: string;
  readonly port: number;
  readonly process: StartedProcess;
  /** Milliseconds from the start of the process to its readiness. */
  readonly startMs: number;
  post<T = unknown>(path: string, body: unknown): Promise<T>;
  put<T = unknown>(path: string, body: unknown): Promise<T>;
  get<T = unknown>(path: string): Promise<T>;
  /** Ends the process at once and starts another on the same data. */
  crash(): Promise<BenchPlatform>;
  stop(): Promise<void>;
}

/** @param application a folder or module below the repository's root */
export const startBenchPlatform = async (application: string, data = temporaryFolder("lockstep")): Promise<BenchPlatform> => {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const startedAt = performance.now();
  const started = startProcess({
    command: process.execPath,
    // What Node was told for the bench it is told for the platform too.
    args: [...process.execArgv, cli, "start", "--app", application, "--data", data.path, "--port", String(port)],
    cwd: root,
  });
  await started.until("not ready", () => answers(`${url}/readyz`), 30_000);
  const request = async <T>(method: string, path: string, body?: unknown): Promise<T> => {
    const response = await fetch(url + path, {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { "content-type": "application/json" } }),
    });
    const text = await response.text();
    const answer = (text === "" ? undefined : JSON.parse(text)) as T;
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${JSON.stringify(answer)}`);
    return answer;
  };
  return {
    url,
    port,
    process: started,
    startMs: performance.now() - startedAt,
    post: (path, body) => request("POST", path, body),
    put: (path, body) => request("PUT", path, body),
    get: (path) => request("GET", path),
    crash: async () => {
      await started.stop("SIGKILL");
      return startBenchPlatform(application, data);
    },
    stop: async () => {
      await started.stop();
      data.remove();
    },
  };
};

interface PodList {
  pods: { id: string; pid: number; role: string; state: string; inFlight: number }[];
}

export const podsOf = async (platform: BenchPlatform): Promise<PodList["pods"]> => (await platform.get<PodList>("/v1/pods")).pods;

/** Resident memory of the platform and all its pods, in MiB. */
export const residentMb = async (platform: BenchPlatform): Promise<number> => {
  const pids = [platform.process.pid, ...(await podsOf(platform)).map(({ pid }) => pid)];
  const kb = pids.map((pid) => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0));
  return kb.reduce((sum, value) => sum + value, 0) / 1024;
};
