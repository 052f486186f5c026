import { describe, expect, test } from "vitest";
import { LockstepError } from "../lib/errors.ts";
import { checkTrigger } from "./trigger-options.ts";

/** Which field is refused; `undefined` when none is. */
const refused = (trigger: unknown): unknown => {
  try {
    checkTrigger('function "pay"', trigger);
    return undefined;
  } catch (error) {
    if (!(error instanceof LockstepError) || error.code !== "APPLICATION_INVALID") throw error;
    expect(error.message).toContain('function "pay"');
    return error.details?.field;
  }
};

describe("a trigger", () => {
  test.each([
    { object: { bucket: "orders", prefix: "incoming/", suffix: ".json" } },
    { cron: "*/5 * * * *", timezone: "Europe/Berlin", catchUp: "latest" },
    { http: { path: "github/push", method: "POST", signature: { secretEnv: "SECRET", header: "x-hub-signature" }, delivery: "x-id" } },
    { event: "run.*", where: { status: "failed", durationMs: 5, live: true } },
    { event: ["object.put", "state.stale"] },
    { stale: "orders/*" },
    { stale: "*" },
  ])("may be %j", (trigger) => {
    expect(refused(trigger)).toBeUndefined();
  });

  test.each([
    [{}, "on"],
    ["cron", "on"],
    [{ cron: "* * * * *", stale: "orders/*" }, "on"],
    [{ object: "orders" }, "on.object"],
    [{ object: { bucket: "Orders" } }, "on.object.bucket"],
    [{ object: { bucket: "orders", prefix: 7 } }, "on.object.prefix"],
    [{ object: { bucket: "orders", folder: "a" } }, "on.object.folder"],
    [{ cron: "every day" }, "on.cron"],
    [{ cron: "* * * * *", timezone: "Europe/Nowhere" }, "on.timezone"],
    [{ cron: "* * * * *", catchUp: "some" }, "on.catchUp"],
    [{ http: { path: "/github" } }, "on.http.path"],
    [{ http: { path: "a/../b" } }, "on.http.path"],
    [{ http: { path: "a", method: "DELETE" } }, "on.http.method"],
    [{ http: { path: "a", delivery: "x id" } }, "on.http.delivery"],
    [{ http: { path: "a", signature: {} } }, "on.http.signature.secretEnv"],
    [{ http: { path: "a", signature: { secretEnv: "S", header: "" } } }, "on.http.signature.header"],
    [{ event: "run.exploded" }, "on.event"],
    [{ event: [] }, "on.event"],
    [{ event: Array.from({ length: 51 }, () => "run.*") }, "on.event"],
    [{ event: "run.*", where: "failed" }, "on.where"],
    [{ event: "run.*", where: { "a b": 1 } }, "on.where.a b"],
    [{ event: "run.*", where: { status: null } }, "on.where.status"],
    [{ stale: "orders" }, "on.stale"],
  ])("is not %j", (trigger, field) => {
    expect(refused(trigger)).toBe(field);
  });
});
