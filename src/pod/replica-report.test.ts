import { describe, expect, test } from "vitest";
import { isFromWorker } from "./replica-report.ts";

describe("what the process of a replica's user code says", () => {
  test.each([
    { t: "executed", seq: 1, outcomes: ['{"value":1}', "{}"] },
    { t: "snapshotted", seq: 4, pages: [{ digest: "d", text: "state" }, { digest: "e" }] },
    { t: "installed", seq: 0, pages: [] },
    { t: "lines", id: "run/1/1", lines: [{ at: 1, level: "info", text: "hello" }] },
    { t: "loaded", isStateful: false },
    { t: "refused", failure: "{}" },
    { t: "cpu", cpuMs: 0.5 },
  ])("is taken as %j", (message) => {
    expect(isFromWorker(message)).toBe(true);
  });

  test.each([
    undefined,
    null,
    "executed",
    [],
    {},
    { t: "toString" },
    { t: "executed", seq: "1", outcomes: [] },
    { t: "executed", seq: 1, outcomes: [1] },
    { t: "executed", seq: 1, outcomes: "no list" },
    { t: "executed", seq: -1, outcomes: [] },
    { t: "snapshotted", seq: 1, pages: [null] },
    { t: "snapshotted", seq: 1, pages: [{ digest: "d", text: 1 }] },
    { t: "installed", seq: 1 },
    { t: "lines", id: 1, lines: [] },
    { t: "lines", id: "run/1/1", lines: ["hello"] },
    { t: "loaded" },
    { t: "refused", failure: {} },
    { t: "cpu", cpuMs: Number.NaN },
  ])("is ignored as %j", (message) => {
    expect(isFromWorker(message)).toBe(false);
  });
});
