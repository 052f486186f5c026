import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { LockstepError } from "./errors.ts";
import { fromJson, toJson } from "./json.ts";

const refusal = (value: unknown, limit?: number): LockstepError => {
  try {
    toJson(value, "the result", limit);
  } catch (error) {
    return error as LockstepError;
  }
  throw new Error("nothing was refused");
};

// JSON has no negative zero, and an object read back has the prototype of objects.
const plain = fc.jsonValue().map((value) => JSON.parse(JSON.stringify(value)) as unknown);

test("what JSON can hold comes back as it was", () => {
  fc.assert(
    fc.property(plain, (value) => {
      expect(fromJson(toJson(value, "it"))).toEqual(value);
    }),
  );
});

test("`undefined` is the empty text, and so differs from null", () => {
  expect(toJson(undefined, "it")).toBe("");
  expect(fromJson("")).toBeUndefined();
  expect(fromJson(toJson(null, "it"))).toBeNull();
});

describe("a value that JSON cannot hold is refused with its path:", () => {
  const cycle: Record<string, unknown> = { list: [1] };
  (cycle.list as unknown[]).push({ back: cycle });
  const revoked = Proxy.revocable({}, {});
  revoked.revoke();
  const hostile = {
    get a(): never {
      throw new Error("from the getter");
    },
    b: 1n,
  };
  test.each<[string, unknown, string]>([
    ["a BigInt", 1n, "value is a BigInt"],
    ["a BigInt inside", { a: [0, { b: 2n }] }, "value.a[1].b is a BigInt"],
    ["a cycle", cycle, "value.list[1].back is a cycle"],
    ["NaN", Number.NaN, "value is NaN"],
    ["NaN inside", { a: [1, Number.NaN] }, "value.a[1] is NaN"],
    ["infinity inside, beside an honest null", { n: null, rate: 1 / 0 }, "value.rate is Infinity"],
    ["a function", () => 1, "is a function"],
    ["a symbol", Symbol("s"), "is a symbol"],
    ["a getter that throws", Object.defineProperty({}, "x", { get: hostileGetter, enumerable: true }), "from a getter"],
    ["a getter that throws, beside a BigInt", hostile, "value.b is a BigInt"],
    ["a toJSON that throws no Error", { toJSON: throwNull }, "a toJSON method threw a object"],
    ["a revoked proxy", revoked.proxy, "revoked"],
  ])("%s", (_, value, message) => {
    const error = refusal(value);
    expect(error.code).toBe("RESULT_NOT_JSON");
    expect(error.message).toContain("the result");
    expect(error.message).toContain(message);
  });

  test("nesting deeper than the stack", () => {
    let value: unknown = 1;
    for (let i = 0; i < 200_000; i++) value = [value];
    expect(refusal(value).code).toBe("RESULT_NOT_JSON");
  });
});

test("a NaN is found however deep JSON.stringify goes", () => {
  const place = fc.array(fc.constantFrom("a", "b", 0), { maxLength: 500 });
  fc.assert(
    fc.property(place, fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY), (path, odd) => {
      const value = path.reduce<unknown>((inner, key) => (key === 0 ? [inner] : { [key]: inner, other: null }), odd);
      expect(refusal(value).message).toMatch(new RegExp(` is ${odd}$`));
    }),
  );
});

test("a value with a null, a date or a shared part is no reason for a refusal", () => {
  const shared = { n: null };
  expect(toJson({ a: shared, b: [shared, shared], at: new Date(0), gone: undefined }, "it")).toBe(
    '{"a":{"n":null},"b":[{"n":null},{"n":null}],"at":"1970-01-01T00:00:00.000Z"}',
  );
});

test("the limit counts bytes of UTF-8, to the byte", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), (text) => {
      const bytes = Buffer.byteLength(JSON.stringify(text));
      expect(toJson(text, "it", bytes)).toBe(JSON.stringify(text));
      const error = refusal(text, bytes - 1);
      expect(error.code).toBe("PAYLOAD_TOO_LARGE");
      expect(error.details).toEqual({ bytes, limit: bytes - 1 });
    }),
  );
});

function hostileGetter(): never {
  throw new Error("from a getter");
}

function throwNull(): never {
  throw null;
}
