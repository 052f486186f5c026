import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { CrashRecord, ObservedPod } from "./reconcile-machine.ts";
import { conditionsOf, crashed, ends, isCrashLoop, NO_CRASH, plan } from "./reconcile-machine.ts";

const pod = (id: string, more: Partial<ObservedPod> = {}): ObservedPod => ({
  id,
  state: "ready",
  hasLoaded: true,
  inFlight: 0,
  idleSince: 0,
  solo: false,
  outdated: false,
  ...more,
});

const paused = (retryAt: number): CrashRecord => ({ count: 4, retryAt, reason: "exited", at: 0 });

describe("the plan", () => {
  test("starts what is missing, and counts neither what is on its way out nor what serves one call alone", () => {
    const pods = [pod("a"), pod("b", { state: "starting" }), pod("c", { state: "draining" }), pod("d", { solo: true })];
    expect(plan(4, pods, NO_CRASH, 100)).toMatchObject({ start: 2, drain: [] });
  });

  test("starts nothing before the pause after a crash is over", () => {
    expect(plan(2, [], paused(101), 100).start).toBe(0);
    expect(plan(2, [], paused(100), 100).start).toBe(2);
  });

  test("lets those go first that nobody misses", () => {
    const pods = [
      pod("busy", { inFlight: 3 }),
      pod("less", { inFlight: 1 }),
      pod("idle", { idleSince: 50 }),
      pod("idler", { idleSince: 10 }),
      pod("new", { state: "starting" }),
    ];
    const order = [0, 1, 2, 3, 4].map((left) => plan(left, pods, NO_CRASH, 100).drain.at(-1));
    expect(order).toEqual(["busy", "less", "idle", "idler", "new"]);
  });

  test("replaces what no longer fits one by one, as what does becomes ready (R3)", () => {
    const old = [pod("a", { outdated: true }), pod("b", { outdated: true, inFlight: 1 }), pod("c", { outdated: true })];
    expect(plan(3, old, NO_CRASH, 100)).toMatchObject({ start: 3, drain: [] });
    expect(plan(3, [...old, pod("n", { state: "starting" })], NO_CRASH, 100)).toMatchObject({ start: 2, drain: [] });
    expect(plan(3, [...old, pod("n", { hasLoaded: false })], NO_CRASH, 100)).toMatchObject({ start: 2, drain: [] });
    expect(plan(3, [...old, pod("n")], NO_CRASH, 100)).toMatchObject({ start: 2, drain: ["a"] });
    expect(plan(3, [...old, pod("n"), pod("o")], NO_CRASH, 100)).toMatchObject({ start: 1, drain: ["a", "c"] });
    expect(plan(3, [...old, pod("n"), pod("o"), pod("p")], NO_CRASH, 100)).toMatchObject({ start: 0, drain: ["a", "c", "b"] });
    expect(plan(0, old, NO_CRASH, 100)).toMatchObject({ start: 0, drain: ["a", "c", "b"] });
  });

  test("names one to go in advance where there is no room, one at a time, and none for pods that crash", () => {
    const old = [pod("a", { outdated: true, inFlight: 1 }), pod("b", { outdated: true })];
    expect(plan(2, old, NO_CRASH, 100).inPlace).toBe("b");
    expect(plan(2, [...old, pod("c", { state: "draining" })], NO_CRASH, 100).inPlace).toBeUndefined();
    expect(plan(2, [...old, pod("c", { state: "starting" })], NO_CRASH, 100).inPlace).toBeUndefined();
    expect(plan(2, old, paused(0), 100).inPlace).toBeUndefined();
    expect(plan(2, [pod("a")], NO_CRASH, 100).inPlace).toBeUndefined();
  });

  test("carried out, it leads to the desired number, and is then empty; never are there fewer that take calls than before", () => {
    const observed = fc.record({
      state: fc.constantFrom("starting" as const, "ready" as const, "draining" as const),
      inFlight: fc.nat(3),
      solo: fc.boolean(),
      outdated: fc.boolean(),
    });
    const readyOf = (pods: readonly ObservedPod[]): number => pods.filter(({ state, solo }) => state === "ready" && !solo).length;
    fc.assert(
      fc.property(fc.array(observed, { maxLength: 12 }), fc.nat(10), (given, desired) => {
        let pods = given.map((one, i) => pod(`p${i}`, one));
        for (let round = 0; round < 4; round++) {
          const { start, drain } = plan(desired, pods, NO_CRASH, 100);
          expect(start === 0 || drain.every((id) => pods.find((one) => one.id === id)?.outdated)).toBe(true);
          const before = readyOf(pods);
          pods = pods.map((one) => (drain.includes(one.id) ? { ...one, state: "draining" as const } : one));
          expect(readyOf(pods)).toBeGreaterThanOrEqual(Math.min(before, desired));
          pods = pods.map((one) => (one.state === "starting" ? { ...one, state: "ready" as const } : one));
          for (let i = 0; i < start; i++) pods.push(pod(`n${round}-${i}`));
        }
        expect(plan(desired, pods, NO_CRASH, 100)).toEqual({ start: 0, drain: [], inPlace: undefined });
        expect(readyOf(pods)).toBe(desired);
      }),
    );
  });
});

describe("crashes", () => {
  test("the first of a pod that had connected is followed at once, a pod that never started by a pause", () => {
    expect(crashed(NO_CRASH, true, "exited", 1_000)).toEqual({ count: 1, retryAt: 1_000, reason: "exited", at: 1_000 });
    expect(crashed(NO_CRASH, false, "failed", 1_000)).toEqual({ count: 1, retryAt: 1_100, reason: "failed", at: 1_000 });
  });

  test("pauses double up to five seconds, and three in a row are a loop", () => {
    let record = NO_CRASH;
    const pauses: number[] = [];
    const loops: boolean[] = [];
    for (let i = 0; i < 9; i++) {
      record = crashed(record, false, "failed", 0);
      pauses.push(record.retryAt);
      loops.push(isCrashLoop(record));
    }
    expect(pauses).toEqual([100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000]);
    expect(loops.indexOf(true)).toBe(2);
  });
});

test("a row of crashes is ended by a pod that is younger than the last of them, and by no older one", () => {
  const record = crashed(NO_CRASH, true, "exited", 1_000);
  expect([999, 1_000, 1_001].map((takenAt) => ends(record, takenAt))).toEqual([false, true, true]);
  expect(ends(NO_CRASH, 5)).toBe(false);
});

describe("conditions", () => {
  const standing = { desired: 2, starting: 0, ready: 0, outdated: 0, crash: NO_CRASH, lacks: undefined, detail: "" };

  test("tell how far it is, and keep the time from which they hold", () => {
    const first = conditionsOf({ ...standing, starting: 1, ready: 1 }, [], 10);
    expect(first).toEqual([{ type: "Progressing", reason: "1 of 2 pods are ready, 1 starting", since: 10 }]);
    expect(conditionsOf({ ...standing, starting: 2 }, first, 20)[0]?.since).toBe(10);
    expect(conditionsOf({ ...standing, ready: 2 }, first, 20)).toEqual([{ type: "Ready", reason: "2 of 2 pods are ready", since: 20 }]);
  });

  test("tell what there is not enough of, while pods are missing", () => {
    const lacking = { ...standing, ready: 1, lacks: "memory" as const, detail: "no room" };
    expect(conditionsOf(lacking, [], 0)).toEqual([{ type: "InsufficientMemory", reason: "no room", since: 0 }]);
    expect(conditionsOf({ ...lacking, lacks: "pods" }, [], 0)[0]?.type).toBe("InsufficientPods");
    expect(conditionsOf({ ...lacking, ready: 2 }, [], 0).map(({ type }) => type)).toEqual(["Ready"]);
  });

  test("are never none: what is missing without trouble is on its way", () => {
    expect(conditionsOf(standing, [], 0)).toEqual([{ type: "Progressing", reason: "0 of 2 pods are ready, 0 starting", since: 0 }]);
    const crash = crashed(NO_CRASH, false, "exit code 1", 0);
    expect(conditionsOf({ ...standing, crash }, [], 0)).toMatchObject([
      { type: "Progressing", reason: expect.stringContaining("exit code 1") },
    ]);
  });

  test("tell of pods of an earlier spec, although there are enough, and of what keeps them there", () => {
    const old = { ...standing, ready: 2, outdated: 2 };
    expect(conditionsOf(old, [], 0)).toMatchObject([
      { type: "Ready" },
      { type: "Progressing", reason: expect.stringContaining("2 of an earlier spec") },
    ]);
    expect(conditionsOf({ ...old, lacks: "memory", detail: "no room" }, [], 0).map(({ type }) => type)).toEqual([
      "Ready",
      "Progressing",
      "InsufficientMemory",
    ]);
  });

  test("name the reason of a crash loop", () => {
    const crash = { count: 3, retryAt: 0, reason: "exit code 1", at: 0 };
    expect(conditionsOf({ ...standing, crash }, [], 0)[0]).toMatchObject({
      type: "CrashLoop",
      reason: expect.stringContaining("exit code 1"),
    });
  });
});
