/** What was seen of a burst. All times are milliseconds from the moment at which the first request left. */
export interface Sample {
  at: number;
  waiting: number;
  running: number;
  /** That take calls, and that are on their way. */
  ready: number;
  starting: number;
  /** The most that any one function has. */
  mostOfOne: number;
}

export interface Decision {
  at: number;
  function: string;
  from: number;
  pods: number;
  reason: string;
}

export interface Recording {
  /** Of single calls before the burst, beyond the call's own time. */
  coldStartsMs: number[];
  samples: Sample[];
  decisions: Decision[];
  /** Of each run: when it was accepted, and when it had ended. */
  acceptedAt: number[];
  finishedAt: number[];
  /** Runs that ended otherwise than they should, or more than once, or gave something else. */
  wrong: string[];
  /** When no function had a pod any more; absent when that did not come about. */
  emptyAt?: number;
}
