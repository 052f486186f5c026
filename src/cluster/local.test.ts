import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
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
