import fc from "fast-check";
import { expect, test } from "vitest";
import { beginOf, CoordinatorPod, RUN } from "../../test/support/coordinator-pod.ts";
import type { CoordinatorContext } from "../application/context.ts";
import { coordinator } from "../application/definitions.ts";
import { CallError, CancelledError } from "../application/errors.ts";
import type { ResolvedCommand, RunInput } from "../coordinator/machine.ts";
import { step } from "../coordinator/machine.ts";
import type { RunEffect } from "../coordinator/run-effects.ts";
import type { Pending, RunState } from "../coordinator/run-state.ts";
import { createRun, isQueued } from "../coordinator/run-state.ts";
import { hashText, type Random, seeded } from "../lib/random.ts";
import type { ToPod } from "../protocol/pod.ts";
import type { Decision } from "../protocol/recovery.ts";
import type { Command, JournalRecord } from "../protocol/run.ts";
import type { Staleness, StateOp } from "../protocol/state.ts";

const STALE: Staleness = { run: "run_other", call: 1, function: "pay", fault: "execution", message: "no", at: 1 };

// ---------------------------------------------------------------- random programs

type Op =
  | { op: "call" | "must" | "sleep" | "child" | "start" | "dangling" | "withdraw" | "look" }
  | { op: "compensate" | "get" | "update" }
  | { op: "watch"; calls: boolean }
  | { op: "step"; hops: number; throws: boolean }
  | { op: "signal"; name: string; timeoutMs: number | undefined }
  | { op: "hops"; hops: number }
  | { op: "all" | "race" | "allSettled" | "any"; branches: Op[][] }
  | { op: "map"; items: Op[][]; concurrency: number; tolerateFailures: number | undefined }
  | { op: "coin"; heads: Op[]; tails: Op[] };

const program: fc.Arbitrary<Op[]> = fc.letrec<{ op: Op; ops: Op[] }>((tie) => ({
  op: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    fc.constantFrom<Op>(
      { op: "call" },
      { op: "must" },
      { op: "sleep" },
      { op: "compensate" },
      { op: "get" },
      { op: "update" },
      { op: "child" },
      { op: "start" },
      { op: "dangling" },
      { op: "withdraw" },
      { op: "look" },
    ),
    fc.record({ op: fc.constant("step" as const), hops: fc.nat(3), throws: fc.boolean() }),
    fc.record({ op: fc.constant("signal" as const), name: fc.constantFrom("go", "stop"), timeoutMs: fc.constantFrom(undefined, 30) }),
    fc.record({ op: fc.constant("hops" as const), hops: fc.nat(9) }),
    fc.record({ op: fc.constant("watch" as const), calls: fc.boolean() }),
    fc.record({
      op: fc.constantFrom("all" as const, "race" as const, "allSettled" as const, "any" as const),
      branches: fc.array(tie("ops"), { minLength: 1, maxLength: 4 }),
    }),
    fc.record({
      op: fc.constant("map" as const),
      items: fc.array(tie("ops"), { maxLength: 3 }),
      concurrency: fc.integer({ min: 1, max: 3 }),
      tolerateFailures: fc.constantFrom(undefined, 0, 1, 9),
    }),
    fc.record({ op: fc.constant("coin" as const), heads: tie("ops"), tails: tie("ops") }),
  ),
  ops: fc.array(tie("op"), { minLength: 1, maxLength: 4 }),
})).ops;

/** A program that fails with calls of its own, again and again. */
const fragile: fc.Arbitrary<Op[]> = program.map((ops) => ops.flatMap((op): Op[] => [{ op: "must" }, op, { op: "must" }]));

/** Executes a program. What it has seen so far goes into the input of each call, so that another order of outcomes makes other commands. */
const execute = async (ctx: CoordinatorContext, ops: readonly Op[]): Promise<unknown> => {
  const seen: unknown[] = [];
  const digest = () => hashText(JSON.stringify(seen));
  const note = async (outcome: Promise<unknown>): Promise<void> => {
    try {
      seen.push(await outcome);
    } catch (error) {
      if (error instanceof CancelledError) throw error;
      seen.push(error instanceof CallError ? error.code : String(error));
    }
  };
  const withdraw = async (): Promise<void> => {
    const controller = new AbortController();
    const call = ctx.call("f", digest(), { signal: controller.signal });
    await note(Promise.race([call, ctx.sleep(5)]));
    controller.abort();
    await note(call);
  };
  const hop = async (hops: number): Promise<void> => {
    for (let i = 0; i < hops; i++) await null;
  };
  const perform = async (op: Op): Promise<unknown> => {
    switch (op.op) {
      case "call":
        return note(ctx.call("f", digest()));
      case "must":
        return void seen.push(await ctx.call("f", digest()));
      case "compensate":
        return note(ctx.compensate());
      case "get":
        return note(ctx.state.get("orders/1", { stale: "allow" }));
      case "update":
        return note(ctx.state.update("orders/1", (value) => [value, digest()]));
      case "watch":
        return ctx.onStale(async (key) => {
          seen.push(`${key} is stale`);
          if (op.calls) await note(ctx.call("repair", digest())).catch(() => {});
        });
      case "dangling":
        return void note(ctx.call("f", digest())).catch(() => {});
      case "sleep":
        return note(ctx.sleep(10));
      case "child":
        return note(ctx.run({ name: "c" } as never, digest()));
      case "start":
        return note(ctx.start({ name: "c" } as never, digest()));
      case "withdraw":
        return withdraw();
      case "look":
        return seen.push(ctx.now(), ctx.uuid());
      case "hops":
        return hop(op.hops);
      case "signal":
        return note(ctx.signal(op.name, op.timeoutMs === undefined ? {} : { timeoutMs: op.timeoutMs }));
      case "step":
        return note(
          ctx.step("s", async () => {
            await hop(op.hops);
            if (op.throws) throw new Error("no");
            return op.hops;
          }),
        );
      case "map":
        return note(map(op));
      case "coin":
        return performAll(ctx.random() < 0.5 ? op.heads : op.tails);
      default:
        return Promise[op.op as "all"](op.branches.map(performAll));
    }
  };
  const map = async ({ items, concurrency, tolerateFailures }: Op & { op: "map" }): Promise<unknown> => {
    const one = async (ops: readonly Op[]): Promise<unknown> => {
      await performAll(ops);
      return ctx.call("f", digest());
    };
    if (tolerateFailures === undefined) return ctx.map(items, one, { concurrency });
    return (await ctx.map(items, one, { concurrency, tolerateFailures })).map(({ ok }) => ok);
  };
  const performAll = async (all: readonly Op[]): Promise<void> => {
    for (const op of all) await perform(op);
  };
  try {
    await performAll(ops);
  } catch (error) {
    // Its recovery can have a call made again only when nothing was asked for since.
    if (error instanceof CallError && !(error instanceof CancelledError)) throw error;
    await ctx.call("clean-up", digest());
    throw error;
  }
  return digest();
};

// ---------------------------------------------------------------- the first execution

const podFor = (ops: readonly Op[]) => new CoordinatorPod([coordinator("it", (ctx) => execute(ctx, ops))]);

/** The time from a begin of the code to the end of it, or of the run: `from` and `until` are places in the journal. */
interface Life {
  readonly pod: CoordinatorPod;
  readonly from: number;
  until: number;
  /** What is on its way to the pod. */
  readonly toPod: ToPod[];
}

/** A control plane of one run: the run machine, its journal, and what is on its way to and from the pod. */
class World {
  readonly run: RunState = createRun({ id: RUN, kind: "coordinator", name: "it", version: "v1", priority: 0 });
  readonly journal: JournalRecord[] = [];
  readonly lives: Life[] = [];
  readonly #ops: readonly Op[];
  readonly #random: Random;
  readonly #cancels: boolean;
  #received = 0;
  #ids = 0;
  #now = 1_000;

  constructor(ops: readonly Op[], seed: number, cancels: boolean) {
    this.#ops = ops;
    this.#random = seeded(seed);
    this.#cancels = cancels;
  }

  get pod(): CoordinatorPod {
    return this.#life.pod;
  }

  get #life(): Life {
    return this.lives.at(-1) as Life;
  }

  /** Lets things happen in a random order until the run has finished; all that was recorded for the code reaches it. */
  async live(): Promise<void> {
    this.#host();
    for (let i = 0; i < 500 && this.run.finished === undefined; i++) {
      const choices = this.#choices();
      const choice = choices[this.#random.below(choices.length)];
      this.#now += this.#random.below(20);
      if (this.#cancels && this.#random.below(25) === 0) this.#feed({ t: "cancel", reason: "enough", force: false });
      else if (choice === undefined) break;
      else await choice();
    }
    for (const { pod, toPod } of this.lives) await pod.take(...toPod.splice(0));
    this.#life.until = Math.min(this.#life.until, this.journal.length);
  }

  #host(): void {
    const life = { pod: podFor(this.#ops), from: this.journal.length, until: Number.POSITIVE_INFINITY, toPod: [] as ToPod[] };
    this.lives.push(life);
    this.#received = 0;
    life.toPod.push(beginOf("it", this.journal));
  }

  #choices(): (() => unknown)[] {
    const { pod, toPod } = this.#life;
    const choices: (() => unknown)[] = [];
    if (this.#received < pod.sent.length)
      choices.push(
        () => this.#receive(),
        () => this.#receive(),
      );
    if (toPod.length > 0) {
      const deliver = () => pod.take(...toPod.splice(0, 1 + this.#random.below(toPod.length)));
      choices.push(deliver, deliver);
    }
    if (this.run.watching && this.run.reads.size > 0) choices.push(() => this.#feed({ t: "stale", key: "orders/1", stale: STALE }));
    if (this.run.recovering !== undefined) choices.push(() => this.#decide(0, this.run.recovering?.recovery as string));
    if (this.run.dead > 0 || this.run.halted !== undefined) choices.push(() => this.#resolve());
    for (const pending of this.run.pending.values()) choices.push(...this.#outcomesOf(pending));
    return choices;
  }

  #outcomesOf(pending: Pending): (() => unknown)[] {
    const { seq } = pending;
    const choices: (() => unknown)[] = [];
    if (pending.t === "call" && isQueued(pending)) choices.push(() => this.#answer(seq, pending.attempt));
    else if (pending.t === "call" && pending.recovering !== undefined)
      choices.push(() => this.#decide(seq, pending.recovering?.recovery as string));
    else if (pending.t === "child") choices.push(() => this.#feed({ t: "child", seq, value: `${this.#random.below(9)}` }));
    else if (pending.t === "state") choices.push(() => this.#operate(seq, pending.op));
    else if (pending.t === "signal") choices.push(() => this.#feed({ t: "signal", name: pending.name, value: `${this.#random.below(9)}` }));
    const { dueAt } = pending as { dueAt?: number };
    if (dueAt !== undefined) choices.push(() => this.#fire(seq, dueAt));
    return choices;
  }

  #receive(): void {
    const { pod, toPod } = this.#life;
    const message = pod.sent[this.#received++];
    if (message?.t !== "commands") return;
    for (const command of message.commands) {
      const failed = command.t === "finish" ? command.failure?.call?.seq : undefined;
      expect(this.run.pending.has(failed ?? 0), `the code ends with a failure of call ${failed} that is void`).toBe(false);
      if (command.t === "stepping") toPod.push({ t: "permit", run: RUN, seq: command.seq });
      this.#feed({ t: "commands", commands: [this.#lookUp(command)] });
    }
  }

  #lookUp(command: Command): ResolvedCommand {
    if (command.t === "child") return { ...command, child: `run_0000000000${command.seq % 10}` };
    if (command.t === "call") return { ...command, undoable: command.seq % 3 > 0 };
    return command.t === "finish" && command.failure !== undefined ? { ...command, recovery: this.#id() } : command;
  }

  #id(): string {
    return `run_recovery${++this.#ids}`;
  }

  #answer(seq: number, attempt: number): void {
    const { below } = this.#random;
    if (below(3) > 0) return this.#feed({ t: "succeeded", seq, attempt, value: `${below(9)}`, reads: ["orders/1"] });
    const failure = { code: "FUNCTION_FAILED", message: "no" };
    const recovery = below(5) === 0 ? { recovery: this.#id() } : {};
    this.#feed({
      t: "failed",
      seq,
      attempt,
      failure,
      policy: { attempts: 1 + (below(4) === 0 ? 1 : 0), onExhausted: "fail" },
      ...recovery,
    });
  }

  #decide(seq: number, recovery: string): void {
    const { below } = this.#random;
    const failure = { code: "FUNCTION_FAILED", message: "not any more" };
    const decisions: Decision[] = [
      { t: "retry", afterMs: below(9) },
      { t: "retry", input: `${below(9)}` },
      { t: "compensate" },
      { t: "escalate", message: "what now?" },
      { t: "fail", failure },
      { t: "resume", value: `${below(9)}` },
    ];
    // Mostly retries for the run itself: all else is its end.
    const decision = decisions[seq === 0 && below(3) > 0 ? below(2) : below(decisions.length)] as Decision;
    this.#feed({ t: "recovered", seq, recovery, next: this.#id(), ...(below(5) === 0 ? { failure } : { decision }) });
  }

  #resolve(): void {
    const action = (["retry", "value", "fail"] as const)[this.#random.below(3)] as "retry";
    this.#feed({ t: "resolve", resolution: { action }, by: "alice" });
  }

  #operate(seq: number, op: StateOp): void {
    const { below } = this.#random;
    const key = "key" in op ? op.key : "";
    if (below(5) === 0) return this.#feed({ t: "stated", seq, failure: { code: "STATE_CONFLICT", message: "another was faster" } });
    const entry = op.op === "write" ? { key, version: below(9) } : { key, value: `${below(9)}`, version: below(9) };
    this.#feed({ t: "stated", seq, value: JSON.stringify(entry), reads: [key] });
  }

  #fire(seq: number, dueAt: number): void {
    this.#now = Math.max(this.#now, dueAt);
    this.#feed({ t: "timer", seq });
  }

  #feed(input: RunInput): void {
    const effects: RunEffect[] = [];
    step(this.run, input, this.#now, effects);
    for (const effect of effects) {
      if (effect.t === "record") this.journal.push(structuredClone(effect.record));
      else if (effect.t === "deliver" && this.#life.until === Number.POSITIVE_INFINITY)
        this.#life.toPod.push({ t: "deliver", run: RUN, record: structuredClone(effect.record) });
      // Its code has ended; what it was to learn by then it learns, and what follows is told to the next one.
      else if (effect.t === "start-recovery" && effect.seq === 0) this.#life.until = Math.min(this.#life.until, this.journal.length);
      else if (effect.t === "rehost") this.#host();
    }
  }
}

// ---------------------------------------------------------------- comparing

/** Who called is another one in a replay, and where in its code the coordinator failed is not. */
const withoutStacks = (command: Command): unknown =>
  JSON.parse(JSON.stringify(command, (key, value) => (key === "stack" ? undefined : value)));

/** What of the commands a replay must make again: all up to the end, of steps only that they are. */
const essence = (commands: readonly Command[]): Map<number | "finish", unknown> => {
  const made = new Map<number | "finish", unknown>();
  for (const command of commands) {
    if (command.t === "finish") return made.set("finish", withoutStacks(command));
    made.set(command.seq, command.t === "step" || command.t === "stepping" ? "a step" : command);
  }
  return made;
};

const COMMANDS = new Set<JournalRecord["t"]>(["call", "sleep", "signal", "step", "child", "withdraw", "state", "compensate", "on-stale"]);

const recordedIn = (history: readonly JournalRecord[]): Set<number> =>
  new Set(history.flatMap((record) => ("seq" in record && COMMANDS.has(record.t) ? [record.seq] : [])));

const isTold = (record: JournalRecord): boolean => record.t === "cancel" || record.t === "stale" || (record.t === "done" && record.seq > 0);

/** Replays a beginning of the journal, then gives the rest up to `until` as it came, in batches. */
const replay = async (
  ops: readonly Op[],
  journal: readonly JournalRecord[],
  { length, until }: { length: number; until: number },
  random: Random,
): Promise<CoordinatorPod> => {
  const pod = podFor(ops);
  const rest = journal.slice(length, until).filter(isTold);
  const messages: ToPod[] = [beginOf("it", journal.slice(0, length)), ...rest.map((record): ToPod => ({ t: "deliver", run: RUN, record }))];
  let permitted = 0;
  while (messages.length > 0) {
    await pod.take(...messages.splice(0, 1 + random.below(messages.length)));
    const steppings = pod.commands().filter(({ t }) => t === "stepping") as { seq: number }[];
    for (; permitted < steppings.length; permitted++) await pod.take({ t: "permit", run: RUN, seq: steppings[permitted]!.seq });
  }
  return pod;
};

/** Compares a life of the code with what replays of its beginnings do. */
const compare = async (ops: readonly Op[], journal: readonly JournalRecord[], life: Life, random: Random): Promise<void> => {
  expect(life.pod.divergence()).toBeUndefined();
  const first = essence(life.pod.commands());
  for (let length = life.from; length <= life.until; length += 1 + random.below(3)) {
    const pod = await replay(ops, journal, { length, until: life.until }, random);
    expect(pod.divergence()).toBeUndefined();
    const again = essence(pod.commands());
    const recorded = recordedIn(journal.slice(0, length));
    for (const [seq, command] of again) {
      expect(recorded.has(seq as number), `command ${seq} is in the journal and was made again`).toBe(false);
      if (first.has(seq) || !first.has("finish")) expect(command).toEqual(first.get(seq));
    }
    for (const [seq, command] of first) if (!recorded.has(seq as number)) expect(again.get(seq)).toEqual(command);
  }
};

test("a replay from any part of the journal makes the commands that the first execution made, whatever came together then", async () => {
  const seen = new Set<string>();
  await fc.assert(
    fc.asyncProperty(fc.oneof(program, fragile), fc.integer(), fc.constantFrom(true, false, false), async (ops, seed, cancels) => {
      const world = new World(ops, seed, cancels);
      await world.live();
      const random = seeded(seed + 1);
      for (const life of world.lives) await compare(ops, world.journal, life, random);
      for (const { t } of world.journal) seen.add(t);
    }),
    { numRuns: 100 },
  );
  // The programs are worth replaying.
  for (const kind of ["recover", "reopen", "compensate", "undo", "state", "stale", "cancel"]) expect(seen).toContain(kind);
}, 30_000);

test("a replay of a changed program never makes a command in the place of another one", async () => {
  await fc.assert(
    fc.asyncProperty(program, program, fc.integer(), async (ops, changed, seed) => {
      const world = new World(ops, seed, false);
      await world.live();
      const { from: length, until } = world.lives.at(-1) as Life;
      const pod = await replay(changed, world.journal, { length: Math.max(length, until), until }, seeded(seed));
      if (pod.divergence() !== undefined) {
        expect(pod.commands()).toEqual([]);
        return;
      }
      const recorded = recordedIn(world.journal);
      for (const command of pod.commands()) if (command.t !== "finish") expect(recorded.has(command.seq)).toBe(false);
    }),
    { numRuns: 60 },
  );
});
