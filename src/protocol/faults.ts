/** What fails of the platform itself: I a pod is down; II the leader, III a follower of a replica set; IV a control plane is down. */
export type FaultType = "I" | "II" | "III" | "IV";

/**
 * What happened. `stuck`: the pod was ended because its event loop stood still while something in it was overdue. `control-plane-down`: it
 * was found dead when it was started again. Of compared pods: `lie`, two others contradict it. Of replicas besides `crash`: `lie`, its vote
 * or word was false; `equivocation`, it told different
 * replicas different things; `silence`, it votes no more although its process lives; `slow`, it held calls back as the leader.
 */
export type FaultCause =
  | "crash"
  | "hang"
  | "stuck"
  | "out-of-memory"
  | "failed-to-start"
  | "control-plane-down"
  | "lie"
  | "equivocation"
  | "silence"
  | "slow";

/** A fault, and what became of it. Times are Unix milliseconds. */
export interface FaultView {
  id: string;
  type: FaultType;
  what: FaultCause;
  pod?: string;
  /** The pod's function, `coordinator`, or `warm`. */
  function?: string;
  /** Of a replica: its set, `application/function@version`, and its seat. */
  set?: string;
  replica?: number;
  detectedAt: number;
  /** From its first sign (the stream that closed, the last heartbeat) until it was certain. */
  detectionMs: number;
  /** Calls (for coordinators' pods: runs) that were lost with it. */
  calls: number;
  /** What is known of the cause, in words. */
  detail: string;
  /** How often the same happened again before it was repaired. */
  repeated?: number;
  repairedAt?: number;
  /** From the detection until what was lost was under way again: for a pod, until the first lost call was dispatched again. */
  repairMs?: number;
  /** What was done, in words. */
  did?: string;
}

/** What replicas of a set can be made to do. */
export const REPLICA_DRILLS = ["replica-lie", "replica-crash", "leader-crash", "leader-equivocate", "partition"] as const;

export type ReplicaDrillKind = (typeof REPLICA_DRILLS)[number];

export const DRILLS = ["pod", "hang", "slow", "control-plane", ...REPLICA_DRILLS] as const;

/** A fault that is provoked: a pod is killed, stopped, slowed down; the control plane is killed; a replica is killed, cut off, or lies. */
export type DrillKind = (typeof DRILLS)[number];

export interface DrillRequest {
  kind: DrillKind;
  /** Whose pod, or whose replicas; default: the busiest pod, or the replica set that was made last. */
  function?: string;
}

/** What was provoked. What follows from it is told by the events after `position`. */
export interface Drill {
  kind: DrillKind;
  /** Absent for the control plane. */
  pod?: string;
  function?: string;
  /** Of a replica: its seat. */
  replica?: number;
  pid: number;
  /** Calls that the pod executed then. */
  calls: number;
  /** Unix milliseconds. */
  at: number;
  /** Of the newest event then. */
  position: number;
  /** How long a pod is slowed down. */
  lastsMs?: number;
  /** The control plane begins anew by itself. */
  restarts?: boolean;
}
