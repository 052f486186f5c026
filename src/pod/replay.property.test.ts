import fc from "fast-check";
import { expect, test } from "vitest";
import { beginOf, CoordinatorPod, RUN } from "../../test/support/coordinator-pod.ts";
import type { CoordinatorContext } from "../application/context.ts";
import { coordinator } from "../application/definitions.ts";
import { CallError, CancelledError } from "../application/errors.ts";
import type { RunInput } from "../coordinator/machine.ts";
import { step } from "../coordinator/machine.ts";
import type { RunEffect } from "../coordinator/run-effects.ts";
import type { RunState } from "../coordinator/run-state.ts";
import { createRun } from "../coordinator/run-state.ts";
import { hashText, type Random, seeded } from "../lib/random.ts";
import type { ToPod } from "../protocol/pod.ts";
import type { Command, JournalRecord } from "../protocol/run.ts";

// ---------------------------------------------------------------- random programs

type Op =
  | { op: "call" | "sleep" | "child" | "start" | "dangling" | "withdraw" | "look" }
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
      { op: "sleep" },
      { op: "child" },
      { op: "start" },
      { op: "dangling" },
      { op: "withdraw" },
      { op: "look" },
    ),
    fc.record({ op: fc.constant("step" as const), hops: fc.nat(3), throws: fc.boolean() }),
    fc.record({ op: fc.constant("signal" as const), name: fc.constantFrom("go", "stop"), timeoutMs: fc.constantFrom(undefined, 30) }),
    fc.record({ op: fc.constant("hops" as const), hops: fc.nat(9) }),
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
    await ctx.call("clean-up", digest());
    throw error;
  }
  return digest();
};

// ---------------------------------------------------------------- the first execution

const podFor = (ops: readonly Op[]) => new CoordinatorPod([coordinator("it", (ctx) => execute(ctx, ops))]);

/** A control plane of one run: the run machine, its journal, and what is on its way to and from the pod. */
class World {
  readonly pod: CoordinatorPod;
  readonly run: RunState = createRun({ id: RUN, kind: "coordinator", name: "it", version: "v1", priority: 0 });
  readonly journal: JournalRecord[] = [];
  readonly #random: Random;
  readonly #cancels: boolean;
  readonly #toPod: ToPod[] = [];
  #received = 0;
  #now = 1_000;

  constructor(ops: readonly Op[], seed: number, cancels: boolean) {
    this.pod = podFor(ops);
    this.#random = seeded(seed);
    this.#cancels = cancels;
  }

  /** Lets things happen in a random order until the run has finished. */
  async live(): Promise<void> {
    await this.pod.take(beginOf("it"));
    for (let i = 0; i < 500 && this.run.finished === undefined; i++) {
      const choices = this.#choices();
      const choice = choices[this.#random.below(choices.length)];
      this.#now += this.#random.below(20);
      if (this.#cancels && this.#random.below(25) === 0) this.#feed({ t: "cancel", reason: "enough", force: false });
      else if (choice === undefined) return;
      else await choice();
    }
  }

  #choices(): (() => unknown)[] {
    const choices: (() => unknown)[] = [];
    if (this.#received < this.pod.sent.length)
      choices.push(
        () => this.#receive(),
        () => this.#receive(),
      );
    if (this.#toPod.length > 0) {
      const deliver = () => this.pod.take(...this.#toPod.splice(0, 1 + this.#random.below(this.#toPod.length)));
      choices.push(deliver, deliver);
    }
    for (const pending of this.run.pending.values()) {
      const { seq } = pending;
      if (pending.t === "call") choices.push(() => this.#answer(seq, pending.attempt));
      else if (pending.t === "child") choices.push(() => this.#feed({ t: "child", seq, value: `${this.#random.below(9)}` }));
      else if (pending.t === "signal")
        choices.push(() => this.#feed({ t: "signal", name: pending.name, value: `${this.#random.below(9)}` }));
      const { dueAt } = pending as { dueAt?: number };
      if (dueAt !== undefined) choices.push(() => this.#fire(seq, dueAt));
    }
    return choices;
  }

  #receive(): void {
    const message = this.pod.sent[this.#received++];
    if (message?.t !== "commands") return;
    for (const command of message.commands) {
      if (command.t === "stepping") this.#toPod.push({ t: "permit", run: RUN, seq: command.seq });
      this.#feed({
        t: "commands",
        commands: [command.t === "child" ? { ...command, child: `run_0000000000${command.seq % 10}` } : command],
      });
    }
  }

  #answer(seq: number, attempt: number): void {
    const { below } = this.#random;
    if (below(4) > 0) return this.#feed({ t: "succeeded", seq, attempt, value: `${below(9)}` });
    const failure = { code: "FUNCTION_FAILED", message: "no" };
    this.#feed({ t: "failed", seq, attempt, failure, policy: { attempts: 1 + below(2), onExhausted: "fail" } });
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
      else if (effect.t === "deliver") this.#toPod.push({ t: "deliver", run: RUN, record: structuredClone(effect.record) });
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

const recordedIn = (history: readonly JournalRecord[]): Set<number> =>
  new Set(history.flatMap((record) => ("seq" in record && !["done", "attempt", "suspend"].includes(record.t) ? [record.seq] : [])));

/** Replays a beginning of the journal, then gives the rest as it came, in batches. */
const replay = async (ops: readonly Op[], journal: readonly JournalRecord[], length: number, random: Random): Promise<CoordinatorPod> => {
  const pod = podFor(ops);
  const rest = journal.slice(length).filter(({ t }) => t === "done" || t === "cancel");
  const messages: ToPod[] = [beginOf("it", journal.slice(0, length)), ...rest.map((record): ToPod => ({ t: "deliver", run: RUN, record }))];
  let permitted = 0;
  while (messages.length > 0) {
    await pod.take(...messages.splice(0, 1 + random.below(messages.length)));
    const steppings = pod.commands().filter(({ t }) => t === "stepping") as { seq: number }[];
    for (; permitted < steppings.length; permitted++) await pod.take({ t: "permit", run: RUN, seq: steppings[permitted]!.seq });
  }
  return pod;
};

test("a replay from any part of the journal makes the commands that the first execution made, whatever came together then", async () => {
  await fc.assert(
    fc.asyncProperty(program, fc.integer(), fc.constantFrom(true, false, false), async (ops, seed, cancels) => {
      const world = new World(ops, seed, cancels);
      await world.live();
      expect(world.pod.divergence()).toBeUndefined();
      const first = essence(world.pod.commands());
      const random = seeded(seed + 1);
      const { journal } = world;
      for (let length = 0; length <= journal.length; length += 1 + random.below(3)) {
        const pod = await replay(ops, journal, length, random);
        expect(pod.divergence()).toBeUndefined();
        const again = essence(pod.commands());
        const recorded = recordedIn(journal.slice(0, length));
        for (const [seq, command] of again) {
          expect(recorded.has(seq as number), `command ${seq} is in the journal and was made again`).toBe(false);
          if (first.has(seq) || !first.has("finish")) expect(command).toEqual(first.get(seq));
        }
        for (const [seq, command] of first) if (!recorded.has(seq as number)) expect(again.get(seq)).toEqual(command);
      }
    }),
    { numRuns: 60 },
  );
}, 30_000);

test("a replay of a changed program never makes a command in the place of another one", async () => {
  await fc.assert(
    fc.asyncProperty(program, program, fc.integer(), async (ops, changed, seed) => {
      const world = new World(ops, seed, false);
      await world.live();
      const pod = await replay(changed, world.journal, world.journal.length, seeded(seed));
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
