/** Pods die, hang and lie; calls and coordinators go on in others. */
import { existsSync, readFileSync } from "node:fs";
import type { ClientRun, JournalEntry } from "lockstep/client";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { FrameEncoder } from "../src/lib/frames.ts";
import { eventually } from "./support/eventually.ts";
import type { PlatformProcess } from "./support/platform-process.ts";
import { startPlatformProcess } from "./support/platform-process.ts";
import { isAlive, signal } from "./support/processes.ts";
import { createSandbox } from "./support/sandbox.ts";

const sandbox = createSandbox();
let platform: PlatformProcess;

beforeAll(async () => {
  platform = await startPlatformProcess(sandbox);
  await platform.deploy("test/apps/work");
  await platform.deploy("test/apps/hostile");
});

afterAll(() => sandbox.dispose());

const gate = (name: string) => ({ folder: sandbox.root, name });
const open = (name: string): string => sandbox.write(`${name}.open`, "");
const started = (name: string, attempt: number): Promise<boolean> =>
  eventually(`attempt ${attempt} of ${name} executes`, () => existsSync(sandbox.path(`${name}.${attempt}.started`)));

/** The event that told of the end of this process's pod. */
const lossOf = async (pid: number) => {
  let pod: string | undefined;
  const types = ["pod.started", "pod.lost"] as const;
  for await (const event of platform.client.events({ after: 0, types, signal: AbortSignal.timeout(30_000) })) {
    if (event.type === "pod.started" && event.pid === pid) pod = event.pod;
    if (event.type === "pod.lost" && event.pod === pod) return event;
  }
  throw new Error(`no pod with pid ${pid} was lost`);
};

/** Exactly one `done` for each command, in the journal. */
const outcomesBySeq = (journal: readonly JournalEntry[]): Map<number, JournalEntry> => {
  const outcomes = new Map<number, JournalEntry>();
  for (const entry of journal.filter(({ t }) => t === "done")) {
    expect(outcomes.has(entry.seq as number)).toBe(false);
    outcomes.set(entry.seq as number, entry);
  }
  return outcomes;
};

describe("kill -9", () => {
  test("of a function's pod gives its calls to another one at once", async () => {
    const run = await platform.client.start<{ held: { attempt: number } }>("holding", gate("killed"));
    await started("killed", 1);
    const { pid } = await platform.pod("hold");
    signal(pid, "SIGKILL");
    await started("killed", 2);
    open("killed");
    expect((await run.result({ timeoutMs: 30_000 })).held).toMatchObject({ attempt: 2, key: `${run.id}/2` });

    const journal = await run.journal();
    expect(outcomesBySeq(journal).get(2)).toMatchObject({ attempt: 2 });
    expect(journal.filter(({ t }) => t === "attempt")).toMatchObject([{ seq: 2, attempt: 1, failure: { code: "POD_LOST" } }]);
  });

  test("of a coordinator's pod replays its runs elsewhere, and no step that is journaled happens twice", async () => {
    const runs = [gate("step-a"), gate("step-b")];
    const started = await Promise.all(
      runs.map((input) => platform.client.start<{ pid: number; first: number; last: number }>("stepping", input)),
    );
    const { pid } = await platform.pod("coordinator");
    for (const { name } of runs) await eventually(`${name} is inside its step`, () => existsSync(sandbox.path(`${name}.started.${pid}`)));
    signal(pid, "SIGKILL");
    for (const { name } of runs) open(name);
    for (const run of started) {
      const result = await run.result({ timeoutMs: 30_000 });
      expect(result).toMatchObject({ first: 2, last: 3 });
      expect(result.pid).not.toBe(pid);
      outcomesBySeq(await run.journal());
    }
    for (const { name } of runs) expect(readFileSync(sandbox.path(`${name}.steps`), "utf8")).toBe("before\n");
  });

  test("of all pods at once loses nothing", async () => {
    const names = Array.from({ length: 20 }, (_, i) => `all-${i}`);
    const runs: ClientRun<{ after: number }>[] = [];
    for (const name of names) runs.push(await platform.client.start("holding", gate(name)));
    for (const name of names) await started(name, 1);
    const pods = (await platform.client.pods()).filter(({ pid }) => pid > 0);
    // It hears of all their ends together: in between it would give calls of the first to others that die next.
    signal(platform.pid, "SIGSTOP");
    for (const { pid } of pods) signal(pid, "SIGKILL");
    for (const { pid } of pods) await eventually("the pod is dead", () => !isAlive(pid));
    signal(platform.pid, "SIGCONT");
    for (const name of names) open(name);
    for (const run of runs) expect(await run.result({ timeoutMs: 30_000 })).toMatchObject({ before: 2, held: { attempt: 2 }, after: 3 });
  });
});

describe("SIGSTOP", () => {
  test("of a function's pod is found by its silence, and its calls go to another", async () => {
    const run = await platform.client.start<{ held: { attempt: number; pid: number } }>("holding", gate("stopped"));
    await started("stopped", 1);
    const { pid } = await platform.pod("hold");
    signal(pid, "SIGSTOP");
    await started("stopped", 2);
    // How soon is told by the tests of the fleet, on a clock that is stepped: here other processes take the processors.
    const lost = await lossOf(pid);
    expect(lost.reason).toMatch(/^hung/);
    expect(lost.calls).toBe(1);
    open("stopped");
    expect((await run.result({ timeoutMs: 30_000 })).held.attempt).toBe(2);
    await eventually("the hung process is gone", () => !isAlive(pid));
  });

  test("of a coordinator's pod moves its runs", async () => {
    const run = await platform.client.start<{ x: number; by: string }>("approval", { x: 1 });
    await eventually("the run waits", async () => (await run.get()).status === "waiting");
    const pods = (await platform.client.pods()).filter(({ role }) => role === "coordinator");
    for (const { pid } of pods) signal(pid, "SIGSTOP");
    await run.signal("approve", { by: "me" });
    expect(await run.result({ timeoutMs: 30_000 })).toEqual({ x: 3, by: "me" });
    for (const { pid } of pods) await eventually("the hung process is gone", () => !isAlive(pid));
  });

  test("of the control plane for a while ends no pod that lives", async () => {
    const run = await platform.client.start<{ held: { attempt: number } }>("holding", gate("paused"));
    await started("paused", 1);
    const { pid } = await platform.pod("hold");
    signal(platform.pid, "SIGSTOP");
    const stoppedAt = performance.now();
    await eventually("more than the pods' allowance of silence passes", () => performance.now() - stoppedAt > 1_600);
    signal(platform.pid, "SIGCONT");
    open("paused");
    expect((await run.result({ timeoutMs: 30_000 })).held).toMatchObject({ attempt: 1, pid });
  });
});

describe("a pod that lies", () => {
  const frames = (messages: unknown[]): string => Buffer.concat(new FrameEncoder<unknown>().encode(messages)).toString("base64");
  const anyLease = <Message extends object>(message: Message): Message[] =>
    Array.from({ length: 200 }, (_, lease) => ({ ...message, lease }));
  const result = { t: "result", value: "", failure: "", durationMs: 1, cpuMs: 1, memoryMb: 1, lines: [] };

  test.each([
    ["no frames of ours", Buffer.from("GET / HTTP/1.1\r\n\r\n").toString("base64")],
    ["a frame of absurd length", Buffer.from([255, 255, 255, 255, 1, 2, 3]).toString("base64")],
    ["messages of an unknown type", frames([{ t: "nonsense" }])],
    ["failures that are no JSON", frames(anyLease({ ...result, failure: "not json" }))],
    ["log lines that are none", frames(anyLease({ ...result, value: "1", lines: [1, null] }))],
    ["commands that are none", frames([{ t: "commands", run: "run_00000000000", commands: [1] }])],
    ["a refusal that is no JSON", frames([{ t: "refused", version: "x", failure: "?" }])],
  ])("by %s is ended, and nobody else notices", async (_, base64) => {
    const { failure } = await (await platform.client.startFunction("writes-to-sockets", { base64 })).outcome({ timeoutMs: 60_000 });
    expect(failure?.code).toBe("POD_LOST");
    expect(await platform.client.call("innocent", 1, { timeoutMs: 30_000 })).toBe(2);
  });

  test("about other runs and leases than its own is not believed", async () => {
    const waiting = await platform.client.start<{ x: number; by: string }>("approval", { x: 1 });
    await eventually("the run waits", async () => (await waiting.get()).status === "waiting");
    const lies = [
      { t: "commands", run: waiting.id, commands: [{ t: "finish", value: '"stolen"' }] },
      { t: "diverged", run: waiting.id, failure: JSON.stringify({ code: "X", message: "y" }) },
      { t: "lines", run: waiting.id, lines: [{ at: 1, level: "info", text: "stolen" }] },
    ];
    const liar = await platform.client.startFunction("writes-to-sockets", { base64: frames(lies) });
    expect((await liar.outcome({ timeoutMs: 60_000 })).failure?.code).toBe("CALL_TIMEOUT");
    await waiting.signal("approve", { by: "me" });
    expect(await waiting.result({ timeoutMs: 30_000 })).toEqual({ x: 3, by: "me" });
    expect((await platform.client.logs({ run: waiting.id })).logs).toEqual([]);
  });
});
