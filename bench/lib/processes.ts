/** Starts the processes that a bench measures, keeps the end of what they print, and ends them. */
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { createServer } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { onEnd, refuseWhenEnding } from "./cleanup.ts";

const OUTPUT_LIMIT = 8_000;
const KILL_AFTER_MS = 5_000;

export interface StartedProcess {
  readonly pid: number;
  /** The end of what it wrote to stdout and stderr. */
  output(): string;
  /** Resolves with the first message that it sends (Node processes with `ipc`), rejects when it ends first. */
  message<T>(timeoutMs: number): Promise<T>;
  /** Resolves when `probe` returns true; rejects when the process ends first or `timeoutMs` is over. */
  until(what: string, probe: () => Promise<boolean>, timeoutMs: number): Promise<void>;
  /** SIGTERM, then SIGKILL after five seconds; or the signal given at once. */
  stop(signal?: "SIGTERM" | "SIGKILL"): Promise<void>;
  readonly child: ChildProcess;
}

export interface StartOptions {
  command: string;
  args: string[];
  env?: Record<string, string>;
  cwd?: string;
  /** Opens a channel for messages; for Node processes. */
  ipc?: boolean;
}

/**
 * The environment for started processes: only what a program needs to run. Among what is left out is NODE_EXTRA_CA_CERTS, which makes Node
 * start three times slower.
 */
export const cleanEnvironment = (extra: Record<string, string> = {}): Record<string, string> => {
  const kept: Record<string, string> = {};
  for (const name of ["PATH", "HOME", "LANG", "TMPDIR", "TZ"]) {
    const value = process.env[name];
    if (value !== undefined) kept[name] = value;
  }
  return { ...kept, NODE_ENV: "production", ...extra };
};

export const startProcess = (options: StartOptions): StartedProcess => {
  refuseWhenEnding();
  const child = spawn(options.command, options.args, {
    cwd: options.cwd,
    env: cleanEnvironment(options.env),
    stdio: options.ipc === true ? ["ignore", "pipe", "pipe", "ipc"] : ["ignore", "pipe", "pipe"],
  });
  const name = [options.command, ...options.args].join(" ");
  const output = collectOutput(child);
  const ended = new Promise<never>((_, reject) => {
    child.once("error", (error) => reject(new Error(`${name}: ${error.message}`)));
    child.once("exit", (code, signal) => {
      release();
      reject(new Error(`${name} ended (${signal ?? `exit code ${code}`}): ${output()}`));
    });
  });
  // Nobody may be waiting for it: an expected end is not an unhandled rejection.
  ended.catch(() => undefined);
  const stop = (signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> => endProcess(child, signal);
  const release = onEnd(() => stop());
  return {
    pid: child.pid ?? 0,
    child,
    output,
    stop,
    message: <T>(timeoutMs: number) =>
      Promise.race([
        new Promise<T>((resolve) => child.once("message", (message) => resolve(message as T))),
        ended,
        timeout(`${name} sent no message`, timeoutMs, output),
      ]),
    until: (what, probe, timeoutMs) => {
      let over = false;
      const poll = async (): Promise<void> => {
        while (!over && !(await probe())) await delay(5);
      };
      return Promise.race([poll(), ended, timeout(`${name}: ${what}`, timeoutMs, output)]).finally(() => {
        over = true;
      });
    },
  };
};

/** A TCP port of 127.0.0.1 that was free a moment ago. */
export const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => (typeof address === "object" && address !== null ? resolve(address.port) : reject(new Error("no port"))));
    });
  });

/** Whether a GET of `url` answers 2xx; a refused connection is a no. */
export const answers = async (url: string): Promise<boolean> => {
  try {
    const response = await fetch(url);
    await response.arrayBuffer();
    return response.ok;
  } catch {
    // Not listening yet: that is the answer.
    return false;
  }
};

const collectOutput = (child: ChildProcess): (() => string) => {
  let text = "";
  const keep = (chunk: Buffer): void => {
    text = (text + chunk.toString("utf8")).slice(-OUTPUT_LIMIT);
  };
  child.stdout?.on("data", keep);
  child.stderr?.on("data", keep);
  return () => text.trim();
};

const endProcess = (child: ChildProcess, signal: "SIGTERM" | "SIGKILL"): Promise<void> =>
  new Promise((resolve) => {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return resolve();
    const kill = setTimeout(() => child.kill("SIGKILL"), KILL_AFTER_MS);
    child.once("exit", () => {
      clearTimeout(kill);
      resolve();
    });
    child.kill(signal);
  });

const timeout = (what: string, ms: number, output: () => string): Promise<never> =>
  new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`${what} within ${ms} ms: ${output()}`)), ms).unref();
  });
