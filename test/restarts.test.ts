/** The control plane dies, and everything that it has promised holds in its next life. */
import { cpSync, existsSync } from "node:fs";
import type { ClientRun, JournalEntry } from "lockstep/client";
import { afterEach, describe, expect, test } from "vitest";
import { eventually } from "./support/eventually.ts";
import { ask } from "./support/http.ts";
import type { PlatformProcess, PlatformProcessOptions } from "./support/platform-process.ts";
import { startPlatformProcess } from "./support/platform-process.ts";
import { cpuMsOf, isAlive } from "./support/processes.ts";
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

const startWork = async (sandbox: Sandbox, options: PlatformProcessOptions = {}): Promise<PlatformProcess> => {
  const platform = await startPlatformProcess(sandbox, options);
  await platform.deploy("test/apps/work");
  return platform;
};

/** The same platform again, at the same address, so that clients find it. */
const restart = (sandbox: Sandbox, { port }: PlatformProcess, options: PlatformProcessOptions = {}): Promise<PlatformProcess> =>
  startPlatformProcess(sandbox, { ...options, port });

const isWaiting = async (run: ClientRun<unknown>): Promise<boolean> => (await run.get()).status === "waiting";

const started = (sandbox: Sandbox, name: string, attempt: number): Promise<boolean> =>
  eventually(`attempt ${attempt} of ${name} executes`, () => existsSync(sandbox.path(`${name}.${attempt}.started`)));

const liveRuns = async ({ url }: PlatformProcess): Promise<number> =>
  Number(/^lockstep_runs_live (\d+)$/m.exec((await ask(url, "/metrics")).text)?.[1]);

describe("kill -9 of the control plane", () => {
  test("in the middle of runs: all of them resume and finish, and what was done is not done again", async () => {
    const sandbox = newSandbox();
    const first = await startWork(sandbox);
    const gates = Array.from({ length: 10 }, (_, i) => ({ folder: sandbox.root, name: `mid-${i}` }));
    const runs = await Promise.all(gates.map((gate) => first.client.start<{ before: number; after: number }>("holding", gate)));
    const expression = await first.client.startExpression("add(nap(300), nap(300)) + 1");
    for (const { name } of gates) await started(sandbox, name, 1);
    const before = await Promise.all(runs.map((run) => run.journal()));
    await first.kill();

    await restart(sandbox, first);
    for (const { name } of gates) sandbox.write(`${name}.open`, "");
    for (const [i, run] of runs.entries()) {
      expect(await run.result({ timeoutMs: 30_000 })).toMatchObject({ before: 2, after: 3 });
      const after = await run.journal();
      expect(after.slice(0, before[i]?.length)).toEqual(before[i]);
      expectOneOutcomeEach(after);
    }
    expect(await expression.result({ timeoutMs: 30_000 })).toBe(601);
  });

  test("leaves no process behind", async () => {
    const sandbox = newSandbox();
    const platform = await startWork(sandbox);
    await platform.client.start("holding", { folder: sandbox.root, name: "left" });
    await started(sandbox, "left", 1);
    const pids = (await platform.client.pods()).map(({ pid }) => pid).filter((pid) => pid > 0);
    expect(pids.length).toBeGreaterThanOrEqual(3);
    expect(pids.every(isAlive)).toBe(true);
    await platform.kill();
    await eventually("its pods have ended", () => !pids.some(isAlive));
    await eventually("nothing of it is left", () => sandbox.processes().length === 0);
  });

  test("ends also a pod that is busy for ever", async () => {
    const sandbox = newSandbox();
    const platform = await startPlatformProcess(sandbox);
    await platform.deploy("test/apps/hostile");
    await platform.client.startFunction("loops-for-long");
    const { id, pid } = await platform.pod("loops-for-long");
    await eventually("the call executes", async () => (await platform.client.pods()).find((pod) => pod.id === id)?.inFlight === 1);
    await eventually("it keeps a processor busy", () => cpuMsOf(pid) > 300);
    await platform.kill();
    await eventually("it has ended", () => !isAlive(pid));
  });

  test("changes no result that was seen", async () => {
    const sandbox = newSandbox();
    let platform = await startWork(sandbox);
    const runs = await Promise.all(
      Array.from({ length: 20 }, () => platform.client.start("stepping", { folder: sandbox.root, name: "seen" })),
    );
    sandbox.write("seen.open", "");
    const seen = await Promise.all(runs.map((run) => run.outcome({ timeoutMs: 30_000 })));
    expect(new Set(seen.map(({ status }) => status))).toEqual(new Set(["completed"]));
    for (let life = 0; life < 2; life++) {
      await platform.kill();
      platform = await restart(sandbox, platform);
      expect(await Promise.all(runs.map((run) => run.outcome({ timeoutMs: 30_000 })))).toEqual(seen);
    }
  });

  test("keeps idempotency keys", async () => {
    const sandbox = newSandbox();
    const first = await startWork(sandbox);
    const run = await first.client.start("approval", { x: 1 }, { key: "order-1" });
    await first.kill();
    const { client } = await restart(sandbox, first);
    const again = await client.start("approval", { x: 1 }, { key: "order-1" });
    expect(again).toMatchObject({ id: run.id, existing: true });
    await expect(client.start("approval", { x: 2 }, { key: "order-1" })).rejects.toMatchObject({ code: "IDEMPOTENCY_CONFLICT" });
    await again.signal("approve", { by: "me" });
    expect(await client.start("approval", { x: 1 }, { key: "order-1" }).then((same) => same.result())).toEqual({ x: 3, by: "me" });
  });

  test("forgets no signal that was answered, and no cancellation", async () => {
    const sandbox = newSandbox();
    const first = await startWork(sandbox);
    const signalled = await first.client.start("approval", { x: 1 });
    const cancelled = await first.client.start("approval", { x: 1 });
    await eventually("the run waits", () => isWaiting(cancelled));
    await Promise.all([signalled.signal("approve", { by: "me" }), cancelled.cancel("no more")]);
    await first.kill();
    await restart(sandbox, first);
    expect(await signalled.result({ timeoutMs: 30_000 })).toEqual({ x: 3, by: "me" });
    expect(await cancelled.outcome({ timeoutMs: 30_000 })).toMatchObject({ status: "cancelled", failure: { message: "no more" } });
  });
});

const expectOneOutcomeEach = (journal: readonly JournalEntry[]): void => {
  const done = journal.filter(({ t }) => t === "done").map(({ seq }) => seq);
  expect(done).toEqual([...new Set(done)]);
};

describe("runs that only wait", () => {
  const limits = { evictAfterMs: 100 };

  test("leave memory, and come back for a signal, also in the next life", async () => {
    const sandbox = newSandbox();
    const first = await startWork(sandbox, { limits });
    const runs = await Promise.all(Array.from({ length: 20 }, (_, x) => first.client.start<{ x: number }>("approval", { x })));
    await eventually("they have left memory", async () => (await liveRuns(first)) === 0);
    await runs[0]?.signal("approve", { by: "me" });
    expect(await runs[0]?.result({ timeoutMs: 30_000 })).toEqual({ x: 2, by: "me" });
    await first.kill();

    const second = await restart(sandbox, first, { limits });
    expect(await liveRuns(second)).toBe(0);
    expect(await runs[1]?.get()).toMatchObject({ status: "waiting" });
    for (const run of runs.slice(1)) await run.signal("approve", { by: "you" });
    for (const [x, run] of runs.entries()) if (x > 0) expect(await run.result({ timeoutMs: 30_000 })).toEqual({ x: x + 2, by: "you" });
  });

  test("wake at their time, also when it passed while no platform ran", async () => {
    const sandbox = newSandbox();
    const first = await startWork(sandbox, { limits });
    const sleepers = await Promise.all([3_500, 4_000].map((ms) => first.client.start("napping", { ms })));
    await eventually("they have left memory", async () => (await liveRuns(first)) === 0);
    await first.kill();
    const [short] = sleepers as [ClientRun, ClientRun];
    const dueAt = (await restart(sandbox, first, { limits }).then(() => short.journal())).find(({ t }) => t === "sleep")?.dueAt as number;
    for (const run of sleepers) expect(await run.result({ timeoutMs: 30_000 })).toBe(3);
    expect((await short.get()).finishedAt).toBeGreaterThanOrEqual(dueAt);
  });

  test("for a child that finishes right before the end of the control plane are woken in the next life", async () => {
    const sandbox = newSandbox();
    const first = await startWork(sandbox, { limits, crashAfter: { event: "run.finished", name: "child" } });
    const run = await first.client.start("parent", { children: 1, ms: 2_500 });
    expect(await first.exited).toEqual({ code: null, signal: "SIGKILL" });
    await restart(sandbox, first, { limits });
    expect(await run.result({ timeoutMs: 30_000 })).toBe(1);
  });
});

describe("a run that is out of attempts", () => {
  test("is suspended with its dead letter, in the next life as well, until somebody resumes it", async () => {
    const sandbox = newSandbox();
    const first = await startWork(sandbox);
    const run = await first.client.start("persevering", { folder: sandbox.root, name: "ready" });
    const suspended = { status: "suspended", failure: { code: "FUNCTION_FAILED", message: "not ready", attempts: 2 } };
    expect(await run.outcome({ timeoutMs: 30_000 })).toMatchObject(suspended);
    expect((await first.client.layers()).find((layer) => layer.function === "unready")?.dead).toBe(1);
    await first.kill();

    const { client } = await restart(sandbox, first);
    expect(await run.outcome({ timeoutMs: 30_000 })).toMatchObject(suspended);
    expect((await Array.fromAsync(client.runs({ status: "suspended" }))).map(({ id }) => id)).toEqual([run.id]);
    await run.resume();
    expect(await run.outcome({ timeoutMs: 30_000 })).toMatchObject({ ...suspended, failure: { attempts: 4 } });
    sandbox.write("ready.open", "");
    await run.resume();
    expect(await run.result({ timeoutMs: 30_000 })).toEqual([2, 5]);
    await expect(run.resume()).rejects.toMatchObject({ code: "RUN_FINISHED" });
  });
});

describe("the data directory", () => {
  test("has one owner: a second platform is refused, and the first goes on", async () => {
    const sandbox = newSandbox();
    const first = await startWork(sandbox);
    await expect(startPlatformProcess(sandbox)).rejects.toMatchObject({ code: "DATA_DIRECTORY_IN_USE" });
    expect(await first.client.call("increment", 1)).toBe(2);
    await first.kill();
    const second = await startPlatformProcess(sandbox);
    expect(await second.client.call("increment", 2)).toBe(3);
  });

  test("that was copied away after an orderly stop brings everything along", async () => {
    const sandbox = newSandbox();
    const first = await startWork(sandbox);
    const run = await first.client.start("approval", { x: 1 });
    await eventually("the run waits", () => isWaiting(run));
    await first.stop();
    cpSync(sandbox.data, sandbox.path("copy"), { recursive: true });
    const { client } = await startPlatformProcess(sandbox, { dataDirectory: sandbox.path("copy") });
    await client.run(run.id).signal("approve", { by: "me" });
    expect(await client.run(run.id).result({ timeoutMs: 30_000 })).toEqual({ x: 3, by: "me" });
  });
});

describe("retention", () => {
  test("removes the oldest finished runs beyond the number, and none that is unfinished", async () => {
    const sandbox = newSandbox();
    const { client } = await startWork(sandbox, { limits: { retainRuns: 3, retainEveryMs: 200 } });
    const waiting = await client.start("approval", { x: 1 });
    const finished: ClientRun[] = [];
    for (let x = 0; x < 8; x++) {
      const run = await client.startFunction("increment", x);
      await run.result();
      finished.push(run);
    }
    const kept = async (): Promise<string[]> => (await Array.fromAsync(client.runs({ status: "completed" }))).map(({ id }) => id);
    await eventually("only three are left", async () => (await kept()).length === 3);
    expect((await kept()).sort()).toEqual(finished.slice(-3).map(({ id }) => id));
    await expect(finished[0]?.get()).rejects.toMatchObject({ code: "UNKNOWN_RUN" });
    await waiting.signal("approve", { by: "me" });
    expect(await waiting.result({ timeoutMs: 30_000 })).toEqual({ x: 3, by: "me" });
  });

  test("removes what finished long enough ago", async () => {
    const sandbox = newSandbox();
    const { client } = await startWork(sandbox, { limits: { retainMs: 1_000, retainEveryMs: 200 } });
    const run = await client.startFunction("increment", 1);
    expect(await run.result()).toBe(2);
    await eventually("it is gone", () =>
      run.get().then(
        () => false,
        ({ code }) => code === "UNKNOWN_RUN",
      ),
    );
  });
});
