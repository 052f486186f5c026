import { coordinator, fn, TerminalError } from "lockstep";
import { createTestPlatform, type TestPlatform } from "lockstep/testing";
import { afterEach, describe, expect, test } from "vitest";
import { isFromPod } from "../protocol/pod.ts";

let t: TestPlatform;
const open = async (...application: unknown[]): Promise<TestPlatform> => {
  t = await createTestPlatform({ application: application as never, patienceMs: 20 });
  return t;
};
afterEach(async () => {
  expect((await t.audit()).repaired).toBe(0);
  await t.stop();
});

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
    });
  }
});
