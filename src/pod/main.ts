/**
 * The program inside a pod: connects to the control plane, learns what to execute, and executes it.
 *
 * Owns: this process. It starts generic (warm) and becomes, for ever, the pod of one function or of one version's coordinators.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { failureOf, LockstepError } from "../lib/errors.ts";
import type { Beat, FromPod, PodBootstrap, ToPod } from "../protocol/pod.ts";
import type { ToReplica } from "../protocol/replica.ts";
import { loadBundle, manifestOf, preloadBundle } from "./bundle.ts";
import { captureOutput, owner } from "./capture.ts";
import { CoordinatorHost } from "./coordinator-host.ts";
import type { Usage } from "./function-host.ts";
import { FunctionHost } from "./function-host.ts";
import { Link } from "./link.ts";
import { createPulse, startLiveness } from "./liveness.ts";
import { coordinatorsOf } from "./recovery.ts";
import { listenBeside } from "./replica-address.ts";
import type { ReplicaHost } from "./replica-host.ts";
import { nameUserFiles } from "./stack-trace.ts";
import { warmUp } from "./warm-up.ts";

const WARM_UP_AFTER_MS = 25;
const exit = process.exit.bind(process);
const bootstrap = JSON.parse(readFileSync(0, "utf8")) as PodBootstrap;
const pulse = createPulse();

let functions: FunctionHost | undefined;
let coordinators: CoordinatorHost | undefined;
let replica: ReplicaHost | Promise<ReplicaHost> | undefined;

const usage = (() => {
  let at = -1;
  let last: Usage = { cpuMs: 0, memoryMb: 0 };
  return (): Usage => {
    const now = performance.now();
    if (now - at < 1) return last;
    at = now;
    const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
    last = { cpuMs: (userCPUTime + systemCPUTime) / 1000, memoryMb: Math.round(maxRSS / 1024) };
    return last;
  };
})();

const load = (message: ToPod & { t: "load" }): void => {
  const startedAt = performance.now();
  watch();
  try {
    nameUserFiles(message.path);
    const application = loadBundle(message.path);
    const limits = { maxPayloadBytes: bootstrap.maxPayloadBytes, maxLogBytes: bootstrap.maxLogBytes };
    const { functions: definitions, tables, checks } = application;
    functions = new FunctionHost(definitions, { ...limits, tables, checks }, usage, (reply) => link.send(reply));
    coordinators = new CoordinatorHost(
      coordinatorsOf(application),
      { ...limits, tables: application.tables },
      {
        send: (reply) => link.send(reply),
        schedule: () => link.schedule(),
        executing: (run) => pulse.executing(run),
      },
    );
    link.send({ t: "loaded", version: message.version, manifest: manifestOf(application), ms: performance.now() - startedAt });
  } catch (error) {
    link.send({ t: "refused", version: message.version, failure: JSON.stringify(failureOf(error, "APPLICATION_INVALID")) });
  }
};

// A warm pod runs nothing that could block it, so its main thread can beat for itself: a thread costs as much memory as a third of the pod.
// From the moment at which user code may run, only a thread of its own can tell a busy process from one that hangs.
let ownBeat: NodeJS.Timeout | undefined;
const beat = (): void => {
  const ofAll = { t: "beat", blockedMs: 0, run: "", rssMb: usage().memoryMb } as const;
  // A replica's main thread beats for good: no other thread is to come.
  link.send(replica === undefined ? { ...ofAll, generic: true } : ofAll);
};

const watch = (): void => {
  clearInterval(ownBeat);
  const { address, pod, token, heartbeatMs } = bootstrap;
  startLiveness({ address, pod, token, heartbeatMs, buffer: pulse.buffer });
};

/** A program of its own, so that pods which are no replicas don't load it. User code has a process of its own there: this one beats for itself. */
const loadReplica = async (): Promise<ReplicaHost> => {
  const program = new URL("./replica-host.js", import.meta.url).href;
  const { ReplicaHost: Host } = (await import(program)) as typeof import("./replica-host.ts");
  const { address, pod, memoryMb, maxPayloadBytes, maxLogBytes, drills } = bootstrap;
  const listen = listenBeside(address, pod, link.localAddress);
  const crash = () => process.kill(process.pid, "SIGKILL");
  const host = new Host(
    { listen, memoryMb, maxPayloadBytes, maxLogBytes, drills: drills === true, crash },
    {
      send: (message) => link.send(message),
      flush: () => link.flush(),
      failed: (failure) =>
        link.send({ t: "refused", version: "", failure: typeof failure === "string" ? failure : JSON.stringify(failure) }),
    },
  );
  replica = host;
  return host;
};

const takeAsReplica = (message: ToReplica): void => {
  if (functions !== undefined) return;
  replica ??= loadReplica();
  if (replica instanceof Promise) void replica.then((host) => host.take(message));
  else replica.take(message);
};

const take = (message: ToPod): void => {
  switch (message.t) {
    case "invoke":
      return functions?.invoke(message);
    case "reply":
    case "got":
      return functions?.reply(message);
    case "deliver":
      return coordinators?.deliver(message.run, message.record);
    case "begin":
      return coordinators?.begin(message);
    case "rehearse":
      return coordinators?.rehearse(message);
    case "abort":
      return functions?.abort(message.lease, message.reason);
    case "ask":
      return coordinators?.ask(message.run, message.at);
    case "permit":
      return coordinators?.permit(message.run, message.seq);
    case "evict":
      return coordinators?.evict(message.run);
    case "load":
      return load(message);
    case "preload":
      return preloadBundle(message.path);
    case "exit":
      return exit(0);
    case "replica-prepare":
    case "replicate":
    case "membership":
    case "replica-code":
    case "request":
    case "replica-inspect":
    case "misbehave":
      return takeAsReplica(message);
  }
};

const link: Link<ToPod, FromPod | Beat> = new Link<ToPod, FromPod | Beat>(bootstrap.address, {
  open: () => {
    link.send({ t: "hello", pod: bootstrap.pod, token: bootstrap.token, pid: process.pid });
    // Not before: on a busy machine the connection takes longer than a beat, and who beats before it has said who it is, is sent away.
    ownBeat = setInterval(beat, bootstrap.heartbeatMs);
    // Not at once: a pod that somebody waits for is told what to load with its first messages.
    setTimeout(() => functions ?? warmUp(fileURLToPath(import.meta.url), usage), WARM_UP_AFTER_MS);
  },
  messages: (batch) => {
    coordinators?.nextBatch();
    for (const message of batch) take(message);
  },
  beforeFlush: () => {
    pulse.idle();
    coordinators?.flush();
  },
  // Without its control plane a pod's work can't be committed any more: another pod will do it again.
  closed: () => exit(0),
});

captureOutput();

// Whoever stops a service or a group of processes may mean all of it; the control plane ends its pods once it has drained.
for (const name of ["SIGINT", "SIGHUP", "SIGTERM"] as const) process.on(name, () => {});

// User code that ends the process would take other calls with it: the call that asked for it fails instead.
process.exit = ((code?: number) => {
  const error = Object.assign(new LockstepError("PROCESS_EXIT", `process.exit(${code ?? ""}) was called`), { terminal: true });
  (owner.getStore() as { fail?: (error: unknown) => void } | undefined)?.fail?.(error);
  throw error;
}) as typeof process.exit;

process.on("uncaughtException", (error) => {
  const culprit = owner.getStore() as { fail?(error: unknown): void; crash?(error: unknown): void } | undefined;
  if (error instanceof LockstepError && error.code === "PROCESS_EXIT") return;
  if (culprit?.fail !== undefined) return culprit.fail(error);
  // A coordinator that took the pod with it would do so in each replay, and with it every other run of this version.
  if (culprit?.crash !== undefined) return culprit.crash(error);
  process.stderr.write(`uncaught exception outside of any call: ${error instanceof Error ? error.stack : String(error)}`);
  exit(70);
});

// A promise that nobody awaits is a defect of user code, yet no reason to end the other calls of this pod.
process.on("unhandledRejection", (reason) => {
  console.error("a promise was rejected and nothing awaited it:", reason);
});
