import type { Failure } from "../lib/errors.ts";
import type { RunId } from "../lib/ids.ts";
import type { Json } from "../lib/json.ts";

/** What recovery, or a person, decides about a failed call or run. */
export type Decision =
  /** The call gets a fresh set of attempts, with another input if one is given. */
  | { t: "retry"; afterMs?: number; input?: Json }
  /** The call or run is completed with this value. */
  | { t: "resume"; value: Json }
  /** The run's completed calls are compensated, the last to complete first; then the call or run fails with what failed it. */
  | { t: "compensate" }
  | { t: "fail"; failure: Failure }
  /** The run is suspended until a person decides. */
  | { t: "escalate"; message: string };

/** The input of a recovery's run. What the failed run had done so far comes with `begin`. */
export interface RecoveryInput {
  failure: Failure;
  run: { id: RunId; kind: string; name: string; input: Json };
  /** Absent when the coordinator itself failed. */
  call?: { seq: number; function: string; input: Json; attempts: number };
  /** Recoveries of the same call or run that went before. */
  recoveries: number;
}

/** What an operator says of a suspended run. `call` chooses one of several dead letters. */
export interface Resolution {
  action: "retry" | "value" | "fail";
  call?: number;
  /** The result, for `value`; another input, for `retry`. */
  value?: Json;
  reason?: string;
}
