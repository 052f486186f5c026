/** A deployment while replicas keep state, on real processes: the state goes on, the code changes, and nothing is lost in between. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Client, ClientRun } from "lockstep/client";
import { afterEach, describe, expect, test } from "vitest";
import type { ReplicaSetView } from "../src/protocol/replica.ts";
import { eventually } from "./support/eventually.ts";
import { type PlatformProcess, startPlatformProcess } from "./support/platform-process.ts";
import { signal } from "./support/processes.ts";
import { createSandbox, type Sandbox } from "./support/sandbox.ts";

const WITHIN_MS = 60_000;
const ACCOUNTS = ["ann", "bob", "cem", "dot"] as const;
const OPENED = 1_000;

const sandboxes: Sandbox[] = [];

afterEach(async () => {
  for (const sandbox of sandboxes.splice(0)) await sandbox.dispose();
});

interface Code {
  version: number;
  options?: string;
  /** Without the function there are only others. */
  books?: "stateful" | "stateless" | "none";
}

const definitionOf = ({ version, options = "{}", books = "stateful" }: Code): string => {
  if (books === "none") return "";
  if (books === "stateless") return 'export const books = fn("books", () => "no books");';
  return `
export const books = fn.stateful("books", {
  initial: () => ({ balances: {} as Record<string, number> }),
  apply: ({ balances }, entry: { do: string; from: string; to: string; amount: number }) => {
    if (entry.do === "version") return { state: { balances }, value: ${version} };
    if (entry.do === "total") return { state: { balances }, value: Object.values(balances).reduce((sum, one) => sum + one, 0) };
    if (entry.do === "open") return { state: { balances: { ...balances, [entry.to]: entry.amount } }, value: ${version} };
    const moved = { ...balances, [entry.from]: balances[entry.from]! - entry.amount };
    return { state: { balances: { ...moved, [entry.to]: (moved[entry.to] ?? 0) + entry.amount } }, value: ${version} };
  },
}, ${options});`;
};

interface Bank {
  sandbox: Sandbox;
  platform: PlatformProcess;
  client: Client;
}

const deploy = (sandbox: Sandbox, platform: PlatformProcess, code: Code) => {
  const directory = join(sandbox.root, `bank-${code.version}`);
  mkdirSync(directory, { recursive: true });
  const text = `import { fn } from "lockstep";\nexport const other = fn("other", () => ${code.version});\n${definitionOf(code)}`;
  writeFileSync(join(directory, "index.ts"), text);
  return platform.deploy(directory, "bank");
};

const begin = async (): Promise<Bank> => {
  const sandbox = createSandbox();
  sandboxes.push(sandbox);
  const platform = await startPlatformProcess(sandbox);
  await deploy(sandbox, platform, { version: 1 });
  const { client } = platform;
  for (const to of ACCOUNTS) await books(client, { do: "open", to, amount: OPENED });
  return { sandbox, platform, client };
};

const start = (client: Client, entry: object, key?: string): Promise<ClientRun<number>> =>
  client.startFunction<number>("books", entry, key === undefined ? {} : { key });

const books = async (client: Client, entry: object): Promise<number> =>
  (await (await start(client, entry)).result({ timeoutMs: WITHIN_MS })) as number;

/** The version that has executed each of them: as its code says, and as its certificate does. */
const transfers = (client: Client, count: number, tag: string): Promise<[number, string]>[] =>
  Array.from({ length: count }, async (_, i) => {
    const [from, to] = [ACCOUNTS[i % ACCOUNTS.length], ACCOUNTS[(i + 1 + (i % 3)) % ACCOUNTS.length]];
    const run = await start(client, { do: "transfer", from, to, amount: 1 + (i % 5) }, `${tag}-${i}`);
    const code = (await run.result({ timeoutMs: WITHIN_MS })) as number;
    const [call] = await client.run(run.id).certificates();
    return [code, call!.certificate.statement.version] as [number, string];
  });

const setOf = async (client: Client): Promise<ReplicaSetView | undefined> =>
  (await client.replicaSets()).find((each) => each.function === "books");

const atVersion = (client: Client, version: string): Promise<ReplicaSetView> =>
  eventually(`the set executes ${version}`, async () => {
    const set = await setOf(client);
    return set?.version === version ? set : undefined;
  });

const pidOf = async (client: Client, index: number): Promise<number> => {
  const pod = (await setOf(client))!.replicas[index]!.pod;
  return (await client.pods()).find(({ id }) => id === pod)!.pid;
};

describe("a deployment of a function whose state replicas keep", () => {
  test("goes on with the state, under load and while a replica is killed, and its certificates name each version", async () => {
    const { sandbox, platform, client } = await begin();
    const first = (await setOf(client))!.version;
    const load = transfers(client, 60, "before");
    const victim = await pidOf(client, 2);
    const deployed = deploy(sandbox, platform, { version: 2 });
    load.push(...transfers(client, 60, "during"));
    signal(victim, "SIGKILL");
    const { version } = await deployed;
    load.push(...transfers(client, 60, "after"));
    const executed = await Promise.all(load);
    expect(new Set(executed.map(([code]) => code))).toEqual(new Set([1, 2]));
    expect(executed.map(([, named]) => named)).toEqual(executed.map(([code]) => (code === 1 ? first : version)));
    const set = await atVersion(client, version);
    expect(set.set).toBe("bank/books");
    expect(await books(client, { do: "total" })).toBe(OPENED * ACCOUNTS.length);
    expect(await books(client, { do: "version" })).toBe(2);
    await eventually("the set is whole", async () => ((await setOf(client))?.serving === 4 ? true : undefined));
    expect((await client.replicaSets()).length).toBe(1);
  });

  test("is carried on by the next life of a control plane that was killed right after it", async () => {
    const { sandbox, platform, client } = await begin();
    const runs = await Promise.all(
      Array.from({ length: 40 }, (_, i) =>
        client.startFunction<number>("books", { do: "transfer", from: "ann", to: "bob", amount: 1 }, { key: `killed-${i}` }),
      ),
    );
    const { version } = await deploy(sandbox, platform, { version: 2 });
    await platform.kill();
    const again = await startPlatformProcess(sandbox);
    for (const { id } of runs) expect([1, 2]).toContain(await again.client.run<number>(id).result({ timeoutMs: WITHIN_MS }));
    // A set is there when it is called: that its last epoch is of another version than the current one is seen then.
    expect(await books(again.client, { do: "total" })).toBe(OPENED * ACCOUNTS.length);
    await atVersion(again.client, version);
    expect(await books(again.client, { do: "version" })).toBe(2);
  });

  test("leaves the state where it is when the function is gone, or keeps none, until a version has it again", async () => {
    const { sandbox, platform, client } = await begin();
    await deploy(sandbox, platform, { version: 2, books: "none" });
    await expect(books(client, { do: "version" })).rejects.toMatchObject({ code: "UNKNOWN_FUNCTION" });
    await deploy(sandbox, platform, { version: 3, books: "stateless" });
    expect(await books(client, { do: "version" })).toBe("no books");
    await deploy(sandbox, platform, { version: 4 });
    expect(await books(client, { do: "version" })).toBe(4);
    expect(await books(client, { do: "total" })).toBe(OPENED * ACCOUNTS.length);
  });

  test("is refused when it can't go on with the state: another key, another number of faults", async () => {
    const { sandbox, platform, client } = await begin();
    await expect(deploy(sandbox, platform, { version: 2, options: "{ faults: 2 }" })).rejects.toMatchObject({
      code: "APPLICATION_INVALID",
      details: { field: "faults", function: "books" },
    });
    expect(await books(client, { do: "version" })).toBe(1);
  });
});
