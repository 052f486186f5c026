/** Functions that keep state at replicas, in the testing kit: what an application sees is the same, without certificates. */
import { coordinator, fn } from "lockstep";
import { createTestPlatform } from "lockstep/testing";
import { expect, test } from "vitest";

const account = fn.stateful(
  "account",
  {
    key: "account",
    initial: () => ({ balance: 0 }),
    apply: (state, input: { account: string; amount: number }, ctx) => {
      const balance = state.balance + input.amount;
      if (balance < 0) throw new Error(`only ${state.balance} is left`);
      return { state: { balance }, value: { balance, at: ctx.now(), receipt: ctx.uuid() } };
    },
    compensate: (state, { input }) => ({ state: { balance: state.balance - input.amount } }),
  },
  { retry: { attempts: 1, onExhausted: "fail" } },
);
const regret = coordinator("regret", async (ctx, amount: number) => {
  await ctx.call(account, { account: "alice", amount });
  await ctx.compensate();
  return (await ctx.call(account, { account: "alice", amount: 0 })).balance;
});
const slow = fn.stateful("slow", {
  initial: () => 0,
  apply: async (state: number, by: number) => {
    await Promise.resolve();
    return { state: state + by, value: state + by };
  },
});
const application = { account, regret, slow };

test("each key has its state, which a pod's death and a control plane's leave as it is", async () => {
  await using t = await createTestPlatform({ application });
  expect(await t.call(account, { account: "alice", amount: 5 })).toEqual({
    balance: 5,
    at: t.now(),
    receipt: expect.stringMatching(/^.{8}-.{4}-4/),
  });
  expect(await t.call(account, { account: "bob", amount: 1 })).toMatchObject({ balance: 1 });
  await t.killPod(account);
  expect(await t.call(account, { account: "alice", amount: 5 })).toMatchObject({ balance: 10 });
  await t.crash();
  expect(await t.call(account, { account: "alice", amount: 5 })).toMatchObject({ balance: 15 });
});

test("a call that throws leaves the state as it was, and one without a key is refused", async () => {
  await using t = await createTestPlatform({ application });
  await t.call(account, { account: "alice", amount: 5 });
  await expect(t.call(account, { account: "alice", amount: -6 })).rejects.toThrow("only 5 is left");
  expect(await t.call(account, { account: "alice", amount: 0 })).toMatchObject({ balance: 5 });
  await expect(t.call("account", { amount: 1 })).rejects.toThrow("its state's key");
});

test("a compensation changes the state back", async () => {
  await using t = await createTestPlatform({ application });
  await t.call(account, { account: "alice", amount: 5 });
  expect(await t.run(regret, 100)).toBe(5);
});

test("operations are applied one after the other, also where they wait", async () => {
  await using t = await createTestPlatform({ application });
  const runs = await Promise.all(Array.from({ length: 20 }, () => t.start(slow, 1)));
  const values = await Promise.all(runs.map((run) => run.result()));
  expect(values.sort((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, index) => index + 1));
});

test("one test's states are not another's", async () => {
  for (const amount of [3, 4]) {
    await using t = await createTestPlatform({ application });
    expect(await t.call(account, { account: "alice", amount })).toMatchObject({ balance: amount });
  }
});
