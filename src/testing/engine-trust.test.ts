import { fn } from "lockstep";
import { createTestPlatform } from "lockstep/testing";
import { expect, test } from "vitest";

test("a platform that can't have two pods agree refuses a function that asks for it, and executes nothing", async () => {
  const pay = fn("pay", () => 1, { trust: "compare" });
  await expect(createTestPlatform({ application: { pay } })).rejects.toMatchObject({
    code: "APPLICATION_INVALID",
    message: expect.stringMatching(/^function "pay" asks for trust "compare", and this platform offers "one"/),
    details: { field: "trust", function: "pay" },
  });
});
