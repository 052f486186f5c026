/** Replica sets on real processes: certificates, replicas that lie and die, and a control plane that is killed in between. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Client } from "lockstep/client";
import { verifyCertificate } from "lockstep/verify";
import { afterEach, describe, expect, test } from "vitest";
import type { Drill, FaultView } from "../src/protocol/faults.ts";
import type { ReplicaSetView } from "../src/protocol/replica.ts";
import { eventually } from "./support/eventually.ts";
import { type PlatformProcess, type PlatformProcessOptions, startPlatformProcess } from "./support/platform-process.ts";
import { processesAtHome, signal } from "./support/processes.ts";
import { createSandbox, type Sandbox } from "./support/sandbox.ts";

const WITHIN_MS = 60_000;
const ACCOUNTS = ["ann", "bob", "cem", "dot"] as const;
const OPENED = 1_000;

const sandboxes: Sandbox[] = [];

afterEach(async () => {
  for (const sandbox of sandboxes.splice(0)) await sandbox.dispose();
});

interface Bank {
  sandbox: Sandbox;
  platform: PlatformProcess;
  client: Client;
}

const begin = async (options: PlatformProcessOptions = {}): Promise<Bank> => {
  const sandbox = createSandbox();
  sandboxes.push(sandbox);
  const platform = await startPlatformProcess(sandbox, { drills: true, ...options });
  await platform.deploy("examples/accounts");
  return { sandbox, platform, client: platform.client };
};

const certified = async <Output>(client: Client, name: string, input: unknown, key?: string): Promise<Output> => {
  const run = await client.startFunction<Output>(name, input, key === undefined ? {} : { key });
  return (await run.result({ timeoutMs: WITHIN_MS })) as Output;
};

const openAccounts = async (client: Client): Promise<void> => {
  for (const account of ACCOUNTS) await certified(client, "books", { do: "open", account, amount: OPENED });
};

const setOf = async (client: Client, fn: string): Promise<ReplicaSetView> => {
  const set = (await client.replicaSets()).find((each) => each.function === fn);
  if (set === undefined) throw new Error(`there is no replica set of ${fn}`);
  return set;
};

const isWhole = (client: Client, fn: string): Promise<ReplicaSetView> =>
  eventually(`the replica set of ${fn} is whole`, async () => {
    const set = (await client.replicaSets()).find((each) => each.function === fn);
    return set?.serving === set?.replicas.length ? set : undefined;
  });

const repairOf = (client: Client, { pod, at }: Drill): Promise<FaultView> =>
  eventually(`the fault of ${pod} is repaired`, async () => {
    const fault = (await client.faults()).find((one) => one.pod === pod && one.detectedAt >= at);
    return fault?.repairedAt === undefined ? undefined : fault;
  });

const transfers = (client: Client, count: number, tag: string): Promise<unknown>[] =>
  Array.from({ length: count }, (_, i) => {
    const [from, to] = [ACCOUNTS[i % ACCOUNTS.length], ACCOUNTS[(i + 1 + (i % 3)) % ACCOUNTS.length]];
    return certified(client, "books", { do: "transfer", from, to, amount: 1 + (i % 5) }, `${tag}-${i}`);
  });

describe("a certified call", () => {
  test("has a certificate that is checked offline, with the input and the result", async () => {
    const { sandbox, client } = await begin();
    const input = { amount: 1_000, rate: 12_500 };
    const run = await client.startFunction("exchange", input);
    expect(await run.result({ timeoutMs: WITHIN_MS })).toEqual({ amount: 1_250 });
    const [call] = await client.run(run.id).certificates();
    const adminKey = readFileSync(join(sandbox.data, "keys", "admin.pub"), "utf8");
    const checks = { adminKey, input: JSON.stringify(input), outcome: JSON.stringify({ value: { amount: 1_250 } }) };
    expect(verifyCertificate(call!.certificate, checks)).toMatchObject({ ok: true });
    expect(verifyCertificate(call!.certificate, { ...checks, outcome: '{"value":{"amount":1251}}' })).toMatchObject({ ok: false });
  });

  test("of a function that throws has the failure certified", async () => {
    const { client } = await begin();
    const run = await client.startFunction("books", { do: "balance", account: "nobody" });
    await expect(run.result({ timeoutMs: WITHIN_MS })).rejects.toMatchObject({ code: "NO_ACCOUNT" });
    expect(await client.run(run.id).certificates()).toHaveLength(1);
  });

  test("waits while fewer than 2f + 1 replicas work, and ends when they are back, without ever being uncertified", async () => {
    const { client } = await begin();
    await openAccounts(client);
    const set = await setOf(client, "books");
    const pods = await client.pods();
    const victims = set.replicas.slice(0, 2).map(({ pod }) => pods.find(({ id }) => id === pod)!.pid);
    for (const pid of victims) signal(pid, "SIGKILL");
    const all = transfers(client, 20, "short");
    await Promise.all(all);
    expect(await certified(client, "books", { do: "total" })).toBe(OPENED * ACCOUNTS.length);
    await isWhole(client, "books");
  });
});

describe("accounts whose books are kept by replicas", () => {
  test("conserve money while one replica lies and others are killed under load", async () => {
    const { client } = await begin();
    await openAccounts(client);
    for (const kind of ["replica-lie", "replica-crash", "leader-crash", "leader-equivocate", "partition"] as const) {
      await isWhole(client, "books");
      const before = transfers(client, 10, `${kind}-before`);
      const drill = await client.drill({ kind, function: "books" });
      await Promise.all([...before, ...transfers(client, 40, kind)]);
      const fault = await repairOf(client, drill);
      expect(fault).toMatchObject({ type: expect.stringMatching(/^II+$/), function: "books", replica: drill.replica });
      expect(await certified(client, "books", { do: "total" })).toBe(OPENED * ACCOUNTS.length);
    }
  });

  test("apply each transfer once although the control plane is killed in the middle, and keep the results that were certified", async () => {
    const { sandbox, platform, client } = await begin();
    await openAccounts(client);
    const runs = await Promise.all(
      Array.from({ length: 60 }, (_, i) =>
        client.startFunction<number>("books", { do: "transfer", from: "ann", to: "bob", amount: 1 }, { key: `crash-${i}` }),
      ),
    );
    await eventually("some are certified and some are not", async () => (await setOf(client, "books")).underWay < 60);
    await platform.kill();
    const again = await startPlatformProcess(sandbox, { drills: true });
    const left = await Promise.all(runs.map(({ id }) => again.client.run<number>(id).result({ timeoutMs: WITHIN_MS })));
    // Each leaves one cent less than the one before it in the replicas' order: were one applied twice, a number would be missing.
    expect(left.toSorted((a, b) => b - a)).toEqual(Array.from({ length: 60 }, (_, i) => OPENED - 1 - i));
    expect(await certified(again.client, "books", { do: "balance", account: "bob" })).toBe(OPENED + 60);
  });

  test("are still there after all of it was killed at once", async () => {
    const { sandbox, client } = await begin();
    await openAccounts(client);
    await Promise.all(transfers(client, 12, "power"));
    for (const pid of processesAtHome(sandbox.root)) signal(pid, "SIGKILL");
    const again = await startPlatformProcess(sandbox, { drills: true });
    expect(await certified(again.client, "books", { do: "total" })).toBe(OPENED * ACCOUNTS.length);
    expect((await setOf(again.client, "books")).epoch).toBe(1);
  });
});

test("no secret key is in a log, an event or a certificate", async () => {
  const { sandbox, platform, client } = await begin();
  await openAccounts(client);
  const secrets = ["admin.secret", "client.secret"].map((name) => readFileSync(join(sandbox.data, "keys", name), "utf8").trim());
  const told = [platform.output(), JSON.stringify(await client.replicaSets()), JSON.stringify(await client.faults())].join("\n");
  for (const secret of secrets) expect(told).not.toContain(secret);
  expect(readdirSync(join(sandbox.data, "keys")).toSorted()).toEqual(["admin.pub", "admin.secret", "client.secret"]);
});
