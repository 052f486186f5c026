import fc from "fast-check";
import { expect, test } from "vitest";
import { capture } from "../../test/support/fake-io.ts";
import type { PlatformEvent } from "../protocol/events.ts";
import { durationOption, timeOption, variables } from "./arguments.ts";
import { eventLine } from "./event-line.ts";
import { exampleRequest } from "./example.ts";
import { errorText, exitCodeOf, reportOf } from "./report.ts";
import { styleOf } from "./style.ts";
import { table } from "./table.ts";
import { duration, oneLine } from "./text.ts";

const plain = styleOf(capture(), {});
const coloured = styleOf(capture(true), {});

test.each([
  [0.4, "0 ms"],
  [999, "999 ms"],
  [1_000, "1 s"],
  [61_500, "1 min"],
  [90_000, "1.5 min"],
  [7_200_000, "2 h"],
  [259_200_000, "3 d"],
])("%d ms read as %s", (ms, text) => {
  expect(duration(ms)).toBe(text);
});

test("one line is one line of at most so many characters", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), fc.integer({ min: 1, max: 30 }), (text, limit) => {
      const line = oneLine(text, limit);
      expect(line.length).toBeLessThanOrEqual(limit);
      expect(line).not.toMatch(/[\n\r]/);
      expect(line.isWellFormed()).toBe(true);
    }),
  );
});

test("colours are for terminals, NO_COLOR turns them off and FORCE_COLOR on", () => {
  expect(coloured.red("x")).toBe("\u001b[31mx\u001b[39m");
  expect(plain.red("x")).toBe("x");
  expect(styleOf(capture(true), { NO_COLOR: "1" }).red("x")).toBe("x");
  expect(styleOf(capture(true), { NO_COLOR: "" }).red("x")).not.toBe("x");
  expect(styleOf(capture(true), { TERM: "dumb" }).red("x")).toBe("x");
  expect(styleOf(capture(), { FORCE_COLOR: "1" }).red("x")).not.toBe("x");
  expect(styleOf(capture(true), { FORCE_COLOR: "0" }).red("x")).toBe("x");
  expect(styleOf(capture(), { FORCE_COLOR: "1", NO_COLOR: "1" }).red("x")).toBe("x");
});

test("a table's columns stand below their titles, numbers at the right, also in colour", () => {
  const rows = [
    { name: "a", count: 5 },
    { name: "longer", count: 12_000 },
  ];
  const columns = [
    { title: "NAME", cell: (row: (typeof rows)[0]) => row.name, paint: (text: string) => coloured.red(text) },
    { title: "COUNT", cell: (row: (typeof rows)[0]) => row.count, right: true },
    { title: "X", cell: () => undefined },
  ];
  // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are taken out again
  expect(table(rows, columns, plain).replace(/\u001b\[\d+m/g, "")).toBe("NAME    COUNT  X\na           5\nlonger  12000\n");
  expect(table([], columns, plain)).toBe("");
});

test.each([
  ["EXPRESSION_INVALID in the middle", "1 + (2 * ) + 3", 9],
  ["the end", "1+", 2],
  ["the second line", "1 +\n  )", 6],
  ["a long expression", `${"1+".repeat(100)})`, 200],
])("the caret stands under the position: %s", (_what, expression, position) => {
  const lines = errorText({ code: "X", message: "m", details: { position } }, plain, expression).split("\n");
  const [shown, caret] = [lines[1] as string, lines[2] as string];
  expect(caret.trim()).toBe("^");
  expect(shown[caret.indexOf("^")]).toBe(expression[position]);
  expect(shown.length).toBeLessThan(90);
});

test("a defect is shown with its stack, a system error and an application's own code without", () => {
  expect(reportOf(new TypeError("x is undefined"))).toMatchObject({
    code: "INTERNAL",
    message: "x is undefined",
    stack: expect.any(String),
  });
  expect(reportOf(Object.assign(new Error("open '/x'"), { code: "EACCES", syscall: "open" }))).toEqual({
    code: "EACCES",
    message: "open '/x'",
  });
  expect(reportOf(Object.assign(new Error("m"), { code: "MINE" }))).toEqual({ code: "MINE", message: "m" });
  expect(reportOf("text")).toEqual({ code: "INTERNAL", message: "text" });
  expect(exitCodeOf(new Error("m"))).toBe(1);
});

test("variables are JSON, or text where they are none", () => {
  expect(variables(["a=1", "b=[1,2]", "c=x=y", 'd="5"', "e="])).toEqual({ a: 1, b: [1, 2], c: "x=y", d: "5", e: "" });
});

test("durations and times", () => {
  expect(durationOption("t", "1.5s")).toBe(1_500);
  expect(durationOption("t", "2")).toBe(2_000);
  expect(timeOption("t", "10m", 1_000_000)).toBe(400_000);
  expect(timeOption("t", "2026-01-31", 0)).toBe(Date.UTC(2026, 0, 31));
  expect(timeOption("t", "1700000000000", 0)).toBe(1_700_000_000_000);
});

test.each<[PlatformEvent, RegExp | undefined]>([
  [{ position: 1, at: 0, type: "run.accepted", run: "r", kind: "expression", name: "1+\n2" }, / 1\+ 2 accepted r\n$/],
  [
    {
      position: 1,
      at: 0,
      type: "run.finished",
      run: "r",
      name: "b",
      status: "failed",
      durationMs: 5,
      failure: { code: "X", message: "m" },
    },
    / b failed in 5 ms r {2}X: m\n$/,
  ],
  [{ position: 1, at: 0, type: "run.suspended", run: "r", name: "b", failure: { code: "X", message: "m" } }, / b suspended r {2}X: m\n$/],
  [{ position: 1, at: 0, type: "run.resumed", run: "r", name: "b" }, / b resumed r\n$/],
  [
    { position: 1, at: 0, type: "pod.lost", pod: "p", function: "pay", reason: "exit 1", calls: 2 },
    / pod lost p \(pay\) with 2 calls: exit 1\n$/,
  ],
  [
    { position: 1, at: 0, type: "alert.raised", alert: "a", function: "pay", measure: "errorRate", value: 0.6, bound: 0.5 },
    / alert a of pay: errorRate is 0\.6, the bound is 0\.5\n$/,
  ],
  [
    { position: 1, at: 0, type: "alert.cleared", alert: "a", function: "pay", measure: "errorRate", value: 0.1, bound: 0.5 },
    / alert over a of pay: errorRate is 0\.1\n$/,
  ],
  [{ position: 1, at: 0, type: "platform.started", epoch: 1, recovered: 3, recoveryMs: 9 }, / recovered 3 runs in 9 ms\n$/],
  [{ position: 1, at: 0, type: "platform.started", epoch: 1, recovered: 0, recoveryMs: 9 }, undefined],
  [{ position: 1, at: 0, type: "platform.audited", checked: 5, repaired: 1 }, / audit repaired 1 of 5 runs\n$/],
  [{ position: 1, at: 0, type: "pod.started", pod: "p", function: "pay", pid: 1, startMs: 1 }, undefined],
])("the event %j in the log of dev", (event, expected) => {
  const line = eventLine(event, plain);
  if (expected === undefined) expect(line).toBeUndefined();
  else expect(line).toMatch(expected);
});

test("the example request fits what the application defines", () => {
  const version = (functions: string[], coordinators: string[]) => ({
    application: "a",
    version: "v",
    manifest: { functions: functions.map((name) => ({ name })), coordinators: coordinators.map((name) => ({ name })) },
    deployedAt: 0,
    current: true,
  });
  expect(exampleRequest("http://x", version(["add", "divide", "multiply"], []), false)).toContain("/v1/expressions?wait=30s'");
  expect(exampleRequest("http://x", version(["f"], ["trip"]), false)).toContain("/v1/coordinators/trip/runs");
  expect(exampleRequest("http://x", version(["f"], []), true)).toMatch(
    /\/v1\/functions\/f\/calls\?wait=30s' -H "authorization: Bearer \$LOCKSTEP_API_KEY"/,
  );
  expect(exampleRequest("http://x", version([], []), false)).toBeUndefined();
});
