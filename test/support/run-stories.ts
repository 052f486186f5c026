/** Random stories of one run: what may happen to it, aimed at what it waits for. */
import fc from "fast-check";
import type { ResolvedCommand, RunInput } from "../../src/coordinator/machine.ts";
import { step } from "../../src/coordinator/machine.ts";
import type { RunEffect } from "../../src/coordinator/run-effects.ts";
import type { Pending, PendingCall, RunState } from "../../src/coordinator/run-state.ts";
import { createRun } from "../../src/coordinator/run-state.ts";
import type { Failure } from "../../src/lib/errors.ts";
import type { Verdict } from "../../src/lib/verdict.ts";
import type { Decision } from "../../src/protocol/recovery.ts";
import type { JournalRecord, RetryPolicy, RunKind } from "../../src/protocol/run.ts";

export const headOf = (kind: RunKind) => ({ id: "run_00000000001", kind, name: "booking", version: "v1", priority: 0 });

// ---------------------------------------------------------------- what may happen

/** Few numbers, names and attempts, so that inputs meet what is pending as often as what is not. */
const seq = fc.oneof({ weight: 8, arbitrary: fc.integer({ min: 1, max: 12 }) }, { weight: 1, arbitrary: fc.constantFrom(0, 1_000_000) });
const attempt = fc.integer({ min: 0, max: 7 });
const json = fc.constantFrom("", "1", '"a"', "null");
const signalName = fc.constantFrom("go", "stop");
const key = fc.constantFrom("orders/1", "orders/2");
const reads = fc.constantFrom<(string[] | undefined)[]>(undefined, [], ["orders/1"], ["orders/1", "orders/2"]);
const ms = fc.integer({ min: -1, max: 40 });
const runId = fc.constant("run_unknown");
const verdict = fc.constantFrom<Verdict[]>(
  { class: "execution", retryable: true, evidence: [] },
  { class: "invocation", retryable: false, evidence: ["TypeError"] },
);
export const failure: fc.Arbitrary<Failure> = fc.record(
  {
    code: fc.constantFrom("FUNCTION_FAILED", "POD_LOST", "OUT_OF_MEMORY", "CALL_TIMEOUT"),
    message: fc.constant("no"),
    terminal: fc.constantFrom(false, false, true),
    verdict,
  },
  { requiredKeys: ["code", "message"] },
);
const outcome = fc.oneof(
  json.map((value) => ({ value })),
  failure.map((failed) => ({ failure: failed })),
);
export const policy: fc.Arbitrary<RetryPolicy> = fc.record(
  {
    attempts: fc.constantFrom(1, 1, 2, 3),
    onExhausted: fc.constantFrom("suspend" as const, "fail" as const),
    nonRetryable: fc.constantFrom(["CALL_TIMEOUT"], []),
    backoff: fc.record({ initialMs: fc.nat(20) }),
  },
  { requiredKeys: [] },
);
const decision: fc.Arbitrary<Decision> = fc.oneof(
  fc.record(
    { t: fc.constant("retry" as const), afterMs: fc.constantFrom(0, 7, 10_000), input: json },
    { requiredKeys: ["t"] },
  ) as fc.Arbitrary<Decision>,
  json.map((value): Decision => ({ t: "resume", value })),
  fc.constant<Decision>({ t: "compensate" }),
  fc.constant<Decision>({ t: "compensate" }),
  failure.map((failed): Decision => ({ t: "fail", failure: failed })),
  fc.constant<Decision>({ t: "escalate", message: "what now?" }),
);
export const childOf = (of: number): string => `run_${String(of).padStart(11, "0")}`;
const refusal = fc.oneof({ weight: 7, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: failure });

const often = <T>(weight: number, arbitrary: fc.Arbitrary<T>) => ({ weight, arbitrary });

const numbered: fc.Arbitrary<ResolvedCommand> = fc.oneof(
  often(
    8,
    fc.record({
      t: fc.constant("call" as const),
      seq,
      fn: fc.constant("pay"),
      input: json,
      version: fc.constant("v2"),
      undoable: fc.boolean(),
      refusal,
    }),
  ),
  often(2, fc.record({ t: fc.constant("sleep" as const), seq, ms })),
  often(2, fc.record({ t: fc.constant("signal" as const), seq, name: signalName, timeoutMs: fc.option(ms, { nil: undefined }) })),
  often(
    1,
    fc.tuple(seq, outcome).map(([of, result]) => ({ t: "step" as const, seq: of, name: "s", ...result })),
  ),
  often(1, fc.record({ t: fc.constant("stepping" as const), seq })),
  often(
    2,
    fc
      .record({
        t: fc.constant("child" as const),
        seq,
        coordinator: fc.constant("ship"),
        input: json,
        detached: fc.boolean(),
        refusal,
      })
      .map((command) => ({ ...command, child: childOf(command.seq) })),
  ),
  often(2, fc.record({ t: fc.constant("withdraw" as const), seq, target: seq })),
  often(
    2,
    fc.tuple(seq, key, refusal).map(([of, what, refused]) => ({
      t: "state" as const,
      seq: of,
      op: { op: "get" as const, key: what },
      ...(refused === undefined ? {} : { refusal: refused }),
    })),
  ),
  often(2, fc.record({ t: fc.constant("compensate" as const), seq })),
  often(1, fc.record({ t: fc.constant("on-stale" as const), seq })),
);

const finishing = fc.oneof(
  often(
    1,
    outcome.map((result): ResolvedCommand => ({ t: "finish", ...result })),
  ),
  often(1, fc.constant<ResolvedCommand>({ t: "finish", cancelled: true, failure: { code: "RUN_CANCELLED", message: "enough" } })),
  often(
    6,
    fc.tuple(failure, runId).map(([failed, recovery]): ResolvedCommand => ({ t: "finish", failure: failed, recovery })),
  ),
);

const resolution = fc.record(
  {
    action: fc.constantFrom("retry" as const, "value" as const, "fail" as const),
    call: fc.constantFrom(0, -1, 3),
    value: json,
    reason: fc.constant("alice says so"),
  },
  { requiredKeys: ["action"] },
);

const input: fc.Arbitrary<RunInput> = fc.oneof(
  often(32, fc.record({ t: fc.constant("commands" as const), commands: fc.array(numbered, { minLength: 1, maxLength: 4 }) })),
  often(16, fc.record({ t: fc.constant("succeeded" as const), seq, attempt, value: json, reads }) as fc.Arbitrary<RunInput>),
  often(
    36,
    fc.record(
      { t: fc.constant("failed" as const), seq, attempt, failure, policy: fc.option(policy, { nil: undefined }), recovery: runId },
      { requiredKeys: ["t", "seq", "attempt", "failure", "policy"] },
    ) as fc.Arbitrary<RunInput>,
  ),
  often(8, fc.record({ t: fc.constant("timer" as const), seq })),
  often(
    3,
    fc.tuple(seq, outcome).map(([of, result]) => ({ t: "child" as const, seq: of, ...result })),
  ),
  often(
    4,
    fc
      .tuple(seq, outcome, reads)
      .map(([of, result, read]): RunInput => ({ t: "stated", seq: of, ...result, ...(read && { reads: read }) })),
  ),
  often(3, fc.record({ t: fc.constant("progress" as const), seq, attempt, value: json })),
  often(
    3,
    key.map(
      (stale): RunInput => ({
        t: "stale",
        key: stale,
        stale: { run: "run_other", call: 1, function: "pay", fault: "execution", message: "no", at: 1 },
      }),
    ),
  ),
  often(
    14,
    fc.tuple(seq, runId, fc.option(decision, { nil: undefined }), failure).map(
      ([of, recovery, decided, failed]): RunInput => ({
        t: "recovered",
        seq: of,
        recovery,
        next: recovery,
        ...(decided === undefined ? { failure: failed } : { decision: decided }),
      }),
    ),
  ),
  often(5, fc.record({ t: fc.constant("resolve" as const), resolution, by: fc.constant("alice") })),
  often(6, fc.record({ t: fc.constant("signal" as const), name: signalName, value: json })),
  often(
    1,
    fc.record({ t: fc.constant("cancel" as const), reason: fc.constant("enough"), force: fc.constantFrom(true, false, false, false) }),
  ),
  often(1, fc.record({ t: fc.constant("halt" as const), failure })),
  often(3, fc.constant({ t: "resume" as const })),
  often(
    4,
    finishing.map((command) => ({ t: "commands" as const, commands: [command] })),
  ),
);

/** An input, how much time passes before it, and whether its numbers are set right for something that is pending (most of them would miss). */
const event = fc.record({
  input,
  elapsedMs: fc.integer({ min: -5, max: 30 }),
  aimed: fc.constantFrom(true, true, true, true, true, false),
  pick: fc.nat(),
});
export type StoryEvent = typeof event extends fc.Arbitrary<infer Value> ? Value : never;
export interface Story {
  kind: RunKind;
  events: StoryEvent[];
}
export const story: fc.Arbitrary<Story> = fc.record({
  kind: fc.constantFrom<RunKind[]>("coordinator", "coordinator", "coordinator", "expression", "function"),
  events: fc.array(event, { minLength: 1, maxLength: 60, size: "max" }),
});

// ---------------------------------------------------------------- aiming

const KINDS: Partial<Record<RunInput["t"], Pending["t"][]>> = {
  timer: ["sleep", "signal"],
  child: ["child"],
  stated: ["state"],
  succeeded: ["call"],
  failed: ["call"],
  progress: ["call"],
};

const UNCAUGHT: ResolvedCommand = { t: "finish", failure: { code: "FUNCTION_FAILED", message: "no" }, recovery: "run_unknown" };

const at = <T>(from: readonly T[], pick: number): T | undefined => from[pick % Math.max(1, from.length)];

const isCall = (pending: Pending): pending is PendingCall => pending.t === "call";

/** Points an outcome at something that is pending, with the attempt that is under way, and gives new numbers to commands. */
const aim = (run: RunState, { input: given, aimed, pick }: StoryEvent, fresh: () => string): RunInput => {
  const pending = [...run.pending.values()];
  if (given.t === "commands") {
    // Most coordinators end with the failure of a call that they don't catch.
    if (aimed && run.failedLast.size > 0 && run.ended === undefined && pick % 3 === 0) {
      return { t: "commands", commands: [aimCommand(run, UNCAUGHT, 0, pick, aimed, fresh)] };
    }
    return { t: "commands", commands: given.commands.map((command, i) => aimCommand(run, command, i, pick, aimed, fresh)) };
  }
  // The ids of new runs are always new.
  if (given.t === "recovered") return aimRecovered(run, { ...given, next: fresh() }, aimed, pick);
  const numbered = given.t === "failed" && given.recovery !== undefined ? { ...given, recovery: fresh() } : given;
  if (!aimed) return numbered;
  if (numbered.t === "resolve") {
    const dead = pending.filter((one) => isCall(one) && one.dead !== undefined);
    const target = at(dead, pick)?.seq;
    if (numbered.resolution.call === undefined || target === undefined) return numbered;
    return { ...numbered, resolution: { ...numbered.resolution, call: target } };
  }
  if (!("seq" in numbered)) return numbered;
  const target = at(
    pending.filter(({ t }) => KINDS[numbered.t]?.includes(t)),
    pick,
  );
  if (target === undefined) return numbered;
  if ("attempt" in numbered && isCall(target)) return { ...numbered, seq: target.seq, attempt: target.attempt };
  return { ...numbered, seq: target.seq };
};

const aimRecovered = (run: RunState, given: RunInput & { t: "recovered" }, aimed: boolean, pick: number): RunInput => {
  const open = [...run.pending.values()].flatMap((pending) =>
    isCall(pending) && pending.recovering !== undefined ? [{ seq: pending.seq, recovery: pending.recovering.recovery }] : [],
  );
  if (run.recovering !== undefined) open.push({ seq: 0, recovery: run.recovering.recovery });
  return { ...given, ...(aimed ? at(open, pick) : undefined) };
};

const aimCommand = (
  run: RunState,
  command: ResolvedCommand,
  place: number,
  pick: number,
  aimed: boolean,
  fresh: () => string,
): ResolvedCommand => {
  if (command.t === "finish") {
    const { recovery, ...plain } = command;
    // Only a coordinator has a recovery of its own.
    if (recovery === undefined || run.kind !== "coordinator") return plain;
    const call = at([...run.failedLast.keys()], pick);
    const own = command.failure as Failure;
    return { ...command, recovery: fresh(), failure: call === undefined ? own : { ...own, call: { function: "pay", seq: call } } };
  }
  if (!aimed) return command;
  const of = Math.max(run.known.upTo, ...run.known.beyond) + 1 + place;
  if (command.t === "child") return { ...command, seq: of, child: childOf(of) };
  if (command.t === "withdraw") return { ...command, seq: of, target: at([...run.pending.keys()], pick) ?? command.target };
  return { ...command, seq: of };
};

// ---------------------------------------------------------------- playing

export interface Played {
  run: RunState;
  before: RunState;
  given: RunInput;
  effects: RunEffect[];
  /** All so far, and those of this step. */
  records: JournalRecord[];
  made: JournalRecord[];
  kind: RunKind;
}

/** A run to which things happen one after the other. */
export class Player {
  readonly run: RunState;
  readonly kind: RunKind;
  readonly records: JournalRecord[] = [];
  now = 1_000;
  readonly #check: (played: Played) => void;
  #ids = 0;

  constructor(kind: RunKind, check: (played: Played) => void) {
    this.kind = kind;
    this.run = createRun(headOf(kind));
    this.#check = check;
  }

  readonly fresh = (): string => `run_recovery${++this.#ids}`;

  tell(event: StoryEvent): void {
    this.now += event.elapsedMs;
    this.feed(aim(this.run, event, this.fresh));
  }

  feed(given: RunInput): void {
    const before = structuredClone(this.run);
    const effects: RunEffect[] = [];
    step(this.run, given, this.now, effects);
    const made = effects.flatMap((effect) => (effect.t === "record" ? [structuredClone(effect.record)] : []));
    this.records.push(...made);
    const { run, records, kind } = this;
    this.#check({ run, before, given, effects, records, made, kind });
  }
}

/** Plays random stories and gives each step to a check, which is made anew for each story; `then` is what follows a story. */
export const assertStories = (check: () => (played: Played) => void, then: (player: Player) => void = () => {}, numRuns = 200): void => {
  fc.assert(
    fc.property(story, ({ kind, events }) => {
      const player = new Player(kind, check());
      for (const each of events) player.tell(each);
      then(player);
    }),
    { numRuns },
  );
};
