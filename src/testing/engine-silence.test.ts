import { coordinator, fn } from "lockstep";
import { createTestPlatform } from "lockstep/testing";
import { expect, test } from "vitest";

const one = fn("one", () => 1);
const endless = coordinator("endless", async (ctx) => {
  await ctx.call(one, undefined);
  await new Promise(() => undefined);
});

test("a coordinator that awaits what is not durable is started again a few times, then suspended by name", async () => {
  const t = await createTestPlatform({ application: [one, endless] });
  const run = await t.start(endless, undefined);
  await t.advance(5 * 60_000);
  expect(await run.status()).toBe("suspended");
  await expect(run.result()).rejects.toMatchObject({ code: "COORDINATOR_STUCK", message: expect.stringContaining('"endless"') });
  await t.stop();
});

test("a coordinator whose step takes long is left alone", async () => {
  let finish: (value: number) => void = () => undefined;
  let executions = 0;
  const patient = coordinator("patient", (ctx) =>
    ctx.step("wait", () => {
      executions++;
      return new Promise<number>((resolve) => {
        finish = resolve;
      });
    }),
  );
  const t = await createTestPlatform({ application: [patient] });
  const run = await t.start(patient, undefined);
  await t.advance(5 * 60_000);
  expect(await run.status()).toBe("running");
  finish(7);
  expect(await run.result()).toBe(7);
  expect(executions).toBe(1);
  expect((await t.audit()).repaired).toBe(0);
  await t.stop();
});
