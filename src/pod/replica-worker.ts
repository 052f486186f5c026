/** The thread that executes a replica's operations: it loads the application's bundle, and takes tasks from the ordering's thread. */
import { parentPort, workerData } from "node:worker_threads";
import { failureOf, LockstepError } from "../lib/errors.ts";
import { captureOutput, owner } from "./capture.ts";
import { installAgreed } from "./replica-agreed.ts";
import { replicatedOf, statefulOf } from "./replica-function.ts";
import { elapsedSince, markerOf } from "./replica-marker.ts";
import { loading, ReplicaRunner, type Report, type RunnerOptions, type Task } from "./replica-runner.ts";
import { nameUserFiles } from "./stack-trace.ts";

export interface WorkerData {
  function: string;
  path: string;
  options: RunnerOptions;
  marks: SharedArrayBuffer;
  base: number;
  /** The state is there already: a bundle that can't go on with it fails operations, and the state stays as it is. */
  keepsState: boolean;
}

/** What the thread tells; `cpuMs` is the thread's own. */
export type FromWorker = Report | { t: "loaded"; isStateful: boolean } | { t: "refused"; failure: string } | { t: "cpu"; cpuMs: number };
export type ToWorker = Task | { t: "cpu" };

const port = parentPort as NonNullable<typeof parentPort>;
const data = workerData as WorkerData;
const tell = (message: FromWorker): void => port.postMessage(message);
const marker = markerOf(data.marks, elapsedSince(data.base));
const threadCpu = (process as { threadCpuUsage?(): { user: number; system: number } }).threadCpuUsage?.bind(process);

const start = (): ReplicaRunner => {
  const fn = loading(() => (data.keepsState ? statefulOf(data.path, data.function) : replicatedOf(data.path, data.function)));
  const runner = new ReplicaRunner(fn, data.options, marker, tell);
  tell({ t: "loaded", isStateful: fn.kind === "stateful" });
  return runner;
};

const take = (runner: ReplicaRunner, message: ToWorker): void => {
  if (message.t !== "cpu") return runner.take(message);
  const { user, system } = threadCpu?.() ?? { user: 0, system: 0 };
  tell({ t: "cpu", cpuMs: (user + system) / 1000 });
};

const exit = process.exit.bind(process);
const stray = process.stderr.write.bind(process.stderr);

const culprit = (): { fail?(error: unknown): void } | undefined => owner.getStore() as { fail?(error: unknown): void } | undefined;

// User code that ends the thread would take the state with it.
process.exit = ((code?: number) => {
  const error = Object.assign(new LockstepError("PROCESS_EXIT", `process.exit(${code ?? ""}) was called`), { terminal: true });
  culprit()?.fail?.(error);
  throw error;
}) as typeof process.exit;

process.on("uncaughtException", (error) => {
  if (error instanceof LockstepError && error.code === "PROCESS_EXIT") return;
  const guilty = culprit();
  if (guilty?.fail !== undefined) return guilty.fail(error);
  stray(`uncaught exception outside of any operation: ${error instanceof Error ? error.stack : String(error)}\n`);
  exit(70);
});
process.on("unhandledRejection", (reason) => console.error("a promise was rejected and nothing awaited it:", reason));

captureOutput();
nameUserFiles(data.path);
installAgreed();
try {
  const runner = start();
  port.on("message", (message: ToWorker) => take(runner, message));
} catch (error) {
  tell({ t: "refused", failure: JSON.stringify(failureOf(error, "APPLICATION_INVALID")) });
}
