/** What `lockstep doctor` looks at. Each check tells one thing, and what to do when it is not well. */
import type { FileHandle } from "node:fs/promises";
import { mkdir, open, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { systemClock } from "../lib/clock.ts";
import type { Io } from "./io.ts";

export interface CheckResult {
  name: string;
  status: "ok" | "warning" | "failed";
  found: string;
  mend?: string;
}

const ok = (name: string, found: string): CheckResult => ({ name, status: "ok", found });
const warning = (name: string, found: string, mend: string): CheckResult => ({ name, status: "warning", found, mend });
const failed = (name: string, found: string, mend: string): CheckResult => ({ name, status: "failed", found, mend });

export const LEAST_NODE = [22, 13] as const;

export const checkNode = (version: string): CheckResult => {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const enough = major > LEAST_NODE[0] || (major === LEAST_NODE[0] && minor >= LEAST_NODE[1]);
  return enough ? ok("Node.js", version) : failed("Node.js", version, `Use Node.js ${LEAST_NODE.join(".")} or later.`);
};

const SYNCS = 20;
const SLOW_SYNC_MS = 10;

/** Every accepted run waits for a write to reach the disk, so its speed bounds the platform's. */
export const checkDataDirectory = async (directory: string): Promise<CheckResult> => {
  const name = "data directory";
  const file = path.join(directory, `.doctor-${process.pid}`);
  try {
    const made = await mkdir(directory, { recursive: true });
    const handle = await open(file, "w");
    const medianMs = await medianSync(handle).finally(() => handle.close());
    await rm(made ?? file, { recursive: true });
    const found = `${directory} is writable; a write reaches the disk in ${medianMs.toFixed(2)} ms`;
    return medianMs < SLOW_SYNC_MS
      ? ok(name, found)
      : warning(name, found, "Put the data directory on a faster disk: each start waits for one write.");
  } catch (error) {
    return failed(name, `${directory}: ${(error as Error).message}`, "Give --data a directory that this user may write to.");
  }
};

const medianSync = async (handle: FileHandle): Promise<number> => {
  const block = Buffer.alloc(4_096, 1);
  const times: number[] = [];
  for (let i = 0; i < SYNCS; i++) {
    const startedAt = performance.now();
    await handle.write(block);
    await handle.datasync();
    times.push(performance.now() - startedAt);
  }
  return times.sort((a, b) => a - b)[SYNCS >> 1] as number;
};

/** A platform that answers at the address is well, and so is a port that one could listen at. */
export const checkAddress = async (url: string, fetching: Io["fetch"]): Promise<CheckResult> => {
  const name = "platform";
  try {
    const response = await fetching(`${url}/healthz`, { signal: AbortSignal.timeout(2_000) });
    const text = await response.text();
    if (response.ok) return ok(name, `one answers at ${url}`);
    return failed(
      name,
      `${url} answers with HTTP ${response.status}: ${text.slice(0, 100)}`,
      "Stop what listens there, or choose another --port.",
    );
  } catch (error) {
    const { hostname, port } = new URL(url);
    const taken = await whyNotFree(hostname.replace(/^\[|\]$/g, ""), Number(port || 80));
    if (taken === undefined) return ok(name, `none answers at ${url}, and the port is free for one`);
    return failed(name, `${url}: ${(error as Error).message}; ${taken}`, "Stop what holds the port, or choose another --port.");
  }
};

const whyNotFree = (host: string, port: number): Promise<string | undefined> =>
  new Promise((resolve) => {
    const server = createServer();
    server.once("error", (error) => resolve(error.message));
    server.listen(port, host, () => server.close(() => resolve(undefined)));
  });

export const checkBundler = async (): Promise<CheckResult> => {
  const name = "bundler";
  try {
    const { transform, version } = await import("esbuild");
    const { code } = await transform("const a: number = 1;", { loader: "ts" });
    if (code.includes("number")) return failed(name, "esbuild gives back what it was given", "Install the packages again: npm ci.");
    return ok(name, `esbuild ${version}`);
  } catch (error) {
    const mend = "Install the packages for this machine: npm ci (a node_modules folder from another system doesn't fit).";
    return failed(name, (error as Error).message, mend);
  }
};

export const checkSqlite = async (): Promise<CheckResult> => {
  const name = "journal";
  try {
    const { DatabaseSync } = await import("node:sqlite");
    const database = new DatabaseSync(":memory:");
    const { version } = database.prepare("SELECT sqlite_version() AS version").get() as { version: string };
    database.close();
    return ok(name, `SQLite ${version}`);
  } catch (error) {
    return failed(name, (error as Error).message, `Use Node.js ${LEAST_NODE.join(".")} or later.`);
  }
};

// The shortest limit of the systems that Node.js runs on, and the longest name that we put below the temporary folder.
const SOCKET_PATH_LIMIT = 103;
const SOCKET_NAME = "/lockstep-pods-XXXXXX/control-plane.sock".length;

export const checkSocketPath = (folder: string = tmpdir()): CheckResult => {
  const length = Buffer.byteLength(folder) + SOCKET_NAME;
  const found = `sockets in ${folder} have paths of up to ${length} bytes`;
  if (length <= SOCKET_PATH_LIMIT) return ok("temporary folder", found);
  return failed("temporary folder", `${found}; the limit is ${SOCKET_PATH_LIMIT}`, "Set TMPDIR to a shorter path, such as /tmp.");
};

const EARLIEST = Date.UTC(2025, 0, 1);
const TICK_MS = 50;

/** Run ids count from 2025 and sort by time, so a clock that is far off or runs unevenly shows in them. */
export const checkClock = async (clock = systemClock): Promise<CheckResult> => {
  const [wall, steady] = [clock.now(), performance.now()];
  if (wall < EARLIEST) return failed("clock", new Date(wall).toISOString(), "Set the machine's clock: run ids count from 2025.");
  await new Promise<void>((resolve) => void clock.after(TICK_MS, resolve));
  const drift = Math.abs(clock.now() - wall - (performance.now() - steady));
  const found = `${new Date(wall).toISOString()}, ${drift.toFixed(0)} ms off a steady clock after ${TICK_MS} ms`;
  return drift < TICK_MS
    ? ok("clock", found)
    : warning("clock", found, "Something sets the machine's clock: let it be adjusted gradually (NTP).");
};
