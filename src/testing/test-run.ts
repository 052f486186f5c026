import { RunError } from "../client/errors.ts";
import type { RunResolution } from "../client/types.ts";
import { type Failure, LockstepError } from "../lib/errors.ts";
import type { RunId } from "../lib/ids.ts";
import { fromJson, toJson } from "../lib/json.ts";
import type { ControlPlane } from "../protocol/control-plane.ts";
import type { Decision, Resolution } from "../protocol/recovery.ts";
import type { JournalRecord, LogLine, RunStatus, RunSummary } from "../protocol/run.ts";
import { FINAL } from "../protocol/run.ts";
import type { Lives } from "./lives.ts";

/** How a run stands. `value` is there when it completed, `failure` when it failed, was cancelled or is suspended. */
export interface TestOutcome<Output = unknown> {
  id: RunId;
  status: RunStatus;
  value?: Output;
  failure?: Failure;
}

export interface TestRunDetails<Output = unknown> extends RunSummary, Omit<TestOutcome<Output>, "id" | "status"> {
  input: unknown;
  /** What an unfinished run waits for, as text for people. */
  waitingFor: string[];
}

/** One failure that recovery, or a person, dealt with. */
export interface TestRecovery {
  /** The call that had failed; 0 for the coordinator itself. */
  call: number;
  /** The run that executed `recover`; absent for what a person has decided. */
  run?: RunId;
  failure?: Failure;
  /** Absent as long as there is none. */
  decision?: Decision;
  /** The person who decided. */
  by?: string;
}

export interface SettleOptions {
  /** The most virtual time that may pass meanwhile, in milliseconds. Default: 400 days. */
  withinMs?: number;
}

const WITHIN_MS = 400 * 24 * 3_600_000;
const ALL = 1_000_000;

/** A run on the test platform. It survives crashes of the control plane, as the run itself does. */
export class TestRun<Output = unknown> {
  readonly id: RunId;
  /** Set when `start` was given a key that an earlier start had used: this is its run. */
  readonly existing: boolean;
  readonly #lives: Lives;

  constructor(lives: Lives, id: RunId, existing: boolean) {
    this.#lives = lives;
    this.id = id;
    this.existing = existing;
  }

  /**
   * Moves time on until the run has finished, and gives its result.
   * @throws {RunError} when the run failed, was cancelled, or is suspended
   * @throws {LockstepError} WAIT_TIMEOUT when nothing is left that could wake it, or after `withinMs`
   */
  async result(options: SettleOptions = {}): Promise<Output> {
    const { status, value, failure } = await this.outcome(options);
    if (status === "completed") return value as Output;
    throw new RunError(this.id, status, failure ?? { code: "INTERNAL", message: `the run is ${status} without a failure` });
  }

  /** Moves time on like `result`, but tells how the run ended instead of throwing. */
  async outcome({ withinMs = WITHIN_MS }: SettleOptions = {}): Promise<TestOutcome<Output>> {
    const { timeline } = this.#lives;
    const end = timeline.now + withinMs;
    for (;;) {
      const outcome = await this.#outcomeNow();
      if (FINAL.has(outcome.status) || outcome.status === "suspended") return outcome;
      const seen = timeline.happenings;
      for (let moved = "moved"; moved === "moved" && seen === timeline.happenings; ) {
        moved = await timeline.next(end);
        if (moved === "reached") throw await this.#waitedInVain(`it has not finished within ${withinMs} ms`);
        if (moved === "idle") throw await this.#waitedInVain("nothing is left that could wake it");
      }
    }
  }

  /** How the run stands now; time doesn't move. */
  async status(): Promise<RunStatus> {
    return (await this.#outcomeNow()).status;
  }

  /** The run with everything that the platform tells of it. */
  async get(): Promise<TestRunDetails<Output>> {
    const { value, input, ...details } = await this.#ask((controlPlane) => controlPlane.run(this.id));
    return { ...details, input: fromJson(input), ...(value === undefined ? {} : { value: fromJson(value) as Output }) };
  }

  async journal(): Promise<JournalRecord[]> {
    return await this.#ask((controlPlane) => controlPlane.journal(this.id));
  }

  /** The lines that the run and its calls have logged, as far as they are in the journal. */
  async logs(): Promise<(LogLine & { function: string })[]> {
    const { logs } = await this.#ask((controlPlane) => controlPlane.logs({ run: this.id, limit: ALL }));
    return logs.flatMap(({ function: name, lines }) => lines.map((line) => ({ ...line, function: name })));
  }

  async signal(name: string, value?: unknown): Promise<void> {
    const text = toJson(value, `the value of signal "${name}"`);
    await this.#tell((controlPlane) => controlPlane.signal(this.id, name, text));
  }

  async cancel(reason = "the test cancelled it", options: { force?: boolean } = {}): Promise<void> {
    await this.#tell((controlPlane) => controlPlane.cancel(this.id, { reason, ...options }));
  }

  /** Gives a suspended run a fresh set of attempts. */
  async resume(): Promise<void> {
    await this.#tell((controlPlane) => controlPlane.resume(this.id));
  }

  /** Decides for a suspended run, as a person does: another try, a value to go on with, or that it fails. */
  async resolve(resolution: RunResolution): Promise<void> {
    const { call, by = "the test" } = resolution;
    const said = "fail" in resolution ? { action: "fail" as const, reason: resolution.fail } : withValue(resolution);
    await this.#tell((controlPlane) => controlPlane.resolve(this.id, call === undefined ? said : { ...said, call }, by));
  }

  /** Starts a new run of the same target and input, which takes over what this one did before call `from`: `reused` outcomes. */
  async restart({ from }: { from?: number } = {}): Promise<{ run: TestRun<Output>; reused: number }> {
    const { id, reused } = await this.#lives.ask((controlPlane) => controlPlane.restart(this.id, from));
    await this.#lives.timeline.settle();
    return { run: new TestRun<Output>(this.#lives, id, false), reused };
  }

  /** What recovery has made of this run's failures so far, oldest first. */
  async recoveries(): Promise<TestRecovery[]> {
    const recoveries: TestRecovery[] = [];
    for (const record of await this.journal()) {
      if (record.t === "recover") recoveries.push({ call: record.seq, run: record.recovery, failure: record.failure });
      if (record.t !== "recovered") continue;
      const { seq: call, decision, by } = record;
      const open = recoveries.findLast((one) => one.call === call && one.decision === undefined);
      if (open !== undefined && by === undefined) open.decision = decision;
      else recoveries.push({ call, decision, ...(by === undefined ? {} : { by }) });
    }
    return recoveries;
  }

  async #outcomeNow(): Promise<TestOutcome<Output>> {
    const { value, ...rest } = await this.#ask((controlPlane) => controlPlane.result(this.id, 0));
    return value === undefined ? rest : { ...rest, value: fromJson(value) as Output };
  }

  // Only asks, so it can be asked again when the control plane dies over it.
  async #ask<T>(question: (controlPlane: ControlPlane) => Promise<T>): Promise<T> {
    await this.#lives.timeline.settle();
    for (;;) {
      try {
        return await this.#lives.ask(question);
      } catch (error) {
        if (!(error instanceof LockstepError) || error.code !== "NOT_CONNECTED" || this.#lives.isStopped) throw error;
      }
    }
  }

  async #tell(order: (controlPlane: ControlPlane) => Promise<void>): Promise<void> {
    await this.#lives.ask(order);
    await this.#lives.timeline.settle();
  }

  async #waitedInVain(why: string): Promise<LockstepError> {
    const { status, waitingFor } = await this.get();
    const working = this.#lives.timeline.isWorking ? "; a function is still executing in real time" : "";
    const message = `run ${this.id} is ${status} (waiting for: ${waitingFor.join(", ") || "its coordinator"}), and ${why}${working}`;
    return new LockstepError("WAIT_TIMEOUT", message, { details: { run: this.id, status, waitingFor } });
  }
}

const withValue = (resolution: Exclude<RunResolution, { fail: string }>): Resolution => {
  if ("value" in resolution) return { action: "value", value: toJson(resolution.value, "the value") };
  const { input } = resolution;
  return input === undefined ? { action: "retry" } : { action: "retry", value: toJson(input, "the input") };
};
