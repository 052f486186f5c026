import { expect, test } from "vitest";
import { coordinator } from "./application/definitions.ts";
import { createTestPlatform } from "./testing/test-platform.ts";

test.each(["\ud800", "a\udc01b", "a\0b"])("an idempotency key that a database would change (%j) is refused", async (key) => {
  const idle = coordinator("idle", async () => 1);
  const platform = await createTestPlatform({ application: [idle] });
  await expect(platform.start(idle, undefined, { key })).rejects.toMatchObject({ code: "BAD_REQUEST", details: { field: "key" } });
  expect(await (await platform.start(idle, undefined, { key: "\u{1f600}" })).result()).toBe(1);
  await platform.stop();
});
