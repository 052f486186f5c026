/** Objects in S3, on a real platform that is killed: what functions and others put starts its runs, once each. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { eventually } from "./support/eventually.ts";
import type { PlatformProcess } from "./support/platform-process.ts";
import { startPlatformProcess } from "./support/platform-process.ts";
import { S3Server } from "./support/s3-server.ts";
import { createSandbox } from "./support/sandbox.ts";

const APPLICATION = `
  import { fn } from "lockstep";
  export const make = fn("make", async (n, ctx) => {
    await ctx.objects.put("orders", "in/" + n, "body " + n);
    return n;
  });
  export const arrived = fn("arrived", (event) => event.object.key, { on: { object: { bucket: "orders", prefix: "in/" } } });
`;

const sandbox = createSandbox();
const environment = { AWS_ACCESS_KEY_ID: "test", AWS_SECRET_ACCESS_KEY: "test" };
let server: S3Server;
let platform: PlatformProcess;

const options = (port = 0) => ({
  port,
  environment,
  objects: { s3: { endpoint: server.url, region: "us-east-1", bucketPrefix: "acme-" } },
});

beforeAll(async () => {
  server = await S3Server.start();
  platform = await startPlatformProcess(sandbox, options());
  await platform.deploy(sandbox.write("shop/index.ts", APPLICATION), "shop");
});

afterAll(async () => {
  await sandbox.dispose();
  await server.stop();
});

const arrivals = async (): Promise<string[]> => {
  const keys: string[] = [];
  for await (const { id } of platform.client.runs({ name: "arrived", limit: 1_000 })) {
    keys.push(await platform.client.run<string>(id).result({ timeoutMs: 30_000 }));
  }
  return keys.sort();
};

test("what functions put in S3 starts one run each, although the platform is killed and S3 fails now and then", async () => {
  const { client } = platform;
  const total = 60;
  let asked = 0;
  // Every seventh request is refused, every eleventh loses its answer.
  server.fault = () => (++asked % 7 === 0 ? { code: "SlowDown", status: 503 } : asked % 11 === 0 ? { after: "reset" } : undefined);
  const calls = Array.from({ length: total }, (_, n) => client.call<number>("make", n, { key: `make-${n}`, timeoutMs: 60_000 }));
  for (let kill = 1; kill <= 3; kill++) {
    await eventually(`part ${kill} is published`, () => (server.buckets.get("acme-orders")?.size ?? 0) >= kill * 10, 60_000);
    await platform.kill();
    platform = await startPlatformProcess(sandbox, options(platform.port));
  }
  expect((await Promise.all(calls)).sort((a, b) => a - b)).toEqual(Array.from({ length: total }, (_, n) => n));
  const expected = Array.from({ length: total }, (_, n) => `in/${n}`).sort();
  await eventually("all have arrived", async () => (await arrivals()).length >= total, 60_000);
  expect(await arrivals()).toEqual(expected);

  // Notifications of what the platform itself has put start nothing; of what others put, one run.
  server.fault = () => undefined;
  await fetch(`${server.url}/acme-orders/in/foreign`, { method: "PUT", body: "from elsewhere" });
  for (let round = 0; round < 2; round++) {
    for (const notification of server.notifications) {
      const body = JSON.stringify(notification);
      const headers = { "content-type": "application/json" };
      const answer = await fetch(`${platform.url}/v1/buckets/notifications`, { method: "POST", body, headers });
      expect(await answer.json()).toEqual({ events: 1 });
    }
  }
  await eventually("the foreign one has arrived", async () => (await arrivals()).includes("in/foreign"));
  expect(await arrivals()).toEqual([...expected, "in/foreign"].sort());
  const read = await platform.client.objects.get("orders", "in/17");
  expect(await read.text()).toBe("body 17");
}, 180_000);
