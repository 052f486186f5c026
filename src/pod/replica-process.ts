/**
 * The process in which a replica's user code executes, seen from the replica's own.
 *
 * Owns: that process, the file by which it tells what has it, what is known of its end. Does not own: what it executes, what follows from its end.
 *
 * A process and no thread: code that ends its process (a signal, memory that runs out, an abort) then ends no replica, and a replica's key is in
 * no memory that user code can read.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Marks } from "./replica-marker.ts";
import { isFromWorker } from "./replica-report.ts";
import type { FromWorker, ToWorker, WorkerData } from "./replica-worker.ts";

export interface ProcessListener {
  /** Of the right shape; it may still be one that nobody has asked for. */
  message(message: FromWorker): void;
  /** It has ended by itself; all that it had sent was told. */
  ended(reason: string): void;
}

// The source's own ending: in tests there is no build.
const PROGRAM = fileURLToPath(new URL(import.meta.url.endsWith(".ts") ? "./replica-worker.ts" : "./replica-worker.js", import.meta.url));
const OUTPUT_KEPT = 2_048;
/** After its end, what it has sent is awaited for no longer: a process that it has started may hold its channel open. */
const LAST_WORDS_MS = 500;
const PAGE_MB = 4_096 / 1_048_576;

/** The same on all machines: what is written in words and local times depends on them. */
const PLACE = { TZ: "UTC", LANG: "en_US.UTF-8", LC_ALL: "en_US.UTF-8" };

export class ReplicaProcess {
  /** What its heap may grow to. */
  readonly memoryMb: number;
  readonly #child: ChildProcess;
  readonly #marks = new Marks();
  readonly #end = (): void => void this.#child.kill("SIGKILL");
  #on: ProcessListener | undefined;
  #output = "";
  /** Why it has ended, if nobody was there to be told. */
  #reason: string | undefined;
  #isOver = false;

  /** It waits to be told what it is for: starting takes longer than all that follows. */
  constructor(memoryMb: number) {
    this.memoryMb = memoryMb;
    this.#child = spawn(process.execPath, [`--max-old-space-size=${memoryMb}`, "--disable-warning=ExperimentalWarning", PROGRAM], {
      env: { ...process.env, ...PLACE },
      stdio: ["ignore", "ignore", "pipe", "ipc", this.#marks.fd],
    });
    // A replica that ends takes it along; where it can't, the channel's end does.
    process.once("exit", this.#end);
    this.#watch(this.#child);
  }

  /** Executes this from here on; once. */
  begin(data: WorkerData, on: ProcessListener): void {
    this.#on = on;
    this.send(data);
    if (this.#reason !== undefined) setImmediate((reason: string) => this.#ended(reason), this.#reason);
  }

  /** What has the process, or had it when it ended, and how often its event loop has turned. */
  read(): ReturnType<Marks["read"]> {
    return this.#marks.read();
  }

  /** What it has in memory; 0 where the system doesn't tell. */
  get residentMb(): number {
    try {
      return Number(readFileSync(`/proc/${this.#child.pid}/statm`, "utf8").split(" ")[1]) * PAGE_MB;
    } catch {
      // It has just ended, or this system has no /proc.
      return 0;
    }
  }

  send(message: ToWorker | WorkerData): void {
    // What can't be sent any more is told by the end.
    if (this.#child.connected) this.#child.send(message, () => {});
  }

  /** Nothing is told of it from here on. Resolves once there is no process any more. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (!this.#isOver) {
      this.#isOver = true;
      process.removeListener("exit", this.#end);
      this.#marks.close();
    }
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  }

  #watch(child: ChildProcess): void {
    child.stderr?.on("data", (chunk: Buffer) => {
      this.#output = (this.#output + chunk.toString()).slice(-OUTPUT_KEPT);
    });
    child.on("message", (message) => this.#take(message));
    child.once("error", (error) => this.#ended(error.message));
    child.once("exit", (code, signal) => {
      const reason = signal === null ? `exit code ${code}` : `signal ${signal}`;
      const late = setTimeout(() => this.#ended(reason), LAST_WORDS_MS);
      child.once("close", () => {
        clearTimeout(late);
        this.#ended(reason);
      });
    });
    // Without its channel it is of no use.
    child.once("disconnect", () => child.kill("SIGKILL"));
  }

  #take(message: unknown): void {
    if (!this.#isOver && isFromWorker(message)) this.#on?.message(message);
  }

  #ended(reason: string): void {
    this.#reason = reason;
    if (this.#isOver || this.#on === undefined) return;
    const isMemory = /heap out of memory|Allocation failed/.test(this.#output);
    const words = isMemory ? "out of memory" : (this.#output.trim().split("\n").at(-1) ?? "");
    this.#on.ended(words === "" ? reason : `${reason}: ${words}`);
    void this.kill();
  }
}
