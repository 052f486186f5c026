/** The README of the booking example, executed as it stands on a platform of `lockstep dev`. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type Client, createClient } from "lockstep/client";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "./support/eventually.ts";
import { createSandbox, type Sandbox } from "./support/sandbox.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const readme = readFileSync(`${root}examples/booking/README.md`, "utf8");

let sandbox: Sandbox;
let dev: ChildProcess;
let url: string;
let client: Client;
let output = "";

beforeAll(async () => {
  sandbox = createSandbox();
  const [command] = blockWith("lockstep dev");
  const args = (command as string).split(" ").slice(2);
  dev = spawn(process.execPath, [`${root}bin/lockstep.js`, ...args, "--port", "0", "--data", sandbox.path("data")], { cwd: root });
  for (const stream of [dev.stdout, dev.stderr]) {
    stream?.on("data", (chunk: Buffer) => {
      output += chunk;
    });
  }
  url = (await eventually("the platform is there", () => /lockstep at (\S+),/.exec(output) ?? undefined))[1] as string;
  await eventually("the example is deployed", () => output.includes("deployed booking"));
  client = createClient({ url });
});

afterAll(async () => {
  dev.kill("SIGINT");
  await new Promise((resolve) => dev.once("close", resolve));
  await sandbox.dispose();
});

/** The commands of the block that has one such. */
const blockWith = (part: string): string[] => {
  const blocks = [...readme.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, text]) => (text as string).split("\n").filter(Boolean));
  const block = blocks.find((lines) => lines.some((line) => line.includes(part)));
  if (block === undefined) throw new Error(`the README has no block with ${part}`);
  return block;
};

const execute = (command: string): { status: number | null; stdout: string; stderr: string } =>
  spawnSync("bash", ["-c", command.replaceAll("npx lockstep", '"$0" bin/lockstep.js'), process.execPath], {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, LOCKSTEP_URL: url },
  });

const succeed = (command: string | undefined): string => {
  const { status, stdout, stderr } = execute(command ?? "false");
  expect({ command, status, stderr }).toMatchObject({ status: 0 });
  return stdout;
};

/** Until the order's run is suspended or has ended. */
const settled = (order: string): Promise<string> =>
  eventually(
    `order ${order} is settled`,
    async () => {
      for await (const { id } of client.runs({ name: "online-order", status: ["completed", "failed", "suspended"] })) {
        const { input } = await client.run(id).get();
        if ((input as { object: { key: string } }).object.key === `incoming/${order}.json`) return id;
      }
      return undefined;
    },
    20_000,
  );

test("a trip waits for its approval", async () => {
  const [, run, signal, show] = blockWith("lockstep run trip");
  const id = succeed(run).trim();
  succeed((signal as string).replace("<the id it printed>", id));
  expect(await client.run(id).result({ timeoutMs: 30_000 })).toMatchObject({ amount: 405, approvedBy: "Grace" });
  expect(succeed((show as string).replace("<the id>", id))).toContain("completed");
});

test("an order that is put is paid", async () => {
  const [put, runs, state, logs] = blockWith("incoming/17.json");
  succeed(put);
  const id = await settled("17");
  expect(succeed(runs)).toContain(id);
  expect(succeed(state)).toContain('"status":"paid"');
  expect(succeed(logs)).toContain("Ada orders 2 × city-tour for 50");
});

describe("what becomes of an order", () => {
  const rows = [...readme.matchAll(/^\| `(\{"customer".*?\})` *\| `(\w+)` *\|/gm)].map(([, order, status]) => ({ order, status }));
  const [template] = blockWith("incoming/17.json");

  test("is told for each kind", () => expect(rows.length).toBeGreaterThan(5));

  test.each(rows.map((row, index) => ({ ...row, id: `row-${index}` })))("$order: $status", async ({ order, status, id }) => {
    succeed(template?.replace("17.json", `${id}.json`).replace(/'.*'/, `'${order}'`));
    await settled(id);
    const entry = await client.state.get("booking", `orders/${id}`);
    expect(entry.value).toMatchObject({ status });
    expect(entry.stale !== undefined).toBe(status === "confirmed");
  });
});

test("while the bank is down readers are refused, and a person decides in the end", async () => {
  const [put, read, stale, logs] = blockWith("incoming/18.json");
  succeed(put);
  await eventually("the order is in doubt", async () => (await client.state.stale("booking")).some(({ key }) => key === "orders/18"));
  const refused = execute(read as string);
  expect(refused.status).toBe(1);
  expect(refused.stderr).toContain('orders/18 is stale: "pay-order"');
  expect(succeed(stale)).toMatch(/orders\/18 .*storage-unavailable/);
  await eventually("the customer is told", () => succeed(logs).includes("orders/18: your order takes longer"));

  const id = await settled("18");
  expect(succeed("npx lockstep runs list --status suspended")).toContain(id);
  const [resolve, set] = blockWith("runs resolve");
  expect(succeed(`npx lockstep runs show ${id}`)).toContain("runs resolve");
  succeed((resolve as string).replace("<id>", id));
  succeed(set);
  expect(await client.run(id).result()).toEqual({ receipt: "paid at the desk", amount: 50 });
  expect((await client.state.get("booking", "orders/18")).stale).toBeUndefined();
  expect(succeed("npx lockstep triggers")).toContain("cron 0 22 * * *");
});
