import { LocalCluster } from "../cluster/local.ts";
import type { PodExit } from "../cluster/port.ts";
import { systemClock } from "../lib/clock.ts";
import type { FromPod, ToPod } from "../protocol/pod.ts";
import type { Seat } from "./replica-harness.ts";

/** A seat in a process of its own. */
export interface PodSeat extends Seat {
  readonly id: string;
  /** As `kill -9` does. */
  kill(): void;
  /** Resolves with its process's id once it has connected. */
  readonly connected: Promise<number>;
  readonly gone: Promise<PodExit>;
}

interface Entry {
  told(message: FromPod): void;
  connected(pid: number): void;
  gone(exit: PodExit): void;
}

/** Pods of this machine, one for each seat of a replica set. */
export class ReplicaPods {
  readonly #cluster: LocalCluster;
  readonly #entries = new Map<string, Entry>();
  #serial = 0;

  /** @param program the pod's, from the build */
  constructor(program: string) {
    const limits = { heartbeatMs: 1_000, maxPayloadBytes: 1_000_000, maxLogBytes: 10_000, startTimeoutMs: 20_000 };
    this.#cluster = new LocalCluster({ program, ...limits, drills: true }, systemClock);
  }

  async start(): Promise<void> {
    await this.#cluster.start({
      connected: (pod, pid) => this.#entries.get(pod)?.connected(pid),
      messages: (pod, messages) => {
        const entry = this.#entries.get(pod);
        for (const message of messages) entry?.told(message);
      },
      beat: () => {},
      gone: (pod, exit) => this.#entries.get(pod)?.gone(exit),
    });
  }

  add(memoryMb = 128): PodSeat {
    const id = `pod-${++this.#serial}`;
    const entry: Entry = { told: () => {}, connected: () => {}, gone: () => {} };
    const connected = new Promise<number>((resolve) => {
      entry.connected = resolve;
    });
    const gone = new Promise<PodExit>((resolve) => {
      entry.gone = resolve;
    });
    this.#entries.set(id, entry);
    this.#cluster.create({ id, memoryMb });
    return {
      ...{ id, connected, gone },
      send: (message: ToPod) => this.#cluster.send(id, message),
      listen: (told) => {
        entry.told = told;
      },
      kill: () => void this.#cluster.harm(id, "kill"),
    };
  }

  /** Ends all that there are. */
  clear(): void {
    for (const { id } of this.#cluster.list()) this.#cluster.delete(id, 0);
  }

  async stop(): Promise<void> {
    await this.#cluster.stop();
  }
}
