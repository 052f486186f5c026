/** A run stays on the version that it began with. */
import { existsSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { eventually } from "./support/eventually.ts";
import type { PlatformProcess } from "./support/platform-process.ts";
import { startPlatformProcess } from "./support/platform-process.ts";
import { createSandbox } from "./support/sandbox.ts";

const sandbox = createSandbox();
let platform: PlatformProcess;

beforeAll(async () => {
  platform = await startPlatformProcess(sandbox);
});

afterAll(() => sandbox.dispose());

/** Each version has other code in its function and another order of calls in its coordinator. */
const application = (version: string, calls: string): string =>
  sandbox.write(
    "shop/index.ts",
    `import { coordinator, fn } from "lockstep";
     export const price = fn("price", (item: string) => item + " by ${version}");
     export const order = coordinator("order", async (ctx, item: string) => { ${calls} });`,
  );

const deploy = (version: string, calls: string) => platform.deploy(application(version, calls), "shop");

test("a coordinator that is changed while runs are in flight: old runs finish on the old version, new ones use the new", async () => {
  const one = await deploy("one", `const go = await ctx.signal("go"); return [go, await ctx.call(price, item)];`);
  const old = await platform.client.start("order", "tea");
  await eventually("the old run waits", async () => (await old.get()).status === "waiting");

  const two = await deploy("two", `const p = await ctx.call(price, item); await ctx.sleep(1); return [p, await ctx.signal("go")];`);
  expect(two.version).not.toBe(one.version);
  const young = await platform.client.start("order", "tea");
  await eventually("the new run waits", async () => (await young.get()).status === "waiting");
  expect([(await old.get()).version, (await young.get()).version]).toEqual([one.version, two.version]);

  await platform.kill();
  platform = await startPlatformProcess(sandbox, { port: platform.port });
  await Promise.all([old.signal("go", 1), young.signal("go", 2)]);
  expect(await old.result({ timeoutMs: 30_000 })).toEqual([1, "tea by one"]);
  expect(await young.result({ timeoutMs: 30_000 })).toEqual(["tea by two", 2]);

  const applications = await platform.client.applications();
  expect(applications.map(({ version, current }) => [version, current])).toEqual(
    expect.arrayContaining([
      [one.version, false],
      [two.version, true],
    ]),
  );
});

test("the first version can be made the current one again", async () => {
  const one = await deploy("one", `const go = await ctx.signal("go"); return [go, await ctx.call(price, item)];`);
  const run = await platform.client.start("order", "milk");
  await run.signal("go", 3);
  expect(await run.result({ timeoutMs: 30_000 })).toEqual([3, "milk by one"]);
  expect((await run.get()).version).toBe(one.version);
});

test("code that does not do the same again is suspended, naming the step, and never guesses", async () => {
  const flag = sandbox.path("changed-mind");
  const version = await platform.deploy(
    sandbox.write(
      "fickle/index.ts",
      `import { existsSync } from "node:fs";
       import { coordinator, fn } from "lockstep";
       export const left = fn("left", () => "left");
       export const right = fn("right", () => "right");
       export const fickle = coordinator("fickle", async (ctx) => {
         const way = await ctx.call(existsSync(${JSON.stringify(flag)}) ? right : left, undefined);
         await ctx.signal("go");
         return way;
       });`,
    ),
    "fickle",
  );
  const run = await platform.client.start("fickle");
  await eventually("it waits", async () => (await run.get()).status === "waiting");
  sandbox.write("changed-mind", "");
  expect(existsSync(flag)).toBe(true);
  await platform.kill();
  platform = await startPlatformProcess(sandbox, { port: platform.port });
  const { status, failure } = await run.outcome({ timeoutMs: 30_000 });
  expect({ status, code: failure?.code, details: failure?.details }).toEqual({
    status: "suspended",
    code: "REPLAY_DIVERGED",
    details: { seq: 1 },
  });
  expect(failure?.message).toMatch(/step 1: the journal has a call of "left".*the code now makes a call of "right"/);
  expect((await run.get()).version).toBe(version.version);
});
