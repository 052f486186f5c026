import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test, vi } from "vitest";
import { systemClock } from "../lib/clock.ts";
import type { Beat, FromPod } from "../protocol/pod.ts";
import { LocalCluster } from "./local.ts";
import type { PodExit } from "./port.ts";

const frames = new URL("../lib/frames.ts", import.meta.url).href;
const folder = mkdtempSync(join(tmpdir(), "lockstep-local-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A pod's program that connects and then sends `batch` as one frame. */
const program = (batch: (FromPod | Beat)[]): string => {
  const path = join(folder, "pod.mjs");
  const text = `
    import { readFileSync } from "node:fs";
    import { connect } from "node:net";
    import { FrameEncoder } from ${JSON.stringify(frames)};
    const { address, pod, token } = JSON.parse(readFileSync(0, "utf8"));
    const encoder = new FrameEncoder();
    const socket = connect(address, () => {
      for (const batch of [[{ t: "hello", pod, token, pid: process.pid }], ${JSON.stringify(batch)}]) {
        for (const part of encoder.encode(batch)) socket.write(part);
      }
    });
    socket.on("close", () => process.exit(0));
  `;
  writeFileSync(path, text);
  return path;
};

test("a beat that shares its frame with messages hides none of them, before or after it", async () => {
  const before: FromPod = { t: "lines", run: "run_1", lines: [] };
  const after: FromPod = { t: "commands", run: "run_1", commands: [] };
  const beat = { t: "beat", blockedMs: 0, run: "", rssMb: 1 } as const;
  const options = { heartbeatMs: 1_000, maxPayloadBytes: 1_000, maxLogBytes: 1_000, startTimeoutMs: 10_000 };
  for (const batch of [
    [beat, before, after],
    [before, beat, after],
  ]) {
    const cluster = new LocalCluster({ ...options, program: program(batch) }, systemClock);
    const heard: (FromPod | Beat)[] = [];
    await new Promise<void>((resolve) => {
      const hear = (messages: readonly (FromPod | Beat)[]): void => {
        heard.push(...messages);
        if (heard.length === batch.length) resolve();
      };
      const listener = {
        connected: () => {},
        messages: (_pod: string, messages: readonly FromPod[]) => hear(messages),
        beat: (_pod: string, message: Beat) => hear([message]),
        gone: () => resolve(),
      };
      void cluster.start(listener).then(() => cluster.create({ id: "a", memoryMb: 64 }));
    });
    await cluster.stop();
    expect(heard.filter(({ t }) => t !== "beat")).toEqual([before, after]);
    expect(heard.filter(({ t }) => t === "beat")).toEqual([beat]);
  }
});

test("what a pod has started ends with it, whether the pod is ended or has been killed", async () => {
  const path = join(folder, "parent.mjs");
  const told = join(folder, "child");
  const text = `
    import { spawn } from "node:child_process";
    import { readFileSync, renameSync, writeFileSync } from "node:fs";
    import { connect } from "node:net";
    import { FrameEncoder } from ${JSON.stringify(frames)};
    const { address, pod, token } = JSON.parse(readFileSync(0, "utf8"));
    const child = spawn("sleep", ["600"], { stdio: "ignore" });
    writeFileSync(${JSON.stringify(`${told}.new`)}, String(child.pid));
    renameSync(${JSON.stringify(`${told}.new`)}, ${JSON.stringify(told)});
    const socket = connect(address, () => {
      for (const part of new FrameEncoder().encode([{ t: "hello", pod, token, pid: process.pid }])) socket.write(part);
    });
  `;
  writeFileSync(path, text);
  const options = { program: path, heartbeatMs: 1_000, maxPayloadBytes: 1_000, maxLogBytes: 1_000, startTimeoutMs: 10_000 };
  for (const harm of [true, false]) {
    const cluster = new LocalCluster(options, systemClock);
    const connected = Promise.withResolvers<void>();
    const gone = Promise.withResolvers<PodExit>();
    await cluster.start({
      connected: () => connected.resolve(),
      messages: () => {},
      beat: () => {},
      gone: (_id, exit) => gone.resolve(exit),
    });
    cluster.create({ id: "pod-1", memoryMb: 64 } as never);
    await connected.promise;
    const pid = Number(readFileSync(told, "utf8"));
    expect(isAlive(pid)).toBe(true);
    if (harm) cluster.harm("pod-1", "kill");
    else cluster.delete("pod-1", 0);
    await gone.promise;
    await vi.waitFor(() => expect(isAlive(pid)).toBe(false));
    await cluster.stop();
  }
});

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return !readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ");
  } catch {
    return false;
  }
};

test("stops also when a process could not be started at all", async () => {
  const options = { heartbeatMs: 1_000, maxPayloadBytes: 1_000, maxLogBytes: 1_000, startTimeoutMs: 10_000 };
  const cluster = new LocalCluster({ ...options, program: program([]) }, systemClock);
  const gone = new Promise<PodExit>((resolve) => {
    const listener = { connected: () => {}, messages: () => {}, beat: () => {}, gone: (_pod: string, exit: PodExit) => resolve(exit) };
    void cluster.start(listener).then(() => {
      const { execPath } = process;
      process.execPath = join(folder, "no-such-program");
      cluster.create({ id: "a", memoryMb: 64 });
      process.execPath = execPath;
    });
  });
  expect(await gone).toMatchObject({ reason: "failed-to-start" });
  await cluster.stop();
});
