import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { bucket, check, coordinator, fn, table } from "../application/definitions.ts";
import { LockstepError } from "../lib/errors.ts";
import { isManifest } from "../protocol/manifest.ts";
import { collect, loadBundle, manifestOf } from "./bundle.ts";

let directory = "";
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "bundle-test-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

let files = 0;
const load = (code: string) => {
  const path = join(directory, `${++files}.cjs`);
  writeFileSync(path, code);
  return loadBundle(path);
};

const refusal = (attempt: () => unknown): LockstepError => {
  try {
    attempt();
  } catch (error) {
    return error as LockstepError;
  }
  throw new Error("nothing was refused");
};

const names = ({ functions, coordinators }: ReturnType<typeof load>) => [[...functions.keys()], [...coordinators.keys()]];

const SDK = `const { fn, coordinator } = require("lockstep");\n`;

describe("a bundle", () => {
  test("is executed, and its exports are its definitions", () => {
    const application = load(`${SDK}
      exports.pay = fn("pay", (input) => input + 1);
      exports.book = coordinator("book", async () => 1);
      exports.helper = () => 1; exports.limit = 5; exports.nothing = null;`);
    expect(names(application)).toEqual([["pay"], ["book"]]);
    expect(application.functions.get("pay")?.handler(1 as never, {} as never)).toBe(2);
  });

  test.each([
    ["a default export", `exports.default = fn("pay", () => 1)`, ["pay"]],
    ["an array as the default export", `exports.default = [fn("pay", () => 1), fn("ship", () => 1)]`, ["pay", "ship"]],
    ["an object as the default export", `exports.default = { a: fn("pay", () => 1) }; exports.b = fn("ship", () => 1)`, ["ship", "pay"]],
    ["exports that were replaced", `module.exports = { pay: fn("pay", () => 1) }`, ["pay"]],
    ["one definition in place of the exports", `module.exports = fn("pay", () => 1)`, ["pay"]],
    ["an array in place of the exports", `module.exports = [fn("pay", () => 1)]`, ["pay"]],
    [
      "getters, as bundlers write them",
      `Object.defineProperty(exports, "pay", { enumerable: true, get: () => pay }); const pay = fn("pay", () => 1)`,
      ["pay"],
    ],
    ["one definition under two names", `exports.a = exports.b = fn("pay", () => 1)`, ["pay"]],
    ["a comment at its end", `exports.a = fn("pay", () => 1) // the end`, ["pay"]],
  ])("may have %s", (_, code, functions) => {
    expect(names(load(SDK + code))[0]).toEqual(functions);
  });

  test("may give a function and a coordinator one name", () => {
    expect(names(load(`${SDK} exports.a = fn("pay", () => 1); exports.b = coordinator("pay", async () => 1);`))).toEqual([
      ["pay"],
      ["pay"],
    ]);
  });

  test("gets Node's own modules, and the same SDK as the pod", () => {
    const application = load(`${SDK}
      const same = require("node:path") === require("path");
      const { TerminalError } = require("lockstep");
      exports.a = fn("check", () => [same, typeof require("node:fs").readFileSync, new TerminalError("x")]);`);
    const [same, read, error] = application.functions.get("check")!.handler(undefined as never, {} as never) as unknown[];
    expect([same, read, error instanceof Error]).toEqual([true, "function", true]);
  });

  test("does not see this module's variables, and leaves none behind", () => {
    const application = load(`${SDK} const secret = 1; exports.a = fn("look", () => [typeof loadBundle, typeof collect]);`);
    expect(application.functions.get("look")!.handler(undefined as never, {} as never)).toEqual(["undefined", "undefined"]);
    expect((globalThis as Record<string, unknown>).secret).toBeUndefined();
  });
});

describe("a bundle is refused with APPLICATION_INVALID", () => {
  test.each<[string, string, string]>([
    ["that throws", `throw new TypeError("no database")`, "the application threw while it loaded: no database"],
    ["that throws no Error", `throw "oops"`, "the application threw while it loaded: oops"],
    ["that throws nothing at all", `throw undefined`, "the application threw while it loaded: undefined"],
    ["that is no JavaScript", `exports.a = fn(`, "the application is no JavaScript: "],
    ["that needs a module which is not in it", `require("left-pad")`, 'module "left-pad" is not in the bundle'],
    ["with a definition that is wrong", `${SDK} exports.a = fn("1 pay", () => 1)`, 'function name "1 pay" is invalid'],
    [
      "with two functions of one name",
      `${SDK} exports.a = fn("pay", () => 1); exports.b = fn("pay", () => 2)`,
      'function "pay" is defined twice',
    ],
    [
      "with two coordinators of one name",
      `${SDK} exports.a = coordinator("b", async () => 1); exports.default = [coordinator("b", async () => 1)]`,
      'coordinator "b" is defined twice',
    ],
    [
      "with two tables of one name",
      `${SDK} const { table } = require("lockstep"); exports.a = table("t"); exports.b = table("t"); exports.f = fn("pay", () => 1)`,
      'table "t" is defined twice',
    ],
    [
      "with a check of a function that it does not export",
      `${SDK} const { check } = require("lockstep"); exports.f = fn("pay", () => 1);
       exports.c = check({ watch: fn("pay", () => 2), test: () => true })`,
      'check "pay-check" watches function "pay": export that function too',
    ],
    ["without definitions", `exports.a = 1`, "exports no function and no coordinator"],
    ["whose exports are nothing", `module.exports = undefined`, "exports no function and no coordinator"],
    ["whose exports are null", `module.exports = null`, "exports no function and no coordinator"],
    [
      "whose exports throw",
      `Object.defineProperty(exports, "a", { enumerable: true, get() { throw new Error("not ready") } })`,
      "not ready",
    ],
  ])("%s", (_, code, message) => {
    const error = refusal(() => load(code));
    expect(error).toBeInstanceOf(LockstepError);
    expect(error.code).toBe("APPLICATION_INVALID");
    expect(error.message).toContain(message);
  });

  test("with what was thrown as its cause", () => {
    expect(refusal(() => load(`throw new TypeError("no database")`)).cause).toMatchObject({ name: "TypeError", message: "no database" });
  });
});

test("definitions of another copy of the SDK are definitions too", () => {
  const foreign = { [Symbol.for("lockstep.definition")]: "function", name: "pay", options: {}, handler: () => 1 };
  expect([...collect({ foreign }).functions.keys()]).toEqual(["pay"]);
});

test("a manifest tells names and options, without what only the pod can use", () => {
  const validator = { "~standard": { version: 1, vendor: "test", validate: (value: unknown) => ({ value }) } } as never;
  const retry = { attempts: 2, nonRetryable: ["X"], backoff: { initialMs: 5 } };
  const application = collect({
    a: fn("pay", () => 1 as never, {
      timeoutMs: 5,
      retry,
      concurrency: 3,
      memoryMb: 64,
      deterministic: true,
      input: validator,
      output: validator,
    }),
    b: fn("ship", () => undefined),
    c: coordinator("book", async () => 1),
  });
  expect(manifestOf(application)).toEqual({
    functions: [{ name: "pay", timeoutMs: 5, retry, concurrency: 3, memoryMb: 64, deterministic: true }, { name: "ship" }],
    coordinators: [{ name: "book" }],
  });
});

test("a manifest tells triggers, recoveries and resources", () => {
  const pay = fn("pay", () => 1, {
    compensate: () => undefined,
    recover: (ctx) => ctx.retry(),
    writes: ["orders/{id}"],
    permissions: { state: ["orders/*"] },
    limits: { perSecond: 2 },
    heartbeatMs: 9,
    on: { cron: "* * * * *" },
  });
  const application = collect({
    pay,
    book: coordinator("book", async () => 1, {
      recover: (ctx) => ctx.fail(new Error("x")),
      permissions: { call: ["pay"] },
      on: [{ stale: "a/*" }],
    }),
    plain: coordinator("plain", async () => 1),
    orders: table("orders", { ttlMs: 5 }),
    notes: table("notes"),
    files: bucket("files"),
    slow: check({ watch: pay, bounds: { durationMs: 100, errorRate: 0.5 } }),
    right: check({ watch: pay, test: () => true }),
  });
  const manifest = manifestOf(application);
  expect(manifest).toEqual({
    functions: [
      {
        name: "pay",
        compensates: true,
        recovers: true,
        writes: ["orders/{id}"],
        permissions: { state: ["orders/*"] },
        limits: { perSecond: 2 },
        heartbeatMs: 9,
        on: [{ cron: "* * * * *" }],
      },
    ],
    coordinators: [{ name: "book", recovers: true, permissions: { call: ["pay"] }, on: [{ stale: "a/*" }] }, { name: "plain" }],
    tables: [{ name: "orders", ttlMs: 5 }, { name: "notes" }],
    buckets: ["files"],
    alerts: [{ name: "pay-check", function: "pay", durationMs: 100, errorRate: 0.5 }],
  });
  expect(isManifest(manifest)).toBe(true);
  expect([...application.checks.keys()]).toEqual(["pay-check", "pay-check-2"]);
});

test("more definitions than a manifest may have are refused in words", () => {
  const many = Object.fromEntries(Array.from({ length: 2_001 }, (_, i) => [`f${i}`, fn(`f${i}`, () => 1)]));
  expect(() => manifestOf(collect(many))).toThrow("more definitions");
});
