/**
 * Pods as processes of this machine, connected over a unix socket.
 *
 * Owns: the processes, the socket, and which connection belongs to which pod. Does not own: what pods are for (the fleet).
 *
 * L1  A connection speaks for a pod only after it has shown that pod's one-time token.
 * L2  `gone` is reported once per pod, whichever is noticed first: the end of the process or of its connection.
 * L3  No process outlives `stop`, or the control plane: pods end themselves when their connection closes, and the next life ends those that
 *     could not, because they were stopped or stuck. What a pod has started is of its group, and goes with it.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes, timingSafeEqual } from "node:crypto";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Clock } from "../lib/clock.ts";
import { FrameDecoder, FrameEncoder, MAX_FRAME_BYTES } from "../lib/frames.ts";
import { type Beat, type FromPod, isFromPod, type PodBootstrap, type ToPod } from "../protocol/pod.ts";
import { endGroup, LocalRecords } from "./local-records.ts";
import { hasLabels, PodRegister } from "./pod-register.ts";
import type { Cluster, ClusterListener, Labels, PodChange, PodExit, PodHarm, PodSpec, PodStatus } from "./port.ts";

export interface LocalClusterOptions {
  /** The pod's program. */
  program: string;
  heartbeatMs: number;
  maxPayloadBytes: number;
  maxLogBytes: number;
  /** A pod that has not connected by then failed to start. */
  startTimeoutMs: number;
  /** What user code finds in its environment besides PATH, HOME, TZ and LANG. */
  environment?: Record<string, string>;
  /** Where it is kept which processes there are, for the next life to end those that are left. Absent: nowhere. */
  records?: string;
  /** Told of the pods of an earlier life that still were there. */
  foundStrays?(pods: readonly string[]): void;
  /** Replicas do what drills tell them. Default: no. */
  drills?: boolean;
}

interface LocalPod {
  readonly spec: PodSpec;
  readonly process: ChildProcess;
  readonly token: string;
  readonly startedAt: number;
  socket: Socket | undefined;
  beats: Socket | undefined;
  readonly encoder: FrameEncoder<ToPod>;
  outbox: ToPod[];
  flushing: boolean;
  output: string;
  /** Why it is being ended, once that was decided. */
  ending: PodExit["reason"] | undefined;
  gone: boolean;
  /** When the first sign of its end came. */
  noticedAt: number | undefined;
  cancelTimers: (() => void)[];
}

const OUTPUT_KEPT = 4_096;
const OUTPUT_GRACE_MS = 30;
/** Nobody may make us buffer more before it has shown a token. */
const GREETING_BYTES = 4_096;
const SIGNALS = { kill: "SIGKILL", stop: "SIGSTOP", continue: "SIGCONT" } as const;
const KEPT_VARIABLES = ["PATH", "HOME", "TZ", "LANG"];

const isBeat = (message: FromPod | Beat): message is Beat & { t: "beat" } => message.t === "beat";

export class LocalCluster implements Cluster {
  readonly #options: LocalClusterOptions;
  readonly #clock: Clock;
  readonly #pods = new Map<string, LocalPod>();
  readonly #exits = new Map<ChildProcess, Promise<void>>();
  readonly #register = new PodRegister();
  readonly #records: LocalRecords | undefined;
  #listener!: ClusterListener;
  #server: Server | undefined;
  #directory = "";

  constructor(options: LocalClusterOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
    this.#records = options.records === undefined ? undefined : new LocalRecords(options.records);
  }

  async start(listener: ClusterListener): Promise<void> {
    this.#listener = listener;
    const strays = this.#records?.endStrays() ?? [];
    if (strays.length > 0) this.#options.foundStrays?.(strays);
    // A short path of our own: the address of a unix socket may have no more than 107 bytes, and nobody else may connect.
    this.#directory = mkdtempSync(join(tmpdir(), "lockstep-"));
    chmodSync(this.#directory, 0o700);
    this.#records?.open(this.#directory);
    this.#server = createServer((socket) => this.#greet(socket));
    await new Promise<void>((resolve, reject) => {
      this.#server!.once("error", reject).listen(this.#address, () => resolve());
    });
  }

  get #address(): string {
    return join(this.#directory, "pods.sock");
  }

  create(spec: PodSpec): void {
    const child = this.#spawn(spec);
    if (child === undefined) return;
    const pod: LocalPod = {
      spec,
      process: child,
      token: randomBytes(32).toString("base64url"),
      startedAt: this.#clock.now(),
      socket: undefined,
      beats: undefined,
      encoder: new FrameEncoder(),
      outbox: [],
      flushing: false,
      output: "",
      ending: undefined,
      gone: false,
      noticedAt: undefined,
      cancelTimers: [],
    };
    this.#pods.set(spec.id, pod);
    this.#register.add(spec);
    if (child.pid !== undefined) this.#records?.add(spec.id, child.pid);
    this.#register.changed("added", statusOf(pod));
    this.#exits.set(child, endOf(child));
    this.#watch(pod);
    this.#bootstrap(pod);
  }

  #spawn(spec: PodSpec): ChildProcess | undefined {
    try {
      return spawn(process.execPath, [`--max-old-space-size=${spec.memoryMb}`, this.#options.program], {
        env: { ...this.#environment(), ...spec.environment },
        stdio: ["pipe", "ignore", "pipe"],
        // A session of its own: Ctrl-C in a terminal, and its end, go to all processes of a session, and would kill a pod that starts.
        detached: true,
      });
    } catch (error) {
      // The machine is out of processes or memory: that is the end of this pod, and not of whoever asked for it.
      const detail = error instanceof Error ? error.message : String(error);
      const exit: PodExit = { reason: "failed-to-start", memory: false, detail, output: "" };
      this.#clock.after(0, () => this.#listener.gone(spec.id, exit));
      return undefined;
    }
  }

  label(id: string, labels: Labels): void {
    const pod = this.#pods.get(id);
    if (pod !== undefined && this.#register.label(id, labels)) this.#register.changed("modified", statusOf(pod));
  }

  get(id: string): PodStatus | undefined {
    const pod = this.#pods.get(id);
    return pod === undefined ? undefined : this.#register.status(statusOf(pod));
  }

  list(labels: Labels = {}): PodStatus[] {
    return [...this.#pods.values()].map((pod) => this.#register.status(statusOf(pod))).filter((pod) => hasLabels(pod, labels));
  }

  watch(told: (change: PodChange) => void): () => void {
    return this.#register.watch(told);
  }

  send(id: string, message: ToPod): void {
    const pod = this.#pods.get(id);
    if (pod === undefined) return;
    pod.outbox.push(message);
    if (pod.flushing || pod.socket === undefined) return;
    pod.flushing = true;
    // All that this turn has for the pod is queued by the time that microtasks run.
    queueMicrotask(() => this.#flush(pod));
  }

  delete(id: string, graceMs: number, reason: PodExit["reason"] = "deleted"): void {
    const pod = this.#pods.get(id);
    if (pod === undefined) return;
    if (graceMs > 0) return void pod.cancelTimers.push(this.#clock.after(graceMs, () => this.#end(pod, reason)));
    this.#end(pod, reason);
  }

  // The reason counts from now on and not from the request: a pod that dies while it finishes what it has was lost.
  #end(pod: LocalPod, reason: PodExit["reason"]): void {
    pod.ending ??= reason;
    this.#kill(pod);
  }

  harm(id: string, harm: PodHarm): boolean {
    const pod = this.#pods.get(id);
    return pod?.process.kill(SIGNALS[harm]) === true;
  }

  async stop(): Promise<void> {
    for (const pod of this.#pods.values()) {
      pod.ending ??= "deleted";
      this.#kill(pod);
    }
    await Promise.all(this.#exits.values());
    // Their processes have ended, and nobody waits for the rest of their output.
    for (const pod of this.#pods.values()) this.#gone(pod, "deleted", "the cluster was stopped");
    await new Promise<void>((resolve) => (this.#server === undefined ? resolve() : this.#server.close(() => resolve())));
    rmSync(this.#directory, { recursive: true, force: true });
    this.#records?.close();
  }

  /** User code gets no more of this process's environment than it needs; NODE_EXTRA_CA_CERTS alone would triple a pod's start. */
  #environment(): Record<string, string> {
    const kept: Record<string, string> = {};
    for (const name of KEPT_VARIABLES) if (process.env[name] !== undefined) kept[name] = process.env[name];
    return { ...kept, NODE_ENV: process.env.NODE_ENV ?? "production", ...this.#options.environment };
  }

  #bootstrap(pod: LocalPod): void {
    const bootstrap: PodBootstrap = {
      pod: pod.spec.id,
      address: this.#address,
      token: pod.token,
      heartbeatMs: this.#options.heartbeatMs,
      memoryMb: pod.spec.memoryMb,
      maxPayloadBytes: this.#options.maxPayloadBytes,
      maxLogBytes: this.#options.maxLogBytes,
      ...(this.#options.drills === true ? { drills: true } : {}),
    };
    // A pod that dies before it reads this is reported by its exit.
    pod.process.stdin?.on("error", () => {});
    pod.process.stdin?.end(`${JSON.stringify(bootstrap)}\n`);
  }

  #watch(pod: LocalPod): void {
    pod.process.stderr?.on("data", (chunk: Buffer) => {
      pod.output = (pod.output + chunk.toString()).slice(-OUTPUT_KEPT);
    });
    pod.process.once("error", (error) => {
      if (pod.process.pid === undefined) this.#exits.delete(pod.process);
      this.#gone(pod, "failed-to-start", error.message);
    });
    const ended = (code: number | null, signal: string | null): void => {
      const connected = pod.socket !== undefined;
      this.#gone(pod, connected ? "exited" : "failed-to-start", howEnded(code, signal));
    };
    pod.process.once("exit", (code, signal) => {
      this.#exits.delete(pod.process);
      if (pod.process.pid !== undefined) endGroup(pod.process.pid);
      this.#records?.remove(pod.process.pid);
      pod.noticedAt ??= this.#clock.now();
      this.#clock.after(OUTPUT_GRACE_MS, () => ended(code, signal));
    });
    // "close" comes after the last of the output, which tells whether memory ran out; but not while a process that user code started
    // still holds that stream open.
    pod.process.once("close", ended);
    const late = () => pod.socket === undefined && this.delete(pod.spec.id, 0, "failed-to-start");
    pod.cancelTimers.push(this.#clock.after(this.#options.startTimeoutMs, late));
  }

  #greet(socket: Socket): void {
    const decoder = new FrameDecoder<FromPod | Beat>(GREETING_BYTES);
    let speaker: Speaker | undefined;
    // Errors end in "close"; what they mean for the pod is decided there.
    socket.on("error", () => {});
    socket.on("data", (chunk: Buffer) => {
      const batch = decode(decoder, chunk);
      const isEmpty = batch?.length === 0;
      speaker ??= batch === undefined ? undefined : this.#introduce(socket, batch);
      // Not our protocol, or nobody we know: whoever this is may not go on. If it was a pod, its end is reported by "close".
      if (batch === undefined || (speaker === undefined && !isEmpty)) return void socket.destroy();
      if (speaker === undefined) return;
      decoder.limit = MAX_FRAME_BYTES;
      if (!speaker.pod.gone) this.#listen(speaker.pod, batch);
    });
    socket.once("close", () => {
      if (speaker?.main) this.#disconnected(speaker.pod);
    });
  }

  /** Takes the first message of a connection, which must show the token of a pod that has no such connection yet. */
  #introduce(socket: Socket, batch: (FromPod | Beat)[]): Speaker | undefined {
    const first = batch.shift();
    if (first === undefined || (first.t !== "hello" && first.t !== "join")) return undefined;
    const pod = this.#claim(first);
    if (pod === undefined) return undefined;
    const main = first.t === "hello";
    if (main) this.#connect(pod, socket);
    else pod.beats = socket;
    return { pod, main };
  }

  #listen(pod: LocalPod, batch: (FromPod | Beat)[]): void {
    const beats = batch.filter(isBeat);
    for (const beat of beats) this.#listener.beat(pod.spec.id, beat);
    if (beats.length === batch.length) return;
    // A frame holds both at most once: a pod beats on this connection only until it has something to execute.
    const messages = (beats.length === 0 ? batch : batch.filter((message) => !isBeat(message))) as FromPod[];
    this.#listener.messages(pod.spec.id, messages);
  }

  #claim(hello: (FromPod & { t: "hello" }) | (Beat & { t: "join" })): LocalPod | undefined {
    const pod = this.#pods.get(hello.pod);
    if (pod === undefined || pod.gone || (hello.t === "hello" ? pod.socket : pod.beats) !== undefined) return undefined;
    const given = Buffer.from(hello.token);
    const token = Buffer.from(pod.token);
    return given.length === token.length && timingSafeEqual(given, token) ? pod : undefined;
  }

  #connect(pod: LocalPod, socket: Socket): void {
    pod.socket = socket;
    this.#register.changed("modified", statusOf(pod));
    this.#listener.connected(pod.spec.id, pod.process.pid ?? 0);
    if (pod.outbox.length > 0) this.#flush(pod);
  }

  #flush(pod: LocalPod): void {
    pod.flushing = false;
    if (pod.socket === undefined || pod.outbox.length === 0) return;
    const batch = pod.outbox;
    pod.outbox = [];
    const [header, body] = pod.encoder.encode(batch);
    pod.socket.cork();
    pod.socket.write(header);
    pod.socket.write(body);
    pod.socket.uncork();
  }

  // The stream closes before the process is reaped, and its calls need not wait for that; but memory is only known at the exit.
  #disconnected(pod: LocalPod): void {
    if (pod.gone) return;
    pod.noticedAt ??= this.#clock.now();
    this.#kill(pod);
    const { exitCode, signalCode } = pod.process;
    if (exitCode === null && signalCode === null) return;
    // On a busy machine the exit may be known before the connection's end: what it was is not forgotten for that.
    this.#gone(pod, "disconnected", howEnded(exitCode, signalCode));
  }

  #kill(pod: LocalPod): void {
    const { process } = pod;
    if (process.exitCode === null && process.signalCode === null && process.kill("SIGKILL")) endGroup(process.pid!);
  }

  #gone(pod: LocalPod, reason: PodExit["reason"], detail: string): void {
    if (pod.gone) return;
    pod.gone = true;
    for (const cancel of pod.cancelTimers) cancel();
    this.#pods.delete(pod.spec.id);
    this.#register.changed("deleted", statusOf(pod));
    this.#register.remove(pod.spec.id);
    pod.socket?.destroy();
    pod.beats?.destroy();
    const memory = /heap out of memory|Allocation failed/.test(pod.output) || pod.ending === "over-memory";
    const exit: PodExit = { reason: pod.ending ?? reason, memory, detail, output: pod.output.trim() };
    if (pod.noticedAt !== undefined) exit.noticedAt = pod.noticedAt;
    this.#listener.gone(pod.spec.id, exit);
  }
}

/** Whom a connection speaks for; `main` is the connection for messages, the other one only beats. */
interface Speaker {
  pod: LocalPod;
  main: boolean;
}

/** The messages that a chunk completes; `undefined` when it is not our protocol. */
const decode = (decoder: FrameDecoder<FromPod | Beat>, chunk: Buffer): (FromPod | Beat)[] | undefined => {
  try {
    const batch = decoder.push(chunk);
    return batch.every(isFromPod) ? batch : undefined;
  } catch {
    // Garbage is what the caller is told by `undefined`.
    return undefined;
  }
};

/** A process that never was has no exit, and `stop` must not wait for one. */
const endOf = (child: ChildProcess): Promise<void> =>
  new Promise((resolve) => {
    child.once("exit", () => resolve());
    child.once("error", () => child.pid === undefined && resolve());
  });

const statusOf = (pod: LocalPod): Pick<PodStatus, "id" | "pid" | "state" | "startedAt"> => ({
  id: pod.spec.id,
  pid: pod.process.pid ?? 0,
  state: pod.socket === undefined ? "starting" : "connected",
  startedAt: pod.startedAt,
});

const howEnded = (code: number | null, signal: string | null): string => (signal === null ? `exit code ${code}` : `signal ${signal}`);
