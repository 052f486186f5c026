import { describe, expect, test } from "vitest";
import type { FunctionContext, FunctionOptions } from "../application/context.ts";
import { type FunctionDefinition, fn } from "../application/definitions.ts";
import { TerminalError } from "../application/errors.ts";
import type { StandardSchemaV1 } from "../application/standard-schema.ts";
import { type Failure, LockstepError } from "../lib/errors.ts";
import type { FromPod, ToPod } from "../protocol/pod.ts";
import { owner } from "./capture.ts";
import { FunctionHost, functionFailure, type Usage } from "./function-host.ts";

type Result = FromPod & { t: "result" };
type Handler = (input: never, ctx: FunctionContext) => unknown;

const setUp = (handler: Handler, options: FunctionOptions<never, never> = {}, limits = {}) => {
  const definition = fn("pay", handler as never, options as never) as unknown as FunctionDefinition;
  const results: Result[] = [];
  const usage: Usage = { cpuMs: 100, memoryMb: 50 };
  const clock = { now: 1_000 };
  const host = new FunctionHost(
    new Map([["pay", definition]]),
    { maxPayloadBytes: 1_000, maxLogBytes: 500, now: () => clock.now, ...limits },
    () => ({ ...usage }),
    (message) => results.push(message as Result),
  );
  let leases = 0;
  const invoke = (message: Partial<ToPod & { t: "invoke" }> = {}): number => {
    const lease = ++leases;
    host.invoke({ t: "invoke", lease, fn: "pay", input: "", run: "run_00000000001", seq: 3, attempt: 2, timeoutMs: 1_000, ...message });
    return lease;
  };
  const failureOf = (result: Result | undefined): Failure => JSON.parse(result!.failure) as Failure;
  return { host, results, usage, clock, invoke, failureOf };
};

const settled = async (): Promise<void> => {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
};

const schema = <T>(validate: StandardSchemaV1<unknown, T>["~standard"]["validate"]): StandardSchemaV1<unknown, T> => ({
  "~standard": { version: 1, vendor: "test", validate },
});

describe("an attempt", () => {
  test("gets its input and answers with its value, in the same turn when the handler is synchronous", () => {
    const { invoke, results } = setUp((input: { a: number }) => ({ b: input.a + 1 }));
    invoke({ input: '{"a":1}' });
    expect(results).toMatchObject([{ t: "result", lease: 1, value: '{"b":2}', failure: "", lines: [] }]);
  });

  test("answers when its promise, or anything that behaves like one, is settled", async () => {
    const native = setUp(async () => 7);
    native.invoke();
    // biome-ignore lint/suspicious/noThenProperty: what it is about
    const thenable = setUp(() => ({ then: (resolve: (value: unknown) => void) => resolve(Promise.resolve(7)) }));
    thenable.invoke();
    expect([native.results, thenable.results]).toEqual([[], []]);
    await settled();
    expect([native.results[0]?.value, thenable.results[0]?.value]).toEqual(["7", "7"]);
  });

  test("knows its run, its key, which attempt it is", () => {
    const { invoke, results } = setUp((_input, ctx) => [ctx.runId, ctx.key, ctx.attempt]);
    invoke();
    expect(results[0]?.value).toBe('["run_00000000001","run_00000000001/3",2]');
  });

  test("without input or result has none", () => {
    const { invoke, results } = setUp((input) => (input === undefined ? undefined : "no"));
    invoke();
    expect(results[0]).toMatchObject({ value: "", failure: "" });
  });

  test("is measured", async () => {
    let end = (): void => {};
    const waiting = new Promise<void>((resolve) => {
      end = resolve;
    });
    const { invoke, results, usage, clock } = setUp(() => waiting);
    invoke();
    clock.now += 12.34567;
    usage.cpuMs += 5;
    usage.memoryMb = 80;
    end();
    await settled();
    expect(results[0]).toMatchObject({ durationMs: 12.346, cpuMs: 5, memoryMb: 80 });
  });

  test("of a function that this version does not have fails for good", () => {
    const { invoke, results, failureOf } = setUp(() => 1);
    invoke({ fn: "other" });
    expect(failureOf(results[0])).toMatchObject({ code: "UNKNOWN_FUNCTION", terminal: true });
  });

  test("that is told to end from outside answers once", async () => {
    const { invoke, results, failureOf } = setUp(async () => {
      const call = owner.getStore() as { fail?: (error: unknown) => void };
      call.fail?.(new LockstepError("PROCESS_EXIT", "process.exit(1) was called"));
      return 7;
    });
    invoke();
    await settled();
    expect(results).toHaveLength(1);
    expect(failureOf(results[0])).toMatchObject({ code: "PROCESS_EXIT", terminal: true });
  });
});

describe("an attempt that uses none of state, objects, progress and checks", () => {
  test("sends one message, with nothing in it for any of them", () => {
    const { invoke, results } = setUp(() => 7);
    invoke();
    expect(results).toHaveLength(1);
    expect(Object.keys(results[0]!)).toEqual(["t", "lease", "value", "failure", "durationMs", "cpuMs", "memoryMb", "lines"]);
  });
});

describe("what an attempt wants to have changed", () => {
  test("comes with the result, in order; of a failed one only which keys it had written", async () => {
    for (const fails of [false, true]) {
      const { invoke, results } = setUp(async (_input, ctx) => {
        await ctx.state.set("orders/1", { secret: 5 });
        await ctx.state.delete("orders/2");
        await ctx.state.refresh("orders/3");
        if (fails) throw new Error("no");
      });
      invoke();
      await settled();
      expect(results[0]?.writes).toEqual(
        fails
          ? [{ key: "orders/1" }, { key: "orders/2" }]
          : [{ key: "orders/1", value: '{"secret":5}' }, { key: "orders/2" }, { key: "orders/3", refresh: true }],
      );
    }
  });

  test("is absent when it has changed nothing, or only asks after its end", async () => {
    let late: Promise<unknown> | undefined;
    const { invoke, results } = setUp((_input, ctx) => {
      late = Promise.resolve().then(() => ctx.state.set("orders/1", 1));
      return 7;
    });
    invoke();
    await expect(late).rejects.toMatchObject({ code: "CALL_CANCELLED" });
    expect(results).toHaveLength(1);
    expect(results[0]?.writes).toBeUndefined();
  });
});

describe("progress", () => {
  test("is sent at once, then at most every 50 ms and the last before the result; what is no JSON is refused", () => {
    const timers: (() => void)[] = [];
    const after = (_ms: number, callback: () => void) => {
      timers.push(callback);
      return () => {};
    };
    let tell: (value: unknown) => void = () => {};
    const { invoke, results } = setUp(
      (_input, ctx) => {
        tell = (value) => ctx.progress(value);
        return new Promise(() => {});
      },
      {},
      { after },
    );
    invoke({ progress: "9" });
    const sent = () => results.filter((message) => (message as { t: string }).t === "progress").map(({ value }) => value);
    for (const value of [1, 2, 3]) tell(value);
    expect(sent()).toEqual(["1"]);
    timers.shift()?.();
    expect(sent()).toEqual(["1", "3"]);
    timers.shift()?.();
    tell(4);
    expect(sent()).toEqual(["1", "3", "4"]);
    expect(() => tell(1n)).toThrow("BigInt");
    expect(() => tell("x".repeat(70_000))).toThrow("limit");
  });
});

describe("a compensation", () => {
  const undo = (options: FunctionOptions<never, never>, message: object = {}) => {
    const set = setUp(() => "the handler", options);
    set.invoke({ seq: -3, input: "1", undo: '{"paid":5}', ...message });
    return set;
  };

  test("is given input and output, has a key of its own, and its result means nothing", async () => {
    const seen: unknown[] = [];
    const { results } = undo({
      compensate: (ctx, done) => {
        seen.push(ctx.key, done);
        return 1n;
      },
    });
    expect(seen).toEqual(["run_00000000001/3/compensate", { input: 1, output: { paid: 5 } }]);
    expect(results[0]).toMatchObject({ value: "", failure: "" });
  });

  test("of a call that gave nothing is given nothing", () => {
    const seen: unknown[] = [];
    undo({ compensate: (_ctx, done) => void seen.push(done) }, { undo: "" });
    expect(seen).toEqual([{ input: 1, output: undefined }]);
  });

  test("that throws has failed; of a function that has none there is nothing to try again", () => {
    const failing = undo({
      compensate: () => {
        throw new TypeError("no");
      },
    });
    expect(failing.failureOf(failing.results[0])).toMatchObject({ code: "FUNCTION_FAILED", name: "TypeError" });
    const none = undo({});
    expect(none.failureOf(none.results[0])).toMatchObject({ code: "UNKNOWN_FUNCTION", terminal: true });
  });
});

describe("a signal", () => {
  test("is aborted with the reason, whether the handler has asked for it before or not", async () => {
    const seen: unknown[] = [];
    let go = (): void => {};
    const { host, invoke } = setUp(async (_input, ctx) => {
      if (ctx.attempt === 1) ctx.signal.addEventListener("abort", () => seen.push((ctx.signal.reason as Error).message));
      await new Promise<void>((resolve) => {
        go = resolve;
      });
      seen.push(ctx.signal.aborted);
    });
    host.abort(invoke({ attempt: 1 }), "first");
    host.abort(invoke({ attempt: 2 }), "second");
    expect(seen).toEqual(["first"]);
    go();
    await settled();
    expect(seen).toEqual(["first", true]);
  });

  test("of an attempt that has ended, or never was, is nobody's", () => {
    const { host, invoke, results } = setUp(() => 1);
    host.abort(invoke(), "late");
    host.abort(99, "unknown");
    expect(results).toHaveLength(1);
  });

  test("is its own for each attempt", async () => {
    const signals: AbortSignal[] = [];
    const { host, invoke } = setUp((_input, ctx) => {
      signals.push(ctx.signal);
      return new Promise(() => {});
    });
    const [first] = [invoke(), invoke()];
    host.abort(first!, "no longer needed");
    expect(signals.map(({ aborted }) => aborted)).toEqual([true, false]);
  });
});

describe("log lines", () => {
  test("come with the answer, in order, with what was given besides text", () => {
    const { invoke, results } = setUp(
      (_input, ctx) => {
        ctx.log.info("paid", { amount: 5 }, 7);
        ctx.log.error(new Error("no"));
        ctx.log.debug("%s of %d", "part", 2);
      },
      {},
      { maxLogBytes: 50_000 },
    );
    invoke();
    const lines = results[0]!.lines;
    expect(lines.map(({ at, level }) => [at, level])).toEqual([
      [1_000, "info"],
      [1_000, "error"],
      [1_000, "debug"],
    ]);
    expect([lines[0]!.text, lines[1]!.text.split("\n")[0], lines[2]!.text]).toEqual(["paid { amount: 5 } 7", "Error: no", "part of 2"]);
  });

  test("stay with their attempt when attempts take turns", async () => {
    const { invoke, results } = setUp(async (input: string, ctx) => {
      for (let i = 0; i < 3; i++) {
        owner.getStore()!.write({ at: 0, level: "info", text: `${input}${i}` });
        await new Promise((resolve) => setImmediate(resolve));
      }
      ctx.log.info("end");
    });
    invoke({ input: '"a"' });
    invoke({ input: '"b"' });
    await settled();
    expect(results.map(({ lines }) => lines.map(({ text }) => text))).toEqual([
      ["a0", "a1", "a2", "end"],
      ["b0", "b1", "b2", "end"],
    ]);
  });

  test("are bounded, and what was dropped is counted", () => {
    const { invoke, results } = setUp((_input, ctx) => {
      for (let i = 0; i < 20; i++) ctx.log.info("x".repeat(100));
    });
    invoke();
    const lines = results[0]!.lines;
    expect([lines.length, lines.at(-1)]).toEqual([
      6,
      { at: 1_000, level: "warn", text: "[truncated: 15 more lines were dropped, the limit is 500 bytes]" },
    ]);
  });

  test("come with a failure too", () => {
    const { invoke, results } = setUp((_input, ctx) => {
      ctx.log.warn("about to fail");
      throw new Error("no");
    });
    invoke();
    expect(results[0]!.lines.map(({ text }) => text)).toEqual(["about to fail"]);
  });
});

describe("validators", () => {
  const double = schema((input) => ({ value: (Number(input) * 2) as never }));
  const later = schema(async (input) => ({ value: (Number(input) * 2) as never }));
  const never = schema<never>(() => ({ issues: [{ message: "must be paid", path: ["order", { key: "amount" }] }] }));

  test("make the input that the handler sees, and the result that counts", async () => {
    const atOnce = setUp((input: number) => input + 1, { input: double, output: double });
    atOnce.invoke({ input: "5" });
    expect(atOnce.results[0]?.value).toBe("22");
    for (const options of [
      { input: later, output: double },
      { input: double, output: later },
    ]) {
      const inTime = setUp(async (input: number) => input + 1, options);
      inTime.invoke({ input: "5" });
      await settled();
      expect(inTime.results[0]?.value).toBe("22");
    }
  });

  test("refuse for good, naming the field, before the handler is asked", () => {
    let asked = false;
    const handler = () => {
      asked = true;
      return 1;
    };
    const input = setUp(handler, { input: never });
    input.invoke();
    expect(asked).toBe(false);
    const issues = [{ field: "order.amount", message: "must be paid" }];
    expect(input.failureOf(input.results[0])).toMatchObject({ code: "INPUT_INVALID", terminal: true, details: { issues } });
    const output = setUp(handler, { output: never });
    output.invoke();
    expect(output.failureOf(output.results[0])).toMatchObject({ code: "OUTPUT_INVALID", terminal: true, details: { issues } });
  });
});

describe("a failure", () => {
  const thrown = (value: unknown): Failure => {
    const { invoke, results, failureOf } = setUp(() => {
      throw value;
    });
    invoke();
    return failureOf(results[0]);
  };

  test("is the function's, with what was thrown as its cause, and may be tried again", () => {
    const failure = thrown(Object.assign(new TypeError("no such thing"), { code: "ENOENT", details: { a: 1 } }));
    expect(failure).toMatchObject({
      code: "FUNCTION_FAILED",
      name: "TypeError",
      message: "no such thing",
      cause: { code: "ENOENT", name: "TypeError", message: "no such thing", details: { a: 1 } },
    });
    expect(failure.stack).toContain("function-host.test.ts");
    expect([failure.terminal, failure.cause?.stack]).toEqual([undefined, undefined]);
  });

  test("without a code has ERROR as its cause", () => {
    expect(thrown(new Error("no"))).toMatchObject({ code: "FUNCTION_FAILED", cause: { code: "ERROR", message: "no" } });
    expect(thrown("text")).toMatchObject({ code: "FUNCTION_FAILED", message: expect.stringContaining("text") as unknown });
  });

  test("that is terminal keeps its code and is not tried again", () => {
    const error = new TerminalError("declined", { code: "CARD_DECLINED", details: { card: 1 } });
    expect(thrown(error)).toMatchObject({ code: "CARD_DECLINED", terminal: true, details: { card: 1 } });
    expect(thrown({ code: "MINE", message: "no", terminal: true })).toMatchObject({ code: "MINE", terminal: true });
  });

  test("of a promise is the same", async () => {
    const { invoke, results, failureOf } = setUp(() => Promise.reject(new TerminalError("declined", { code: "CARD_DECLINED" })));
    invoke();
    await settled();
    expect(failureOf(results[0])).toMatchObject({ code: "CARD_DECLINED", terminal: true });
  });

  test("is that the result is no JSON, or too large: trying again cannot help", () => {
    for (const [value, code] of [
      [1n, "RESULT_NOT_JSON"],
      ["x".repeat(1_001), "PAYLOAD_TOO_LARGE"],
    ] as const) {
      const { invoke, results, failureOf } = setUp(() => value);
      invoke();
      expect(failureOf(results[0])).toMatchObject({ code, terminal: true });
      expect(results[0]?.value).toBe("");
    }
  });

  test("is that the input is no JSON, which hostile code could send", () => {
    const { invoke, results, failureOf } = setUp(() => 1);
    invoke({ input: "{" });
    expect(failureOf(results[0])).toMatchObject({ code: "FUNCTION_FAILED" });
  });

  test("can be made of anything that is thrown", () => {
    const revoked = Proxy.revocable({}, {});
    revoked.revoke();
    for (const value of [undefined, null, 0, "", Symbol("s"), () => 1, revoked.proxy, Object.create(null), []]) {
      expect(functionFailure(value).code).toBe("FUNCTION_FAILED");
    }
  });

  test("of a thenable that throws instead of rejecting is one all the same", async () => {
    const { invoke, results, failureOf } = setUp(() => ({
      // biome-ignore lint/suspicious/noThenProperty: what it is about
      then: () => {
        throw new Error("no then");
      },
    }));
    invoke();
    await settled();
    expect(failureOf(results[0])).toMatchObject({ message: "no then" });
  });
});
