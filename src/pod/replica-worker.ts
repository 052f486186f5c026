/** The process that executes a replica's operations: it loads the application's bundle, and takes tasks from the replica's own process. */
import { failureOf, LockstepError } from "../lib/errors.ts";
import { captureOutput, owner } from "./capture.ts";
import { installAgreed } from "./replica-agreed.ts";
import { installDenied } from "./replica-denied.ts";
import { failing, replicatedOf, statefulOf } from "./replica-function.ts";
import { markerOf } from "./replica-marker.ts";
import { loading, ReplicaRunner, type Replicated, type Report, type RunnerOptions, type Task } from "./replica-runner.ts";
import { nameUserFiles } from "./stack-trace.ts";

/** The first message. */
export interface WorkerData {
  t: "begin";
  function: string;
  path: string;
  options: RunnerOptions;
  /** The state is there already: a bundle that can't go on with it fails operations, and the state stays as it is. */
  keepsState: boolean;
  /** Why the bundle is not to be loaded, as far as that is known; only where there is a state. */
  unloadable?: string;
}

/** What the process tells; `cpuMs` is its own. */
export type FromWorker = Report | { t: "loaded"; isStateful: boolean } | { t: "refused"; failure: string } | { t: "cpu"; cpuMs: number };
export type ToWorker = Task | { t: "cpu" };

/** The replica's process has made it (replica-process.ts). */
const MARKS_FD = 4;
const send = process.send?.bind(process) as (message: FromWorker) => boolean;
const tell = (message: FromWorker): void => void send(message);
const marker = markerOf(MARKS_FD);
const cpuUsage = process.cpuUsage.bind(process);

const functionOf = ({ path, function: name, keepsState, unloadable }: WorkerData): Replicated => {
  if (unloadable !== undefined) return failing(name, new LockstepError("APPLICATION_INVALID", unloadable));
  return loading(() => (keepsState ? statefulOf(path, name) : replicatedOf(path, name)));
};

const begin = (data: WorkerData): ReplicaRunner | undefined => {
  nameUserFiles(data.path);
  try {
    const fn = functionOf(data);
    const runner = new ReplicaRunner(fn, data.options, marker, tell);
    tell({ t: "loaded", isStateful: fn.kind === "stateful" });
    return runner;
  } catch (error) {
    tell({ t: "refused", failure: JSON.stringify(failureOf(error, "APPLICATION_INVALID")) });
    return undefined;
  }
};

let runner: ReplicaRunner | undefined;

const take = (message: ToWorker | WorkerData): void => {
  if (message.t === "begin") {
    runner = begin(message);
  } else if (message.t === "cpu") {
    const { user, system } = cpuUsage();
    tell({ t: "cpu", cpuMs: (user + system) / 1000 });
  } else runner?.take(message);
};

const exit = process.exit.bind(process);
const stray = process.stderr.write.bind(process.stderr);

const culprit = (): { fail?(error: unknown): void } | undefined => owner.getStore() as { fail?(error: unknown): void } | undefined;

// User code that ends the process would take what other operations have begun with it.
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

// Whoever stops a service or a group of processes may mean all of it, and calls go on until their replica ends.
for (const name of ["SIGINT", "SIGHUP", "SIGTERM"] as const) process.on(name, () => {});

captureOutput();
installAgreed();
installDenied();
process.on("message", take);
// Whoever wanted outcomes is no more.
process.on("disconnect", () => exit(0));
