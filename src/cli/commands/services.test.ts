import { expect, test, vi } from "vitest";
import { world } from "../../../test/support/fake-io.ts";
import { open } from "../../../test/support/gateway.ts";
import type { ClusterPodView, PodWatchEvent } from "../../protocol/cluster.ts";

const connected = async () => {
  const { gateway, plane } = await open();
  return { plane, ...world({ fetch, env: { LOCKSTEP_URL: gateway.url } }) };
};

test("services set, get, ls and rm change and show services", async () => {
  const { lockstep, out, error, plane } = await connected();
  const options = ["--min", "1", "--max", "4", "--policy", "kpa", "--target", "200ms", "--cool-down", "1m"];
  expect(
    await lockstep("services", "set", "pay", ...options, "--memory", "64", "--concurrency", "8", "--env", "REGION=north", "TEXT=a=b"),
  ).toBe(0);
  expect(plane.cluster.specs.get("pay")?.spec).toEqual({
    name: "pay",
    function: "pay",
    scale: { min: 1, max: 4, policy: "kpa", targetMs: 200, coolDownMs: 60_000 },
    memoryMb: 64,
    concurrency: 8,
    environment: { REGION: "north", TEXT: "a=b" },
  });
  expect(out.text).toContain("pods: 1 to 4 kpa; 64 MiB, 8 calls each");
  expect(out.text).toContain("1 of 2 ready, 1 starting, 0 draining; its load");
  expect(out.text).toContain("env: TEXT=a=b");
  out.text = "";
  expect(await lockstep("services")).toBe(0);
  expect(out.text).toMatch(/SERVICE +FUNCTION +PODS +SCALE .*\npay +pay +1\/2 +1 to 4 kpa +Progressing/);
  expect(await lockstep("services", "set", "pay", "--replicas", "3", "--if-version", "9")).toBe(1);
  expect(error.text).toContain("PRECONDITION_FAILED");
  expect(await lockstep("services", "set", "money", "--function", "pay", "--pin", "0123456789abcdef", "--replicas", "3")).toBe(0);
  out.text = "";
  expect(await lockstep("services", "get", "money", "--json")).toBe(0);
  expect(JSON.parse(out.text).spec).toEqual({ name: "money", function: "pay", version: "0123456789abcdef", replicas: 3 });
  expect(await lockstep("services", "rm", "money")).toBe(0);
  expect(await lockstep("services", "get", "money")).toBe(1);
});

test("services refuses what is no number, no duration and no variable", async () => {
  const { lockstep, plane } = await connected();
  for (const options of [
    ["--replicas", "0"],
    ["--min", "x"],
    ["--target", "soon"],
    ["--env", "REGION"],
    ["--policy", "magic"],
  ]) {
    expect(await lockstep("services", "set", "pay", ...options)).toBe(2);
  }
  expect(plane.cluster.specs.size).toBe(0);
});

test("pods add and rm ask for one more and end one", async () => {
  const { lockstep, out, plane } = await connected();
  expect(await lockstep("pods", "add", "pay")).toBe(0);
  expect(await lockstep("pods", "rm", "pod-1", "--grace", "5s")).toBe(0);
  expect(out.text).toBe("pod-2 starting\npod-1 draining\n");
  expect(plane.cluster.deleted).toEqual([["pod-1", 5_000]]);
  expect(await lockstep("pods", "rm", "pod-9")).toBe(1);
  out.text = "";
  expect(await lockstep("pods", "--service", "nobody", "--json")).toBe(0);
  expect(out.text).toBe('{"pods":[]}\n');
});

test("services and pods are watched, a line for each change, until interrupted", async () => {
  const { lockstep, out, plane, interrupt } = await connected();
  const watching = lockstep("services", "--watch");
  await out.shows("added pay");
  await plane.cluster.putService({ name: "money", function: "pay" });
  plane.cluster.changed();
  await out.shows("money");
  interrupt();
  expect(await watching).toBe(130);
  const lines = out.text
    .trim()
    .split("\n")
    .map((line) => line.replace(/^\S+ /, ""));
  expect(lines).toEqual([
    "all that there is:",
    "added pay, 0123456789abcdef 1/2 Progressing: 1 of 2 pods are ready, 1 starting",
    "added money, 0123456789abcdef 1/2 Progressing: 1 of 2 pods are ready, 1 starting",
  ]);
});

test("pods are watched by service, as JSON too", async () => {
  const { lockstep, out, plane, interrupt } = await connected();
  const watching = lockstep("pods", "--watch", "--service", "ship", "--json");
  const [pod] = plane.cluster.pods();
  await vi.waitUntil(() => plane.cluster.watchers > 0, { interval: 1 });
  plane.cluster.more.push({ ...(pod as ClusterPodView), id: "pod-2", service: "ship" });
  plane.cluster.changed();
  await out.shows("pod-2");
  interrupt();
  expect(await watching).toBe(130);
  const events = out.text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as PodWatchEvent);
  expect(events.map((event) => [event.type, event.type === "reset" ? "" : event.pod.id])).toEqual([
    ["reset", ""],
    ["added", "pod-2"],
  ]);
});
