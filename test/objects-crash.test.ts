/**
 * PUTs over HTTP while the platform is killed again and again: each starts exactly one run, in order per key, and no object is ever torn.
 * `LOCKSTEP_TEST_PUTS` sets how many; the full measure is 10,000.
 */
import { createHash } from "node:crypto";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { seeded } from "../src/lib/random.ts";
import { eventually } from "./support/eventually.ts";
import type { PlatformProcess } from "./support/platform-process.ts";
import { startPlatformProcess } from "./support/platform-process.ts";
import { createSandbox } from "./support/sandbox.ts";

const PUTS = Number(process.env.LOCKSTEP_TEST_PUTS ?? 2_000);
const KEYS = 40;
const PER_KEY = Math.ceil(PUTS / KEYS);
const PAGE = 50;
const KILL_EVERY_PUTS = Math.max(150, Math.floor(PUTS / 10));

const APPLICATION = `
  import { fn } from "lockstep";
  export const arrived = fn("arrived", (event) => [event.object.key, Number(event.object.metadata.n), event.object.etag], {
    on: { object: { bucket: "orders", prefix: "in/" } },
  });
`;

const sandbox = createSandbox();
const random = seeded(7);
let platform: PlatformProcess;

beforeAll(async () => {
  platform = await startPlatformProcess(sandbox);
  await platform.deploy(sandbox.write("shop/index.ts", APPLICATION), "shop");
});

afterAll(() => sandbox.dispose());

/** What says itself whether it is whole: its length and kind vary, its first 64 characters are the hash of the rest. */
const bodyOf = (key: number, n: number): string => {
  const rest = `${key}/${n} `.repeat(1 + ((key * 7 + n * 13) % 4_000));
  return createHash("sha256").update(rest).digest("hex") + rest;
};

const isWhole = (body: string): boolean => createHash("sha256").update(body.slice(64)).digest("hex") === body.slice(0, 64);

const address = (key: number): string => `http://127.0.0.1:${platform.port}/v1/buckets/orders/objects/in/${key}`;

/** One PUT, sent again until it is answered: which of the tries has arrived, nobody can know. */
const put = async (key: number, n: number): Promise<void> => {
  const headers = { "idempotency-key": `${key}-${n}`, "x-lockstep-meta-n": String(n), "content-type": "text/plain" };
  await eventually(`PUT ${n} of ${key} is answered`, async () => {
    try {
      const response = await fetch(address(key), { method: "PUT", body: bodyOf(key, n), headers });
      await response.arrayBuffer();
      if (response.ok) return true;
      expect([429, 503]).toContain(response.status);
    } catch (error) {
      // The connection was lost, or there is none.
      expect(error).toBeInstanceOf(TypeError);
    }
    return false;
  });
};

/** Reads objects while they are replaced. Whatever is read to its end is whole. */
const readUntil = async (isOver: () => boolean): Promise<number> => {
  let whole = 0;
  while (!isOver()) {
    try {
      const response = await fetch(address(Math.floor(random.next() * KEYS)));
      const text = await response.text();
      if (!response.ok) continue;
      expect(isWhole(text)).toBe(true);
      whole++;
    } catch (error) {
      expect(error).toBeInstanceOf(TypeError);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  return whole;
};

test(`${PUTS} PUTs under kill -9 start exactly one run each, in order per key, and no object is torn`, { timeout: 600_000 }, async () => {
  let answered = 0;
  let isOver = false;
  let kills = 0;
  let restarting: Promise<void> = Promise.resolve();
  const restart = async (): Promise<void> => {
    await platform.kill();
    kills++;
    platform = await startPlatformProcess(sandbox, { port: platform.port });
  };
  const chains = Array.from({ length: KEYS }, async (_, key) => {
    for (let n = 1; n <= PER_KEY; n++) {
      await put(key, n);
      if (++answered % KILL_EVERY_PUTS === 0) restarting = restarting.then(restart);
    }
  });
  const reading = readUntil(() => isOver);
  await Promise.all(chains);
  await restarting;
  isOver = true;
  expect(await reading).toBeGreaterThan(0);
  expect(kills).toBeGreaterThan(4);

  const total = KEYS * PER_KEY;
  await eventually("all runs have finished", async () => (await count("completed")) === total, 120_000);
  const numbers = Array.from({ length: KEYS }, (): number[] => []);
  const ids = new Set<string>();
  for await (const { id, status } of platform.client.runs({ name: "arrived", limit: 1_000 })) {
    expect(status).toBe("completed");
    ids.add(id);
  }
  expect(ids.size).toBe(total);
  // Ids sort in the order of acceptance.
  const inOrder = [...ids].sort();
  for (let from = 0; from < total; from += PAGE) {
    const page = inOrder.slice(from, from + PAGE).map((id) => platform.client.run<[string, number]>(id).result({ timeoutMs: 30_000 }));
    for (const [key, n] of await Promise.all(page)) numbers[Number(key.slice("in/".length))]?.push(n);
  }
  const expected = Array.from({ length: PER_KEY }, (_, i) => i + 1);
  for (const found of numbers) expect(found).toEqual(expected);

  for (let key = 0; key < KEYS; key++) expect(await (await fetch(address(key))).text()).toBe(bodyOf(key, PER_KEY));
  await restart();
  // What the kills have left behind is swept; what is referenced stays.
  await eventually("one file is left for each object", () => filesIn("objects") === KEYS, 30_000);
  for (let key = 0; key < KEYS; key++) expect(await (await fetch(address(key))).text()).toBe(bodyOf(key, PER_KEY));
});

const count = async (status: "completed"): Promise<number> => {
  let found = 0;
  for await (const _ of platform.client.runs({ name: "arrived", status, limit: 1_000 })) found++;
  return found;
};

const filesIn = (folder: string): number =>
  readdirSync(join(sandbox.data, folder), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).length;
