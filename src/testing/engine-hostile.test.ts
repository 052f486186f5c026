import { coordinator, fn, TerminalError } from "lockstep";
import { createTestPlatform, type TestPlatform } from "lockstep/testing";
import { afterEach, describe, expect, test } from "vitest";
import { seeded } from "../lib/random.ts";
import { isFromPod } from "../protocol/pod.ts";

let t: TestPlatform;
const open = async (...application: unknown[]): Promise<TestPlatform> => {
  t = await createTestPlatform({ application: application as never, patienceMs: 20 });
  return t;
};
afterEach(() => t.stop());

const expectNoRepairs = async () => expect((await t.audit()).repaired).toBe(0);

/** Changes the commands that pods send, as code that has taken over its pod may; the border must let them pass. */
const forge = (change: (command: Record<string, unknown>) => void): void =>
  t.disturb((message) => {
    if (message.t !== "commands") return undefined;
    for (const command of message.commands) change(command as unknown as Record<string, unknown>);
    if (!isFromPod(message)) throw new Error("the border refuses this message already");
    return undefined;
  });

const add = fn("add", (x: number) => x + 1);
const plain = coordinator("plain", (ctx, x: number) => ctx.call(add, x));

describe("commands with fields that only the platform gives", () => {
  test("start no recovery under the name of another run", async () => {
    const failing = coordinator("failing", () => {
      throw new Error("no");
    });
    await open(add, plain, failing);
    const victim = await t.start(plain, 1);
    expect(await victim.result()).toBe(2);
    forge((command) => {
      if (command.t === "finish") command.recovery = victim.id;
    });
    const run = await t.start(failing);
    expect(await run.outcome()).toMatchObject({ status: "failed", failure: { message: "no" } });
    expect(await victim.result()).toBe(2);
    await expectNoRepairs();
  });

  test("refuse nothing in the platform's place, with what no journal can hold", async () => {
    const store = coordinator("store", async (ctx, x: number) => {
      await ctx.state.set("orders/1", x);
      return (await ctx.state.get<number>("orders/1")).value;
    });
    await open(add, plain, store);
    forge((command) => {
      Object.assign(command, { refusal: { code: "X", message: "x", details: 10n ** 15n }, version: 7, undoable: 9n, child: 8n });
    });
    expect(await t.run(plain, 1)).toBe(2);
    expect(await t.run(store, 5)).toBe(5);
    await expectNoRepairs();
  });
});

describe("a recovery that ends with something that is no decision", () => {
  for (const value of ["{", "5", '{"t":"retry","afterMs":"soon"}', '{"t":"resume"}', '{"t":"fail","failure":{"code":1}}', "null"]) {
    test(`such as ${value}, has failed, and a person decides`, async () => {
      const pay = fn("pay", (): void => Promise.reject(new TerminalError("no")) as never, { recover: (ctx) => ctx.retry() });
      await open(pay);
      forge((command) => {
        if (command.t === "finish") command.value = value;
      });
      const run = await t.start(pay);
      expect(await run.outcome()).toMatchObject({ status: "suspended", failure: { code: "RECOVERY_FAILED" } });
      await expectNoRepairs();
    });
  }
});

describe("pods that change a part of what they say at random", () => {
  const FIELDS = ["seq", "fn", "input", "options", "value", "failure", "recovery", "refusal", "child", "version", "undoable", "cancelled"];
  const MORE = [
    "op",
    "name",
    "ms",
    "timeoutMs",
    "target",
    "coordinator",
    "detached",
    "writes",
    "objects",
    "ask",
    "key",
    "lease",
    "id",
    "t",
  ];
  const TYPES = ["call", "sleep", "signal", "stepping", "step", "child", "withdraw", "state", "compensate", "on-stale", "finish"];
  const valuesOf = (runs: readonly string[]): unknown[] => [
    ...[-1, 0, 1, 2, 3, 0.5, Number.MAX_SAFE_INTEGER, 1e308, true, false, null, undefined, 10n ** 15n],
    ...["", "{", '"x"', "7", "orders/1", "orders/", "\0", "\ud800", "add", "shop", "own", "wait", ...runs],
    ...[{}, [], { code: "X", message: "m" }, { code: "X", message: "m", call: { function: "add", seq: 1 }, cause: 5, verdict: "odd" }],
    ...[
      { op: "get", key: "orders/1", stale: "wait" },
      { op: "list", prefix: "orders/", limit: 0 },
      { op: "write", key: "\0" },
    ],
    ...[
      { op: "write", key: "orders/1", value: "{", ttlMs: 1e300, ifVersion: 0 },
      { op: "write", key: "orders/1", refresh: true },
    ],
    ...[
      [{ key: "orders/1", value: "{" }],
      [{ key: "orders/2", ifVersion: 3 }],
      [{ op: "put", handle: 3 }],
      { retry: { attempts: 0.5, backoff: 7 } },
    ],
    ...['{"t":"compensate"}', '{"t":"retry","afterMs":-1e308,"input":"{"}', '{"t":"resume","value":"{"}', '{"t":"escalate","message":""}'],
    ...TYPES,
  ];
  const put = fn("put", async (x: number, ctx) => ctx.state.set("orders/1", x), { compensate: () => undefined, writes: ["orders/1"] });
  const refuse = fn("refuse", (_: number): number => Promise.reject(new TerminalError("no")) as never, {
    recover: (ctx) => ctx.compensate(),
  });
  const shop = coordinator(
    "shop",
    async (ctx, x: number) => {
      await Promise.all([ctx.call(put, x), ctx.call(add, x), ctx.state.get("orders/1", { stale: "allow" })]);
      await ctx.run(plain, x).catch(() => undefined);
      await ctx.call(refuse, x);
    },
    { recover: (ctx, { recoveries }) => (recoveries > 1 ? ctx.compensate() : ctx.retry()) },
  );

  for (let seed = 1; seed <= 20; seed++) {
    test(`harm themselves, not the platform (seed ${seed})`, async () => {
      await open(add, plain, put, refuse, shop);
      const random = seeded(seed);
      const victim = await t.start(plain, 1);
      await victim.result();
      const values = valuesOf([victim.id, "run_0"]);
      const pick = <T>(from: readonly T[]): T => from[random.below(from.length)] as T;
      const parts = (node: unknown): Record<string, unknown>[] => {
        if (typeof node !== "object" || node === null || node instanceof Uint8Array) return [];
        return [...(Array.isArray(node) ? [] : [node as Record<string, unknown>]), ...Object.values(node).flatMap(parts)];
      };
      t.disturb((message) => {
        if (!["commands", "result", "request", "waits", "diverged", "progress"].includes(message.t) || random.below(4) > 0)
          return undefined;
        const part = pick(parts(message));
        const field = pick([...FIELDS, ...MORE, ...Object.keys(part)]);
        const before = { ...part };
        part[field] = pick(values);
        if (isFromPod(message)) return undefined;
        delete part[field];
        Object.assign(part, before);
        return undefined;
      });
      const runs = [await t.start(shop, 1, { key: "a" }), await t.start(plain, 2, { key: "b" }), await t.start(shop, 3, { key: "c" })];
      await t.advance(60_000);
      t.calm();
      for (const run of runs) await t.controlPlane.cancel(run.id, { reason: "enough", force: true }).catch(() => undefined);
      await t.advance(60_000);
      for (const run of runs) expect(["completed", "failed", "cancelled"]).toContain((await t.controlPlane.result(run.id, 0)).status);
      expect(await victim.result()).toBe(2);
      expect(await t.run(plain, 5)).toBe(6);
      // What is left of the state store can be read, and a crash finds a journal that replays.
      await t.controlPlane.state.list("application", "orders/", 100);
      await t.crash();
      expect(await t.run(plain, 6)).toBe(7);
    });
  }
});
