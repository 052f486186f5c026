import { describe, expect, test } from "vitest";
import { LockstepError } from "../lib/errors.ts";
import { bucket, check, coordinator, fn, isDefinition, isFunction, isResource, table } from "./definitions.ts";

const refusal = (define: () => unknown): LockstepError => {
  try {
    define();
  } catch (error) {
    return error as LockstepError;
  }
  throw new Error("nothing was refused");
};

test("definitions keep what they were given, and are told apart", () => {
  const handler = async () => 1;
  const options = { timeoutMs: 5, retry: { attempts: 2, nonRetryable: ["X"], onExhausted: "fail" as const } };
  const pay = fn("pay", handler, options);
  const book = coordinator("book", handler);
  expect(pay).toMatchObject({ name: "pay", handler, options });
  expect([isDefinition(pay), isFunction(pay), isDefinition(book), isFunction(book)]).toEqual([true, true, true, false]);
  expect([{}, null, "pay", handler].some(isDefinition)).toBe(false);
});

test("a handler without a name is called like its definition, so that stacks tell which one it was", () => {
  const named = function charged(): number {
    return 1;
  };
  const handlers = [fn("pay", () => 1), coordinator("book", async () => 1), fn("charge", named)].map(({ handler }) => handler.name);
  expect(handlers).toEqual(["pay", "book", "charged"]);
  expect(
    fn(
      "frozen",
      Object.freeze(() => 1),
    ).handler.name,
  ).toBe("");
});

describe("a function is refused, by the name of what is wrong, for", () => {
  test.each<[string, unknown]>([
    ["timeoutMs", { timeoutMs: 0 }],
    ["timeoutMs", { timeoutMs: "5" }],
    ["concurrency", { concurrency: Number.NaN }],
    ["memoryMb", { memoryMb: 1 }],
    ["retry.attempts", { retry: { attempts: 0 } }],
    ["retry.backoff.initialMs", { retry: { backoff: { initialMs: -1 } } }],
    ["retry.backoff.factor", { retry: { backoff: { factor: 0.5 } } }],
    ["retry.backoff.maxMs", { retry: { backoff: { maxMs: Number.POSITIVE_INFINITY } } }],
    ["retry.backoff.jitter", { retry: { backoff: { jitter: -1 } } }],
    ["retry.nonRetryable", { retry: { nonRetryable: "CARD_DECLINED" } }],
    ["retry.nonRetryable", { retry: { nonRetryable: [1] } }],
    ["retry.onExhausted", { retry: { onExhausted: "ignore" } }],
    ["timeout", { timeout: 5 }],
    ["compensate", { compensate: "refund" }],
    ["recover", { recover: {} }],
    ["heartbeatMs", { heartbeatMs: 0 }],
    ["writes", { writes: "orders/{id}" }],
    ["writes", { writes: ["orders"] }],
    ["writes", { writes: ["orders/{}"] }],
    ["writes", { writes: ["orders/{id"] }],
    ["writes", { writes: [7] }],
    ["permissions", { permissions: ["orders/*"] }],
    ["permissions.state", { permissions: { state: "orders/*" } }],
    ["permissions.state", { permissions: { state: ["orders"] } }],
    ["permissions.objects", { permissions: { objects: ["delete:orders/*"] } }],
    ["permissions.call", { permissions: { call: ["pay now"] } }],
    ["permissions.files", { permissions: { files: ["*"] } }],
    ["limits.perSecond", { limits: { perSecond: 0 } }],
    ["limits.perSecond", { limits: { perSecond: "5" } }],
    ["limits.key", { limits: { key: "a..b" } }],
    ["limits.perMinute", { limits: { perMinute: 5 } }],
    ["retry", { retry: 3 }],
    ["retry.attemps", { retry: { attemps: 3 } }],
    ["retry.backoff", { retry: { backoff: 200 } }],
    ["retry.backoff.initial", { retry: { backoff: { initial: 200 } } }],
    ["retry.nonRetryable", { retry: { nonRetryable: ["x".repeat(201)] } }],
    ["deterministic", { deterministic: "yes" }],
    ["trust", { trust: "all" }],
    ["faults", { faults: 1 }],
    ["faults", { trust: "compare", faults: 1 }],
    ["faults", { trust: "quorum", faults: 0 }],
    ["faults", { trust: "quorum", faults: 11 }],
    ["faults", { trust: "quorum", faults: 1.5 }],
    ["scale", { trust: "quorum", scale: { min: 1 } }],
    ["heartbeatMs", { trust: "quorum", heartbeatMs: 5 }],
    ["writes", { trust: "quorum", writes: ["orders/{id}"] }],
    ["permissions.state", { trust: "quorum", permissions: { state: ["orders/*"] } }],
    ["permissions.objects", { trust: "quorum", permissions: { objects: ["orders/*"] } }],
    ["faults", { trust: "compare", faults: 1 }],
    ["scale", { trust: "compare", scale: { min: 1 } }],
    ["heartbeatMs", { trust: "compare", heartbeatMs: 5 }],
    ["writes", { trust: "compare", writes: ["orders/{id}"] }],
    ["permissions.state", { trust: "compare", permissions: { state: ["orders/*"] } }],
    ["permissions.objects", { trust: "compare", permissions: { objects: ["orders/*"] } }],
  ])("%s in %j", (field, options) => {
    const error = refusal(() => fn("pay", () => 1, options as never));
    expect(error).toBeInstanceOf(LockstepError);
    expect([error.code, error.details]).toEqual(["APPLICATION_INVALID", { field }]);
    expect(error.message).toContain(field);
  });

  test.each(["", "1st", "a b", "é", `a${"b".repeat(100)}`, 7, undefined])("the name %j", (name) => {
    expect(refusal(() => fn(name as string, () => 1)).details).toEqual({ field: "name" });
    expect(refusal(() => coordinator(name as string, async () => 1)).details).toEqual({ field: "name" });
  });

  test("no handler", () => {
    expect(refusal(() => fn("pay", undefined as never)).details).toEqual({ field: "handler" });
    expect(refusal(() => coordinator("book", {} as never)).details).toEqual({ field: "handler" });
  });
});

describe("a stateful function", () => {
  const initial = () => ({ balance: 0 });
  const apply = (state: { balance: number }, { amount }: { account: string; amount: number }) => ({
    state: { balance: state.balance + amount },
    value: state.balance + amount,
  });

  test("is a function that a quorum of replicas executes", () => {
    const account = fn.stateful("account", { initial, apply, key: "account" }, { faults: 2, timeoutMs: 500 });
    expect(isFunction(account)).toBe(true);
    expect(account).toMatchObject({
      name: "account",
      options: { trust: "quorum", faults: 2, timeoutMs: 500 },
      stateful: { initial, apply },
    });
    const typed: (input: { account: string; amount: number }, ctx: never) => number | Promise<number> = account.handler;
    expect(() => typed({ account: "alice", amount: 1 }, undefined as never)).toThrow("executed by its replicas only");
  });

  test.each<[string, unknown, unknown]>([
    ["apply", undefined, {}],
    ["apply", { initial }, {}],
    ["initial", { apply, initial: { balance: 0 } }, {}],
    ["key", { initial, apply, key: "a..b" }, {}],
    ["key", { initial, apply, key: () => "a" }, {}],
    ["snapshot", { initial, apply, snapshot: () => "" }, {}],
    ["trust", { initial, apply }, { trust: "one" }],
    ["compensate", { initial, apply, compensate: true }, {}],
    ["compensate", { initial, apply }, { compensate: () => undefined }],
    ["scale", { initial, apply }, { scale: { max: 1 } }],
    ["faults", { initial, apply }, { faults: 20 }],
  ])("is refused, by the name of what is wrong, for %s in %j and %j", (field, machine, options) => {
    const error = refusal(() => fn.stateful("account", machine as never, options as never));
    expect([error.code, error.details]).toEqual(["APPLICATION_INVALID", { field }]);
    expect(error.message).toContain(field);
  });

  test("has no check that nobody would execute", () => {
    const watch = fn.stateful("account", { initial, apply });
    expect(refusal(() => check({ watch, test: () => true })).details).toEqual({ field: "test" });
    expect(check({ watch, bounds: { durationMs: 5 } })).toMatchObject({ name: "account-check" });
  });
});

describe("a trigger is refused, by the name of what is wrong, for", () => {
  test.each<[string, unknown]>([
    ["on", {}],
    ["on", "*/5 * * * *"],
    ["on", { cron: "* * * * *", event: "run.finished" }],
    ["on.bucket", { object: { bucket: "orders" }, bucket: "orders" }],
    ["on.object", { object: "orders" }],
    ["on.object.bucket", { object: { bucket: "Orders" } }],
    ["on.object.prefix", { object: { bucket: "orders", prefix: 1 } }],
    ["on.object.key", { object: { bucket: "orders", key: "x" } }],
    ["on.cron", { cron: 5 }],
    ["on.cron", { cron: "* * * *" }],
    ["on.cron", { cron: "60 * * * *" }],
    ["on.timezone", { cron: "* * * * *", timezone: "Berlin" }],
    ["on.catchUp", { cron: "* * * * *", catchUp: "some" }],
    ["on.http.path", { http: { path: "/orders" } }],
    ["on.http.path", { http: {} }],
    ["on.http.path", { http: { path: "orders/../pay" } }],
    ["on.http.method", { http: { path: "orders", method: "DELETE" } }],
    ["on.http.delivery", { http: { path: "orders", delivery: "a b" } }],
    ["on.http.signature", { http: { path: "orders", signature: "SECRET" } }],
    ["on.http.signature.secretEnv", { http: { path: "orders", signature: { secretEnv: "a-b" } } }],
    ["on.http.signature.header", { http: { path: "orders", signature: { secretEnv: "SECRET", header: "" } } }],
    ["on.event", { event: "run.ended" }],
    ["on.event", { event: [] }],
    ["on.where", { event: "run.*", where: "failed" }],
    ["on.where.status", { event: "run.*", where: { status: null } }],
    ["on.stale", { stale: "orders" }],
  ])("%s in %j", (field, on) => {
    for (const define of [() => fn("pay", () => 1, { on } as never), () => coordinator("book", async () => 1, { on: [on] } as never)]) {
      const error = refusal(define);
      expect([error.code, error.details]).toEqual(["APPLICATION_INVALID", { field }]);
      expect(error.message).toContain(field);
    }
  });
});

test("every form of a trigger, permission and limit is taken", () => {
  const pay = fn("pay", () => 1 as never, {
    writes: ["orders/{id}", "customers/{customer.id}/last"],
    permissions: { objects: ["read:orders/*", "orders/*"], state: ["write:orders/1", "*"], call: [] },
    limits: { perSecond: 0.5, key: "customer.id" },
    heartbeatMs: 1_000,
    compensate: () => undefined,
    recover: (ctx) => ctx.retry(),
    on: [
      { object: { bucket: "orders", prefix: "incoming/", suffix: ".json" } },
      { cron: "*/5 * * * *" },
      { cron: "0 0 9-17/2 L JAN,7 MON-FRI", timezone: "Europe/Berlin", catchUp: "all" },
      {
        http: { path: "github/push", method: "POST", signature: { secretEnv: "SECRET", header: "x-hub-signature-256" }, delivery: "x-id" },
      },
      { event: ["run.*", "pod.lost"], where: { status: "failed", "failure.code": "POD_LOST", seq: 1, terminal: true } },
      { stale: "orders/*" },
    ],
  });
  expect(pay.options.on).toHaveLength(6);
});

describe("a resource", () => {
  test("is told from definitions of code", () => {
    const pay = fn("pay", () => 1);
    const all = [table("orders"), bucket("orders"), check({ watch: pay, test: () => true })];
    expect(all.map((one) => [isResource(one), isDefinition(one), one.name])).toEqual([
      [true, false, "orders"],
      [true, false, "orders"],
      [true, false, "pay-check"],
    ]);
    expect(isResource(pay)).toBe(false);
  });

  test("checks without a name are called after what they watch, and numbered", () => {
    const pay = fn("pay", () => 1);
    const long = fn("a".repeat(100), () => 1);
    const test = () => true;
    expect([check({ watch: pay, test }), check({ watch: pay, test }), check("own", { watch: pay, test })].map(({ name }) => name)).toEqual([
      "pay-check",
      "pay-check-2",
      "own",
    ]);
    expect(check({ watch: long, test }).name).toHaveLength(100);
  });

  const pay = fn("pay", () => 1);
  test.each<[string, () => unknown]>([
    ["name", () => table("a b")],
    ["schema", () => table("orders", { schema: {} as never })],
    ["ttlMs", () => table("orders", { ttlMs: 0 })],
    ["ttl", () => table("orders", { ttl: 5 } as never)],
    ["options", () => table("orders", null as never)],
    ["name", () => bucket("Orders")],
    ["name", () => bucket("a..b")],
    ["name", () => bucket("a.-b")],
    ["name", () => bucket("10.0.0.1")],
    ["name", () => bucket("xn--orders")],
    ["name", () => check("a b", { watch: pay, test: () => true })],
    ["watch", () => check("own", { watch: "pay" as never, test: () => true })],
    ["watch", () => check(undefined as never)],
    ["test", () => check({ watch: pay })],
    ["test", () => check({ watch: pay, test: true as never })],
    ["timeoutMs", () => check({ watch: pay, test: () => true, timeoutMs: 0 })],
    ["tset", () => check({ watch: pay, test: () => true, tset: 1 } as never)],
    ["bounds", () => check({ watch: pay, bounds: {} })],
    ["bounds.errorRate", () => check({ watch: pay, bounds: { errorRate: 5 } })],
    ["bounds.duration", () => check({ watch: pay, bounds: { duration: 5 } as never })],
  ])("is refused for %s", (field, define) => {
    const error = refusal(define);
    expect([error.code, error.details]).toEqual(["APPLICATION_INVALID", { field }]);
  });
});
