/** What kind of fault made an execution fail (the design's classes, §7). */
export type FaultClass =
  /** The call itself was wrong: malformed input, a wrong configuration, an unknown name. */
  | "invocation"
  /** The code threw, or its result was wrong. */
  | "execution"
  | "timeout"
  | "permission"
  | "resource-not-found"
  | "storage-unavailable"
  | "out-of-memory"
  | "pod-lost"
  /** Replicas disagree. */
  | "consensus"
  /** The function returned, and a check of the application's says that it did not do its work. */
  | "check-failed";

/** What the monitor makes of an execution that failed. One that has no verdict is `ok`. */
export interface Verdict {
  class: FaultClass;
  /** Whether the same attempt, made again, can succeed. */
  retryable: boolean;
  /** What decided it, the strongest first: error codes, statuses, log lines, measurements. */
  evidence: string[];
}
