import { createTestPlatform } from "lockstep/testing";
import { expect, test } from "vitest";
import * as accounts from "./index.ts";

const opened = async () => {
  const platform = await createTestPlatform({ application: accounts });
  await platform.call(accounts.books, { do: "open", account: "ann", amount: 1_000 });
  await platform.call(accounts.books, { do: "open", account: "bob", amount: 500 });
  return platform;
};

test("a payment moves what the rate makes of its amount", async () => {
  await using platform = await opened();
  expect(await platform.run(accounts.payment, { from: "ann", to: "bob", amount: 200, rate: 12_500 })).toEqual({ paid: 250 });
  expect(await platform.call(accounts.books, { do: "balance", account: "bob" })).toBe(750);
  expect(await platform.call(accounts.books, { do: "total" })).toBe(1_500);
});

test.each([
  ["NOT_COVERED", { do: "transfer", from: "ann", to: "bob", amount: 1_001 }],
  ["NO_ACCOUNT", { do: "transfer", from: "ann", to: "zoe", amount: 1 }],
  ["NO_ACCOUNT", { do: "balance", account: "constructor" }],
  ["ACCOUNT_EXISTS", { do: "open", account: "ann", amount: 1 }],
  ["AMOUNT_INVALID", { do: "transfer", from: "ann", to: "bob", amount: 0.5 }],
] as const)("what can't be is refused with %s, and changes nothing", async (code, entry) => {
  await using platform = await opened();
  await expect(platform.call(accounts.books, entry)).rejects.toMatchObject({ code });
  expect(await platform.call(accounts.books, { do: "total" })).toBe(1_500);
});

test("a transfer to oneself changes nothing", async () => {
  await using platform = await opened();
  expect(await platform.call(accounts.books, { do: "transfer", from: "ann", to: "ann", amount: 7 })).toBe(1_000);
});
