import { describe, expect, test } from "vitest";
import type { PodExit } from "../cluster/port.ts";
import { type Entry, Layers } from "../queue/machine.ts";
import { type HostOwner, LayerHost } from "./layer-host.ts";
import { Leases } from "./leases.ts";
import type { Placement, PodSource } from "./placement.ts";
import { newPod, type Pod } from "./pod.ts";
import { PodSupply } from "./pod-supply.ts";

const FAILED: PodExit = { reason: "failed-to-start", detail: "", memory: false, output: "" } as PodExit;

const setUp = ({ room = 10, isPlaced = false, isReplicated = false } = {}) => {
  let made = 0;
  const told: string[] = [];
  const ended: [string, number][] = [];
  const source = {
    acquire: () => (made < room ? newPod(`pod-${++made}`, 256, 0) : undefined),
    end: (pod: Pod, graceMs: number) => ended.push([pod.id, graceMs]),
  } as unknown as PodSource;
  const placement = {
    activate: () => told.push("activate"),
    gone: () => told.push("gone"),
    refused: () => told.push("refused"),
    served: () => told.push("served"),
  } as unknown as Placement;
  const leases = new Leases();
  const supply = new PodSupply({
    fleet: source,
    leases,
    placement: isPlaced ? placement : undefined,
    options: { maxPodsPerFunction: 3, patienceMs: 100 },
  });
  const layer = new Layers().open("pay", "v1");
  const home = { application: "shop", path: "", spec: { name: "pay" } };
  const host = new LayerHost(layer, home, { slots: 4, memoryMb: 256, service: "pay" }, {} as HostOwner, source, isReplicated);
  const call = (now: number): void => layer.enqueue(entryOf(), now);
  const pods = (): string[] => [...host.pods.keys()];
  return { supply, host, leases, told, ended, call, pods };
};

const entryOf = (): Entry => ({
  run: "run_1",
  seq: 1,
  attempt: 1,
  fn: "pay",
  version: "v1",
  input: "",
  priority: 0,
  timeoutMs: 500,
  solo: false,
  notBefore: 0,
  state: "waiting",
  waitingSince: 0,
  lease: 0,
  pod: "",
  leasedAt: 0,
});

const ready = (host: LayerHost): void => {
  for (const pod of host.pods.values()) pod.state = "ready";
};

describe("a function whose calls wait", () => {
  test("gets one pod, and no second one while that is there or on its way", () => {
    const { supply, host, pods } = setUp();
    supply.provide(host, 0);
    supply.provide(host, 0);
    expect(pods()).toEqual(["pod-1"]);
    for (const pod of host.pods.values()) pod.state = "draining";
    supply.provide(host, 0);
    expect(pods()).toEqual(["pod-1", "pod-2"]);
  });

  test("gets another pod when they have been patient for long enough, up to its most", () => {
    const { supply, host, call, pods } = setUp();
    call(0);
    for (const now of [50, 100]) supply.grow(host, now);
    expect(pods()).toEqual([]);
    for (let i = 0; i < 10; i++) {
      supply.grow(host, 101);
      // One that starts may be enough.
      supply.grow(host, 101);
      expect(pods()).toHaveLength(Math.min(i + 1, 3));
      ready(host);
    }
  });

  test("is not given one again for a while after there was no room, or after one did not start, longer each time", () => {
    const { supply, host, pods } = setUp({ room: 1 });
    supply.provide(host, 0);
    host.pods.clear();
    supply.provide(host, 0);
    expect([pods(), host.retryAt]).toEqual([[], 50]);
    const pauses = Array.from({ length: 8 }, () => {
      supply.gone(host, newPod("x", 256, 0), FAILED, 1_000);
      return host.retryAt - 1_000;
    });
    expect(pauses).toEqual([100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
  });

  test("gets none any more once the supply has stopped", () => {
    const { supply, host, call, pods } = setUp();
    call(0);
    supply.stop();
    supply.grow(host, 500);
    expect([supply.add(host, true), pods()]).toEqual([undefined, []]);
  });
});

describe("a placement", () => {
  test("decides in place of the scheduler's own rule", () => {
    const { supply, host, call, told, pods } = setUp({ isPlaced: true });
    call(0);
    supply.provide(host, 0);
    supply.grow(host, 500);
    supply.gone(host, newPod("x", 256, 0), FAILED, 500);
    supply.refused(host, { code: "A", message: "b" }, 500);
    expect([told, pods(), host.retryAt]).toEqual([["activate", "gone", "refused"], [], 0]);
  });

  test("has nothing to say of a function whose calls several pods execute", () => {
    const { supply, host, told, pods } = setUp({ isPlaced: true, isReplicated: true });
    supply.provide(host, 0);
    supply.gone(host, newPod("x", 256, 0), FAILED, 500);
    expect([told, pods()]).toEqual([[], ["pod-1"]]);
  });
});

describe("a pod with attempts that never end", () => {
  test("is replaced when they take half of its slots, and serves what it has until the last timeout", () => {
    const { supply, host, leases, ended } = setUp();
    supply.provide(host, 0);
    const [pod] = [...host.pods.values()] as [Pod];
    pod.state = "ready";
    pod.inFlight = 1;
    leases.begin(1, { entry: { ...entryOf(), leasedAt: 1_000 }, host, pod, cold: false });
    pod.zombies = 1;
    supply.replaceClogged(host, pod, 1_100);
    expect(ended).toEqual([]);
    pod.zombies = 2;
    supply.replaceClogged(host, pod, 1_100);
    expect(ended).toEqual([["pod-1", 450]]);
  });

  test("is left alone while nobody has waited for its slots for long", () => {
    const { supply, host, call, ended } = setUp();
    supply.provide(host, 0);
    ready(host);
    for (const pod of host.pods.values()) pod.zombies = 4;
    call(1_000);
    supply.unclog(host, 1_999);
    expect(ended).toEqual([]);
    supply.unclog(host, 2_000);
    expect(ended).toEqual([["pod-1", 0]]);
  });
});
