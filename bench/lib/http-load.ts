/**
 * A closed-loop HTTP/1.1 load generator: each connection has one request in flight and sends the next when the answer has come. It runs in
 * a process of its own (http-load-worker.ts), so that it shares no event loop with what is measured. Every answer is checked.
 */
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { onEnd, refuseWhenEnding } from "./cleanup.ts";
import { cleanEnvironment } from "./processes.ts";
import type { LatencySummary } from "./summary.ts";

export interface LoadRequest {
  /** Default POST. */
  method?: string;
  path: string;
  /** Sent as application/json unless `headers` says otherwise. */
  body?: string;
  headers?: Record<string, string>;
  expect: Expectation;
}

export interface Expectation {
  status: number;
  /** Must match the response's body. */
  body?: RegExp;
}

export interface LoadOptions {
  /** Default 127.0.0.1. */
  host?: string;
  port: number;
  connections: number;
  /** Called in this process for i = 0 … variants − 1, before the load starts; the generator then sends the results round-robin. */
  request: (i: number) => LoadRequest;
  /** How many different requests there are. Default 64. */
  variants?: number;
  /** Load before the measurement. Default 1,000. */
  warmupMs?: number;
  /** Measures what completes in this time, or as much longer as two answers per connection need. Default 4,000. */
  durationMs?: number;
  /** Instead of `durationMs`: measures this many requests, from the first one sent to the last one answered. */
  count?: number;
  /** An answer that takes longer is an error and ends its connection. Default 30,000. */
  timeoutMs?: number;
}

export interface LoadResult extends LatencySummary {
  /** Wrong answers, lost connections and timeouts, in the warm-up too. */
  errors: number;
  /** The first few errors, as text. */
  errorSamples: string[];
  /** Processor time that the generator itself used in the measured window. */
  generatorCpuMs: number;
}

/** What the worker is sent: everything built beforehand. */
export interface LoadPlan {
  host: string;
  port: number;
  connections: number;
  requests: { bytes: Uint8Array; expect: Expectation }[];
  warmupMs: number;
  durationMs: number;
  count: number | undefined;
  timeoutMs: number;
}

/** @throws {Error} when not one request succeeded, or when the generator died */
export const load = async (options: LoadOptions): Promise<LoadResult> => {
  const host = options.host ?? "127.0.0.1";
  const variants = options.variants ?? 64;
  const plan: LoadPlan = {
    host,
    port: options.port,
    connections: options.connections,
    requests: Array.from({ length: variants }, (_, i) => encode(`${host}:${options.port}`, options.request(i))),
    warmupMs: options.warmupMs ?? 1_000,
    durationMs: options.durationMs ?? 4_000,
    count: options.count,
    timeoutMs: options.timeoutMs ?? 30_000,
  };
  const result = await execute(plan);
  if (result.count === 0) throw new Error(`no request succeeded (${result.errors} errors: ${result.errorSamples.join("; ")})`);
  return result;
};

const encode = (host: string, request: LoadRequest): { bytes: Uint8Array; expect: Expectation } => {
  const body = Buffer.from(request.body ?? "", "utf8");
  const headers: Record<string, string> = { host, ...request.headers };
  if (request.body !== undefined) {
    headers["content-type"] ??= "application/json";
    headers["content-length"] = String(body.length);
  }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  const head = `${request.method ?? "POST"} ${request.path} HTTP/1.1\r\n${lines.join("")}\r\n`;
  return { bytes: Buffer.concat([Buffer.from(head, "latin1"), body]), expect: request.expect };
};

const execute = (plan: LoadPlan): Promise<LoadResult> =>
  new Promise((resolve, reject) => {
    refuseWhenEnding();
    const worker = fork(fileURLToPath(new URL("./http-load-worker.ts", import.meta.url)), [], {
      serialization: "advanced",
      env: cleanEnvironment(),
    });
    const release = onEnd(() => void worker.kill("SIGKILL"));
    worker.once("message", (message) => {
      const answer = message as { result?: LoadResult; failure?: string };
      if (answer.result === undefined) reject(new Error(`load generator: ${answer.failure}`));
      else resolve(answer.result);
    });
    worker.once("exit", (code, signal) => {
      release();
      reject(new Error(`the load generator ended without a result (${signal ?? `exit code ${code}`})`));
    });
    worker.once("error", reject);
    worker.send(plan);
  });
