import { expect, test } from "vitest";
import { FakeCluster } from "../../test/support/fake-cluster.ts";
import type { PodExit } from "../cluster/port.ts";
import type { Manifest } from "../protocol/application.ts";
import type { FromPod } from "../protocol/pod.ts";
import { Fleet } from "../scheduler/fleet.ts";
import { createStepClock } from "../testing/step-clock.ts";
import { inspect } from "./inspection.ts";

const TIMEOUT_MS = 10_000;
const MANIFEST: Manifest = { functions: [], coordinators: [] };
const LOADED: FromPod = { t: "loaded", version: "v1", manifest: MANIFEST, ms: 1 };
const BUNDLE = { application: "shop", version: "v1", code: "" };

const begin = async (maxPods = 10) => {
  const clock = createStepClock(1_000_000);
  const cluster = new FakeCluster(clock);
  const options = { warmPods: 0, defaultMemoryMb: 256, maxPods, hangMs: 1_000, idleMs: 60_000, memoryHeadroomMb: 100 };
  const fleet = new Fleet(cluster, clock, options, { started: () => {}, stopped: () => {} });
  await fleet.start();
  const outcome: { manifest?: Manifest; code?: string; message?: string } = {};
  const inspecting = inspect(BUNDLE, "/bundles/v1", fleet, clock, { memoryMb: 256, timeoutMs: TIMEOUT_MS }).then(
    (manifest) => void Object.assign(outcome, { manifest }),
    ({ code, message }: { code: string; message: string }) => void Object.assign(outcome, { code, message }),
  );
  const settled = async () => {
    await inspecting;
    return outcome;
  };
  /** Lets time pass while the last pod's thread beats. */
  const beating = async (ms: number, generic?: true) => {
    for (let at = 0; at < ms; at += 250) {
      cluster.beat(cluster.pods.at(-1) as string, generic === undefined ? {} : { generic });
      clock.advance(250);
    }
    await Promise.resolve();
  };
  return { clock, cluster, fleet, outcome, settled, beating };
};

const HUNG: Partial<PodExit> = { reason: "hung", detail: "signal SIGKILL" };
const KILLED: Partial<PodExit> = { reason: "exited", detail: "signal SIGKILL" };
const NOT_STARTED: Partial<PodExit> = { reason: "failed-to-start", detail: "signal SIGKILL" };

test("a bundle is loaded in a pod of its own, which is ended afterwards", async () => {
  const { cluster, clock, settled } = await begin();
  cluster.connect("pod-1");
  expect(cluster.to("pod-1", "load")).toEqual([{ t: "load", version: "v1", path: "/bundles/v1" }]);
  cluster.say("pod-1", LOADED);
  expect(await settled()).toEqual({ manifest: MANIFEST });
  clock.advance(0);
  expect(cluster.pods).toEqual([]);
});

test.each([
  ["hangs", HUNG, true],
  ["is killed from outside", KILLED, true],
  ["does not start", NOT_STARTED, false],
])("a pod that %s says nothing of the application, and another one is asked", async (_how, exit, connects) => {
  const { cluster, settled } = await begin();
  for (const pod of ["pod-1", "pod-2"]) {
    if (connects) cluster.connect(pod);
    cluster.die(pod, exit);
  }
  cluster.connect("pod-3");
  expect(cluster.to("pod-3", "load")).toHaveLength(1);
  cluster.say("pod-3", LOADED);
  expect(await settled()).toEqual({ manifest: MANIFEST });
  expect(cluster.created).toBe(3);
});

test.each([
  ["hang", HUNG, /3 were tried: the last one hung$/],
  ["are killed from outside", KILLED, /the last one was ended from outside \(signal SIGKILL\)$/],
  ["do not start", NOT_STARTED, /the last one did not start \(signal SIGKILL\)$/],
])("when all pods %s, that is told as a fault of the platform", async (_how, exit, expected) => {
  const { cluster, settled } = await begin();
  for (const pod of ["pod-1", "pod-2", "pod-3"]) cluster.die(pod, exit);
  expect(await settled()).toEqual({ code: "POD_FAILED_TO_START", message: expect.stringMatching(expected) });
  expect(cluster.created).toBe(3);
});

test.each<[string, Partial<PodExit>]>([
  ["exits", { reason: "exited", detail: "exit code 3", output: "goodbye" }],
  ["runs out of memory", { reason: "exited", detail: "signal SIGABRT", memory: true, output: "goodbye" }],
  ["needs more memory than it may", { reason: "over-memory", detail: "signal SIGKILL", memory: true, output: "goodbye" }],
])("an application that %s while it loads is refused at once, with its last words", async (_how, exit) => {
  const { cluster, settled } = await begin();
  cluster.connect("pod-1");
  cluster.die("pod-1", exit);
  expect(await settled()).toEqual({
    code: "APPLICATION_INVALID",
    message: `the application ended its pod while it loaded: ${exit.detail}\ngoodbye`,
  });
  expect(cluster.created).toBe(1);
});

test("an application that never ends loading is refused when its time is over, which begins once its thread beats", async () => {
  const { cluster, clock, beating, outcome, settled } = await begin();
  clock.advance(30_000);
  cluster.connect("pod-1");
  await beating(30_000, true);
  await beating(9_750);
  expect(outcome).toEqual({});
  await beating(250);
  expect(await settled()).toEqual({
    code: "APPLICATION_INVALID",
    message: 'application "shop" did not load within 10000 ms',
  });
  expect([cluster.created, cluster.pods]).toEqual([1, []]);
});

test("each pod gives the application all its time", async () => {
  const { cluster, beating, outcome, settled } = await begin();
  cluster.connect("pod-1");
  await beating(9_000);
  cluster.die("pod-1", HUNG);
  cluster.connect("pod-2");
  await beating(9_000);
  expect(outcome).toEqual({});
  cluster.say("pod-2", LOADED);
  expect(await settled()).toEqual({ manifest: MANIFEST });
});

test("a platform that stops, or has no room, tells so", async () => {
  const { fleet, settled } = await begin();
  await fleet.stop();
  expect(await settled()).toMatchObject({ code: "POD_FAILED_TO_START", message: expect.stringContaining("no pod is free") });
  const full = await begin(0);
  expect(await full.settled()).toMatchObject({ code: "POD_FAILED_TO_START", message: expect.stringContaining("no pod is free") });
});
