/** What pods may know, and who may speak for them. */
import { readdirSync, statSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { FrameEncoder } from "../src/lib/frames.ts";
import { eventually, within } from "./support/eventually.ts";
import type { PlatformProcess } from "./support/platform-process.ts";
import { startPlatformProcess } from "./support/platform-process.ts";
import { argvOf, environmentOf, signal } from "./support/processes.ts";
import { createSandbox } from "./support/sandbox.ts";

const SECRETS = {
  LOCKSTEP_API_KEY: "key-of-the-platform",
  AWS_SECRET_ACCESS_KEY: "secret-of-the-operator",
  NODE_EXTRA_CA_CERTS: "/nowhere.pem",
  NODE_OPTIONS: "--no-deprecation",
};

const sandbox = createSandbox();
let platform: PlatformProcess;
let socketPath: string;

beforeAll(async () => {
  platform = await startPlatformProcess(sandbox, { environment: SECRETS });
  await platform.deploy("test/apps/hostile");
  const folder = readdirSync(sandbox.temporary).find((name) => name.startsWith("lockstep-")) as string;
  socketPath = join(sandbox.temporary, folder, "pods.sock");
});

afterAll(() => sandbox.dispose());

describe("a pod's process", () => {
  test("gets next to nothing of the platform's environment, and none of its secrets", async () => {
    const { env } = await platform.client.call<{ env: Record<string, string> }>("environment");
    expect(Object.keys(env).sort()).toEqual(["HOME", "NODE_ENV", "PATH"]);
    for (const { pid } of (await platform.client.pods()).filter(({ pid }) => pid > 0)) {
      const text = JSON.stringify([environmentOf(pid), argvOf(pid)]);
      for (const [name, value] of Object.entries(SECRETS)) {
        expect(text).not.toContain(name);
        expect(text).not.toContain(value);
      }
    }
  });

  test("has its join token neither in its arguments nor in its environment", async () => {
    const { argv, pid } = await platform.client.call<{ argv: string[]; pid: number }>("environment");
    // The program and its memory limit; a token of 32 bytes in base64url has 43 characters.
    expect(argvOf(pid)).toHaveLength(3);
    for (const text of [...argv, ...argvOf(pid), ...Object.values(environmentOf(pid))]) {
      if (!text.includes("/")) expect(text).not.toMatch(/[\w-]{40,}/);
    }
  });

  test("speaks over a socket that nobody else may open", () => {
    expect(statSync(join(socketPath, "..")).mode & 0o777).toBe(0o700);
  });
});

describe("a stranger at the socket", () => {
  /** Sends frames and tells whether the platform hung up, and what it said before. */
  const knock = (messages: unknown[]): Promise<string> =>
    within(
      "the platform hangs up",
      30_000,
      new Promise((resolve, reject) => {
        const socket = connect(socketPath);
        let received = "";
        socket.on("connect", () => {
          const [header, body] = new FrameEncoder<unknown>().encode(messages);
          socket.write(Buffer.concat([header, body]));
        });
        socket.on("data", (chunk: Buffer) => {
          received += chunk.toString("latin1");
        });
        socket.on("error", reject);
        socket.on("close", () => resolve(received));
      }),
    );

  test("cannot take the place of a pod that is starting", async () => {
    const warm = await platform.pod("warm");
    signal(warm.pid, "SIGKILL");
    const starting = async () => (await platform.client.pods()).find(({ state }) => state === "starting");
    const { id } = await eventually("a pod starts", starting);
    expect(await knock([{ t: "hello", pod: id, token: "x".repeat(43), pid: 1 }])).toBe("");
    const isReady = async () => (await platform.client.pods()).some((pod) => pod.id === id && pod.state === "ready");
    await eventually("the pod itself connects", isReady);
  });

  test.each([
    ["a wrong token", (pod: string) => [{ t: "hello", pod, token: "x".repeat(43), pid: 1 }]],
    ["a wrong token for heartbeats", (pod: string) => [{ t: "join", pod, token: "x".repeat(43) }]],
    ["no token", (pod: string) => [{ t: "hello", pod, pid: 1 }]],
    ["a pod that does not exist", () => [{ t: "hello", pod: "pod-999", token: "x", pid: 1 }]],
    ["no greeting", () => [{ t: "result", lease: 1, value: "1", failure: "", durationMs: 1, cpuMs: 1, memoryMb: 1, lines: [] }]],
  ])("with %s is hung up on without a word", async (_, messages) => {
    const pods = await platform.client.pods();
    for (const { id } of pods) expect(await knock(messages(id))).toBe("");
    expect(await platform.client.call("innocent", 1, { timeoutMs: 30_000 })).toBe(2);
    const after = (await platform.client.pods()).map(({ id }) => id);
    expect(after).toEqual(expect.arrayContaining(pods.map(({ id }) => id)));
  });
});
