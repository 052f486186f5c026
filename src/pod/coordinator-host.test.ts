import { describe, expect, test } from "vitest";
import { beginOf, CoordinatorPod, RUN } from "../../test/support/coordinator-pod.ts";
import type { CoordinatorContext } from "../application/context.ts";
import { coordinator, fn } from "../application/definitions.ts";
import { CallError, CancelledError, TerminalError } from "../application/errors.ts";
import type { StandardSchemaV1 } from "../application/standard-schema.ts";
import type { Failure } from "../lib/errors.ts";
import type { ToPod } from "../protocol/pod.ts";
import type { JournalRecord } from "../protocol/run.ts";

const pay = fn("pay", (amount: number) => amount);

/** A pod with one coordinator. */
const podOf = (handler: (ctx: CoordinatorContext, input: unknown) => Promise<unknown>) => new CoordinatorPod([coordinator("it", handler)]);

// Records as the run machine makes them.
const called = (seq: number, input: string, name = "pay"): JournalRecord => ({ t: "call", seq, at: 900, fn: name, version: "v1", input });
const slept = (seq: number, ms: number): JournalRecord => ({ t: "sleep", seq, at: 900, ms, dueAt: 900 + ms });
const awaited = (seq: number, name: string): JournalRecord => ({ t: "signal", seq, at: 900, name });
const stepped = (seq: number, name: string): JournalRecord => ({ t: "step", seq, at: 900, name });
const wrote = (seq: number): JournalRecord => ({ t: "state", seq, at: 900, op: { op: "write", key: "orders/1", value: "1" } });
const started = (seq: number, name: string, detached = false): JournalRecord => {
  return { t: "child", seq, at: 900, coordinator: name, input: "1", detached, child: "run_0000000000c" };
};
const done = (seq: number, value: unknown = null, at = 1_000 + seq): JournalRecord => ({
  t: "done",
  seq,
  at,
  value: JSON.stringify(value),
});
const failed = (seq: number, failure: Partial<Failure> = {}): JournalRecord => {
  return { t: "done", seq, at: 1_000 + seq, failure: { code: "FUNCTION_FAILED", message: "no", ...failure } };
};
const cancelled: JournalRecord = { t: "cancel", at: 2_000, reason: "enough" };

const finish = (value: unknown) => ({ t: "finish", value: JSON.stringify(value) });

describe("a coordinator", () => {
  test("makes numbered commands, and goes on with their outcomes to its result", async () => {
    const pod = podOf(async (ctx, input) => {
      const paid = await ctx.call(pay, input as number);
      await ctx.sleep(50);
      const approval = await ctx.signal("approval", { timeoutMs: 9 });
      return [paid, approval];
    });
    await pod.begin("it", [], { input: "5" });
    expect(pod.commands()).toEqual([{ t: "call", seq: 1, fn: "pay", input: "5" }]);
    await pod.deliver(done(1, 6));
    await pod.deliver({ t: "done", seq: 2, at: 1, value: "" });
    await pod.deliver(done(3, "yes"));
    expect(pod.commands().slice(1)).toEqual([
      { t: "sleep", seq: 2, ms: 50 },
      { t: "signal", seq: 3, name: "approval", timeoutMs: 9 },
      finish([6, "yes"]),
    ]);
  });

  test("starts children, attached and detached, and waits for the former", async () => {
    const child = coordinator("child", async (_ctx, n: number) => n);
    const pod = podOf(async (ctx) => [await ctx.run(child, 1), await ctx.start(child, 2)]);
    await pod.begin("it");
    await pod.deliver(done(1, "result"));
    await pod.deliver(done(2, "run_0000000000c"));
    expect(pod.commands()).toEqual([
      { t: "child", seq: 1, coordinator: "child", input: "1", detached: false },
      { t: "child", seq: 2, coordinator: "child", input: "2", detached: true },
      finish(["result", { id: "run_0000000000c" }]),
    ]);
  });

  test("executes a step here once it may, and goes on when its outcome is recorded", async () => {
    let executed = 0;
    const pod = podOf((ctx) => ctx.step("look", () => ++executed));
    await pod.begin("it");
    expect([pod.commands(), executed]).toEqual([[{ t: "stepping", seq: 1 }], 0]);
    await pod.take({ t: "permit", run: RUN, seq: 1 });
    expect(pod.commands().slice(1)).toEqual([{ t: "step", seq: 1, name: "look", value: "1" }]);
    await pod.deliver(done(1, 1));
    expect([pod.commands().at(-1), executed]).toEqual([finish(1), 1]);
  });

  test("sees what a step threw", async () => {
    const pod = podOf((ctx) =>
      ctx.step("look", () => {
        throw new RangeError("out of sight");
      }),
    );
    await pod.begin("it");
    await pod.take({ t: "permit", run: RUN, seq: 1 });
    expect(pod.commands()[1]).toMatchObject({
      t: "step",
      seq: 1,
      failure: { code: "STEP_FAILED", message: 'step "look": out of sight', name: "RangeError" },
    });
    expect(pod.commands()[1]).not.toHaveProperty("value");
  });

  test("can withdraw a call, also one that it has not waited for", async () => {
    const pod = podOf(async (ctx) => {
      const controller = new AbortController();
      const call = ctx.call(pay, 1, { signal: controller.signal, timeoutMs: 7 });
      controller.abort();
      return call.catch((error: CallError) => error.code);
    });
    await pod.begin("it");
    expect(pod.commands()).toEqual([
      { t: "call", seq: 1, fn: "pay", input: "1", options: { timeoutMs: 7 } },
      { t: "withdraw", seq: 2, target: 1 },
    ]);
    await pod.deliver(failed(1, { code: "CALL_CANCELLED" }));
    expect(pod.commands().at(-1)).toEqual(finish("CALL_CANCELLED"));
  });

  test("of which this version knows nothing ends its run", async () => {
    const pod = podOf(async () => 1);
    await pod.begin("other");
    expect(pod.commands()).toMatchObject([{ t: "finish", failure: { code: "UNKNOWN_COORDINATOR" } }]);
  });

  test("that was evicted does nothing any more, and what it had not sent is dropped", async () => {
    const pod = podOf(async (ctx) => [await ctx.call(pay, 1), await ctx.call(pay, 2)]);
    await pod.begin("it");
    void pod.deliver(done(1));
    for (let i = 0; i < 5; i++) await null;
    await pod.take({ t: "evict", run: RUN });
    await pod.deliver(done(2));
    expect(pod.commands()).toHaveLength(1);
  });

  test("that is brought back in the pod that it has just left sends nothing twice", async () => {
    const pod = podOf(async (ctx) => [await ctx.call(pay, 1), await ctx.call(pay, 2)]);
    await pod.begin("it");
    const history = [called(1, "1"), done(1)];
    void pod.deliver(done(1));
    for (let i = 0; i < 5; i++) await null;
    await pod.take({ t: "evict", run: RUN }, beginOf("it", history));
    expect(pod.commands().slice(1)).toEqual([{ t: "call", seq: 2, fn: "pay", input: "2" }]);
    await pod.take(beginOf("it", history), { t: "deliver", run: RUN, record: done(2) });
    expect(pod.commands().slice(2)).toEqual([{ t: "call", seq: 2, fn: "pay", input: "2" }, finish([null, null])]);
  });

  test("is named while it executes, also when others got something in the same batch", async () => {
    const names: string[] = [];
    const pod: CoordinatorPod = podOf(async (ctx) => {
      const look = () => names.push(`${ctx.runId.slice(-1)}: ${pod.executing.at(-1)?.slice(-1)}`);
      look();
      await ctx.call(pay, 1);
      for (let i = 0; i < 5; i++) await null;
      look();
    });
    const runs = ["run_0000000000a", "run_0000000000b", "run_0000000000c"];
    await pod.take(...runs.map((run) => beginOf("it", [], { run })));
    await pod.take(...runs.map((run): ToPod => ({ t: "deliver", run, record: done(1) })));
    expect(names).toEqual(["a: a", "b: b", "c: c", "a: a", "b: b", "c: c"]);
    expect(pod.executing.at(-1)).toBe("");
  });

  test("that only takes note of an outcome is not named any more afterwards", async () => {
    const pod = podOf(async (ctx) => Promise.all([ctx.call(pay, 1), ctx.call(pay, 2)]));
    await pod.begin("it");
    await pod.deliver(done(1));
    expect(pod.executing.at(-1)).toBe("");
  });
});

describe("asked whether it only waits", () => {
  const handler = async (ctx: CoordinatorContext) => [await ctx.call(pay, 1), await ctx.call(pay, 2)];
  const ask: ToPod = { t: "ask", run: RUN, at: 3 };

  test("a coordinator that does says so", async () => {
    const pod = podOf(handler);
    await pod.begin("it");
    await pod.take(ask);
    expect(pod.sent.at(-1)).toEqual({ t: "waits", run: RUN, at: 3 });
  });

  test("one that goes on with what it just got does not", async () => {
    const pod = podOf(handler);
    await pod.begin("it");
    await pod.take({ t: "deliver", run: RUN, record: done(1) }, ask);
    expect(pod.sent.filter(({ t }) => t === "waits")).toEqual([]);
  });

  test("one that is still replaying does not, nor one that is gone", async () => {
    const pod = podOf(handler);
    await pod.take(beginOf("it", [called(1, "1"), done(1)]), ask, { t: "evict", run: RUN });
    await pod.take(ask);
    expect(pod.sent.filter(({ t }) => t === "waits")).toEqual([]);
  });
});

describe("outcomes", () => {
  const racing = async (ctx: CoordinatorContext) => {
    const order: unknown[] = [];
    const note = async (seq: number) => {
      await ctx.call(pay, seq);
      order.push(seq, await ctx.call(pay, 10 * seq));
    };
    await Promise.all([note(1), note(2), note(3)]);
    return order;
  };

  test("that arrive together are seen one at a time, in their order (C1)", async () => {
    const together = podOf(racing);
    await together.begin("it");
    await together.deliver(done(3), done(1), done(2));
    const alone = podOf(racing);
    await alone.begin("it");
    for (const seq of [3, 1, 2]) await alone.deliver(done(seq));
    expect(together.commands()).toEqual(alone.commands());
    expect(together.commands().slice(3)).toMatchObject([
      { seq: 4, input: "30" },
      { seq: 5, input: "10" },
      { seq: 6, input: "20" },
    ]);
  });

  test("do not overtake each other between batches", async () => {
    const pod = podOf(async (ctx) => {
      const order: number[] = [];
      await Promise.all([1, 2, 3, 4].map((n) => ctx.call(pay, n).then(() => order.push(n))));
      return order;
    });
    await pod.begin("it");
    const first = pod.deliver(done(4), done(3));
    const second = pod.deliver(done(2), done(1));
    await Promise.all([first, second]);
    expect(pod.commands().at(-1)).toEqual(finish([4, 3, 2, 1]));
  });

  test("that arrive with the beginning come after it, also when the history has none", async () => {
    const pod = podOf(async (ctx) => ctx.call(pay, 1));
    const other: ToPod = beginOf("it", [], { run: "run_0000000000b" });
    await pod.take(other, beginOf("it", [called(1, "1")]), { t: "deliver", run: RUN, record: done(1, 7) });
    expect(pod.commands()).toEqual([finish(7)]);
  });

  test("that arrive with the beginning come after the history", async () => {
    const pod = podOf(racing);
    const history = [called(1, "1"), called(2, "2"), called(3, "3"), done(3), called(4, "30")];
    await pod.take(beginOf("it", history), { t: "deliver", run: RUN, record: done(1) }, { t: "deliver", run: RUN, record: done(2) });
    expect(pod.commands()).toMatchObject([
      { seq: 5, input: "10" },
      { seq: 6, input: "20" },
    ]);
  });

  test("of what nobody waits for any more are passed over", async () => {
    const pod = podOf(async (ctx) => {
      await Promise.race([ctx.call(pay, 1), ctx.call(pay, 2)]);
      return "first";
    });
    await pod.begin("it");
    await pod.deliver(done(2), done(2), done(1));
    expect(pod.commands().at(-1)).toEqual(finish("first"));
    expect(pod.divergence()).toBeUndefined();
  });

  test("that are no JSON fail what waits for them, and nothing else", async () => {
    const pod = podOf(async (ctx) => [await ctx.call(pay, 1).catch((error: CallError) => error.code), await ctx.call(pay, 2)]);
    await pod.begin("it");
    await pod.deliver({ t: "done", seq: 1, at: 1, value: "{" });
    await pod.deliver(done(2, 7));
    expect(pod.commands().at(-1)).toEqual(finish(["RESULT_NOT_JSON", 7]));
  });
});

describe("a replay", () => {
  const handler = async (ctx: CoordinatorContext): Promise<unknown> => {
    ctx.log.info("begins");
    const paid = await ctx.call(pay, 1);
    ctx.log.info("paid");
    const looked = await ctx.step("look", () => {
      throw new Error("a step must not execute again");
    });
    await ctx.sleep(50);
    ctx.log.info("slept");
    return [paid, looked, await ctx.call(pay, 2)];
  };
  const history = [called(1, "1"), done(1, "p"), stepped(2, "look"), done(2, "l"), slept(3, 50), done(3)];

  test("sends only what the journal does not have, and executes no step again", async () => {
    const pod = podOf(handler);
    await pod.begin("it", history);
    expect(pod.commands()).toEqual([{ t: "call", seq: 4, fn: "pay", input: "2" }]);
    await pod.deliver(done(4, "q"));
    expect(pod.commands().at(-1)).toEqual(finish(["p", "l", "q"]));
  });

  test("goes as far as the journal does, wherever that ends", async () => {
    const whole = podOf(handler);
    await whole.begin("it", history.slice(0, 5));
    expect(whole.commands()).toEqual([]);
    const earlier = podOf(handler);
    await earlier.begin("it", history.slice(0, 2));
    expect(earlier.commands()).toEqual([{ t: "stepping", seq: 2 }]);
    const nothing = podOf(handler);
    await nothing.begin("it", []);
    expect(nothing.commands()).toEqual([{ t: "call", seq: 1, fn: "pay", input: "1" }]);
  });

  test("repeats no log lines, and writes those of what is new", async () => {
    const pod = podOf(async (ctx) => {
      ctx.log.info("begins");
      console.log("not captured here");
      await ctx.call(pay, 1);
      ctx.log.info("paid", { n: 1 });
      await ctx.call(pay, 2);
      ctx.log.warn("paid again");
    });
    await pod.begin("it", [called(1, "1"), done(1), called(2, "2")]);
    expect(pod.lines()).toEqual([]);
    await pod.deliver(done(2));
    expect(pod.lines()).toEqual(["paid again"]);
  });

  test("passes over what is not the coordinator's affair: attempts, suspensions, signals that came early", async () => {
    const failure = { code: "X", message: "x" };
    const pod = podOf(handler);
    await pod.begin("it", [
      { t: "signalled", name: "go", at: 1, value: "1" },
      called(1, "1"),
      { t: "attempt", seq: 1, attempt: 1, at: 1, failure, retryAt: 2 },
      { t: "suspend", seq: 1, attempt: 2, at: 1, failure },
      { t: "resume", at: 1 },
      ...history.slice(1),
    ]);
    expect(pod.commands()).toMatchObject([{ t: "call", seq: 4 }]);
  });

  test("withholds its commands until the whole history is replayed (C3)", async () => {
    // The code ends with the first outcome; that the journal goes on with a third call only shows when all outcomes are delivered.
    const pod = podOf(async (ctx) => Promise.race([ctx.call(pay, 1), ctx.call(pay, 2)]));
    await pod.begin("it", [called(1, "1"), called(2, "2"), done(1), done(2), called(3, "3")]);
    expect(pod.commands()).toEqual([]);
    expect(pod.divergence()?.message).toContain('the journal has a call of "pay" with 3 here, but the code no longer makes it');
  });

  test("gives the same times, random numbers and UUIDs", async () => {
    const noting = async (ctx: CoordinatorContext) => {
      const seen: unknown[] = [ctx.now(), ctx.random(), ctx.uuid()];
      for (let i = 1; i <= 3; i++) {
        await ctx.call(pay, i);
        seen.push(ctx.now(), ctx.random(), ctx.uuid());
      }
      return seen;
    };
    const live = podOf(noting);
    await live.begin("it");
    for (const seq of [1, 2, 3]) await live.deliver(done(seq, null, 1_000 * seq));
    const replayed = podOf(noting);
    await replayed.begin(
      "it",
      [1, 2, 3].flatMap((seq) => [called(seq, `${seq}`), done(seq, null, 1_000 * seq)]),
    );
    expect(replayed.commands()).toEqual([live.commands().at(-1)]);
    const [now, random, uuid, ...rest] = JSON.parse((live.commands().at(-1) as { value: string }).value) as unknown[];
    expect([now, rest[0], rest[3], rest[6]]).toEqual([500, 1_000, 2_000, 3_000]);
    expect(uuid).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(new Set([random, rest[1], rest[4], rest[7]]).size).toBe(4);
    const other = podOf(noting);
    await other.begin("it", [], { run: "run_0000000000b" });
    await other.take(...[1, 2, 3].map((seq): ToPod => ({ t: "deliver", run: "run_0000000000b", record: done(seq) })));
    expect((other.commands("run_0000000000b").at(-1) as { value: string }).value).not.toContain(uuid);
  });

  test("waits for a validator of the input that takes its time", async () => {
    const input: StandardSchemaV1<unknown, number> = {
      "~standard": {
        version: 1,
        vendor: "test",
        validate: (value) => new Promise((resolve) => setTimeout(() => resolve({ value: Number(value) * 2 }), 5)),
      },
    };
    const pod = new CoordinatorPod([coordinator("it", async (ctx, n: number) => [n, await ctx.call(pay, n)], { input })]);
    await pod.begin("it", [called(1, "8"), done(1, "paid")], { input: "4" });
    await new Promise((resolve) => setTimeout(resolve, 20));
    await pod.settle();
    expect([pod.commands(), pod.divergence()]).toEqual([[finish([8, "paid"])], undefined]);
  });
});

describe("a replay that differs", () => {
  const child = coordinator("child", async (_ctx, n: number) => n);
  const makers: Record<string, (ctx: CoordinatorContext) => Promise<unknown>> = {
    call: (ctx) => ctx.call(pay, 1),
    "call of another function": (ctx) => ctx.call("ship", 1),
    "call with another input": (ctx) => ctx.call(pay, 2),
    sleep: (ctx) => ctx.sleep(5),
    "longer sleep": (ctx) => ctx.sleep(6),
    signal: (ctx) => ctx.signal("go"),
    "signal of another name": (ctx) => ctx.signal("stop"),
    step: (ctx) => ctx.step("look", () => 1),
    "step of another name": (ctx) => ctx.step("listen", () => 1),
    child: (ctx) => ctx.run(child, 1),
    "child of another name": (ctx) =>
      ctx.run(
        coordinator("other", async (_ctx, n: number) => n),
        1,
      ),
    "detached child": (ctx) => ctx.start(child, 1),
    "state write": (ctx) => ctx.state.set("orders/1", 1),
    "state write of another key": (ctx) => ctx.state.set("orders/2", 1),
    "state write of another value": (ctx) => ctx.state.set("orders/1", 2),
    "state read": (ctx) => ctx.state.get("orders/1"),
    "state listing": (ctx) => ctx.state.list("orders/"),
    compensation: (ctx) => ctx.compensate(),
    nothing: async () => 1,
  };

  test.each<[string, JournalRecord, string, string]>([
    ["call of another function", called(1, "1"), 'a call of "pay" with 1', 'a call of "ship" with 1'],
    ["call with another input", called(1, "1"), 'a call of "pay" with 1', 'a call of "pay" with 2'],
    ["sleep", called(1, "1"), 'a call of "pay" with 1', "a sleep of 5 ms"],
    ["longer sleep", slept(1, 5), "a sleep of 5 ms", "a sleep of 6 ms"],
    ["signal of another name", awaited(1, "go"), 'a wait for signal "go"', 'a wait for signal "stop"'],
    ["step of another name", stepped(1, "look"), 'step "look"', 'step "listen"'],
    ["step", slept(1, 5), "a sleep of 5 ms", 'step "look"'],
    ["call", stepped(1, "look"), 'step "look"', 'a call of "pay" with 1'],
    ["child of another name", started(1, "child"), 'a child "child" with 1', 'a child "other" with 1'],
    ["detached child", started(1, "child"), 'a child "child" with 1', 'a detached child "child" with 1'],
    ["child", started(1, "child", true), 'a detached child "child" with 1', 'a child "child" with 1'],
    ["signal", started(1, "child"), 'a child "child" with 1', 'a wait for signal "go"'],
    ["state write", called(1, "1"), 'a call of "pay" with 1', 'state write of "orders/1" with 1'],
    ["state write of another key", wrote(1), 'state write of "orders/1" with 1', 'state write of "orders/2" with 1'],
    ["state write of another value", wrote(1), 'state write of "orders/1" with 1', 'state write of "orders/1" with 2'],
    ["state read", wrote(1), 'state write of "orders/1" with 1', 'state get of "orders/1"'],
    ["state listing", wrote(1), 'state write of "orders/1" with 1', 'state list of "orders/"'],
    ["compensation", wrote(1), 'state write of "orders/1" with 1', "a compensation"],
    ["call", { t: "compensate", seq: 1, at: 900 }, "a compensation", 'a call of "pay" with 1'],
  ])("in a %s is told, naming both", async (name, recorded, was, is) => {
    const pod = podOf((ctx) => makers[name]!(ctx));
    await pod.begin("it", [recorded, done(1)]);
    expect(pod.divergence()).toEqual({
      code: "REPLAY_DIVERGED",
      message: `coordinator "it" diverged from its journal at step 1: the journal has ${was}, the code now makes ${is}`,
      details: { seq: 1 },
    });
    expect(pod.commands()).toEqual([]);
  });

  test.each(Object.keys(makers).filter((name) => name !== "nothing"))("in no way is not: %s", async (name) => {
    const live = podOf((ctx) => makers[name]!(ctx));
    await live.begin("it");
    const [command] = live.commands() as unknown as [Record<string, unknown>];
    const recorded = { ...command, at: 900, dueAt: 905, version: "v1", child: "run_0000000000c" } as unknown as JournalRecord;
    if (command.t === "stepping") Object.assign(recorded, { t: "step", name: name === "step" ? "look" : "listen" });
    const pod = podOf((ctx) => makers[name]!(ctx));
    await pod.begin("it", [recorded, done(1, "x")]);
    expect([pod.divergence(), pod.commands()[0]?.t]).toEqual([undefined, "finish"]);
  });

  test("in that the code no longer makes a command is told", async () => {
    const pod = podOf(makers.nothing!);
    await pod.begin("it", [called(1, "1")]);
    expect(pod.divergence()?.message).toContain('the journal has a call of "pay" with 1 here, but the code no longer makes it');
  });

  test("in that the code never asked for an outcome is told", async () => {
    const pod = podOf(makers.nothing!);
    await pod.begin("it", [called(1, "1"), done(1)]);
    expect(pod.divergence()?.message).toContain("the code never asked for it");
  });

  test("in a command between those that the journal has is told", async () => {
    const pod = podOf(async (ctx) => {
      await Promise.all([ctx.call(pay, 1), ctx.call(pay, 2), ctx.call(pay, 3)]);
    });
    await pod.begin("it", [called(1, "1"), called(3, "3")]);
    expect(pod.divergence()?.message).toContain('at step 2: the code now makes a call of "pay" with 2, of which the journal knows nothing');
  });

  test("shows long inputs in part", async () => {
    const pod = podOf((ctx) => ctx.call(pay, 2));
    await pod.begin("it", [called(1, JSON.stringify("x".repeat(500)))]);
    expect(pod.divergence()?.message.length).toBeLessThan(300);
  });

  test("is told once, and what belongs to the run afterwards is passed over", async () => {
    const pod = podOf(async (ctx) => Promise.all([ctx.call(pay, 7), ctx.call(pay, 8)]));
    await pod.begin("it", [called(1, "1"), called(2, "2")]);
    await pod.deliver(done(1), done(2));
    expect(pod.sent.map(({ t }) => t)).toEqual(["diverged"]);
  });

  test("only in steps that took their time is none: they may be missing or come late", async () => {
    const handler = async (ctx: CoordinatorContext) => Promise.all([ctx.step("slow", () => "s"), ctx.call(pay, 1)]);
    const missing = podOf(handler);
    await missing.begin("it", [called(2, "1"), done(2, "p")]);
    expect(missing.commands()).toEqual([{ t: "stepping", seq: 1 }]);
    await missing.take({ t: "permit", run: RUN, seq: 1 });
    expect(missing.commands().at(-1)).toEqual({ t: "step", seq: 1, name: "slow", value: '"s"' });
    const late = podOf(handler);
    await late.begin("it", [called(2, "1"), done(2, "p"), stepped(1, "slow"), done(1, "s")]);
    expect(late.commands()).toEqual([finish(["s", "p"])]);
  });
});

describe("cancelling", () => {
  test("rejects what is awaited; after cleaning up the coordinator ends as cancelled", async () => {
    const handler = async (ctx: CoordinatorContext): Promise<unknown> => {
      try {
        return await Promise.all([ctx.call(pay, 1), ctx.sleep(5)]);
      } catch (error) {
        await ctx.call("refund", error instanceof CancelledError);
        throw error;
      }
    };
    const pod = podOf(handler);
    await pod.begin("it");
    await pod.deliver(cancelled);
    expect(pod.commands().slice(2)).toEqual([{ t: "call", seq: 3, fn: "refund", input: "true" }]);
    await pod.deliver(done(3));
    const end = { t: "finish", cancelled: true, failure: { code: "RUN_CANCELLED", message: "enough" } };
    expect(pod.commands().at(-1)).toEqual(end);
    const replayed = podOf(handler);
    await replayed.begin("it", [called(1, "1"), slept(2, 5), cancelled, called(3, "true", "refund"), done(3)]);
    expect(replayed.commands()).toEqual([end]);
  });

  test("does not keep a coordinator from ending in another way", async () => {
    const pod = podOf((ctx) => ctx.call(pay, 1).catch(() => "saved"));
    await pod.begin("it");
    await pod.deliver(cancelled);
    expect(pod.commands().at(-1)).toEqual(finish("saved"));
  });

  test("reaches a coordinator whose step executes, in a replay as in the first execution", async () => {
    let end = (_value: string): void => {};
    const handler = async (ctx: CoordinatorContext): Promise<unknown> => {
      const look = () =>
        new Promise<string>((resolve) => {
          end = resolve;
        });
      const looked = await ctx.step("look", look).catch(() => "cancelled");
      return ctx.call(pay, looked as never);
    };
    const pod = podOf(handler);
    await pod.begin("it");
    await pod.take({ t: "permit", run: RUN, seq: 1 });
    await pod.deliver(cancelled);
    end("too late");
    await pod.settle();
    expect(pod.commands().slice(1)).toEqual([
      { t: "call", seq: 2, fn: "pay", input: '"cancelled"' },
      { t: "step", seq: 1, name: "look", value: '"too late"' },
    ]);
    const replayed = podOf(handler);
    await replayed.begin("it", [cancelled, called(2, '"cancelled"'), stepped(1, "look"), done(1, "too late"), done(2, "p")]);
    expect([replayed.divergence(), replayed.commands()]).toEqual([undefined, [finish("p")]]);
  });

  test("keeps a step that has no permission yet from executing", async () => {
    let executed = false;
    const pod = podOf((ctx) =>
      ctx.step("look", () => {
        executed = true;
      }),
    );
    await pod.begin("it");
    await pod.deliver(cancelled);
    await pod.take({ t: "permit", run: RUN, seq: 1 });
    expect([executed, pod.commands()[1]]).toMatchObject([false, { t: "finish", cancelled: true }]);
  });
});

describe("the end of a coordinator", () => {
  const endOf = async (handler: (ctx: CoordinatorContext) => Promise<unknown>): Promise<unknown> => {
    const pod = podOf(handler);
    await pod.begin("it");
    return pod.commands().at(-1);
  };

  test("is its result, or none", async () => {
    expect(await endOf(async () => ({ a: 1 }))).toEqual(finish({ a: 1 }));
    expect(await endOf(async () => undefined)).toEqual({ t: "finish", value: "" });
  });

  test("with an error of its own is COORDINATOR_FAILED, with what was thrown", async () => {
    const failure = { code: "COORDINATOR_FAILED", name: "RangeError", message: "no" };
    expect(await endOf(() => Promise.reject(new RangeError("no")))).toMatchObject({ t: "finish", failure });
    const sync = () => {
      throw "text";
    };
    expect(await endOf(sync as never)).toMatchObject({ failure: { code: "COORDINATOR_FAILED" } });
  });

  test("comes also when what was thrown can't even be looked at", async () => {
    const revoked = Proxy.revocable({}, {});
    revoked.revoke();
    expect(await endOf(() => Promise.reject(revoked.proxy as Error))).toMatchObject({ failure: { code: "COORDINATOR_FAILED" } });
  });

  test("with an application's terminal error keeps its code", async () => {
    const error = new TerminalError("sold out", { code: "SOLD_OUT", details: { seats: 0 } });
    const failure = { code: "SOLD_OUT", details: { seats: 0 }, terminal: true };
    expect(await endOf(() => Promise.reject(error))).toMatchObject({ failure });
  });

  test("with a failed call that nobody caught is that failure", async () => {
    const pod = podOf((ctx) => ctx.call(pay, 1));
    await pod.begin("it");
    const failure: Failure = { code: "CARD_DECLINED", message: "no", call: { function: "pay", seq: 1 }, attempts: 3 };
    await pod.deliver({ t: "done", seq: 1, at: 1, failure });
    expect(pod.commands().at(-1)).toEqual({ t: "finish", failure });
  });

  test("with a result that is no JSON or too large is refused", async () => {
    expect(await endOf(async () => 1n)).toMatchObject({ failure: { code: "RESULT_NOT_JSON" } });
    expect(await endOf(async () => "x".repeat(20_000))).toMatchObject({ failure: { code: "PAYLOAD_TOO_LARGE" } });
  });

  test("with an input that is refused, or a result that is", async () => {
    const never: StandardSchemaV1<unknown, never> = {
      "~standard": { version: 1, vendor: "test", validate: () => ({ issues: [{ message: "never fits", path: ["a", { key: 0 }] }] }) },
    };
    const options = [{ input: never }, { output: never }];
    const codes = ["INPUT_INVALID", "OUTPUT_INVALID"];
    for (const [i, option] of options.entries()) {
      const pod = new CoordinatorPod([coordinator("it", async () => 1 as never, option)]);
      await pod.begin("it", [], { input: "1" });
      expect(pod.commands()).toMatchObject([{ t: "finish", failure: { code: codes[i], terminal: true } }]);
      expect((pod.commands()[0] as { failure: Failure }).failure.message).toContain("a.0: never fits");
    }
  });

  test("is told also when it comes in the middle of the replay", async () => {
    const pod = podOf(async (ctx) => {
      await ctx.call(pay, 1).catch(() => {});
      return "end";
    });
    await pod.begin("it", [called(1, "1"), failed(1)]);
    expect(pod.commands()).toEqual([finish("end")]);
  });
});

test("a failure that a coordinator catches has code, call, attempts, details and cause", async () => {
  let caught: unknown;
  const pod = podOf(async (ctx) => {
    caught = await ctx.call(pay, 1).catch((error: unknown) => error);
  });
  await pod.begin("it");
  const failure = { code: "X", details: { a: 1 }, call: { function: "pay", seq: 1 }, attempts: 2, cause: { code: "Y", message: "y" } };
  await pod.deliver(failed(1, failure));
  expect(caught).toBeInstanceOf(CallError);
  expect(caught).toMatchObject({ ...failure, message: "no" });
});

test("log lines beyond the limit are cut with a mark, once", async () => {
  const pod = podOf(async (ctx) => {
    for (let i = 1; i <= 3; i++) {
      for (let n = 0; n < 10; n++) ctx.log.info("x".repeat(100));
      await ctx.call(pay, i);
    }
  });
  await pod.begin("it");
  await pod.deliver(done(1));
  await pod.deliver(done(2));
  const marks = pod.lines().filter((line) => line.startsWith("[truncated"));
  expect([pod.lines().length, marks.length]).toEqual([11, 1]);
});
