import { describe, expect, test } from "vitest";
import { allows, allowsAll, denial } from "./permissions.ts";

describe("permissions", () => {
  test("of a definition that lists none allow all, and so do those that are empty", () => {
    expect(allows(undefined, "state", "write", "orders/1")).toBe(true);
    expect(allows({}, "call", "call", "pay")).toBe(true);
    expect(allowsAll(undefined, "objects", "read", "orders/")).toBe(true);
  });

  test("of a definition that lists any allow no more than these, of every kind", () => {
    const permissions = { state: ["read:orders/*"] };
    expect(allows(permissions, "state", "read", "orders/1")).toBe(true);
    expect(allows(permissions, "state", "write", "orders/1")).toBe(false);
    expect(allows(permissions, "state", "read", "customers/1")).toBe(false);
    expect(allows(permissions, "objects", "read", "orders/1")).toBe(false);
    expect(allows(permissions, "call", "call", "pay")).toBe(false);
    expect(allows({ state: [] }, "state", "read", "orders/1")).toBe(false);
  });

  test("without an action allow both", () => {
    for (const action of ["read", "write"] as const)
      expect(allows({ objects: ["orders/in/*"] }, "objects", action, "orders/in/a")).toBe(true);
  });

  test("with a colon in the key are not taken for an action", () => {
    expect(allows({ state: ["times/12:30"] }, "state", "write", "times/12:30")).toBe(true);
    expect(allows({ state: ["read:times/12:30"] }, "state", "read", "times/12:30")).toBe(true);
  });

  test("of calls are names, with stars", () => {
    expect(allows({ call: ["pay*", "ship"] }, "call", "call", "payment")).toBe(true);
    expect(allows({ call: ["pay*", "ship"] }, "call", "call", "shipping")).toBe(false);
  });

  test.each([
    [["orders/*"], "orders/", true],
    [["orders/*"], "orders/2026", true],
    [["orders/2026*"], "orders/2026-01", true],
    [["*"], "orders/", true],
    [["orders/2026*"], "orders/", false],
    [["orders/*/open"], "orders/", false],
    [["orders/1"], "orders/1", false],
    [["write:orders/*"], "orders/", false],
  ])("%j let all that begins with %s be listed: %s", (state, prefix, expected) => {
    expect(allowsAll({ state }, "state", "read", prefix)).toBe(expected);
  });
});

describe("a denial", () => {
  const actor = { kind: "function", name: "payment", application: "shop" } as const;

  test("says who, what, and which line of the definition would allow it", () => {
    const error = denial(actor, "state", "read", "orders/17");
    expect(error).toMatchObject({
      code: "ACCESS_DENIED",
      terminal: true,
      message:
        'function "payment" of application "shop" may not read state "orders/17": permissions: { state: ["read:orders/*"] } in its definition would allow it',
      details: { function: "payment", application: "shop", action: "read", resource: "orders/17" },
    });
  });

  test("suggests a line that does allow it", () => {
    for (const [kind, action, resource] of [
      ["state", "write", "orders/17"],
      ["objects", "read", "orders/incoming/a.json"],
      ["call", "call", "ship"],
    ] as const) {
      const { allow } = denial(actor, kind, action, resource).details as { allow: string };
      const pattern = /\["(.*)"\]/.exec(allow)?.[1] as string;
      expect(allows({ [kind]: [pattern] }, kind, action, resource)).toBe(true);
    }
  });

  test("names the application whose bucket it is", () => {
    expect(denial(actor, "objects", "write", "archive/a", "store").message).toContain(
      'may not write object "archive/a", which belongs to application "store"',
    );
  });
});
