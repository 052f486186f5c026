/** What starts runs by itself, on a real platform that is killed. */
import { createHmac } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { RunSummary } from "../src/protocol/run.ts";
import { eventually } from "./support/eventually.ts";
import type { PlatformProcess } from "./support/platform-process.ts";
import { startPlatformProcess } from "./support/platform-process.ts";
import { createSandbox } from "./support/sandbox.ts";

const sandbox = createSandbox();
const environment = { SHOP_SECRET: "hush" };
let platform: PlatformProcess;

const APPLICATION = `
  import { coordinator, fn } from "lockstep";
  export const second = fn("second", (tick) => tick.scheduledAt, { on: { cron: "* * * * * *", catchUp: "all" } });
  export const hooked = fn("hooked", (hook) => hook.body, { on: { http: { path: "orders", signature: { secretEnv: "SHOP_SECRET" } } } });
  export const arrived = coordinator("arrived", async (ctx, event) => event.object.key, {
    on: { object: { bucket: "orders", prefix: "incoming/", suffix: ".json" } },
  });
  export const save = fn("save", async (id, ctx) => {
    await ctx.state.set("orders/" + id, 1);
    throw new Error("no");
  }, { retry: { attempts: 1, onExhausted: "fail" } });
  export const repair = fn("repair", (event) => event.key, { on: { stale: "orders/*" } });
  export const failed = fn("failed", (event) => event.failure.code, { on: { event: "run.finished", where: { status: "failed", name: "save" } } });
`;

beforeAll(async () => {
  platform = await startPlatformProcess(sandbox, { environment });
  await platform.deploy(sandbox.write("shop/index.ts", APPLICATION), "shop");
});

afterAll(() => sandbox.dispose());

const restart = async (): Promise<void> => {
  await platform.kill();
  platform = await startPlatformProcess(sandbox, { port: platform.port, environment });
};

const runsOf = async (name: string): Promise<RunSummary[]> => {
  const runs: RunSummary[] = [];
  for await (const run of platform.client.runs({ name, limit: 1_000 })) runs.push(run);
  return runs.reverse();
};

const resultsOf = async (name: string): Promise<unknown[]> =>
  Promise.all((await runsOf(name)).map(({ id }) => platform.client.run(id).result({ timeoutMs: 30_000 })));

const put = (key: string, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(`${platform.url}/v1/buckets/orders/objects/${key}`, { method: "PUT", body: "{}", headers });

test("a schedule ticks each second, and neither misses nor doubles one over a kill", async () => {
  await eventually("it ticks", async () => (await runsOf("second")).length >= 2);
  await restart();
  const before = (await runsOf("second")).length;
  await eventually("it ticks again", async () => (await runsOf("second")).length >= before + 2);
  const ticks = (await resultsOf("second")) as number[];
  expect(ticks).toEqual(ticks.map((_, i) => (ticks[0] as number) + i * 1_000));
  const listed = (await platform.client.triggers()).find(({ name }) => name === "second");
  expect(listed?.next).toBeGreaterThan(listed?.last?.at as number);
});

test("a webhook with the right signature starts its run, once per delivery", async () => {
  const body = JSON.stringify({ order: 17 });
  const signature = createHmac("sha256", "hush").update(body).digest("hex");
  const send = (more: Record<string, string> = {}): Promise<Response> =>
    fetch(`${platform.url}/v1/hooks/orders`, { method: "POST", body, headers: { "content-type": "application/json", ...more } });
  expect((await send()).status).toBe(401);
  const headers = { "x-signature-256": `sha256=${signature}`, "webhook-id": "msg_1" };
  const first = await send(headers);
  expect(first.status).toBe(202);
  const { runs } = (await first.json()) as { runs: string[] };
  await restart();
  expect(await (await send(headers)).json()).toEqual({ runs });
  expect(await platform.client.run(runs[0] as string).result({ timeoutMs: 30_000 })).toEqual({ order: 17 });
  expect(await runsOf("hooked")).toHaveLength(1);
});

test("a failed write starts what listens to stale keys, and its end what listens to ends", async () => {
  const run = await platform.client.startFunction("save", "9");
  await run.outcome({ timeoutMs: 30_000 });
  await eventually("both were started", async () => (await runsOf("repair")).length + (await runsOf("failed")).length >= 2);
  expect([await resultsOf("repair"), await resultsOf("failed")]).toEqual([["orders/9"], ["FUNCTION_FAILED"]]);
});

test("each PUT starts exactly one run, whatever is killed in between", async () => {
  const keys = Array.from({ length: 200 }, (_, i) => `incoming/${i}.json`);
  /** Asks until it is answered: 412 tells that the PUT whose answer was lost had been taken. */
  const putOnce = async (key: string): Promise<void> => {
    for (;;) {
      const answer = await put(key, { "if-none-match": "*" }).catch(() => undefined);
      if (answer !== undefined && (answer.status < 300 || answer.status === 412)) return;
      await platform.client.applications().catch(() => undefined);
    }
  };
  const queue = [...keys];
  const worker = async (): Promise<void> => {
    for (let key = queue.shift(); key !== undefined; key = queue.shift()) await putOnce(key);
  };
  const working = Promise.all(Array.from({ length: 8 }, worker));
  for (const left of [150, 90, 30]) {
    await eventually(`${left} are left`, async () => queue.length <= left);
    await restart();
  }
  await working;
  await put("outgoing/1.json");
  await eventually("all have run", async () => (await runsOf("arrived")).every(({ status }) => status === "completed"));
  const arrived = (await resultsOf("arrived")) as string[];
  expect(arrived).toHaveLength(200);
  expect(new Set(arrived)).toEqual(new Set(keys));
});
