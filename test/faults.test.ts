/** Faults of the platform's own parts, provoked by drills: what is told of them, and that nothing is lost. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type Client, createClient } from "lockstep/client";
import { afterEach, describe, expect, test } from "vitest";
import type { Drill, FaultView } from "../src/protocol/faults.ts";
import { eventually } from "./support/eventually.ts";
import { ask } from "./support/http.ts";
import type { PlatformProcess } from "./support/platform-process.ts";
import { startPlatformProcess } from "./support/platform-process.ts";
import { isAlive, signal } from "./support/processes.ts";
import { createSandbox, type Sandbox } from "./support/sandbox.ts";

const bin = fileURLToPath(new URL("../bin/lockstep.js", import.meta.url));
const sandboxes: Sandbox[] = [];

afterEach(async () => {
  for (const sandbox of sandboxes.splice(0)) await sandbox.dispose();
});

const begin = async (drills = true): Promise<{ sandbox: Sandbox; platform: PlatformProcess; client: Client }> => {
  const sandbox = createSandbox();
  sandboxes.push(sandbox);
  const platform = await startPlatformProcess(sandbox, { drills });
  await platform.deploy("test/apps/work");
  return { sandbox, platform, client: platform.client };
};

const repairOf = (client: Client, { pod, at }: Drill): Promise<FaultView> =>
  eventually("the fault is repaired", async () => {
    const fault = (await client.faults()).find((one) => one.pod === pod && one.detectedAt >= at);
    return fault?.repairedAt === undefined ? undefined : fault;
  });

describe("kill -9 of a pod under load", () => {
  test("is a fault I whose calls are dispatched again at once, and nothing is lost", async () => {
    const { client } = await begin();
    for (let round = 0; round < 5; round++) {
      // New calls each time: one that loses its pod twice is a suspect, and waits on purpose.
      const runs = await Promise.all(Array.from({ length: 30 }, () => client.startFunction<number>("nap", 1_500)));
      await eventually("calls are under way", async () => (await client.pods()).some((pod) => pod.role === "nap" && pod.inFlight > 0));
      const drill = await client.drill({ kind: "pod", function: "nap" });
      expect(drill.calls).toBeGreaterThan(0);
      const fault = await repairOf(client, drill);
      expect(fault).toMatchObject({ type: "I", what: "crash", function: "nap", did: expect.stringMatching(/dispatched again to pod-/) });
      expect(fault.calls).toBeGreaterThan(0);
      for (const run of runs) expect(await run.result({ timeoutMs: 30_000 })).toBe(1_500);
    }
    // How soon is measured by the benchmark "kill -9 of a pod", and on a clock that is stepped by the tests of the engine: here other
    // processes take the processors.
  });
});

describe("a pod that hangs", () => {
  test("is found by its silence, ended and replaced", async () => {
    const { sandbox, client } = await begin();
    const run = await client.start<{ held: { attempt: number } }>("holding", { folder: sandbox.root, name: "hung" });
    await eventually("the call executes", () => existsSync(sandbox.path("hung.1.started")));
    const drill = await client.drill({ kind: "hang", function: "hold" });
    const fault = await repairOf(client, drill);
    expect(fault).toMatchObject({ what: "hang", calls: 1 });
    // How soon is measured by the benchmark "a pod that hangs", and on a clock that is stepped by the tests of the fleet.
    await eventually("the hung process is gone", () => !isAlive(drill.pid));
    sandbox.write("hung.open", "");
    expect((await run.result({ timeoutMs: 30_000 })).held.attempt).toBe(2);
  });

  test("is not one that is only slow", async () => {
    const { client } = await begin();
    const run = await client.startFunction<number>("nap", 4_000);
    await eventually("the call executes", async () => (await client.pods()).some((pod) => pod.role === "nap" && pod.inFlight > 0));
    const drill = await client.drill({ kind: "slow", function: "nap" });
    expect(await run.result({ timeoutMs: 30_000 })).toBe(4_000);
    expect((await client.faults()).filter(({ pod }) => pod === drill.pod)).toEqual([]);
  });
});

describe("kill -9 of the control plane", () => {
  test("is a fault IV at the next start, with how long it was down and what was recovered", async () => {
    const { sandbox, platform, client } = await begin();
    const runs = await Promise.all(Array.from({ length: 5 }, () => client.startFunction<number>("nap", 2_000)));
    const drill = await client.drill({ kind: "control-plane" });
    expect((await platform.exited).signal).toBe("SIGKILL");
    await startPlatformProcess(sandbox, { port: platform.port });
    const [fault] = await client.faults(1);
    expect(fault).toMatchObject({ type: "IV", what: "control-plane-down", calls: 5, did: "journal replayed, 5 runs recovered" });
    expect(fault?.detectedAt).toBeGreaterThan(drill.at);
    // Down since it beat last, which was before the drill or just then.
    expect((fault?.detectedAt as number) - (fault?.detectionMs as number)).toBeLessThanOrEqual(drill.at + 1_000);
    expect(fault?.repairedAt).toBeGreaterThanOrEqual(fault?.detectedAt as number);
    for (const run of runs) expect(await run.result({ timeoutMs: 30_000 })).toBe(2_000);
  });

  test("in order is none", async () => {
    const { sandbox, platform, client } = await begin();
    await platform.stop();
    await startPlatformProcess(sandbox, { port: platform.port });
    expect(await client.faults()).toEqual([]);
  });
});

test("a platform that was not started for drills refuses them", async () => {
  const { platform } = await begin(false);
  const answer = await ask(platform.url, "/v1/drills", { method: "POST", body: { kind: "pod" } });
  expect(answer.status).toBe(403);
  expect(answer.text).toContain("DRILLS_DISABLED");
});

interface Command {
  readonly pid: number;
  out(): string;
  error(): string;
  readonly ended: Promise<{ code: number | null; out: string; error: string }>;
}

const lockstepIn = (sandbox: Sandbox, ...argv: string[]): Command => {
  const environment = { PATH: process.env.PATH, HOME: sandbox.root, TMPDIR: sandbox.temporary };
  const child = spawn(process.execPath, [bin, ...argv], { cwd: sandbox.root, env: environment, stdio: ["ignore", "pipe", "pipe"] });
  let [out, error] = ["", ""];
  child.stdout.on("data", (chunk) => (out += chunk));
  child.stderr.on("data", (chunk) => (error += chunk));
  const ended = new Promise<{ code: number | null; out: string; error: string }>((resolve) => {
    child.once("close", (code) => resolve({ code, out, error }));
  });
  return { pid: child.pid as number, out: () => out, error: () => error, ended };
};

describe("on the command line", () => {
  test("lockstep drill and lockstep faults tell of it", async () => {
    const { sandbox, platform } = await begin();
    const lockstep = (...argv: string[]) => lockstepIn(sandbox, ...argv, "--url", platform.url).ended;
    expect(await lockstep("drill", "pod")).toMatchObject({ code: 2, error: expect.stringContaining("--yes") });
    expect(await platform.client.call("nap", 1)).toBe(1);
    const following = lockstepIn(sandbox, "faults", "--follow", "--url", platform.url);
    await eventually("the list is there", () => following.error().includes("nothing of the platform has failed"));
    const drill = await lockstep("drill", "pod", "--yes", "--function", "nap");
    expect(drill).toMatchObject({ code: 0, error: expect.stringMatching(/^killed pod-\d+ \(nap\), process \d+/) });
    expect(drill.out).toMatch(/^fault I crash pod-\d+ \(nap\)\n {2}noticed after .*\n {2}repaired after .*\n {2}done .*\n$/);
    expect((await lockstep("faults")).out).toMatch(/^AT .*\n.* I {5}crash/);
    const { faults } = JSON.parse((await lockstep("faults", "--json")).out) as { faults: FaultView[] };
    expect(faults).toMatchObject([{ id: "fault-1", what: "crash" }]);
    await eventually("the fault and its repair are followed", () => following.out().includes("repaired in"));
    signal(following.pid, "SIGINT");
    const followed = await following.ended;
    expect(followed.code).toBe(130);
    expect(followed.out).toMatch(/fault I crash pod-\d+ \(nap\) noticed in .*\n.*fault I crash pod-\d+ \(nap\) repaired in .*\n$/);
  });

  test("lockstep drill slow tells that slow is not dead", async () => {
    const { sandbox, platform, client } = await begin();
    const run = await client.startFunction<number>("nap", 3_000);
    await eventually("the call executes", async () => (await client.pods()).some((pod) => pod.role === "nap" && pod.inFlight > 0));
    const drill = await lockstepIn(sandbox, "drill", "slow", "--yes", "--function", "nap", "--url", platform.url).ended;
    expect(drill).toMatchObject({ code: 0, out: expect.stringMatching(/^pod-\d+ was slow for 3 s and not taken for dead\n$/) });
    expect(await run.result({ timeoutMs: 30_000 })).toBe(3_000);
  });

  test("lockstep drill control-plane kills the process of lockstep dev, which begins anew in its place", async () => {
    const sandbox = createSandbox();
    sandboxes.push(sandbox);
    const dev = lockstepIn(sandbox, "dev", fileURLToPath(new URL("apps/work", import.meta.url)), "--port", "0");
    const url = await eventually("dev listens", () => /http:\/\/127\.0\.0\.1:\d+/.exec(dev.error())?.[0]);
    await eventually("the application is deployed", () => dev.out().includes("deployed"));
    const client = createClient({ url, retryForMs: 30_000 });
    const names = ["one", "two", "three", "four", "five"];
    const runs = await Promise.all(names.map((name) => client.start("holding", { folder: sandbox.root, name })));
    await eventually("the calls execute", async () => (await client.pods()).some((pod) => pod.role === "hold" && pod.inFlight === 5));
    const pods = (await client.pods()).map(({ pid }) => pid);
    // Those of the functions, and the runs in their coordinator's pod.
    const drill = await lockstepIn(sandbox, "drill", "control-plane", "--yes", "--url", url).ended;
    expect(drill).toMatchObject({ code: 0, error: expect.stringContaining(`process ${dev.pid}, with 10 calls under way\nit begins anew`) });
    expect(drill.out).toMatch(
      /^fault IV control-plane-down\n {2}noticed after .*\n {2}repaired after .*\n {2}done {12}journal replayed, 5 runs/,
    );
    for (const name of names) sandbox.write(`${name}.open`, "");
    for (const run of runs) expect(await run.result({ timeoutMs: 30_000 })).toMatchObject({ before: 2, after: 3 });
    for (const pid of pods) await eventually("the pods of the life before have ended", () => !isAlive(pid));
    // The same process: whoever has started it waits for it, and Ctrl-C reaches it.
    signal(dev.pid, "SIGINT");
    expect((await dev.ended).code).toBe(0);
  });
});
