/** Platforms in child processes, to be killed. */
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Client } from "lockstep/client";
import { createClient } from "lockstep/client";
import { bundleApplication } from "../../src/application/bundler.ts";
import type { PlatformLimits, PlatformOptions } from "../../src/platform.ts";
import type { ApplicationVersion } from "../../src/protocol/application.ts";
import type { PodView } from "../../src/protocol/control-plane.ts";
import { eventually, within } from "./eventually.ts";
import type { CrashPoint, PlatformMainOptions } from "./platform-main.ts";
import type { Sandbox } from "./sandbox.ts";

export interface PlatformProcessOptions {
  /** Default: the sandbox's. */
  dataDirectory?: string;
  /** Default: any free one. */
  port?: number;
  limits?: Partial<PlatformLimits>;
  environment?: Record<string, string>;
  objects?: PlatformOptions["objects"];
  /** Whether it takes drills. */
  drills?: boolean;
  crashAfter?: CrashPoint;
  auditEveryMs?: number;
}

export interface PlatformProcess {
  readonly pid: number;
  readonly url: string;
  readonly port: number;
  readonly client: Client;
  /** From the start of the process to its answer that it takes work. */
  readonly startMs: number;
  /** The end of what it wrote to its standard error. */
  output(): string;
  /** Runs that the auditor mended, when it was asked to look by `auditEveryMs`. */
  repaired(): number;
  readonly exited: Promise<Exit>;
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>;
  /** SIGTERM; resolves when it has stopped in order. */
  stop(): Promise<void>;
  deploy(path: string, name?: string): Promise<ApplicationVersion>;
  /** The pod of a role (a function's name, `coordinator`), once it is ready. */
  pod(role: string): Promise<PodView>;
}

/** A platform that may not be ready yet. */
export interface LaunchedPlatform {
  readonly pid: number;
  readonly exited: Promise<Exit>;
  /** Rejects when the process ends first, with `StartRefused` when it said why. */
  readonly ready: Promise<PlatformProcess>;
  kill(): Promise<void>;
}

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

type Line = { url?: string; error?: { code?: string; message: string }; audited?: { repaired: number } };

const MAIN = fileURLToPath(new URL("./platform-main.ts", import.meta.url));
const OUTPUT_KEPT = 20_000;
// For what hangs, not for what is slow.
const START_WITHIN_MS = 60_000;
const END_WITHIN_MS = 30_000;

/** A start that was refused: `code` is the platform's. */
export class StartRefused extends Error {
  override readonly name = "StartRefused";
  readonly code: string | undefined;

  constructor(code: string | undefined, message: string) {
    super(message);
    this.code = code;
  }
}

/** @throws {StartRefused} with the code that the platform gave */
export const startPlatformProcess = (sandbox: Sandbox, options: PlatformProcessOptions = {}): Promise<PlatformProcess> =>
  within("the platform starts", START_WITHIN_MS, launchPlatform(sandbox, options).ready);

export const launchPlatform = (sandbox: Sandbox, options: PlatformProcessOptions = {}): LaunchedPlatform => {
  const { dataDirectory = sandbox.data, port = 0, limits = {}, environment = {}, objects = {}, drills = false } = options;
  const { crashAfter, auditEveryMs } = options;
  const main: PlatformMainOptions = { platform: { dataDirectory, gateway: { port }, limits, objects, drills }, crashAfter, auditEveryMs };
  const startedAt = performance.now();
  const child = spawn(process.execPath, [MAIN, JSON.stringify(main)], {
    env: { PATH: process.env.PATH, HOME: sandbox.root, TMPDIR: sandbox.temporary, ...environment },
    stdio: ["pipe", "pipe", "pipe"],
  });
  // Writing to a process that was killed is what these tests do.
  child.stdin.on("error", () => undefined);
  const output = collect(child);
  const exited = new Promise<Exit>((resolve) => {
    child.once("exit", (code, signal) => resolve({ code, signal }));
  });
  const end = async (name: NodeJS.Signals): Promise<void> => {
    child.kill(name);
    await within(`the platform ends by ${name}`, END_WITHIN_MS, exited);
  };
  const told = listen(child, output);
  const ready = told.url.then((url) =>
    connect({ pid: child.pid as number, url, startMs: performance.now() - startedAt, output, repaired: told.repaired, exited, end }),
  );
  // Whoever only kills it does not wait for it.
  ready.catch(() => undefined);
  return { pid: child.pid as number, exited, ready, kill: () => end("SIGKILL") };
};

type Started = Pick<PlatformProcess, "pid" | "url" | "startMs" | "output" | "repaired" | "exited"> & {
  end(name: NodeJS.Signals): Promise<void>;
};

const connect = ({ end, ...started }: Started): PlatformProcess => {
  const client = createClient({ url: started.url, retryForMs: 30_000 });
  const readyPod = async (role: string): Promise<PodView | undefined> =>
    (await client.pods()).find((pod) => pod.role === role && pod.state === "ready");
  return {
    ...started,
    port: Number(new URL(started.url).port),
    client,
    kill: () => end("SIGKILL"),
    stop: () => end("SIGTERM"),
    deploy: async (path, name) => client.deploy(await bundleApplication(path, name === undefined ? {} : { name })),
    pod: (role) => eventually(`a pod of ${role} is ready`, () => readyPod(role)),
  };
};

const collect = (child: ChildProcess): (() => string) => {
  let text = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    text = (text + chunk.toString()).slice(-OUTPUT_KEPT);
  });
  return () => text;
};

const listen = (child: ChildProcess, output: () => string): { url: Promise<string>; repaired(): number } => {
  let repaired = 0;
  const url = new Promise<string>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => reject(new Error(`the platform ended before it listened (${signal ?? code}): ${output()}`)));
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on("line", (text) => {
      const line = JSON.parse(text) as Line;
      if (line.url !== undefined) resolve(line.url);
      if (line.error !== undefined) reject(new StartRefused(line.error.code, line.error.message));
      if (line.audited !== undefined) repaired += line.audited.repaired;
    });
  });
  return { url, repaired: () => repaired };
};
