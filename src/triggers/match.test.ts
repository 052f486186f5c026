import { expect, test } from "vitest";
import type { ApplicationVersion, Trigger } from "../protocol/application.ts";
import type { EventBody } from "../protocol/events.ts";
import { causeOf, isOfTarget, matching, subscriptionsOf } from "./match.ts";

const versionOf = (on: Trigger[], application = "shop"): ApplicationVersion => ({
  application,
  version: "1",
  manifest: { functions: [{ name: "work", on }], coordinators: [] },
  deployedAt: 0,
  current: true,
});

const put = (key: string, bucket = "orders"): EventBody => ({
  type: "object.put",
  object: { bucket, key, version: "1", size: 1, etag: '"a"', contentType: "text/plain", metadata: {}, modifiedAt: 0 },
});

const staleness = { run: "run_00000000001", call: 1, function: "pay", fault: "execution", message: "no", at: 0 } as const;
const stale = (key: string, application = "shop"): EventBody => ({ type: "state.stale", application, key, stale: staleness });
const failure = { code: "X", message: "no" };
const finished: EventBody = { type: "run.finished", run: "run_00000000001", name: "book", status: "failed", durationMs: 5, failure };

const startsBy = (trigger: Trigger, event: EventBody): boolean => matching(subscriptionsOf([versionOf([trigger])]), event).length > 0;

test.each<[Trigger, EventBody, boolean]>([
  [{ object: { bucket: "orders" } }, put("a"), true],
  [{ object: { bucket: "orders" } }, put("a", "other"), false],
  [{ object: { bucket: "orders", prefix: "in/", suffix: ".json" } }, put("in/a.json"), true],
  [{ object: { bucket: "orders", prefix: "in/", suffix: ".json" } }, put("in/a.txt"), false],
  [{ object: { bucket: "orders", prefix: "in/", suffix: ".json" } }, put("out/a.json"), false],
  [{ object: { bucket: "orders", prefix: "a.", suffix: ".json" } }, put("a.json"), false],
  [{ object: { bucket: "orders" } }, { type: "object.deleted", bucket: "orders", key: "a", version: "1" }, false],
  [{ stale: "orders/*" }, stale("orders/1"), true],
  [{ stale: "orders/*" }, stale("rooms/1"), false],
  [{ stale: "*" }, stale("orders/1", "other"), false],
  [{ event: "run.finished" }, finished, true],
  [{ event: "run.*" }, finished, true],
  [{ event: ["pod.*", "*.finished"] }, finished, true],
  [{ event: "run.accepted" }, finished, false],
  [{ event: "*", where: { status: "failed", "failure.code": "X" } }, finished, true],
  [{ event: "*", where: { status: "completed" } }, finished, false],
  [{ event: "*", where: { durationMs: 5 } }, finished, true],
  [{ event: "*", where: { durationMs: "5" } }, finished, false],
  [{ event: "*", where: { "failure.toString": "x" } }, finished, false],
  [{ event: "*", where: { "run.length": 15 } }, finished, false],
  [{ cron: "* * * * *" }, finished, false],
  [{ http: { path: "a" } }, finished, false],
])("%j and %j: %s", (trigger, event, starts) => {
  expect(startsBy(trigger, event)).toBe(starts);
});

test("a definition is started once by an event, and each that fits is started", () => {
  const two = versionOf([{ event: "run.*" }, { event: "run.finished" }]);
  two.manifest.coordinators.push({ name: "work", on: [{ event: "*" }] });
  expect(matching(subscriptionsOf([two]), finished).map(({ target }) => `${target.kind} ${target.name}`)).toEqual([
    "coordinator work",
    "function work",
  ]);
});

test("types that nobody listens to cost nothing", () => {
  expect([...subscriptionsOf([versionOf([{ event: "pod.*" }, { stale: "a/*" }])]).byType.keys()].sort()).toEqual([
    "pod.lost",
    "pod.started",
    "pod.stopped",
    "state.stale",
  ]);
});

test("schedules and webhooks are found by what they are", () => {
  const { crons, hooks, all } = subscriptionsOf([
    versionOf([{ cron: "* * * * *" }, { http: { path: "a" } }, { http: { path: "a", method: "GET" } }]),
  ]);
  expect([crons.length, hooks.get("a")?.length, all.length]).toEqual([1, 2, 3]);
});

test("the cause of an event is its run, that of a stale key the run that failed", () => {
  expect([
    causeOf(finished),
    causeOf(stale("a/1")),
    causeOf(put("a")),
    causeOf({ ...put("a"), run: "run_00000000002" } as EventBody),
  ]).toEqual(["run_00000000001", "run_00000000001", undefined, "run_00000000002"]);
});

test.each<[EventBody, "function" | "coordinator", string, boolean]>([
  [finished, "coordinator", "book", true],
  [finished, "coordinator", "other", false],
  [{ type: "call.retrying", run: "r", seq: 1, function: "pay", attempt: 1, retryAt: 1, failure }, "function", "pay", true],
  [{ type: "call.retrying", run: "r", seq: 1, function: "pay", attempt: 1, retryAt: 1, failure }, "coordinator", "pay", false],
  [{ type: "pod.started", pod: "p", function: "pay", pid: 1, startMs: 1 }, "function", "pay", true],
  [{ type: "pod.started", pod: "p", function: "coordinator", pid: 1, startMs: 1 }, "coordinator", "book", true],
  [{ type: "alert.raised", alert: "a", function: "pay", measure: "errorRate", value: 1, bound: 1 }, "function", "pay", false],
])("whether %j is of the %s %s: %s", (event, kind, name, expected) => {
  expect(isOfTarget(event, { kind, name, application: "shop", version: "1" })).toBe(expected);
});
