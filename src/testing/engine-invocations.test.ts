import type { FunctionContext } from "lockstep";
import { check, coordinator, fn, type LockstepError, StaleStateError, TerminalError, table } from "lockstep";
import { createTestPlatform, type TestPlatform } from "lockstep/testing";
import { afterEach, describe, expect, test } from "vitest";

let t: TestPlatform;
const open = async (...application: unknown[]): Promise<TestPlatform> => {
  t = await createTestPlatform({ application: application as never, patienceMs: 20 });
  return t;
};
afterEach(async () => {
  expect((await t.audit()).repaired).toBe(0);
  await t.stop();
});

const once = { attempts: 1, onExhausted: "fail" } as const;
const state = (key: string) => t.controlPlane.state.get("application", key);
const stored = async (key: string): Promise<unknown> => {
  const { value } = await state(key);
  return value === "" ? undefined : JSON.parse(value);
};
const failure = async (
  called: Promise<unknown>,
): Promise<{ code: string; message: string; cause?: { code: string; details?: unknown } }> => {
  const outcome = await called.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (outcome === undefined) throw new Error("it succeeded");
  return outcome as never;
};

describe("state in a function", () => {
  test("commits with the result", async () => {
    const order = fn("order", async (id: string, ctx) => {
      await ctx.state.set(`orders/${id}`, { id, paid: false });
      await ctx.state.update<number>("totals/orders", (count) => (count ?? 0) + 1);
      return "ordered";
    });
    await open(order);
    expect(await t.call(order, "o-1")).toBe("ordered");
    expect(await stored("orders/o-1")).toEqual({ id: "o-1", paid: false });
    expect(await stored("totals/orders")).toBe(1);
    await t.crash();
    expect(await stored("totals/orders")).toBe(1);
  });

  test("of an attempt that fails is nowhere, and the next begins with what there was", async () => {
    const seen: unknown[] = [];
    const order = fn<void, unknown>("order", async (_, ctx) => {
      seen.push((await ctx.state.get("totals/orders", { stale: "allow" })).value);
      await ctx.state.set("totals/orders", ctx.attempt);
      if (ctx.attempt < 3) throw new Error("not yet");
    });
    await open(order);
    await t.call(order);
    expect(seen).toEqual([undefined, undefined, undefined]);
    expect(await stored("totals/orders")).toBe(3);
  });

  test("shows the invocation's own writes to its reads and listings", async () => {
    const fill = fn<void, unknown>("fill", async (_, ctx) => {
      for (const key of ["a", "c", "e"]) await ctx.state.set(`letters/${key}`, key.toUpperCase());
    });
    const look = fn<void, unknown>("look", async (_, ctx) => {
      await ctx.state.set("letters/b", "new");
      await ctx.state.delete("letters/c");
      await ctx.state.set("letters/e", "changed");
      const all = await ctx.state.list("letters/");
      const two = await ctx.state.list("letters/", { limit: 2, after: "letters/a" });
      return {
        all: all.map(({ key, value }) => [key, value]),
        two: two.map(({ key }) => key),
        gone: (await ctx.state.get("letters/c")).value === undefined,
        changed: (await ctx.state.get("letters/e")).value,
      };
    });
    await open(fill, look);
    await t.call(fill);
    expect(await t.call(look)).toEqual({
      all: [
        ["letters/a", "A"],
        ["letters/b", "new"],
        ["letters/e", "changed"],
      ],
      two: ["letters/b", "letters/e"],
      gone: true,
      changed: "changed",
    });
  });

  test("adds up exactly when many count at the same time, without using up an attempt", async () => {
    const attempts: number[] = [];
    const count = fn(
      "count",
      async (key: string, ctx) => {
        attempts.push(ctx.attempt);
        await ctx.state.update<number>(`counters/${key}`, (n) => (n ?? 0) + 1);
      },
      { retry: once },
    );
    const many = coordinator("many", async (ctx) => {
      await Promise.all(Array.from({ length: 40 }, (_, i) => ctx.call(count, `k${i % 2}`)));
    });
    await open(count, many);
    await t.run(many);
    expect([await stored("counters/k0"), await stored("counters/k1")]).toEqual([20, 20]);
    expect(attempts.length).toBeGreaterThan(40);
    expect(new Set(attempts)).toEqual(new Set([1]));
  });

  test("adds up exactly when the control plane dies at any commit", async () => {
    const count = fn<void, unknown>("count", async (_, ctx) => void (await ctx.state.update<number>("counters/k", (n) => (n ?? 0) + 1)));
    const five = coordinator("five", async (ctx) => {
      for (let i = 0; i < 5; i++) await ctx.call(count, undefined);
    });
    for (const point of ["before", "after"] as const) {
      for (let commits = 1; commits <= 12; commits++) {
        await open(count, five);
        const run = await t.start(five);
        t.crashAtCommit(commits, point);
        await run.result();
        expect(await stored("counters/k")).toBe(5);
        if (commits < 12) await t.stop();
      }
    }
  });

  test("that a withdrawn call has written is nowhere", async () => {
    const slow = fn<void, unknown>("slow", async (_, ctx) => {
      await ctx.state.set("orders/1", "too late");
    });
    const hasty = coordinator("hasty", async (ctx) => {
      const controller = new AbortController();
      const call = ctx.call(slow, undefined, { signal: controller.signal }).catch((error: Error) => (error as LockstepError).code);
      await ctx.sleep(100);
      controller.abort();
      return call;
    });
    await open(slow, hasty);
    t.delay(slow, 5_000);
    expect(await t.run(hasty)).toBe("CALL_CANCELLED");
    await t.advance(10_000);
    expect(await stored("orders/1")).toBeUndefined();
  });

  test("is checked against the schema of its table, and lives as long as the table says", async () => {
    const schema = {
      "~standard": {
        version: 1 as const,
        vendor: "test",
        validate: (value: unknown) =>
          typeof value === "number" ? { value } : { issues: [{ message: "must be a number", path: ["amount"] }] },
      },
    };
    const prices = table<number>("prices", { schema, ttlMs: 1_000 });
    const price = fn("price", async (value: unknown, ctx) => void (await ctx.state.table(prices).set("apple", value as number)));
    const bare = fn("bare", async (value: unknown, ctx) => void (await ctx.state.set("prices/pear", value)));
    await open(prices, price, bare);
    for (const target of [price, bare]) {
      expect(await failure(t.call(target, "much"))).toMatchObject({
        code: "STATE_VALUE_INVALID",
        message: expect.stringContaining("amount: must be a number") as unknown,
      });
    }
    await t.call(price, 5);
    expect(await stored("prices/apple")).toBe(5);
    await t.advance(2_000);
    expect(await stored("prices/apple")).toBeUndefined();
  });

  test("is refused to keys that are none", async () => {
    const odd = fn("odd", async (key: string, ctx) => void (await ctx.state.set(key, 1)));
    await open(odd);
    for (const key of ["orders", "/x", "orders/", `orders/${"x".repeat(1_001)}`, "orders/a\u0000b", "1orders/x"]) {
      expect(await failure(t.call(odd, key))).toMatchObject({ code: "STATE_KEY_INVALID" });
    }
  });

  test("is bounded in the number of its writes", async () => {
    const many = fn("many", async (count: number, ctx) => {
      for (let i = 0; i < count; i++) await ctx.state.set(`many/${i}`, i);
    });
    await open(many);
    await t.call(many, 1_000);
    expect(await failure(t.call(many, 1_001))).toMatchObject({ code: "PAYLOAD_TOO_LARGE" });
  });
});

describe("a value whose writer failed", () => {
  const pay = fn(
    "pay",
    async ({ id, fail }: { id: string; fail: boolean }, ctx: FunctionContext) => {
      await ctx.state.set(`payments/${id}`, "paid");
      if (fail) throw new TypeError("the card reader is undefined");
    },
    { retry: once, writes: ["orders/{id}"] },
  );
  const readStale = fn("read", async ({ key, stale }: { key: string; stale?: "allow" | "wait" }, ctx) => {
    try {
      const record = await ctx.state.get(key, stale === undefined ? {} : { stale });
      return { value: record.value, stale: record.freshness.stale };
    } catch (error) {
      if (!(error instanceof StaleStateError)) throw error;
      return { refused: error.key, writer: error.stale.function, fault: error.stale.fault, run: error.stale.run, call: error.stale.call };
    }
  });

  test("is refused to its reader, with who failed to write it: what the attempt had set, and what it declares", async () => {
    await open(pay, readStale);
    const run = await t.start(pay, { id: "17", fail: true });
    await run.result().catch(() => undefined);
    for (const key of ["payments/17", "orders/17"]) {
      expect(await t.call(readStale, { key })).toEqual({ refused: key, writer: "pay", fault: "execution", run: run.id, call: 1 });
      expect(await t.call(readStale, { key, stale: "allow" })).toEqual({ stale: true });
    }
    const stale = (await t.events()).filter(({ type }) => type === "state.stale");
    expect(stale).toMatchObject([{ key: "payments/17" }, { key: "orders/17" }]);
  });

  test("that isn't caught fails the reader, and names the writer", async () => {
    const naive = fn<void, unknown>("naive", async (_, ctx) => (await ctx.state.get("orders/17")).value, { retry: once });
    await open(pay, naive);
    await t.call(pay, { id: "17", fail: true }).catch(() => undefined);
    const refused = await failure(t.call(naive));
    expect(refused).toMatchObject({ cause: { code: "STATE_STALE" } });
    expect(refused.message).toContain('"pay"');
  });

  test("is right for the reader once recovery has repaired it: the paper's case", async () => {
    const repair = fn("repair", async (id: string, ctx) => {
      await ctx.state.set(`payments/${id}`, "paid after all");
      await ctx.state.refresh(`orders/${id}`);
    });
    const book = coordinator("book", async (ctx, id: string) => {
      const waiting = ctx.call(readStale, { key: `payments/${id}`, stale: "wait" });
      const failed = await ctx.call(pay, { id, fail: true }).catch((error: Error) => error.message);
      const known = await ctx.call(readStale, { key: `payments/${id}` });
      await ctx.call(repair, id);
      return { failed, known, waited: await waiting, after: await ctx.call(readStale, { key: `payments/${id}` }) };
    });
    await open(pay, readStale, repair, book);
    expect(await t.run(book, "17")).toMatchObject({
      failed: expect.stringContaining("card reader") as unknown,
      known: { refused: "payments/17", writer: "pay" },
      after: { value: "paid after all", stale: false },
    });
    expect((await state("orders/17")).stale).toBeUndefined();
  });

  test("is no obstacle to the same call's next attempt, whose success clears it", async () => {
    const flaky = fn<void, unknown>("flaky", async (_, ctx) => {
      const { value } = await ctx.state.get<number>("counters/a");
      await ctx.state.set("counters/a", (value ?? 0) + 1);
      if (ctx.attempt === 1) throw new Error("once");
    });
    await open(flaky);
    await t.call(flaky);
    expect(await state("counters/a")).toMatchObject({ value: "1" });
    expect((await state("counters/a")).stale).toBeUndefined();
  });

  test("is right again when the call succeeds after all, also if it touches no state itself", async () => {
    const outside = fn<void, unknown>("outside", (_, ctx) => (ctx.attempt === 1 ? Promise.reject(new Error("once")) : 1), {
      writes: ["orders/all"],
    });
    await open(outside);
    const run = await t.start(outside);
    expect((await state("orders/all")).stale).toMatchObject({ function: "outside" });
    await run.result();
    expect((await state("orders/all")).stale).toBeUndefined();
  });

  test("is that of a call whose pod died, by what it declares", async () => {
    const hang = fn("hang", () => new Promise<void>(() => {}), { retry: once, timeoutMs: 500, writes: ["orders/all"] });
    await open(hang, readStale);
    await t.call(hang).catch(() => undefined);
    expect(await t.call(readStale, { key: "orders/all" })).toMatchObject({ refused: "orders/all", fault: "timeout" });
  });
});

describe("permissions", () => {
  const touch = async (ask: { get?: string; set?: string; list?: string; del?: string }, ctx: FunctionContext) => {
    if (ask.get !== undefined) await ctx.state.get(ask.get);
    if (ask.set !== undefined) await ctx.state.set(ask.set, 1);
    if (ask.del !== undefined) await ctx.state.delete(ask.del);
    if (ask.list !== undefined) await ctx.state.list(ask.list);
    return "done";
  };
  const held = fn("held", touch, { permissions: { state: ["read:orders/*", "write:orders/mine-*"] }, writes: [] });

  test("let through what they list", async () => {
    await open(held);
    for (const ask of [{ get: "orders/1" }, { set: "orders/mine-1" }, { list: "orders/" }]) expect(await t.call(held, ask)).toBe("done");
  });

  test.each([
    [{ get: "customers/1" }, 'may not read state "customers/1"', 'permissions: { state: ["read:customers/*"] }'],
    [{ set: "orders/1" }, 'may not write state "orders/1"', 'permissions: { state: ["write:orders/*"] }'],
    [{ del: "orders/1" }, 'may not write state "orders/1"', 'permissions: { state: ["write:orders/*"] }'],
    [{ list: "customers/" }, 'may not read state "customers/"', 'permissions: { state: ["read:customers/*"] }'],
  ])("refuse %j for good, saying who may not do what, and the line that would allow it", async (ask, what, line) => {
    await open(held);
    const denied = await failure(t.call(held, ask));
    expect(denied.code).toBe("ACCESS_DENIED");
    expect(denied.message).toContain(`function "held" of application "application" ${what}: ${line}`);
    expect(await t.controlPlane.state.stale()).toEqual([]);
  });

  test("hold coordinators to the functions, coordinators and keys that they list", async () => {
    const pay = fn("pay", () => "paid");
    const ship = fn("ship", () => "shipped");
    const child = coordinator("child", async () => "born");
    const buy = coordinator(
      "buy",
      async (ctx) => {
        const code = (promise: Promise<unknown>) => promise.then(String, (error: { code: string; message: string }) => error.message);
        return [
          await code(ctx.call(pay, undefined)),
          await code(ctx.call(ship, undefined)),
          await code(ctx.run(child, undefined)),
          await code(ctx.state.set("orders/1", 1)),
          await code(ctx.state.set("customers/1", 1)),
          await code(ctx.state.list("customers/")),
        ];
      },
      { permissions: { call: ["pay"], state: ["orders/*"] } },
    );
    await open(pay, ship, child, buy);
    const who = 'coordinator "buy" of application "application" may not';
    expect(await t.run(buy)).toEqual([
      "paid",
      `${who} call "ship": permissions: { call: ["ship"] } in its definition would allow it`,
      `${who} call "child": permissions: { call: ["child"] } in its definition would allow it`,
      "undefined",
      `${who} write state "customers/1": permissions: { state: ["write:customers/*"] } in its definition would allow it`,
      `${who} read state "customers/": permissions: { state: ["read:customers/*"] } in its definition would allow it`,
    ]);
  });

  test("hold a function's recovery as they hold the function", async () => {
    const pay = fn("pay", () => "paid");
    const risky = fn("risky", () => Promise.reject(new TerminalError("no")), {
      permissions: { state: ["orders/*"] },
      recover: async (ctx) => ctx.resumeWith(await ctx.call(pay, undefined).catch((error: Error) => error.message)),
    });
    await open(pay, risky);
    expect(await t.call(risky)).toContain('function "risky" of application "application" may not call "pay"');
  });

  test("hold for compensations too", async () => {
    const sly = fn("sly", () => 1, {
      permissions: { state: ["orders/*"] },
      compensate: async (ctx) => void (await ctx.state.set("customers/1", 1)),
    });
    const undoing = coordinator("undoing", async (ctx) => {
      await ctx.call(sly, undefined);
      await ctx.compensate();
    });
    await open(sly, undoing);
    const run = await t.start(undoing);
    expect(await failure(run.result())).toBeDefined();
    expect(await stored("customers/1")).toBeUndefined();
  });
});

describe("a check", () => {
  const pay = fn(
    "pay",
    async (amount: number, ctx) => {
      ctx.log.info("paying", amount);
      if (amount > 0) await ctx.state.set("payments/last", amount);
      return { amount };
    },
    { retry: once },
  );

  test("sees the execution and what it has written, before either counts", async () => {
    const seen: unknown[] = [];
    const written = check("written", {
      watch: pay,
      test: async ({ input, output, metrics, lines }, ctx) => {
        seen.push({ input, output, durationMs: metrics.durationMs, lines: lines.map(({ text }) => text) });
        return (await ctx.state.get("payments/last")).value === input;
      },
    });
    await open(pay, written);
    expect(await t.call(pay, 5)).toEqual({ amount: 5 });
    expect(seen).toEqual([{ input: 5, output: { amount: 5 }, durationMs: 0, lines: ["paying 5"] }]);
    expect(await stored("payments/last")).toBe(5);
    expect(await failure(t.call(pay, 0))).toMatchObject({ code: "CHECK_FAILED", message: 'check "written" returned false' });
  });

  test("that is not content fails the call although the function returned, and nothing that it wrote is there", async () => {
    const never = check("never", { watch: pay, test: () => Promise.reject(new TerminalError("no receipt", { code: "NO_RECEIPT" })) });
    await open(pay, never);
    const run = await t.start(pay, 5);
    await failure(run.result());
    expect((await t.controlPlane.result(run.id, 0)).failure).toMatchObject({
      code: "CHECK_FAILED",
      message: 'check "never" threw: no receipt',
      cause: { code: "NO_RECEIPT" },
      details: { check: "never" },
      verdict: { class: "check-failed" },
    });
    expect(await stored("payments/last")).toBeUndefined();
  });

  test("that does not answer in time fails the call", async () => {
    const endless = check("endless", { watch: pay, test: () => new Promise(() => {}), timeoutMs: 500 });
    await open(pay, endless);
    expect(await failure(t.call(pay, 5))).toMatchObject({ code: "CHECK_FAILED", message: 'check "endless" did not answer within 500 ms' });
  });
});

describe("a compensation", () => {
  test("is given what the call was given and gave, under a key of its own, and commits what it writes", async () => {
    const seen: unknown[] = [];
    const reserve = fn(
      "reserve",
      async (seat: string, ctx) => {
        await ctx.state.set(`seats/${seat}`, "taken");
        return { seat, ticket: 7 };
      },
      {
        compensate: async (ctx, done) => {
          seen.push([ctx.key, done]);
          await ctx.state.delete(`seats/${done.input}`);
          return "means nothing";
        },
      },
    );
    const trip = coordinator("trip", async (ctx) => {
      await ctx.call(reserve, "4a");
      await ctx.compensate();
    });
    await open(reserve, trip);
    const run = await t.start(trip);
    await run.result();
    expect(seen).toEqual([[`${run.id}/1/compensate`, { input: "4a", output: { seat: "4a", ticket: 7 } }]]);
    expect(await stored("seats/4a")).toBeUndefined();
  });
});

describe("progress", () => {
  test("that was told just before a failure is known to the next attempt", async () => {
    const hasty = fn<void, unknown>("hasty", (_, ctx) => {
      if (ctx.attempt > 1) return ctx.lastProgress;
      for (let done = 1; done <= 3; done++) ctx.progress({ done });
      throw new Error("no");
    });
    await open(hasty);
    expect(await t.call(hasty)).toEqual({ done: 3 });
  });

  test("is what the attempt after a pod's death begins with", async () => {
    const begun: unknown[] = [];
    const crunch = fn<void, unknown>("crunch", async (_, ctx) => {
      begun.push(ctx.lastProgress);
      if (ctx.attempt > 1) return ctx.lastProgress;
      for (let done = 1; done <= 3; done++) ctx.progress({ done });
      return new Promise(() => {});
    });
    await open(crunch);
    const run = await t.start(crunch);
    await t.advance(1_000);
    await t.killPod(crunch);
    expect(await run.result()).toEqual({ done: 3 });
    expect(begun).toEqual([undefined, { done: 3 }]);
  });
});
