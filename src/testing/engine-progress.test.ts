import { type FunctionContext, fn } from "lockstep";
import { createTestPlatform, type TestPlatform } from "lockstep/testing";
import { afterEach, describe, expect, test } from "vitest";
import type { FunctionOptions } from "../application/context.ts";

let t: TestPlatform;
afterEach(async () => {
  expect((await t.audit()).repaired).toBe(0);
  await t.stop();
});

interface Done {
  done: number;
}

/** A long call that works off ten parts, when the test lets it, and goes on where the attempt before it was. */
const begin = async (options: FunctionOptions<void, string>, body: (ctx: FunctionContext, part: number) => void) => {
  const attempts: (Done | undefined)[] = [];
  let goOn = (): void => {};
  const long = fn<void, string>(
    "long",
    async (_, ctx) => {
      attempts.push(ctx.lastProgress as Done | undefined);
      for (let part = (ctx.lastProgress as Done | undefined)?.done ?? 0; part < 10; part++) {
        await new Promise<void>((resolve) => {
          goOn = resolve;
        });
        body(ctx, part);
      }
      return "done";
    },
    options,
  );
  t = await createTestPlatform({ application: [long], patienceMs: 5 });
  const run = await t.start(long);
  /** Lets one part be done and 150 ms pass, so many times. */
  const work = async (parts: number): Promise<void> => {
    for (let i = 0; i < parts; i++) {
      goOn();
      await t.advance(150);
    }
  };
  const told = async () =>
    (await run.journal()).flatMap((record) => (record.t === "progress" ? [(JSON.parse(record.value) as Done).done] : []));
  return { run, attempts, told, long, work };
};

const soon = { backoff: { initialMs: 10 } };

describe("progress", () => {
  test("reaches the run, and an attempt after the death of the pod goes on from there", async () => {
    const { run, attempts, told, long, work } = await begin({ retry: soon }, (ctx, part) => ctx.progress({ done: part + 1 }));
    await work(4);
    expect(await told()).toEqual([1, 2, 3, 4]);
    await t.killPod(long);
    await t.advance(1_000);
    await work(6);
    expect(await run.result()).toBe("done");
    expect(attempts).toEqual([undefined, { done: 4 }]);
    expect((await told()).slice(0, 9)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  test("goes on after the death of the control plane from what was on disk", async () => {
    const { run, attempts, work } = await begin({}, (ctx, part) => ctx.progress({ done: part + 1 }));
    await work(4);
    await t.crash();
    await work(10);
    expect(await run.result()).toBe("done");
    expect(attempts).toEqual([undefined, { done: 4 }]);
  });

  test("that comes in a flood is coalesced, and the last of it reaches the next attempt", async () => {
    const { run, attempts, told, work } = await begin({ retry: soon }, (ctx, part) => {
      for (let i = 0; i < 500; i++) ctx.progress({ done: part + i / 1_000 });
      ctx.progress({ done: part + 1 });
      if (part === 2 && ctx.attempt === 1) throw new Error("once");
    });
    await work(3);
    await t.advance(1_000);
    expect(attempts).toEqual([undefined, { done: 3 }]);
    await work(7);
    expect(await run.result()).toBe("done");
    expect((await told()).length).toBeLessThanOrEqual(2 * 10);
  });
});

describe("a heartbeat", () => {
  test("gives up an attempt that says nothing for too long, and the next one goes on", async () => {
    const { run, attempts, work } = await begin({ heartbeatMs: 250, retry: soon }, (ctx, part) => {
      if (ctx.attempt > 1 || part < 3) ctx.progress({ done: part + 1 });
    });
    await work(3);
    expect(await run.journal()).not.toContainEqual(expect.objectContaining({ t: "attempt" }));
    await t.advance(300);
    expect(attempts).toEqual([undefined, { done: 3 }]);
    const failed = (await run.journal()).find((record) => record.t === "attempt");
    expect(failed).toMatchObject({ failure: { code: "CALL_TIMEOUT", message: expect.stringContaining("heartbeatMs") } });
    await work(7);
    expect(await run.result()).toBe("done");
  });

  test("suspends the run when every attempt is silent", async () => {
    const { run } = await begin({ heartbeatMs: 250, retry: { ...soon, attempts: 2 } }, () => {});
    await t.advance(5_000);
    expect(await run.status()).toBe("suspended");
    await run.cancel("the test is over");
  });
});
