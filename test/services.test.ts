/** Services on real processes: what is desired outlives the control plane, and no process does. */
import { afterEach, describe, expect, test } from "vitest";
import { eventually } from "./support/eventually.ts";
import type { PlatformProcess } from "./support/platform-process.ts";
import { startPlatformProcess } from "./support/platform-process.ts";
import { environmentOf, isAlive, signal } from "./support/processes.ts";
import { createSandbox, type Sandbox } from "./support/sandbox.ts";

const sandboxes: Sandbox[] = [];
const newSandbox = (): Sandbox => {
  const sandbox = createSandbox();
  sandboxes.push(sandbox);
  return sandbox;
};

afterEach(async () => {
  for (const sandbox of sandboxes.splice(0)) await sandbox.dispose();
});

const PODS = 8;

const readyPods = async ({ client }: PlatformProcess): Promise<number[]> =>
  (await client.cluster.pods()).filter(({ service, ready }) => service === "nap" && ready).map(({ pid }) => pid);

const eightPods = (platform: PlatformProcess): Promise<number[]> =>
  eventually("eight pods are ready", async () => {
    const pids = await readyPods(platform);
    return pids.length === PODS ? pids : undefined;
  });

describe("kill -9 of the control plane under load, with eight pods", () => {
  test("the desired state is restored, every call completes, and no process of the first life is left, stopped ones neither", async () => {
    const sandbox = newSandbox();
    const first = await startPlatformProcess(sandbox);
    await first.deploy("test/apps/work");
    await first.client.cluster.createService({ name: "nap", function: "nap", replicas: PODS, concurrency: 2 });
    const before = await eightPods(first);
    const load = await Promise.all(Array.from({ length: 60 }, () => first.client.startFunction<number>("nap", 100)));
    // Neither of these ends when its connection does: only the next life can end them.
    const stopped = before.slice(0, 2);
    for (const pid of stopped) signal(pid, "SIGSTOP");
    await first.kill();
    expect(stopped.every(isAlive)).toBe(true);

    const second = await startPlatformProcess(sandbox, { port: first.port });
    const after = await eightPods(second);
    for (const run of load) expect(await run.result({ timeoutMs: 30_000 })).toBe(100);
    expect(before.filter((pid) => isAlive(pid))).toEqual([]);
    expect(second.output()).toContain("ended 2 pods that an earlier life");
    await eventually("only processes of the second life are left", async () => {
      const living = sandbox.processes();
      const known = new Set([second.pid, ...(await second.client.pods()).map(({ pid }) => pid)]);
      return living.every((pid) => known.has(pid));
    });
    expect(after).toHaveLength(PODS);
    expect((await second.client.cluster.service("nap")).versions[0]).toMatchObject({ desired: PODS, conditions: [{ type: "Ready" }] });

    await second.stop();
    expect(sandbox.processes()).toEqual([]);
  });
});

describe("watching", () => {
  test("goes on over a restart of the platform: it begins anew, with the pods of the new life", async () => {
    const sandbox = newSandbox();
    const first = await startPlatformProcess(sandbox);
    await first.deploy("test/apps/work");
    await first.client.cluster.createService({ name: "nap", function: "nap", replicas: 1 });
    const end = new AbortController();
    const told: string[] = [];
    const watching = (async () => {
      for await (const event of first.client.cluster.watchPods({ signal: end.signal })) {
        if (event.type === "reset") told.push("reset");
        else if (event.pod.service === "nap") told.push(`${event.type} ${event.pod.pid} ${event.pod.ready}`);
      }
    })();
    const pod = async (platform: PlatformProcess): Promise<number> =>
      eventually("the pod is ready", async () => (await readyPods(platform))[0] ?? false);
    const before = await pod(first);
    await eventually("it was told", () => told.includes(`modified ${before} true`) || told.includes(`added ${before} true`));
    await first.kill();
    const second = await startPlatformProcess(sandbox, { port: first.port });
    const after = await pod(second);
    await eventually("the new one was told", () => told.includes(`modified ${after} true`) || told.includes(`added ${after} true`));
    expect(told.filter((one) => one === "reset")).toHaveLength(2);
    expect(told.lastIndexOf("reset")).toBeLessThan(told.findIndex((one) => one.includes(` ${after} `)));
    end.abort();
    await watching;
    await second.stop();
  });
});

describe("a spec", () => {
  test("gives its pods their environment, their heap and the calls that they take", async () => {
    const sandbox = newSandbox();
    const platform = await startPlatformProcess(sandbox);
    await platform.deploy("test/apps/work");
    const environment = { REGION: "north", GREETING: "hello = world" };
    await platform.client.cluster.createService({ name: "nap", function: "nap", replicas: 1, memoryMb: 99, concurrency: 3, environment });
    const [pid] = await eventually("the pod is ready", async () => {
      const pids = await readyPods(platform);
      return pids.length === 1 ? pids : undefined;
    });
    expect(environmentOf(pid as number)).toMatchObject(environment);
    expect((await platform.client.cluster.pods()).find(({ service }) => service === "nap")).toMatchObject({ memoryMb: 99, slots: 3 });
    await expect(platform.client.cluster.createService({ name: "nap", function: "nap" })).rejects.toMatchObject({ code: "SERVICE_EXISTS" });
    await platform.client.cluster.deleteService("nap");
    expect(await platform.client.cluster.service("nap")).toMatchObject({ default: true, resourceVersion: 0 });
    await platform.stop();
  });
});
