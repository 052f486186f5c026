import { describe, expect, test } from "vitest";
import type { PodExit } from "../cluster/port.ts";
import type { LifeMark } from "./classify.ts";
import { controlPlaneFault, detectionMs, isLifeMark, podFault, podRepair } from "./classify.ts";

describe("the end of a pod", () => {
  test.each<[PodExit["reason"], boolean, string | undefined]>([
    ["exited", false, "crash"],
    ["disconnected", false, "crash"],
    ["exited", true, "out-of-memory"],
    ["over-memory", false, "out-of-memory"],
    ["hung", false, "hang"],
    ["killed", false, "stuck"],
    ["failed-to-start", false, "failed-to-start"],
    ["deleted", false, undefined],
    ["deleted", true, undefined],
  ])("%s (out of memory: %s) is %s", (reason, memory, what) => {
    expect(podFault({ reason, memory })).toBe(what);
  });
});

describe("the time that detection took", () => {
  const signs = { startedAt: 1_000, lastBeat: 4_000, now: 5_000 };

  test("of a hang counts from the last heartbeat, of a failed start from the start", () => {
    expect(detectionMs("hang", signs)).toBe(1_000);
    expect(detectionMs("failed-to-start", signs)).toBe(4_000);
  });

  test("of a crash counts from its first sign", () => {
    expect(detectionMs("crash", { ...signs, noticedAt: 4_997 })).toBe(3);
    expect(detectionMs("crash", signs)).toBe(0);
  });

  test("is never negative, whatever the clock has done", () => {
    expect(detectionMs("hang", { ...signs, lastBeat: 9_000 })).toBe(0);
    expect(detectionMs("crash", { ...signs, noticedAt: 6_000 })).toBe(0);
  });
});

describe("the mark of the last life", () => {
  const mark: LifeMark = { epoch: 3, startedAt: 1_000, at: 9_000, clean: false };

  test("that is not of a stop tells of a dead control plane, and how long it was down at most", () => {
    expect(controlPlaneFault(mark, 9_750)).toEqual({ downMs: 750 });
    expect(controlPlaneFault(mark, 8_000)).toEqual({ downMs: 0 });
  });

  test("of a stop, and the first life of all, tell of nothing", () => {
    expect(controlPlaneFault({ ...mark, clean: true }, 9_750)).toBeUndefined();
    expect(controlPlaneFault(undefined, 9_750)).toBeUndefined();
  });

  test("has a shape", () => {
    expect([isLifeMark(mark), isLifeMark(null), isLifeMark({ at: "x", clean: true }), isLifeMark(7)]).toEqual([true, false, false, false]);
  });
});

test("a repair is told in words", () => {
  expect(podRepair("crash", "pay", 1, "pod-2")).toBe("back in the layer at once, dispatched again to pod-2: 1 call");
  expect(podRepair("crash", "coordinator", 2, "pod-2")).toBe("replayed in pod-2: 2 runs");
  expect(podRepair("hang", "pay", 3, undefined)).toMatch(/^3 calls went back, and none/);
  expect(podRepair("crash", "warm", 0, undefined)).toMatch(/pool/);
  expect(podRepair("failed-to-start", "pay", 0, "pod-9")).toBe("pod-9 has started");
});
