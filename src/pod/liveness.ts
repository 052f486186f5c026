import { Worker } from "node:worker_threads";
import type { RunId } from "../lib/ids.ts";

const RUN_BYTES = 16;
const TURN_MS = 50;

/** What the main thread shares with the liveness thread: a counter that its event loop turns, and the run that executes. */
export interface Pulse {
  readonly buffer: SharedArrayBuffer;
  executing(run: RunId): void;
  idle(): void;
}

/** @param buffer 4 bytes of counter, 1 of length, then the run id in ASCII */
export const createPulse = (): Pulse => {
  const buffer = new SharedArrayBuffer(8 + RUN_BYTES);
  const counter = new Int32Array(buffer, 0, 1);
  const text = new Uint8Array(buffer, 7, RUN_BYTES + 1);
  setInterval(() => Atomics.add(counter, 0, 1), TURN_MS).unref();
  return {
    buffer,
    executing(run) {
      text[0] = 0;
      for (let i = 0; i < run.length && i < RUN_BYTES; i++) text[i + 1] = run.charCodeAt(i);
      text[0] = Math.min(run.length, RUN_BYTES);
    },
    idle() {
      text[0] = 0;
    },
  };
};

/** Reads the pulse from the liveness thread. */
export const readPulse = (buffer: SharedArrayBuffer): { turns(): number; run(): RunId } => {
  const counter = new Int32Array(buffer, 0, 1);
  const text = new Uint8Array(buffer, 7, RUN_BYTES + 1);
  return {
    turns: () => Atomics.load(counter, 0),
    run: () => String.fromCharCode(...text.subarray(1, 1 + (text[0] as number))),
  };
};

/**
 * Starts the thread that beats for this process. It has its own event loop and connection: a beat says that the process runs, and how long
 * the main thread has been busy, so that a long computation isn't taken for a hang.
 */
export const startLiveness = (data: {
  address: string;
  pod: string;
  token: string;
  heartbeatMs: number;
  buffer: SharedArrayBuffer;
}): void => {
  new Worker(new URL("./liveness-thread.js", import.meta.url), { ...THREAD, workerData: data }).unref();
};

const THREAD = { resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 2 }, execArgv: [], env: {} };

/**
 * Starts a thread and ends it before it has begun: the first one of a process takes some milliseconds of the main thread, any other less than
 * one. A thread that ran to its end would leave six times the memory behind (9 MB).
 */
export const primeLiveness = (): void => {
  const worker = new Worker("", { ...THREAD, eval: true });
  // A machine that can start no thread tells so when it matters.
  worker.once("error", () => {});
  void worker.terminate();
};
