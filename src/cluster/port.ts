import type { Beat, FromPod, ToPod } from "../protocol/pod.ts";

/** A generic pod to start: it learns what to execute only later, by messages. */
export interface PodSpec {
  id: string;
  memoryMb: number;
}

export interface PodStatus {
  id: string;
  pid: number;
  state: "starting" | "connected";
  startedAt: number;
}

/** Why a pod is gone. `memory` tells that it ran out of it. `output` is the end of what it wrote to its standard error. */
export interface PodExit {
  reason: "exited" | "killed" | "disconnected" | "hung" | "over-memory" | "failed-to-start" | "deleted";
  memory: boolean;
  detail: string;
  output: string;
}

/** What a cluster tells its owner. For each pod: at most one `connected`, then messages, then exactly one `gone`. */
export interface ClusterListener {
  connected(pod: string, pid: number): void;
  messages(pod: string, messages: readonly FromPod[]): void;
  beat(pod: string, beat: Beat & { t: "beat" }): void;
  gone(pod: string, exit: PodExit): void;
}

/** Where pods come from. */
export interface Cluster {
  start(listener: ClusterListener): Promise<void>;
  /** Asks for a pod; `connected` or `gone` follows. */
  create(spec: PodSpec): void;
  get(pod: string): PodStatus | undefined;
  list(): PodStatus[];
  /** Queues a message; all that is queued for a pod in one turn leaves in one frame. Messages to a pod that is gone are dropped. */
  send(pod: string, message: ToPod): void;
  /** Ends a pod: at once with `graceMs` 0, else after letting it finish for so long. */
  delete(pod: string, graceMs: number, reason?: PodExit["reason"]): void;
  /** Ends all pods and resolves when none is left. */
  stop(): Promise<void>;
}
