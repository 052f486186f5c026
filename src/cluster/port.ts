import type { Beat, FromPod, ToPod } from "../protocol/pod.ts";

/** What selectors go by. */
export type Labels = Readonly<Record<string, string>>;

/** A generic pod to start: it learns what to execute only later, by messages. */
export interface PodSpec {
  id: string;
  memoryMb: number;
  labels?: Labels;
  /** What its code finds in its environment besides what all pods have. */
  environment?: Readonly<Record<string, string>>;
}

export interface PodStatus {
  id: string;
  /** 0 where it is no process of this machine, or not yet. */
  pid: number;
  state: "starting" | "connected";
  startedAt: number;
  labels: Labels;
  /** Grows with each change of any pod: a counter of this life, or the API server's. */
  resourceVersion: number;
}

/** `deleted` has the pod as it was last. */
export interface PodChange {
  type: "added" | "modified" | "deleted";
  pod: PodStatus;
}

/** Why a pod is gone. `memory` tells that it ran out of it. `output` is the end of what it wrote to its standard error. */
export interface PodExit {
  reason: "exited" | "killed" | "disconnected" | "hung" | "over-memory" | "failed-to-start" | "deleted";
  memory: boolean;
  detail: string;
  output: string;
  /** When the first sign of its end was noticed: Unix ms. Absent: just now. */
  noticedAt?: number;
}

/** What a drill does to a pod: ends it as `kill -9` would, stops its process, or lets it go on. */
export type PodHarm = "kill" | "stop" | "continue";

/** What a cluster tells its owner. For each pod: at most one `connected`, then messages, then exactly one `gone`. */
export interface ClusterListener {
  connected(pod: string, pid: number): void;
  messages(pod: string, messages: readonly FromPod[]): void;
  beat(pod: string, beat: Beat & { t: "beat" }): void;
  gone(pod: string, exit: PodExit): void;
}

/** Where pods come from. */
export interface Cluster {
  /** Ends first what an earlier life of this owner has left: nobody speaks with it any more. */
  start(listener: ClusterListener): Promise<void>;
  /** Asks for a pod; `connected` or `gone` follows. */
  create(spec: PodSpec): void;
  /** Replaces a pod's labels: a generic one has become somebody's. */
  label(pod: string, labels: Labels): void;
  get(pod: string): PodStatus | undefined;
  /** Those that have all these labels; default: all. */
  list(labels?: Labels): PodStatus[];
  /** Tells of each change from now on, in the order of their resource versions; returns what ends it. */
  watch(told: (change: PodChange) => void): () => void;
  /** Queues a message; all that is queued for a pod in one turn leaves in one frame. Messages to a pod that is gone are dropped. */
  send(pod: string, message: ToPod): void;
  /** Ends a pod: at once with `graceMs` 0, else after letting it finish for so long. */
  delete(pod: string, graceMs: number, reason?: PodExit["reason"]): void;
  /** Does it to the pod's process behind the cluster's own back, as the world would. Whether there was such a pod. */
  harm(pod: string, harm: PodHarm): boolean;
  /** Ends all pods and resolves when none is left. */
  stop(): Promise<void>;
}
