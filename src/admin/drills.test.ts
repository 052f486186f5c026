import { describe, expect, test } from "vitest";
import type { PodHarm } from "../cluster/port.ts";
import { REPLICA_DRILLS } from "../protocol/faults.ts";
import type { Pod, Tenant } from "../scheduler/fleet.ts";
import { createStepClock } from "../testing/step-clock.ts";
import { type DrillParts, Drills } from "./drills.ts";

const podOf = (id: string, role: string | undefined, inFlight: number, state: Pod["state"] = "ready"): Pod =>
  ({ id, state, inFlight, pid: 4_000, tenant: role === undefined ? undefined : ({ role } as Tenant) }) as Pod;

const setUp = (pods: Pod[], parts: Partial<DrillParts> = {}) => {
  const clock = createStepClock(1_000);
  const harms: [string, PodHarm, number][] = [];
  const there = new Set(pods.map(({ id }) => id));
  let killed = false;
  const drills = new Drills({
    clock,
    allowed: true,
    pods: () => pods,
    harm: (pod, harm) => {
      if (there.has(pod)) harms.push([pod, harm, clock.now() - 1_000]);
      return there.has(pod);
    },
    replica: () => ({ pod: podOf("pod-9", "add", 1), replica: 2, calls: 3 }),
    position: () => 17,
    killControlPlane: () => {
      killed = true;
    },
    ...parts,
  });
  return { clock, drills, harms, there, wasKilled: () => killed };
};

const PODS = [
  podOf("pod-1", undefined, 0),
  podOf("pod-2", "coordinator", 9),
  podOf("pod-3", "pay", 2),
  podOf("pod-4", "ship", 5, "draining"),
];

describe("a drill", () => {
  test.each(REPLICA_DRILLS)("%s hits a replica, and tells which seat it has", (kind) => {
    const { drills, harms } = setUp(PODS);
    expect(drills.provoke({ kind, function: "add" })).toMatchObject({ kind, pod: "pod-9", function: "add", replica: 2, calls: 3 });
    expect(harms).toEqual([]);
  });

  test("hits the busiest pod of a function, and tells which and since when", () => {
    const { drills, harms } = setUp(PODS);
    expect(drills.provoke({ kind: "pod" })).toEqual({
      kind: "pod",
      at: 1_000,
      position: 17,
      pod: "pod-3",
      function: "pay",
      pid: 4_000,
      calls: 2,
    });
    drills.provoke({ kind: "hang", function: "coordinator" });
    expect(harms).toEqual([
      ["pod-3", "kill", 0],
      ["pod-2", "stop", 0],
    ]);
  });

  test("hits one that works before one that does not, whosever they are", () => {
    const { drills } = setUp([podOf("pod-1", "pay", 0), podOf("pod-2", "coordinator", 1), podOf("pod-3", undefined, 0)]);
    expect(drills.provoke({ kind: "pod" }).pod).toBe("pod-2");
  });

  test("is refused where there is no such pod, or it went in between", () => {
    const { drills, there } = setUp(PODS);
    expect(() => drills.provoke({ kind: "pod", function: "ship" })).toThrowError(expect.objectContaining({ code: "UNKNOWN_POD" }));
    there.clear();
    expect(() => drills.provoke({ kind: "pod" })).toThrowError(expect.objectContaining({ code: "UNKNOWN_POD" }));
  });

  test("is refused by a platform that was not started for them", () => {
    const { drills, harms, clock, wasKilled } = setUp(PODS, { allowed: false });
    for (const kind of ["pod", "hang", "slow", "control-plane"] as const) {
      expect(() => drills.provoke({ kind })).toThrowError(expect.objectContaining({ code: "DRILLS_DISABLED" }));
    }
    clock.advance(5_000);
    expect([harms, wasKilled()]).toEqual([[], false]);
  });
});

describe("slow", () => {
  test("stops a pod in pieces that are shorter than a hang, and lets it go on in the end", () => {
    const { clock, drills, harms } = setUp(PODS);
    expect(drills.provoke({ kind: "slow" })).toMatchObject({ pod: "pod-3", lastsMs: 3_000 });
    clock.advance(10_000);
    expect(harms.at(-1)?.[1]).toBe("continue");
    const stops = harms.filter(([, harm]) => harm === "stop");
    expect(stops.length).toBeGreaterThan(5);
    for (const [i, [, harm, at]] of harms.entries()) if (harm === "stop") expect((harms[i + 1]?.[2] ?? 0) - at).toBeLessThan(1_000);
    expect(harms.at(-1)?.[2]).toBeLessThan(3_500);
    expect(clock.timers).toBe(0);
  });

  test("is not for a pod that is slow already, nor is any other drill until that is over", () => {
    const { clock, drills } = setUp(PODS);
    expect([drills.provoke({ kind: "slow" }).pod, drills.provoke({ kind: "slow" }).pod]).toEqual(["pod-3", "pod-2"]);
    expect(() => drills.provoke({ kind: "hang", function: "pay" })).toThrowError(expect.objectContaining({ code: "UNKNOWN_POD" }));
    clock.advance(10_000);
    expect(drills.provoke({ kind: "hang", function: "pay" }).pod).toBe("pod-3");
  });

  test("ends with its pod, and with the platform", () => {
    const { clock, drills, harms, there } = setUp(PODS);
    drills.provoke({ kind: "slow" });
    there.delete("pod-3");
    clock.advance(1_000);
    expect([harms.length, clock.timers]).toEqual([1, 0]);
    drills.provoke({ kind: "slow", function: "coordinator" });
    drills.stop();
    expect([harms.at(-1), clock.timers]).toEqual([["pod-2", "continue", 1_000], 0]);
  });
});

describe("control-plane", () => {
  test("ends the process once the answer has left", () => {
    const { clock, drills, wasKilled } = setUp(PODS);
    expect(drills.provoke({ kind: "control-plane" })).toMatchObject({ kind: "control-plane", pid: process.pid, calls: 16 });
    expect(wasKilled()).toBe(false);
    clock.advance(100);
    expect(wasKilled()).toBe(true);
  });

  test("lets it begin anew where that can be, and tells so", () => {
    let restarts = 0;
    const { clock, drills, wasKilled } = setUp(PODS, { restartControlPlane: () => void restarts++ });
    expect(drills.provoke({ kind: "control-plane" })).toMatchObject({ pid: process.pid, restarts: true });
    expect(restarts).toBe(0);
    clock.advance(100);
    expect([restarts, wasKilled()]).toEqual([1, false]);
  });

  test("is refused where the process is somebody else's as well", () => {
    const { drills } = setUp(PODS, { killControlPlane: undefined });
    expect(() => drills.provoke({ kind: "control-plane" })).toThrowError(expect.objectContaining({ code: "DRILLS_DISABLED" }));
  });
});
