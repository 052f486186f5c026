/** Platforms in child processes, to be killed. */
import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { bundleApplication } from "../../src/application/bundler.ts";
import type { PlatformLimits } from "../../src/platform.ts";
import type { ApplicationVersion } from "../../src/protocol/application.ts";
import type { PodView } from "../../src/protocol/control-plane.ts";
import { type Client, createClient } from "lockstep/client";
import { eventually, within } from "./eventually.ts";
import type { Sandbox } from "./sandbox.ts";

export interface PlatformProcessOptions {
  /** Default: the sandbox's. */
  dataDirectory?: string;
  /** Default: any free one. */
  port?: number;
  limits?: Partial<PlatformLimits>;
  environment?: Record<string, string>;
}

export interface PlatformProcess {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  readonly client: Client;
  /** From the start of the process to its answer that it takes work. */
  readonly startMs: number;
  /** The end of what it wrote to its standard error. */
  output(): string;
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>;
  /** SIGTERM; resolves when it has stopped in order. */
  stop(): Promise<void>;
  deploy(path: string, name?: string): Promise<ApplicationVersion>;
  /** The pod of a role (a function's name, `coordinator`), once it is ready. */
  pod(role: string): Promise<PodView>;
}

const MAIN = fileURLToPath(new URL("./platform-main.ts", import.meta.url));
const OUTPUT_KEPT = 20_000;
const START_WITHIN_MS = 20_000;

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
export const startPlatformProcess = async (sandbox: Sandbox, options: PlatformProcessOptions = {}): Promise<PlatformProcess> => {
  const { dataDirectory = sandbox.data, port = 0, limits = {}, environment = {} } = options;
  const startedAt = performance.now();
  const child = spawn(process.execPath, [MAIN, JSON.stringify({ dataDirectory, gateway: { port }, limits })], {
    env: { PATH: process.env.PATH, HOME: sandbox.root, TMPDIR: sandbox.temporary, ...environment },
    stdio: ["pipe", "pipe", "pipe"],
  });
  const output = collect(child);
  const exited = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.once("exit", (code, signal) => resolve({ code, signal }));
  });
  // Writing to a process that was killed is what these tests do.
  child.stdin?.on("error", () => undefined);
  const url = await within("the platform starts", START_WITHIN_MS, firstLine(child, output));
  const startMs = performance.now() - startedAt;
  const client = createClient({ url, retryForMs: 30_000 });
  const end = async (name: NodeJS.Signals): Promise<void> => {
    child.kill(name);
    await within(`the platform ends by ${name}`, 15_000, exited);
  };
  return {
    url,
    port: Number(new URL(url).port),
    pid: child.pid as number,
    client,
    startMs,
    output,
    exited,
    kill: () => end("SIGKILL"),
    stop: () => end("SIGTERM"),
    deploy: async (path, name) => client.deploy(await bundleApplication(path, name === undefined ? {} : { name })),
    pod: (role) =>
      eventually(`a pod of ${role} is ready`, async () => (await client.pods()).find((pod) => pod.role === role && pod.state === "ready")),
  };
};

const collect = (child: ChildProcess): (() => string) => {
  let text = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    text = (text + chunk.toString()).slice(-OUTPUT_KEPT);
  });
  return () => text;
};

const firstLine = (child: ChildProcess, output: () => string): Promise<string> =>
  new Promise((resolve, reject) => {
    let text = "";
    child.once("error", reject);
    child.once("exit", (code, signal) => reject(new Error(`the platform ended before it listened (${signal ?? code}): ${output()}`)));
    child.stdout?.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      const end = text.indexOf("\n");
      if (end < 0) return;
      const { url, error } = JSON.parse(text.slice(0, end)) as { url?: string; error?: { code?: string; message: string } };
      if (url !== undefined) resolve(url);
      else reject(new StartRefused(error?.code, error?.message ?? text));
    });
  });
