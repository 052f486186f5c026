/** The control plane dies right after each of the commits that a run of everything makes, one after the other. */
import { cpSync, readFileSync } from "node:fs";
import type { Client, ClientRun } from "lockstep/client";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startPlatformProcess } from "./support/platform-process.ts";
import { createSandbox, type Sandbox } from "./support/sandbox.ts";

const AT_ONCE = 3;
const EXPECTED = { sum: 13, noted: 1, caught: "MY_OWN", child: 8 };

const template = createSandbox();

beforeAll(async () => {
  const platform = await startPlatformProcess(template);
  await platform.deploy("test/apps/work");
  await platform.stop();
});

afterAll(() => template.dispose());

const start = (client: Client, sandbox: Sandbox): Promise<ClientRun> => client.start("tour", { folder: sandbox.root }, { key: "tour" });

/** Whether the platform lived long enough to finish the run. */
const tryToFinish = async (client: Client, sandbox: Sandbox): Promise<boolean> => {
  try {
    const run = await start(client, sandbox);
    await run.signal("go", 5);
    await run.result();
    return true;
  } catch (error) {
    if ((error as { code?: string }).code === "NOT_CONNECTED") return false;
    throw error;
  }
};

/** Crashes after the n-th commit of a platform's life, and lets the next life finish. False when there was no such commit. */
const crashAfter = async (commit: number): Promise<boolean> => {
  const sandbox = createSandbox();
  try {
    cpSync(template.data, sandbox.data, { recursive: true });
    const first = await startPlatformProcess(sandbox, { crashAfter: { commit } });
    const survived = await Promise.race([tryToFinish(first.client, sandbox), first.exited.then(() => false)]);
    if (survived) return false;

    const { client } = await startPlatformProcess(sandbox, { port: first.port });
    const run = await start(client, sandbox);
    const before = await run.journal();
    if (!before.some(({ t }) => t === "signalled")) await run.signal("go", 5);
    expect(await run.result({ timeoutMs: 30_000 }), `after a crash at commit ${commit}`).toEqual(EXPECTED);

    const after = await run.journal();
    expect(after.slice(0, before.length)).toEqual(before);
    const done = after.filter(({ t }) => t === "done").map(({ seq }) => seq);
    expect(done).toEqual([...new Set(done)]);
    // A step executes again only when the platform died before its outcome was on disk.
    expect(readFileSync(sandbox.path("notes"), "utf8").trim().split("\n").length).toBeLessThanOrEqual(2);
    return true;
  } finally {
    await sandbox.dispose();
  }
};

test("a crash after any commit changes nothing but the time that it takes", { timeout: 120_000 }, async () => {
  let next = 1;
  let crashes = 0;
  const lane = async (): Promise<void> => {
    while (await crashAfter(next++)) crashes++;
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  expect(crashes).toBeGreaterThan(8);
});
