import fc from "fast-check";
import { expect, test } from "vitest";
import type { Decision } from "../protocol/recovery.ts";
import type { JournalRecord } from "../protocol/run.ts";
import { type ResolvedCommand, type RunInput, step } from "./machine.ts";
import { type Cut, cutBefore } from "./restart.ts";
import type { RunEffect } from "./run-effects.ts";
import { apply } from "./run-records.ts";
import { createRun, isQueued, type PendingCall, type RunState } from "./run-state.ts";

const head = { id: "run_00000000001", kind: "coordinator" as const, name: "booking", version: "v1", priority: 0 };
const FAILURE = { code: "FUNCTION_FAILED", message: "no" };
const POLICY = { attempts: 2, backoff: { initialMs: 0 } };

// ---------------------------------------------------------------- a coordinator's life, drawn

const KINDS = ["call", "call", "call", "call", "sleep", "signal", "step", "child", "detached", "state", "compensate", "on-stale"] as const;
type Kind = (typeof KINDS)[number];

const OFTEN = ["end", "end", "end", "end", "fail", "fail", "signal", "step ends", "stale", "withdraw", "resume"] as const;
const SELDOM = ["retry", "value", "compensate", "give up", "throw", "cancel"] as const;
type Move = (typeof OFTEN)[number] | (typeof SELDOM)[number];

/** What the code asks for, or what befalls it; `pick` chooses whom. */
const happening = fc.record({
  what: fc.oneof(
    { weight: 5, arbitrary: fc.array(fc.constantFrom<Kind[]>(...KINDS), { minLength: 1, maxLength: 3 }) },
    { weight: 9, arbitrary: fc.constantFrom<Move[]>(...OFTEN) },
    { weight: 2, arbitrary: fc.constantFrom<Move[]>(...SELDOM) },
  ),
  pick: fc.nat(),
});
type Happening = typeof happening extends fc.Arbitrary<infer Value> ? Value : never;

interface Life {
  run: RunState;
  journal: JournalRecord[];
  seq: number;
  /** Steps that execute: they are in the journal when they end. */
  steps: number[];
  recoveries: number;
}

const commandOf = (kind: Kind, seq: number): ResolvedCommand | undefined => {
  if (kind === "call") return { t: "call", seq, fn: "pay", input: `${seq}`, version: "v1", undoable: true };
  if (kind === "sleep") return { t: "sleep", seq, ms: 5 };
  if (kind === "signal") return { t: "signal", seq, name: "go" };
  if (kind === "child" || kind === "detached") {
    return {
      t: "child",
      seq,
      coordinator: "ship",
      input: "",
      detached: kind === "detached",
      child: `run_${String(seq).padStart(11, "0")}`,
    };
  }
  if (kind === "state") return { t: "state", seq, op: { op: "get", key: "orders/1" } };
  return kind === "step" ? undefined : { t: kind, seq };
};

const feed = (life: Life, input: RunInput): void => {
  const effects: RunEffect[] = [];
  step(life.run, input, life.journal.length, effects);
  for (const effect of effects) if (effect.t === "record") life.journal.push(effect.record);
  for (const effect of effects) {
    if (effect.t !== "let-end") continue;
    const call = life.run.pending.get(effect.seq);
    if (call?.t === "call") fail(life, effect.seq, call.attempt);
  }
};

const fail = (life: Life, seq: number, attempt: number): void => {
  const recovery = `run_r${String(++life.recoveries).padStart(10, "0")}`;
  feed(life, { t: "failed", seq, attempt, failure: FAILURE, policy: POLICY, ...(seq % 2 === 0 ? { recovery } : {}) });
};

const choose = <T>(from: readonly T[], pick: number): T | undefined => from[pick % Math.max(1, from.length)];

const callsOf = ({ run }: Life): PendingCall[] => [...run.pending.values()].filter((one) => one.t === "call");

const ask = (life: Life, kinds: readonly Kind[]): void => {
  // Code that has ended asks for nothing.
  if (life.run.ended !== undefined) return;
  for (const kind of kinds) {
    const seq = ++life.seq;
    const command = commandOf(kind, seq);
    if (command === undefined) life.steps.push(seq);
    else feed(life, { t: "commands", commands: [command] });
  }
};

const end = (life: Life, pick: number): void => {
  const one = choose([...life.run.pending.values()], pick);
  if (one?.t === "call" && isQueued(one)) feed(life, { t: "succeeded", seq: one.seq, attempt: one.attempt, value: "1" });
  else if (one?.t === "sleep") feed(life, { t: "timer", seq: one.seq });
  else if (one?.t === "child") feed(life, { t: "child", seq: one.seq, ...(pick % 3 === 0 ? { failure: FAILURE } : { value: "2" }) });
  else if (one?.t === "state") feed(life, { t: "stated", seq: one.seq, value: "{}", reads: ["orders/1"] });
};

const endStep = (life: Life, pick: number): void => {
  const seq = choose(life.steps, pick);
  if (seq === undefined || life.run.ended !== undefined) return;
  life.steps = life.steps.filter((other) => other !== seq);
  const outcome = pick % 3 === 0 ? { failure: FAILURE } : { value: "3" };
  feed(life, { t: "commands", commands: [{ t: "step", seq, name: "s", ...outcome }] });
};

const decide = (life: Life, decision: Decision, pick: number): void => {
  const { run } = life;
  const call = choose(
    callsOf(life).filter((one) => one.recovering !== undefined),
    pick,
  );
  const open = call?.recovering ?? run.recovering;
  if (open === undefined) return;
  feed(life, { t: "recovered", seq: call?.seq ?? 0, recovery: open.recovery, decision, next: "run_00000000000" });
};

const withdraw = (life: Life, pick: number): void => {
  const call = choose(
    callsOf(life).filter(({ seq }) => seq > 0),
    pick,
  );
  if (life.run.ended !== undefined || call === undefined) return;
  feed(life, { t: "commands", commands: [{ t: "withdraw", seq: ++life.seq, target: call.seq }] });
};

/** The code does not catch the failure of a call. */
const throwOn = (life: Life, pick: number): void => {
  const failed = choose([...life.run.failedLast.keys()], pick);
  if (life.run.ended !== undefined || failed === undefined) return;
  const failure = { ...FAILURE, call: { function: "pay", seq: failed } };
  feed(life, { t: "commands", commands: [{ t: "finish", failure, recovery: `run_r${++life.recoveries}` }] });
};

const STALE = { run: head.id, call: 1, function: "pay", fault: "timeout", message: "", at: 0 } as const;

const MOVES: Record<Move, (life: Life, pick: number) => void> = {
  end,
  fail: (life, pick) => {
    const call = choose(callsOf(life).filter(isQueued), pick);
    if (call !== undefined) fail(life, call.seq, call.attempt);
  },
  signal: (life, pick) => feed(life, { t: "signal", name: "go", value: `${pick}` }),
  "step ends": endStep,
  stale: (life) => feed(life, { t: "stale", key: "orders/1", stale: STALE }),
  withdraw,
  resume: (life) => feed(life, { t: "resume" }),
  retry: (life, pick) => decide(life, { t: "retry" }, pick),
  value: (life, pick) => decide(life, { t: "resume", value: "4" }, pick),
  compensate: (life, pick) => decide(life, { t: "compensate" }, pick),
  "give up": (life, pick) => decide(life, { t: "fail", failure: FAILURE }, pick),
  throw: throwOn,
  cancel: (life, pick) => {
    if (pick % 4 === 0) feed(life, { t: "cancel", reason: "enough", force: false });
  },
};

const lifeOf = (happenings: readonly Happening[]): Life => {
  const life: Life = { run: createRun(head), journal: [], seq: 0, steps: [], recoveries: 0 };
  for (const one of happenings) {
    if (life.run.finished !== undefined) break;
    if (Array.isArray(one.what)) ask(life, one.what);
    else MOVES[one.what as Move](life, one.pick);
  }
  return life;
};

// ---------------------------------------------------------------- what must hold

const COMMANDS = ["call", "sleep", "signal", "step", "child", "withdraw", "state", "compensate", "on-stale"];
const commandsOf = (records: readonly JournalRecord[]) =>
  records.filter((record) => COMMANDS.includes(record.t)) as (JournalRecord & { seq: number })[];

const lastOutcomes = (records: readonly JournalRecord[]): Map<number, JournalRecord & { t: "done" }> => {
  const outcomes = new Map<number, JournalRecord & { t: "done" }>();
  for (const record of records) {
    if (record.t === "done") outcomes.set(record.seq, record);
    else if (record.t === "reopen") outcomes.delete(record.seq);
  }
  return outcomes;
};

interface Checked {
  journal: readonly JournalRecord[];
  cut: Cut;
  /** Commands that are taken over, and their outcomes. */
  made: ReadonlySet<number>;
  taken: ReadonlyMap<number, JournalRecord & { t: "done" }>;
}

/** Nothing is made up, and the order is the journal's. */
const checkOrder = ({ journal, cut, made }: Checked): void => {
  const places = cut.records.map((record) => journal.indexOf(record));
  expect(places).toEqual([...places].sort((a, b) => a - b));
  expect(places).not.toContain(-1);
  for (const seq of made) expect(seq).toBeLessThan(cut.from);
};

/** The code that made these commands makes them again: only steps may be missing, and none without its outcome is there. */
const checkReplay = ({ journal, cut, made, taken }: Checked): void => {
  const known = new Map(commandsOf(journal).map((record) => [record.seq, record.t]));
  for (let seq = 1; seq < Math.max(0, ...made); seq++) if (!made.has(seq)) expect(known.get(seq) ?? "step").toBe("step");
  for (const { t, seq } of commandsOf(cut.records)) if (t === "step") expect(taken.has(seq)).toBe(true);
};

const checkMachine = ({ journal, cut, taken }: Checked): RunState => {
  const run = createRun(head);
  for (const record of cut.records) {
    if (record.t === "undo") expect(run.completed.some(({ seq }) => seq === -record.seq)).toBe(true);
    apply(run, record);
  }
  expect([run.dead, run.halted, run.recovering, run.undoing, run.ended, run.cancelled]).toEqual([0, ...Array(5).fill(undefined)]);
  for (const pending of run.pending.values()) {
    expect(pending.seq).toBeGreaterThan(0);
    expect(pending.t).not.toBe("child");
    if (pending.t !== "call") continue;
    expect([pending.attempt, isQueued(pending)]).toEqual([1, true]);
    const { seq } = pending;
    expect(journal.some((record) => record.t === "recovered" && record.seq === seq && record.decision.t === "compensate")).toBe(false);
  }
  // A signal is taken by whom it was taken.
  const awaited = commandsOf(cut.records).filter(({ t, seq }) => t === "signal" && taken.get(seq)?.value !== undefined);
  expect(cut.records.filter(({ t }) => t === "signalled").length).toBeGreaterThanOrEqual(awaited.length);
  return run;
};

/** What was done is not done again, and what was undone is not taken for done. */
const checkOutcomes = ({ journal, cut, made, taken }: Checked, run: RunState): void => {
  const cancelledAt = journal.findIndex(({ t }) => t === "cancel");
  const outcomes = lastOutcomes(cancelledAt < 0 ? journal : journal.slice(0, cancelledAt));
  for (const [seq, done] of outcomes) {
    if (seq > 0 && seq < cut.from && done.value !== undefined) expect(taken.get(seq)).toBe(done);
  }
  for (const [seq, done] of taken) expect(outcomes.get(seq)).toBe(done);
  expect(cut.reused).toBe([...taken.keys()].filter((seq) => seq > 0).length);
  const undone = new Set(journal.flatMap((record) => (record.t === "undo" ? [-record.seq] : [])));
  for (const { seq } of run.completed) expect(undone.has(seq)).toBe(false);
  for (const seq of undone) if (made.has(seq)) expect(taken.has(-seq)).toBe(true);
};

const check = ({ journal }: Life, from: number): Cut => {
  const cut = cutBefore(journal, from);
  if (cut === undefined) throw new Error(`command ${from} is in the journal`);
  expect(cut.from).toBeLessThanOrEqual(from);
  const made = new Set(commandsOf(cut.records).map(({ seq }) => seq));
  const checked: Checked = { journal, cut, made, taken: lastOutcomes(cut.records) };
  checkOrder(checked);
  checkReplay(checked);
  checkOutcomes(checked, checkMachine(checked));
  return cut;
};

test("a journal cut before any of its commands is the beginning of a run", { timeout: 60_000 }, () => {
  let reused = 0;
  let undone = 0;
  let moved = 0;
  fc.assert(
    fc.property(fc.array(happening, { minLength: 1, maxLength: 50, size: "max" }), (happenings) => {
      const life = lifeOf(happenings);
      for (const { seq } of commandsOf(life.journal)) {
        const cut = check(life, seq);
        reused += cut.reused;
        if (cut.from < seq) moved++;
      }
      if (life.journal.some(({ t }) => t === "undo")) undone++;
    }),
    { numRuns: 600 },
  );
  // The stories are worth telling.
  expect(reused).toBeGreaterThan(1_000);
  expect(undone).toBeGreaterThan(20);
  expect(moved).toBeGreaterThan(200);
});
