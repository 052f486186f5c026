/** What a recovery's run is made of, and what its end means. */
import type { Registry } from "../application/registry.ts";
import type { AcceptedRun, Journal } from "../journal/port.ts";
import type { Failure } from "../lib/errors.ts";
import type { Json } from "../lib/json.ts";
import type { EventBody } from "../protocol/events.ts";
import type { Decision, RecoveryInput } from "../protocol/recovery.ts";
import type { JournalRecord } from "../protocol/run.ts";
import type { Live } from "./live.ts";
import type { RunEffect } from "./run-effects.ts";
import { callOf } from "./run-state.ts";

/** The run that executes the `recover` of a call's function, in the application that defines it, or of the coordinator. */
export const recoveryHead = (
  { head, state }: Live,
  { seq, recovery, input }: RunEffect & { t: "start-recovery" },
  registry: Pick<Registry, "version">,
  now: number,
): AcceptedRun => {
  const call = callOf(state, seq);
  const version = call?.version ?? head.version;
  const whole: RecoveryInput = { ...input, run: { id: head.id, kind: head.kind, name: head.name, input: head.input } };
  return {
    id: recovery,
    kind: "recovery",
    name: call === undefined ? `coordinator/${head.name}` : `function/${call.fn}`,
    application: registry.version(version)?.application ?? head.application,
    version,
    input: JSON.stringify(whole),
    acceptedAt: now,
    priority: head.priority,
    parent: head.id,
    parentSeq: seq,
  };
};

/** The journal of the run that failed, up to the failure that this recovery is for: what followed must not change what it sees. */
export const aboutOf = async (journal: Pick<Journal, "records">, head: AcceptedRun): Promise<JournalRecord[] | undefined> => {
  if (head.kind !== "recovery" || head.parent === undefined) return undefined;
  const records = await journal.records(head.parent);
  const at = records.findIndex((record) => record.t === "recover" && record.recovery === head.id);
  return records.slice(0, at + 1);
};

const isText = (value: unknown): boolean => typeof value === "string";

const isFailure = (value: unknown): boolean =>
  typeof value === "object" && value !== null && isText((value as Failure).code) && isText((value as Failure).message);

// It comes from user code by way of its pod: it may be anything.
const isDecision = (value: unknown): value is Decision => {
  if (typeof value !== "object" || value === null) return false;
  const { t, afterMs, input, value: result, failure, message } = value as Record<string, unknown>;
  if (t === "retry") return (afterMs === undefined || Number.isFinite(afterMs)) && (input === undefined || isText(input));
  if (t === "resume") return isText(result);
  if (t === "fail") return isFailure(failure);
  return t === "compensate" || (t === "escalate" && isText(message));
};

const parsed = (value: Json): unknown => {
  try {
    return value === "" ? undefined : JSON.parse(value);
  } catch {
    // Then it is no decision, which the caller says.
    return undefined;
  }
};

/** What a recovery's run came to: a decision, or the failure of the recovery itself. */
export const decisionOf = ({ value, failure }: { value?: Json; failure?: Failure }): { decision: Decision } | { failure: Failure } => {
  if (failure !== undefined) return { failure };
  const decision = parsed(value ?? "");
  if (isDecision(decision)) return { decision };
  return { failure: { code: "RECOVERY_INVALID", message: "recover returned no decision", terminal: true } };
};

/** What the world is told of a record; `undefined` for most. */
export const eventOf = ({ head, state }: Live, record: JournalRecord): EventBody | undefined => {
  const { id: run, name } = head;
  if (record.t === "attempt") {
    const { seq, attempt, retryAt, failure } = record;
    return { type: "call.retrying", run, seq, function: failure.call?.function ?? "", attempt, retryAt, failure };
  }
  if (record.t === "recover") {
    const { seq, failure, recovery } = record;
    const fault = failure.verdict?.class ?? "execution";
    return { type: "run.recovering", run, name, seq, function: callOf(state, seq)?.fn ?? name, fault, recovery };
  }
  if (record.t !== "recovered") return undefined;
  const { seq, fn, decision, by, since } = record;
  const tookMs = since === undefined ? 0 : record.at - since;
  return {
    type: "run.recovered",
    run,
    name,
    seq,
    function: fn,
    decision: decision.t,
    tookMs,
    ...(by === undefined ? {} : { by }),
  };
};
