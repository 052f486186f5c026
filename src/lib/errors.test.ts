import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Facts, Failure } from "./errors.ts";
import { catalogue, failureOf, LockstepError } from "./errors.ts";

const boom = (): never => {
  throw new Error("boom");
};

describe("the catalogue", () => {
  const codes = Object.keys(catalogue);

  test("is in alphabetical order, so that two additions rarely meet", () => {
    // Words sort before longer ones that begin with them: OUT_OF_MEMORY before OUTPUT_INVALID.
    const words = (code: string): string => code.replaceAll("_", " ");
    expect(codes.map(words)).toEqual(codes.map(words).sort());
  });

  test.each(Object.entries(catalogue))("%s has a status of HTTP, and sentences for what it means and how to mend it", (code, entry) => {
    expect(code).toMatch(/^[A-Z][A-Z_]*[A-Z]$/);
    expect(entry.status).toBeGreaterThanOrEqual(400);
    expect(entry.status).toBeLessThan(600);
    expect(entry.means).toMatch(/^[A-Z].*\.$/);
    expect(entry.mend).toMatch(/^[A-Z].*\.$/);
  });
});

test("a LockstepError carries its code, details, cause and what the catalogue advises", () => {
  const cause = new Error("below");
  const error = new LockstepError("BAD_REQUEST", "no", { cause, details: { field: "x" } });
  expect(error).toMatchObject({ name: "LockstepError", code: "BAD_REQUEST", message: "no", details: { field: "x" }, cause });
  expect(error.mend).toBe(catalogue.BAD_REQUEST.mend);
  expect("cause" in new LockstepError("BAD_REQUEST", "no")).toBe(false);
});

describe("a failure", () => {
  test("of an Error has its class, message, stack and the fallback code", () => {
    const failure = failureOf(new TypeError("no such thing"), "FUNCTION_FAILED");
    expect(failure).toMatchObject({ code: "FUNCTION_FAILED", name: "TypeError", message: "no such thing" });
    expect(failure.stack).toContain("errors.test.ts");
  });

  test("takes the error's own code when that is a short text", () => {
    const withCode = (code: unknown): string => failureOf(Object.assign(new Error("x"), { code }), "FALLBACK").code;
    expect(withCode("ENOENT")).toBe("ENOENT");
    for (const code of ["", "x".repeat(101), 7, null, {}]) expect(withCode(code)).toBe("FALLBACK");
  });

  test("keeps details, the chain of causes and that trying again cannot help", () => {
    const root = Object.assign(new Error("disk full"), { code: "ENOSPC" });
    const failure = failureOf(Object.assign(new Error("not saved", { cause: root }), { details: { file: "a" }, terminal: true }), "F");
    expect(failure).toMatchObject({ details: { file: "a" }, terminal: true, cause: { code: "ENOSPC", message: "disk full" } });
  });

  test("of an error from another context is that of an error", () => {
    expect(failureOf(runInNewContext("new RangeError('far')"), "F")).toMatchObject({ name: "RangeError", message: "far" });
  });

  test("of a failure that travelled as data keeps its code and message", () => {
    expect(failureOf({ code: "CALL_TIMEOUT", message: "late" }, "F")).toEqual({ code: "CALL_TIMEOUT", message: "late" });
  });

  test.each<[string, unknown, string]>([
    ["null", null, "null"],
    ["undefined", undefined, "undefined"],
    ["a string", "oh no", '"oh no"'],
    ["a number", 42, "42"],
    ["NaN", Number.NaN, "NaN"],
    ["a BigInt", 12n, "12n"],
    ["a symbol", Symbol("s"), "Symbol(s)"],
    ["a function", function named() {}, "function named"],
    ["a plain object", { a: 1 }, '{"a":1}'],
    ["an object without a prototype", Object.create(null), "{}"],
  ])("of %s says that it is no Error and shows it", (_, thrown, shown) => {
    const failure = failureOf(thrown, "FALLBACK");
    expect(failure.code).toBe("FALLBACK");
    expect(failure.message).toContain("no Error");
    expect(failure.message).toContain(shown);
  });

  const circular: Record<string, unknown> = {};
  circular.self = circular;
  const revoked = Proxy.revocable({}, {});
  revoked.revoke();
  const getters = new Error("hidden");
  for (const key of ["message", "name", "stack", "code", "details", "cause"]) Object.defineProperty(getters, key, { get: boom });
  const rethrown = new Error("cause of itself");
  rethrown.cause = rethrown;
  const hostile: [string, unknown][] = [
    ["a cycle", circular],
    ["an error whose getters throw", getters],
    ["a revoked proxy", revoked.proxy],
    ["a proxy whose traps throw", new Proxy({}, { get: boom, getPrototypeOf: boom })],
    ["an error with a message that is no text", Object.assign(new Error("x"), { message: Object.create(null) })],
    ["an error with a symbol for a name", Object.assign(new Error("x"), { name: Symbol("n") })],
    ["an error with details that form a cycle", Object.assign(new Error("x"), { details: circular })],
    ["an error with a BigInt for details", Object.assign(new Error("x"), { details: 1n })],
    ["an error with a function for details", Object.assign(new Error("x"), { details: () => 1 })],
    ["an error that is its own cause", rethrown],
    [
      "an object whose toJSON throws null",
      {
        toJSON() {
          throw null;
        },
      },
    ],
    [
      "an object that can be shown in no way",
      {
        toJSON: () => undefined,
        toString: boom,
      },
    ],
  ];

  test.each(hostile)("of %s is still a failure, and one that JSON can hold", (_, thrown) => {
    const failure = failureOf(thrown, "FALLBACK");
    expect(failure.code).toBe("FALLBACK");
    expect(typeof failure.message).toBe("string");
    expect(JSON.parse(JSON.stringify(failure))).toEqual(failure);
  });

  test("is bounded, whatever was thrown", () => {
    const long = "x".repeat(1_000_000);
    let error: Error = new Error(long);
    for (let i = 0; i < 50; i++) error = Object.assign(new Error(long, { cause: error }), { name: long, stack: long, details: { long } });
    expect(JSON.stringify(failureOf(error, "F")).length).toBeLessThan(150_000);
    expect(failureOf(long, "F").message).toMatch(/… \[\d+ more characters\]$/);
    expect(depthOf(failureOf(error, "F"))).toBe(5);
  });

  test("never throws and can always be written as JSON", () => {
    const anything = fc.anything({
      withBigInt: true,
      withDate: true,
      withMap: true,
      withNullPrototype: true,
      withSparseArray: true,
      withSet: true,
    });
    const errors = fc
      .record(
        { message: anything, name: anything, code: anything, details: anything, cause: anything, stack: anything },
        { requiredKeys: [] },
      )
      .map((fields) => Object.assign(new Error("base"), fields));
    fc.assert(
      fc.property(fc.oneof(anything, errors), (thrown) => {
        const failure = failureOf(thrown, "FALLBACK");
        expect(failure.code.length).toBeGreaterThan(0);
        expect(() => JSON.stringify(failure)).not.toThrow();
      }),
    );
  });
});

const depthOf = (failure: Failure): number => 1 + (failure.cause === undefined ? 0 : depthOf(failure.cause));

describe("the facts of a failure", () => {
  const factsOf = (properties: object): Facts | undefined => failureOf(Object.assign(new Error("x"), properties), "F").facts;

  test("are not there for errors that carry none", () => {
    expect("facts" in failureOf(new Error("plain"), "F")).toBe(false);
    expect("facts" in failureOf(new LockstepError("BAD_REQUEST", "no", { details: { status: 404 } }), "F")).toBe(false);
  });

  test("of a system's error are what it was doing, and where", () => {
    const properties = { code: "ECONNREFUSED", errno: -111, syscall: "connect", address: "127.0.0.1", port: 5432 };
    expect(factsOf(properties)).toEqual({ errno: -111, syscall: "connect", address: "127.0.0.1", port: 5432 });
  });

  test("of a service's error are its status and whose fault it says that it was, and nothing of what was sent or received", () => {
    const secret = { authorization: "Bearer secret" };
    const aws = { $fault: "client", $metadata: { httpStatusCode: 403, requestId: "r" }, $response: { headers: secret }, $retryable: {} };
    expect(factsOf(aws)).toEqual({ $fault: "client", httpStatusCode: 403, $retryable: true });
    const axios = { status: 502, config: { headers: secret }, request: secret, response: { status: 502, headers: secret, data: "secret" } };
    expect(factsOf(axios)).toEqual({ status: 502, "response.status": 502 });
    expect(factsOf({ response: { statusCode: 404, url: "http://u:p@h" } })).toEqual({ "response.status": 404 });
  });

  test("keep a code that is a number, which a failure's code is not", () => {
    expect(factsOf({ code: 14, details: "No connection established" })).toEqual({ code: 14 });
    expect(failureOf(new DOMException("late", "TimeoutError"), "F")).toMatchObject({
      code: "F",
      name: "TimeoutError",
      facts: { code: 23 },
    });
  });

  test("are scalars, short, and without the credentials of a URL", () => {
    expect(factsOf({ status: { deep: 1 }, address: ["a"], port: () => 1, errno: Number.NaN, routine: "", syscall: 1n })).toBeUndefined();
    expect(String(factsOf({ routine: "x".repeat(10_000) })?.routine).length).toBeLessThan(150);
    expect(factsOf({ address: "redis://user:pass@cache:6379" })).toEqual({ address: "redis://***@cache:6379" });
  });

  test("survive getters that throw", () => {
    const error = Object.assign(new Error("x"), { status: 500 });
    for (const key of ["errno", "$metadata", "response", "facts", "errors", "type"]) Object.defineProperty(error, key, { get: boom });
    expect(failureOf(error, "F").facts).toEqual({ status: 500 });
    const nested = Object.assign(new Error("x"), { response: new Proxy({}, { get: boom }), facts: new Proxy({}, { get: boom }) });
    expect("facts" in failureOf(nested, "F")).toBe(false);
  });

  test("travel with a failure that is thrown again as data, the known ones only", () => {
    const first = failureOf(Object.assign(new Error("x"), { code: "NoSuchBucket", $metadata: { httpStatusCode: 404 } }), "F");
    expect(failureOf(JSON.parse(JSON.stringify(first)), "F")).toMatchObject({ code: "NoSuchBucket", facts: { httpStatusCode: 404 } });
    expect("facts" in failureOf({ code: "X", message: "m", facts: { password: "secret" } }, "F")).toBe(false);
  });
});

test("the cause of an AggregateError that names none is the first of its errors", () => {
  const refused = Object.assign(new Error("refused"), { code: "ECONNREFUSED" });
  expect(failureOf(new AggregateError([refused, new Error("other")]), "F").cause).toMatchObject({ code: "ECONNREFUSED" });
  expect("cause" in failureOf(new AggregateError([]), "F")).toBe(false);
});
