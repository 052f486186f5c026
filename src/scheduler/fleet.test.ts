import { describe, expect, test } from "vitest";
import { FakeCluster } from "../../test/support/fake-cluster.ts";
import { createStepClock } from "../testing/step-clock.ts";
import type { FleetOptions, Pod, Tenant } from "./fleet.ts";
import { Fleet } from "./fleet.ts";

const OPTIONS: FleetOptions = { warmPods: 0, defaultMemoryMb: 256, maxPods: 10, hangMs: 1_000, idleMs: 60_000, memoryHeadroomMb: 100 };

const setUp = async (options: Partial<FleetOptions> = {}) => {
  const clock = createStepClock(1_000_000);
  const cluster = new FakeCluster(clock);
  const seen: string[] = [];
  const fleet = new Fleet(
    cluster,
    clock,
    { ...OPTIONS, ...options },
    {
      started: (pod, startMs) => seen.push(`${pod.id} started in ${startMs} ms`),
      stopped: (pod, exit) => seen.push(`${pod.id} stopped: ${exit.reason}`),
    },
  );
  await fleet.start();
  /** Lets time pass while the pods beat, as they do when all is well. */
  const live = (ms: number, beating = (pod: string) => cluster.connectedPods.has(pod)): void => {
    for (let at = 0; at < ms; at += 250) {
      for (const pod of cluster.pods) if (beating(pod)) cluster.beat(pod);
      clock.advance(250);
    }
  };
  return { clock, cluster, fleet, seen, live };
};

const tenantOf = (name: string, memoryMb = 256): Tenant & { log: string[] } => {
  const log: string[] = [];
  return {
    log,
    role: name,
    application: "shop",
    version: "v1",
    path: `/bundles/${name}`,
    memoryMb,
    connected: (pod) => log.push(`${pod.id} connected`),
    message: (pod, message) => log.push(`${pod.id} says ${message.t}`),
    beat: (pod) => log.push(`${pod.id} beats`),
    gone: (pod, exit) => log.push(`${pod.id} gone: ${exit.reason}`),
  };
};

describe("the warm pool", () => {
  test("is filled at the start, and a tenant gets a warm pod at once; another one is started in its place when that has loaded", async () => {
    const { cluster, fleet, seen, clock } = await setUp({ warmPods: 2 });
    expect(cluster.pods).toEqual(["pod-1", "pod-2"]);
    clock.advance(40);
    cluster.connectAll();
    expect(seen).toEqual(["pod-1 started in 40 ms", "pod-2 started in 40 ms"]);
    const tenant = tenantOf("pay");
    const pod = fleet.acquire(tenant) as Pod;
    expect([pod.id, pod.state, tenant.log]).toEqual(["pod-1", "ready", ["pod-1 connected"]]);
    expect(cluster.to("pod-1", "load")).toEqual([{ t: "load", version: "v1", path: "/bundles/pay" }]);
    clock.advance(600);
    expect(cluster.pods).toEqual(["pod-1", "pod-2"]);
    fleet.loaded(pod);
    clock.advance(24);
    expect(cluster.pods).toEqual(["pod-1", "pod-2"]);
    clock.advance(1);
    expect(cluster.pods).toEqual(["pod-1", "pod-2", "pod-3"]);
    fleet.loaded(fleet.acquire(tenantOf("ship")) as Pod);
    clock.advance(25);
    expect(cluster.pods).toHaveLength(4);
  });

  test("is filled up beside whoever waits when that lasts too long, or more will be asked for at once", async () => {
    const { cluster, fleet, live } = await setUp({ warmPods: 1 });
    cluster.connectAll();
    fleet.acquire(tenantOf("slow to load"));
    live(1_750);
    expect(cluster.created).toBe(1);
    live(500);
    expect(cluster.created).toBe(2);
    cluster.connectAll();
    fleet.acquire(tenantOf("pay"));
    fleet.expectDemand();
    expect(cluster.created).toBe(3);
  });

  test("gives away a pod that is about to be warm, before it starts another process", async () => {
    const { cluster, fleet, live } = await setUp({ warmPods: 1 });
    const [pay, ship] = [tenantOf("pay"), tenantOf("ship")];
    const pods = [fleet.acquire(pay), fleet.acquire(ship)] as Pod[];
    expect(pods.map(({ id, state }) => [id, state])).toEqual([
      ["pod-1", "starting"],
      ["pod-2", "starting"],
    ]);
    cluster.connectAll();
    expect([pay.log, ship.log]).toEqual([["pod-1 connected"], ["pod-2 connected"]]);
    for (const pod of pods) fleet.loaded(pod);
    live(250);
    expect(cluster.created).toBe(3);
  });

  test("counts those that are still starting", async () => {
    const { cluster, live } = await setUp({ warmPods: 2 });
    live(1_000);
    expect(cluster.created).toBe(2);
  });

  test("replaces a warm pod that died, and does not hand it out", async () => {
    const { cluster, fleet } = await setUp({ warmPods: 1 });
    cluster.connectAll();
    cluster.die("pod-1");
    expect(cluster.pods).toEqual(["pod-2"]);
    expect(fleet.acquire(tenantOf("pay"))).toMatchObject({ id: "pod-2", state: "starting" });
  });

  test("is not for tenants that want another amount of memory", async () => {
    const { cluster, fleet } = await setUp({ warmPods: 1 });
    cluster.connectAll();
    const pod = fleet.acquire(tenantOf("big", 512)) as Pod;
    expect([pod.id, pod.state, cluster.specs.get("pod-2")]).toEqual(["pod-2", "starting", { id: "pod-2", memoryMb: 512 }]);
  });

  test("keeps its pods, however long they have nothing to do", async () => {
    const { cluster, live } = await setUp({ warmPods: 1, idleMs: 1_000 });
    cluster.connectAll();
    live(5_000);
    expect(cluster.pods).toEqual(["pod-1"]);
  });

  test("holds no pod that is being ended", async () => {
    const { cluster, fleet, clock } = await setUp({ warmPods: 1 });
    cluster.connectAll();
    cluster.dyingTakesLong = true;
    cluster.beat("pod-1", { generic: true });
    clock.advance(1_500);
    expect(cluster.deleted[0]).toMatchObject({ pod: "pod-1", reason: "hung" });
    expect(fleet.acquire(tenantOf("pay"))?.id).not.toBe("pod-1");
  });
});

describe("the warm pool under demand", () => {
  const DEMAND = { warmPods: 1, maxWarmPods: 3, warmMemoryMb: 200, maxPods: 40 };
  const takeThree = async (options: Partial<FleetOptions> = {}) => {
    const given = await setUp({ ...DEMAND, ...options });
    given.cluster.connectAll();
    const pods = ["a", "b", "c"].map((name) => given.fleet.acquire(tenantOf(name)) as Pod);
    given.cluster.connectAll();
    for (const pod of pods) given.fleet.loaded(pod);
    return given;
  };
  const warmOf = (fleet: Fleet): number => [...fleet.pods.values()].filter((pod) => pod.tenant === undefined).length;

  test("is filled at once with as many as are asked for, and keeps them no longer than that", async () => {
    const { cluster, fleet, live } = await setUp(DEMAND);
    fleet.expectDemand(9, 1_000);
    expect(warmOf(fleet)).toBe(DEMAND.maxWarmPods);
    cluster.connectAll();
    live(750);
    expect(warmOf(fleet)).toBe(DEMAND.maxWarmPods);
    live(500);
    expect(warmOf(fleet)).toBe(1);
  });

  test("grows to what was taken at once, one process at a time, and shrinks when that is long ago", async () => {
    const { cluster, fleet, live } = await takeThree();
    const sizes: number[] = [];
    for (let i = 0; i < 4; i++) {
      live(250);
      sizes.push(warmOf(fleet));
      cluster.connectAll();
    }
    expect(sizes).toEqual([1, 2, 3, 3]);
    live(185_000);
    expect(warmOf(fleet)).toBe(1);
  });

  test("does not start one while a tenant's pod starts", async () => {
    const { cluster, fleet, live } = await takeThree();
    live(250);
    cluster.connectAll();
    fleet.acquire(tenantOf("big", 512));
    live(1_000);
    expect(warmOf(fleet)).toBe(1);
  });

  test("takes a tenant that is refused again and again for one, and only once it has got its pod", async () => {
    const { cluster, fleet, live } = await setUp({ ...DEMAND, warmPods: 0, maxPods: 4 });
    const busy = ["a", "b", "c", "d"].map((name) => fleet.acquire(tenantOf(name, 512)) as Pod);
    cluster.connectAll();
    for (const pod of busy) {
      fleet.loaded(pod);
      pod.inFlight = 1;
    }
    for (let i = 0; i < 20; i++) expect(fleet.acquire(tenantOf("refused"))).toBeUndefined();
    for (const pod of busy) cluster.die(pod.id);
    live(2_000);
    expect(warmOf(fleet)).toBe(0);
  });

  test("keeps to its budget of memory, as its pods tell it", async () => {
    const { clock, cluster, fleet } = await takeThree();
    for (let i = 0; i < 8; i++) {
      cluster.connectAll();
      for (const pod of cluster.pods) cluster.beat(pod, { rssMb: 90 });
      clock.advance(250);
    }
    expect(warmOf(fleet)).toBe(2);
  });

  test("leaves a quarter of the machine's pods to those who want one", async () => {
    const { cluster, fleet, live } = await takeThree({ maxPods: 5 });
    for (let i = 0; i < 8; i++) {
      live(250);
      cluster.connectAll();
    }
    expect(warmOf(fleet)).toBe(1);
  });

  test("compiles what will probably be called, each bundle once, and grows to what is expected", async () => {
    const { cluster, fleet, live } = await setUp({ ...DEMAND, warmPods: 2 });
    cluster.connect("pod-1");
    fleet.preload("/bundles/pay", 3);
    fleet.preload("/bundles/pay", 3);
    expect(cluster.to("pod-1", "preload")).toEqual([{ t: "preload", path: "/bundles/pay" }]);
    cluster.connect("pod-2");
    expect(cluster.to("pod-2", "preload")).toHaveLength(1);
    live(500);
    expect(warmOf(fleet)).toBe(3);
    fleet.acquire(tenantOf("other"));
    fleet.preload("/bundles/ship", 1);
    expect([cluster.to("pod-1", "preload").length, cluster.to("pod-2", "preload").length]).toEqual([1, 2]);
  });

  test("compiles in a new pod what it would keep of all that is expected", async () => {
    const { cluster, fleet } = await setUp({ ...DEMAND, warmPods: 1 });
    for (const name of ["pay", "ship", "pay", "tell"]) fleet.preload(`/bundles/${name}`, 1);
    cluster.connect("pod-1");
    expect(cluster.to("pod-1", "preload").map(({ path }) => path)).toEqual(["/bundles/pay", "/bundles/tell"]);
  });

  test("compiles in new pods what is still expected, and not what was once", async () => {
    const { cluster, fleet, live } = await setUp({ ...DEMAND, warmPods: 1 });
    cluster.connectAll();
    fleet.preload("/bundles/old", 1);
    live(59_000);
    fleet.preload("/bundles/new", 1);
    cluster.die("pod-1");
    cluster.connectAll();
    expect(cluster.to("pod-2", "preload").map(({ path }) => path)).toEqual(["/bundles/old", "/bundles/new"]);
    live(1_000);
    cluster.die("pod-2");
    cluster.connectAll();
    expect(cluster.to("pod-3", "preload").map(({ path }) => path)).toEqual(["/bundles/new"]);
  });
});

describe("cold starts", () => {
  test("are counted by whose pods they are, with their time, once for each pod", async () => {
    const { cluster, fleet, clock } = await setUp({ warmPods: 1 });
    cluster.connectAll();
    const pod = fleet.acquire(tenantOf("pay")) as Pod;
    clock.advance(8);
    fleet.loaded(pod);
    fleet.loaded(pod);
    const second = fleet.acquire(tenantOf("pay")) as Pod;
    clock.advance(40);
    cluster.connectAll();
    fleet.loaded(second);
    expect([...fleet.coldStarts.values()]).toEqual([{ application: "shop", function: "pay", count: 2, totalMs: 48 }]);
  });
});

describe("a tenant", () => {
  test("of a pod that has to start learns once that it is connected, and once that it is gone (F2)", async () => {
    const { cluster, fleet } = await setUp();
    const tenant = tenantOf("pay");
    expect(fleet.acquire(tenant)).toMatchObject({ id: "pod-1", state: "starting" });
    expect(tenant.log).toEqual([]);
    cluster.connect("pod-1");
    cluster.say("pod-1", { t: "loaded", version: "v1", manifest: { functions: [], coordinators: [] }, ms: 1 });
    cluster.beat("pod-1");
    cluster.die("pod-1");
    cluster.die("pod-1");
    expect(tenant.log).toEqual(["pod-1 connected", "pod-1 says loaded", "pod-1 beats", "pod-1 gone: exited"]);
    expect(fleet.pods.size).toBe(0);
  });

  test("learns that a pod is gone which never connected", async () => {
    const { cluster, fleet } = await setUp();
    const tenant = tenantOf("pay");
    fleet.acquire(tenant);
    cluster.die("pod-1", { reason: "failed-to-start" });
    expect(tenant.log).toEqual(["pod-1 gone: failed-to-start"]);
  });

  test("never gets the pod of another one (F1)", async () => {
    const { cluster, fleet } = await setUp({ warmPods: 2 });
    cluster.connectAll();
    const [pay, ship] = [tenantOf("pay"), tenantOf("ship")];
    const pods = [fleet.acquire(pay), fleet.acquire(ship), fleet.acquire(pay), fleet.acquire(ship)];
    expect(new Set(pods.map((pod) => pod?.id)).size).toBe(4);
    cluster.connectAll();
    for (const pod of cluster.pods) expect(cluster.to(pod, "load").length).toBeLessThanOrEqual(1);
    expect(pods.map((pod) => pod?.tenant)).toEqual([pay, ship, pay, ship]);
  });

  test("whose pod connects only after it was ended is not bothered with it", async () => {
    const { cluster, fleet } = await setUp();
    cluster.dyingTakesLong = true;
    const tenant = tenantOf("pay");
    const pod = fleet.acquire(tenant) as Pod;
    fleet.end(pod, 0);
    cluster.connect("pod-1");
    expect([pod.state, tenant.log]).toEqual(["draining", []]);
    cluster.die("pod-1");
    expect(tenant.log).toEqual(["pod-1 gone: exited"]);
  });
});

describe("a machine that has as many pods as it may", () => {
  test("gives none until room appears", async () => {
    const { cluster, fleet, clock } = await setUp({ maxPods: 2 });
    const pods = [fleet.acquire(tenantOf("a")), fleet.acquire(tenantOf("b"))] as Pod[];
    cluster.connectAll();
    for (const pod of pods) pod.inFlight = 1;
    expect(fleet.acquire(tenantOf("c"))).toBeUndefined();
    clock.advance(0);
    expect([cluster.deleted, cluster.created]).toEqual([[], 2]);
    cluster.die("pod-1");
    expect(fleet.acquire(tenantOf("c"))?.id).toBe("pod-3");
  });

  test("ends the pod that has been idle the longest for whoever asks", async () => {
    const { cluster, fleet, clock } = await setUp({ maxPods: 3 });
    const [a, b] = ["a", "b", "c"].map((name) => fleet.acquire(tenantOf(name))) as Pod[];
    cluster.connectAll();
    a!.inFlight = 1;
    clock.advance(10);
    fleet.idle(b!);
    expect(fleet.acquire(tenantOf("d"))).toBeUndefined();
    expect(fleet.acquire(tenantOf("d"))).toBeUndefined();
    expect(cluster.deleted).toEqual([{ pod: "pod-3", graceMs: 0, reason: "deleted" }]);
    clock.advance(0);
    expect(fleet.acquire(tenantOf("d"))?.id).toBe("pod-4");
  });

  test("does not wait for a pod that drains slowly when another one is idle", async () => {
    const { cluster, fleet } = await setUp({ maxPods: 2 });
    const [a] = [fleet.acquire(tenantOf("a")), fleet.acquire(tenantOf("b"))] as Pod[];
    cluster.connectAll();
    a!.inFlight = 1;
    fleet.end(a!, 60_000);
    expect(fleet.acquire(tenantOf("c"))).toBeUndefined();
    expect(cluster.deleted.at(-1)).toMatchObject({ pod: "pod-2", graceMs: 0 });
  });

  test("ends nobody's pod for one that the machine can never have, and keeps no room for it", async () => {
    const { cluster, fleet, clock } = await setUp({ maxMemoryMb: 1_000, warmPods: 1 });
    fleet.acquire(tenantOf("pay"));
    clock.advance(250);
    cluster.connectAll();
    for (let i = 0; i < 20; i++) {
      expect(fleet.acquire(tenantOf("giant", 1_001))).toBeUndefined();
      clock.advance(50);
    }
    expect([fleet.lacks, cluster.deleted]).toEqual(["memory", []]);
    expect(fleet.acquire(tenantOf("ship", 300), false)).toBeDefined();
  });

  test("ends no idle pod while what is busy leaves no room all the same", async () => {
    const { cluster, fleet } = await setUp({ maxMemoryMb: 1_000 });
    const busy = fleet.acquire(tenantOf("pay")) as Pod;
    fleet.acquire(tenantOf("ship"));
    cluster.connectAll();
    busy.inFlight = 1;
    expect(fleet.acquire(tenantOf("large", 900))).toBeUndefined();
    expect(cluster.deleted).toEqual([]);
    busy.inFlight = 0;
    fleet.acquire(tenantOf("large", 900));
    expect(cluster.deleted).toHaveLength(1);
  });

  test("ends a warm pod for a tenant that can wait, and no other one's", async () => {
    const { cluster, fleet, clock } = await setUp({ maxPods: 3, warmPods: 1 });
    fleet.acquire(tenantOf("ship", 100));
    fleet.acquire(tenantOf("pay", 64), false);
    cluster.connectAll();
    expect(fleet.acquire(tenantOf("pay", 64), false)).toBeUndefined();
    expect(cluster.deleted.map(({ pod }) => pod)).toEqual(["pod-1"]);
    clock.advance(100);
    expect(fleet.acquire(tenantOf("pay", 64), false)).toBeDefined();
    expect(fleet.acquire(tenantOf("pay", 64), false)).toBeUndefined();
    expect(cluster.deleted).toHaveLength(1);
  });

  test("gives the room that a tenant waits for to that tenant, not back to the warm pool", async () => {
    const { cluster, fleet, clock } = await setUp({ maxPods: 2, warmPods: 1 });
    const busy = fleet.acquire(tenantOf("a")) as Pod;
    cluster.connectAll();
    busy.inFlight = 1;
    const big = tenantOf("big", 512);
    let got: Pod | undefined;
    for (let i = 0; i < 40 && got === undefined; i++) {
      got = fleet.acquire(big);
      cluster.connectAll();
      for (const pod of cluster.pods) cluster.beat(pod);
      clock.advance(50);
    }
    expect(got?.memoryMb).toBe(512);
    fleet.loaded(busy);
    cluster.die(got!.id);
    clock.advance(1_000);
    expect([...fleet.pods.values()].filter((pod) => pod.tenant === undefined)).toHaveLength(1);
  });
});

describe("a pod that falls silent", () => {
  const connected = async () => {
    const given = await setUp();
    const tenant = tenantOf("pay");
    const pod = given.fleet.acquire(tenant) as Pod;
    given.cluster.connect("pod-1");
    return { ...given, tenant, pod };
  };

  test("is ended as hung, soon after the time that it may be silent", async () => {
    const { cluster, live, tenant } = await connected();
    live(5_000);
    expect(cluster.deleted).toEqual([]);
    live(750, () => false);
    expect(cluster.deleted).toEqual([]);
    live(250, () => false);
    expect(cluster.deleted).toEqual([{ pod: "pod-1", graceMs: 0, reason: "hung" }]);
    expect(tenant.log.at(-1)).toBe("pod-1 gone: hung");
  });

  test("is ended when its time is over, and not with the next tick", async () => {
    const { cluster, clock, live } = await connected();
    live(5_000);
    clock.advance(130);
    cluster.beat("pod-1");
    clock.advance(1_000);
    expect(cluster.deleted).toEqual([]);
    clock.advance(1);
    expect(cluster.deleted).toMatchObject([{ reason: "hung" }]);
  });

  test.each([0, 1, 2, 20])(
    "gets longer before its thread beats, which has to start; the %i beats of its main thread before that count for nothing",
    async (beats) => {
      const { cluster, clock, live } = await connected();
      for (let i = 0; i < beats; i++) {
        clock.advance(250);
        cluster.beat("pod-1", { generic: true });
      }
      live(9_750, () => false);
      expect(cluster.deleted).toEqual([]);
      live(500, () => false);
      expect(cluster.deleted).toMatchObject([{ reason: "hung" }]);
    },
  );

  test("gets longer before it beats for the first time: it warms up until then", async () => {
    const { cluster, clock } = await setUp({ warmPods: 1 });
    cluster.connectAll();
    clock.advance(10_000);
    expect(cluster.deleted).toEqual([]);
    clock.advance(250);
    expect(cluster.deleted).toMatchObject([{ reason: "hung" }]);
  });

  test("is found within its time as soon as its thread beats", async () => {
    const { clock, cluster, live } = await connected();
    live(500);
    clock.advance(750);
    expect(cluster.deleted).toEqual([]);
    clock.advance(1);
    expect(cluster.deleted).toMatchObject([{ reason: "hung" }]);
  });

  test("is found although this process never gets the processor in time, which puts it off once", async () => {
    const { clock, cluster, live } = await connected();
    live(1_000);
    const silentSince = clock.now() - 250;
    while (cluster.deleted.length === 0) {
      clock.pause(600);
      clock.advance(0);
      expect(clock.now() - silentSince).toBeLessThan(4_000);
    }
    expect(cluster.deleted).toMatchObject([{ reason: "hung" }]);
    expect(clock.now() - silentSince).toBeLessThan(2 * 1_000 + 2 * 600);
  });

  test("is not suspected while its beats wait to be read, however often this process is late", async () => {
    const { clock, cluster, live, pod } = await connected();
    pod.inFlight = 1;
    live(1_000);
    for (let i = 0; i < 20; i++) {
      clock.pause(5_000);
      clock.advance(0);
      cluster.beat("pod-1");
    }
    expect(cluster.deleted).toEqual([]);
  });

  test("gets nothing more to do while it is being ended", async () => {
    const { cluster, live, pod } = await connected();
    cluster.dyingTakesLong = true;
    live(1_000);
    live(1_500, () => false);
    expect([cluster.deleted.length > 0, pod.state]).toEqual([true, "draining"]);
  });

  test("is not suspected after a pause of our own", async () => {
    const { cluster, clock, live, pod } = await connected();
    pod.inFlight = 1;
    live(1_000);
    clock.pause(60_000);
    clock.advance(0);
    live(1_000, () => false);
    expect(cluster.deleted).toEqual([]);
    live(5_000);
    expect(cluster.deleted).toEqual([]);
    live(1_500, () => false);
    expect(cluster.deleted).toMatchObject([{ reason: "hung" }]);
  });

  test("is not suspected while it starts: that is the cluster's to judge", async () => {
    const { cluster, fleet, live } = await setUp();
    fleet.acquire(tenantOf("pay"));
    live(20_000);
    expect(cluster.deleted).toEqual([]);
  });
});

describe("memory", () => {
  test("above its heap and some headroom ends the pod", async () => {
    const { cluster, fleet, clock } = await setUp();
    const tenant = tenantOf("pay");
    const pod = fleet.acquire(tenant) as Pod;
    cluster.connect("pod-1");
    cluster.beat("pod-1", { rssMb: 356 });
    expect(cluster.deleted).toEqual([]);
    cluster.beat("pod-1", { rssMb: 357 });
    expect(cluster.deleted).toEqual([{ pod: "pod-1", graceMs: 0, reason: "over-memory" }]);
    expect(pod.state).toBe("draining");
    clock.advance(0);
    expect(tenant.log.at(-1)).toBe("pod-1 gone: over-memory");
  });

  test("is measured by what the tenant asked for", async () => {
    const { cluster, fleet } = await setUp();
    fleet.acquire(tenantOf("big", 1_000));
    cluster.connect("pod-1");
    cluster.beat("pod-1", { rssMb: 1_100 });
    expect(cluster.deleted).toEqual([]);
  });
});

describe("a pod with nothing to do", () => {
  test("is ended after a while, counted from its last work", async () => {
    const { cluster, fleet, live } = await setUp({ idleMs: 5_000 });
    const pod = fleet.acquire(tenantOf("pay")) as Pod;
    cluster.connect("pod-1");
    live(4_000);
    pod.inFlight = 1;
    live(20_000);
    pod.inFlight = 0;
    fleet.idle(pod);
    live(5_000);
    expect(cluster.deleted).toEqual([]);
    live(500);
    expect(cluster.deleted).toEqual([{ pod: "pod-1", graceMs: 0, reason: "deleted" }]);
  });
});

describe("ending a pod", () => {
  test("lets it finish what it works on, and ends it as soon as that is done", async () => {
    const { cluster, fleet, clock } = await setUp();
    const pod = fleet.acquire(tenantOf("pay")) as Pod;
    cluster.connect("pod-1");
    pod.inFlight = 1;
    fleet.end(pod, 9_000);
    clock.advance(100);
    expect(cluster.pods).toEqual(["pod-1"]);
    pod.inFlight = 0;
    fleet.idle(pod);
    clock.advance(0);
    expect(cluster.pods).toEqual([]);
  });

  test("that works on nothing takes no grace", async () => {
    const { cluster, fleet } = await setUp();
    const pod = fleet.acquire(tenantOf("pay")) as Pod;
    cluster.connect("pod-1");
    fleet.end(pod, 9_000);
    expect(cluster.deleted).toEqual([{ pod: "pod-1", graceMs: 0, reason: "deleted" }]);
  });
});

describe("when processes do not start", () => {
  test("the warm pool is tried again with every tick, not in a loop", async () => {
    const { cluster, clock } = await setUp({ warmPods: 1 });
    for (let i = 0; i < 100; i++) {
      for (const pod of cluster.pods) cluster.die(pod, { reason: "failed-to-start" });
      if (i < 10) continue;
      clock.advance(250);
    }
    expect(cluster.created).toBeLessThan(100);
    expect(cluster.created).toBeGreaterThan(80);
  });

  test("the first one that does fills the pool again", async () => {
    const { cluster, clock } = await setUp({ warmPods: 2 });
    for (let i = 0; i < 10; i++) for (const pod of cluster.pods) cluster.die(pod, { reason: "failed-to-start" });
    clock.advance(250);
    cluster.connectAll();
    cluster.die(cluster.pods[0]!);
    expect(cluster.pods).toHaveLength(2);
  });
});

test("a fleet that stops gives no pods, refills nothing and leaves no timer", async () => {
  const { cluster, fleet, clock } = await setUp({ warmPods: 2 });
  cluster.connectAll();
  fleet.loaded(fleet.acquire(tenantOf("pay")) as Pod);
  await fleet.stop();
  expect([cluster.stopped, cluster.pods, fleet.acquire(tenantOf("pay")), clock.timers]).toEqual([true, [], undefined, 0]);
  clock.advance(10_000);
  expect([cluster.created, clock.timers]).toEqual([2, 0]);
});
