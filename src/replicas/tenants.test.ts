import { describe, expect, test } from "vitest";
import type { PodExit } from "../cluster/port.ts";
import type { Pod } from "../scheduler/pod.ts";
import { createStepClock } from "../testing/step-clock.ts";
import type { SetTenant } from "./set.ts";
import { SetTenants } from "./tenants.ts";

const ROLE = { set: "bank/books", role: "books", application: "bank", version: "2", path: "bundle", memoryMb: 128 };
const EXIT: PodExit = { reason: "deleted", memory: false, detail: "no calls", output: "" };

/** A layer of one version. */
const layer = (name: string, told: string[]): SetTenant =>
  ({
    connected: (pod: Pod) => void told.push(`${name} has ${pod.id}, ${pod.state}`),
    certified: (_: Pod, { lease, value }: { lease: number; value?: string }) => void told.push(`${name} ${lease}: ${value}`),
    gone: (_: Pod, { detail }: PodExit) => void told.push(`${name} is told: ${detail}`),
  }) as unknown as SetTenant;

const begin = () => {
  const told: string[] = [];
  const clock = createStepClock(1_000);
  const tenants = new SetTenants(ROLE, clock, 60_000);
  const [old, current] = [tenants.podOf(layer("v1", told)), tenants.podOf(layer("v2", told))];
  return { told, clock, tenants, old, current };
};

describe("the versions of a function whose state one set keeps", () => {
  test("have a pod each, and each its own answers", () => {
    const { told, tenants, old, current } = begin();
    tenants.connected();
    tenants.leased(old, 1);
    tenants.leased(current, 2);
    for (const lease of [2, 1]) tenants.certified(current, { lease, value: "5", durationMs: 1, lines: [] });
    expect(told).toEqual(["v1 has bank/books, ready", "v2 has bank/books, ready", "v2 2: 5", "v1 1: 5"]);
    expect(tenants.underWay).toBe(0);
  });

  test("that come while the set is at work are served at once, and none before it is", () => {
    const { told, tenants, old } = begin();
    tenants.welcome(old);
    expect(told).toEqual([]);
    tenants.connected();
    told.length = 0;
    tenants.welcome(tenants.podOf(layer("v3", told)));
    tenants.welcome(old);
    expect(told).toEqual(["v3 has bank/books, ready"]);
  });

  test("take no calls while the set serves none", () => {
    const { tenants, old } = begin();
    tenants.connected();
    tenants.closed();
    expect(old.state).toBe("starting");
  });

  test("leave when no call of theirs has come for a while, and the others stay", () => {
    const { told, clock, tenants, old, current } = begin();
    for (const [pod, lease] of [
      [old, 1],
      [current, 2],
    ] as const)
      tenants.leased(pod, lease);
    tenants.idle(old, () => tenants.leave(old, EXIT));
    clock.advance(59_000);
    tenants.leased(old, 3);
    clock.advance(59_000);
    expect(told).toEqual([]);
    tenants.idle(old, () => tenants.leave(old, EXIT));
    clock.advance(60_001);
    expect(told).toEqual(["v1 is told: no calls"]);
    expect(tenants.pods()).toEqual([current]);
    expect(tenants.underWay).toBe(1);
  });

  test("have the slot of a withdrawn call back at once", () => {
    const { tenants, old } = begin();
    tenants.leased(old, 1);
    old.zombies = 1;
    tenants.withdrawn(old, 1);
    expect([old.zombies, tenants.underWay]).toEqual([0, 0]);
  });
});
