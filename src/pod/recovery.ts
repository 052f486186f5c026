/**
 * Recoveries as coordinators: the `recover` of a function or coordinator, with the context and the report that it is given.
 *
 * Owns: the forms of decisions and reports. Does not own: what follows from a decision (the run machine).
 */
import type { CoordinatorContext, FailureReport, Recover, RecoveryContext, RecoveryDecision } from "../application/context.ts";
import { KIND } from "../application/context.ts";
import type { CoordinatorDefinition } from "../application/definitions.ts";
import { failureOf } from "../lib/errors.ts";
import { fromJson, toJson } from "../lib/json.ts";
import type { Verdict } from "../lib/verdict.ts";
import type { Decision, RecoveryInput } from "../protocol/recovery.ts";
import type { JournalRecord } from "../protocol/run.ts";
import type { LoadedApplication } from "./bundle.ts";

/** What executes a recovery: like a coordinator's handler, with the journal of the run that failed. */
export type RecoveryHandler = (ctx: CoordinatorContext, input: unknown, about: readonly JournalRecord[]) => Promise<Decision>;

/** An application's coordinators, and its recoveries by the names that their runs have: `function/<name>`, `coordinator/<name>`. */
export const coordinatorsOf = ({ functions, coordinators }: LoadedApplication): Map<string, CoordinatorDefinition> => {
  const all = new Map(coordinators);
  for (const [kind, definitions] of [
    ["function", functions],
    ["coordinator", coordinators],
  ] as const) {
    for (const { name, options } of definitions.values()) {
      if (options.recover !== undefined) all.set(`${kind}/${name}`, recoveryOf(`${kind}/${name}`, options.recover));
    }
  }
  return all;
};

const recoveryOf = (name: string, recover: Recover): CoordinatorDefinition => {
  const handler: RecoveryHandler = async (ctx, input, about) => recover(recoveryContext(ctx), reportOf(input as RecoveryInput, about));
  return { [KIND]: "coordinator", name, options: {}, handler: handler as unknown as CoordinatorDefinition["handler"] };
};

const recoveryContext = ({ compensate: _compensate, onStale: _onStale, ...ctx }: CoordinatorContext): RecoveryContext => ({
  ...ctx,
  retry: ({ afterMs, input } = {}) => {
    if (afterMs !== undefined && !(Number.isFinite(afterMs) && afterMs >= 0)) {
      throw new TypeError(`ctx.retry: afterMs must be a number of milliseconds of at least 0, not ${String(afterMs)}`);
    }
    const decision: Decision = { t: "retry" };
    if (afterMs !== undefined) decision.afterMs = afterMs;
    if (input !== undefined) decision.input = toJson(input, "the input of ctx.retry");
    return decision as RecoveryDecision;
  },
  resumeWith: (value) => ({ t: "resume", value: toJson(value, "the value of ctx.resumeWith") }),
  compensate: () => ({ t: "compensate" }),
  fail: (error) => ({ t: "fail", failure: failureOf(error, "FUNCTION_FAILED") }),
  escalate: (message) => {
    if (typeof message === "string" && message !== "") return { t: "escalate", message };
    throw new TypeError("ctx.escalate needs a text that tells a person what to decide");
  },
});

// The monitor judges every failure of a call; what a coordinator throws by itself it has not seen.
const UNJUDGED: Verdict = { class: "execution", retryable: false, evidence: [] };

const reportOf = ({ failure, run, call, recoveries }: RecoveryInput, about: readonly JournalRecord[]): FailureReport => ({
  failure,
  verdict: failure.verdict ?? UNJUDGED,
  run: { ...run, input: fromJson(run.input) },
  ...(call === undefined ? {} : { call: { ...call, input: fromJson(call.input) } }),
  calls: callsOf(about),
  recoveries,
});

const callsOf = (about: readonly JournalRecord[]): FailureReport["calls"] => {
  const made = new Map<number, { fn: string; input: string }>();
  // A call that was made again stands where it ended at last, with the input that it had then.
  const calls = new Map<number, FailureReport["calls"][number]>();
  for (const record of about) {
    if (record.t === "call") made.set(record.seq, { fn: record.fn, input: record.input });
    const input = changedInput(record);
    const call = "seq" in record ? made.get(record.seq) : undefined;
    if (call === undefined) continue;
    if (input !== undefined) call.input = input;
    if (record.t === "reopen") calls.delete(record.seq);
    if (record.t !== "done") continue;
    const outcome = record.failure === undefined ? { value: fromJson(record.value ?? "") } : { failure: record.failure };
    calls.set(record.seq, { seq: record.seq, function: call.fn, input: fromJson(call.input), ...outcome });
  }
  return [...calls.values()];
};

const changedInput = (record: JournalRecord): string | undefined => {
  if (record.t === "reopen") return record.input;
  return record.t === "recovered" && record.decision.t === "retry" ? record.decision.input : undefined;
};
