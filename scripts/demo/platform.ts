/** The platform of the demo: `lockstep start` as a child process in a temporary folder. */
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Client } from "lockstep/client";
import { createClient } from "lockstep/client";
import { NotShown, until } from "./checks.ts";

export interface DemoPlatform {
  readonly folder: string;
  readonly client: Client;
  /** Where it is served. */
  readonly url: string;
  readonly pid: number;
  /** Starts it, again at the same address after the first time. Resolves with the milliseconds until it took work. */
  start(applications: readonly string[]): Promise<number>;
  /** SIGKILL to the control plane. Resolves when that and every pod that it had are gone. */
  kill(): Promise<{ pods: number }>;
  /** Ends everything and removes the folder. Never throws. */
  dispose(): Promise<void>;
}

const ROOT = join(import.meta.dirname, "../..");
const PROGRAM = join(ROOT, "bin/lockstep.js");
const OUTPUT_KEPT = 4_000;
const START_WITHIN_MS = 15_000;

/** @param options more of `lockstep start` */
export const createDemoPlatform = (options: readonly string[] = []): DemoPlatform => {
  const folder = mkdtempSync(join(tmpdir(), "lockstep-demo-"));
  let child: ChildProcess | undefined;
  let client: Client | undefined;
  let port = "0";
  const known = new Set<number>();

  const start = async (applications: readonly string[]): Promise<number> => {
    const startedAt = performance.now();
    const apps = applications.length === 0 ? [] : ["--app", ...applications];
    child = spawn(process.execPath, [PROGRAM, "start", "--data", join(folder, "data"), "--port", port, "--json", ...options, ...apps], {
      cwd: ROOT,
      stdio: ["ignore", "pipe", "pipe"],
    });
    const url = await urlOf(child);
    port = new URL(url).port;
    client ??= createClient({ url });
    return performance.now() - startedAt;
  };

  const end = async (): Promise<void> => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = new Promise((resolve) => child?.once("exit", resolve));
    child.kill("SIGKILL");
    await exited;
  };

  return {
    folder,
    start,
    get client() {
      if (client === undefined) throw new Error("the platform was not started");
      return client;
    },
    get url() {
      return `http://127.0.0.1:${port}`;
    },
    get pid() {
      return child?.pid ?? 0;
    },
    kill: async () => {
      const pods = (await client?.pods())?.flatMap(({ pid }) => (pid > 0 ? [pid] : [])) ?? [];
      for (const pid of pods) known.add(pid);
      await end();
      await until("every pod ends with its control plane", () => (pods.some(isAlive) ? undefined : true), 3_000);
      return { pods: pods.length };
    },
    dispose: async () => {
      await end();
      await until("the last pods end", () => ([...known].some(isAlive) ? undefined : true), 2_000).catch(() => undefined);
      // A pod that ends just now may still hold a file.
      rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
    },
  };
};

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
  } catch {
    // There is no such process.
    return false;
  }
  return !hasEnded(pid);
};

/** In a container without an init process nobody collects what has ended, and it stays in the list of processes. */
const hasEnded = (pid: number): boolean => {
  try {
    return /\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    // Not Linux, or gone just now: the next look tells.
    return false;
  }
};

const urlOf = (child: ChildProcess): Promise<string> =>
  new Promise((resolve, reject) => {
    let [out, errors] = ["", ""];
    const late = setTimeout(
      () => reject(new NotShown(`the platform did not start within ${START_WITHIN_MS / 1_000} s: ${errors}`)),
      START_WITHIN_MS,
    );
    child.once("error", reject);
    child.once("exit", (code, signal) => {
      clearTimeout(late);
      reject(new NotShown(`the platform ended (${signal ?? `exit code ${code}`}): ${errors.trim()}`));
    });
    child.stderr?.on("data", (chunk: Buffer) => {
      errors = (errors + chunk.toString()).slice(-OUTPUT_KEPT);
    });
    child.stdout?.on("data", (chunk: Buffer) => {
      out += chunk.toString();
      const end = out.indexOf("\n");
      if (end < 0) return;
      clearTimeout(late);
      resolve((JSON.parse(out.slice(0, end)) as { url: string }).url);
    });
  });
