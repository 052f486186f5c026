import type { Clock } from "../lib/clock.ts";
import { failureOf } from "../lib/errors.ts";
import type { RunId } from "../lib/ids.ts";
import type { LoadedApplication } from "../pod/bundle.ts";
import { manifestOf } from "../pod/bundle.ts";
import { CoordinatorHost } from "../pod/coordinator-host.ts";
import { FunctionHost } from "../pod/function-host.ts";
import { coordinatorsOf } from "../pod/recovery.ts";
import type { FromPod, ToPod } from "../protocol/pod.ts";

export interface MemoryPodOptions {
  maxPayloadBytes: number;
  maxLogBytes: number;
  /** The definitions of a version, in place of its bundle's file. What it throws is what loading throws. */
  load(version: string): LoadedApplication;
}

export interface PodPort {
  send(message: FromPod): void;
  /** Asks for `flush` at the end of this turn. */
  schedule(): void;
  /** It was told to end. */
  exit(): void;
}

const NO_USAGE = { cpuMs: 0, memoryMb: 0 };

/** What the program inside a pod does, in this process: the same hosts, with the same messages. */
export class MemoryPod {
  readonly #options: MemoryPodOptions;
  readonly #clock: Clock;
  readonly #port: PodPort;
  #functions: FunctionHost | undefined;
  #coordinators: CoordinatorHost | undefined;
  /** The run whose coordinator executed last. */
  executing: RunId = "";

  constructor(options: MemoryPodOptions, clock: Clock, port: PodPort) {
    this.#options = options;
    this.#clock = clock;
    this.#port = port;
  }

  take(batch: readonly ToPod[]): void {
    this.#coordinators?.nextBatch();
    for (const message of batch) this.#take(message);
  }

  flush(): void {
    this.#coordinators?.flush();
  }

  #take(message: ToPod): void {
    switch (message.t) {
      case "invoke":
        return this.#functions?.invoke(message);
      case "reply":
      case "got":
        return this.#functions?.reply(message);
      case "deliver":
        return this.#coordinators?.deliver(message.run, message.record);
      case "begin":
        return this.#coordinators?.begin(message);
      case "rehearse":
        return this.#coordinators?.rehearse(message);
      case "abort":
        return this.#functions?.abort(message.lease, message.reason);
      case "ask":
        return this.#coordinators?.ask(message.run, message.at);
      case "permit":
        return this.#coordinators?.permit(message.run, message.seq);
      case "evict":
        return this.#coordinators?.evict(message.run);
      case "load":
        return this.#load(message);
      case "preload":
        return;
      case "exit":
        return this.#port.exit();
      default:
      // A replica's: there are none in memory.
    }
  }

  #load({ version }: ToPod & { t: "load" }): void {
    const { send, schedule } = this.#port;
    try {
      const application = this.#options.load(version);
      const { maxPayloadBytes, maxLogBytes } = this.#options;
      const options = { maxPayloadBytes, maxLogBytes, now: () => this.#clock.now() };
      const { tables, checks } = application;
      const executing = { ...options, tables, checks, after: (ms: number, callback: () => void) => this.#clock.after(ms, callback) };
      this.#functions = new FunctionHost(application.functions, executing, () => NO_USAGE, send);
      this.#coordinators = new CoordinatorHost(
        coordinatorsOf(application),
        { ...options, tables: application.tables },
        {
          send,
          schedule,
          executing: (run) => {
            this.executing = run;
          },
          later: (callback) => this.#clock.endOfTurn(callback),
        },
      );
      send({ t: "loaded", version, manifest: manifestOf(application), ms: 0 });
    } catch (error) {
      send({ t: "refused", version, failure: JSON.stringify(failureOf(error, "APPLICATION_INVALID")) });
    }
  }
}
