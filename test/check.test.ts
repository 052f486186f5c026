/** `lockstep check`: new code is held against the runs that are under way before it is deployed. */
import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { eventually } from "./support/eventually.ts";
import type { PlatformProcess } from "./support/platform-process.ts";
import { startPlatformProcess } from "./support/platform-process.ts";
import { createSandbox } from "./support/sandbox.ts";

const bin = fileURLToPath(new URL("../bin/lockstep.js", import.meta.url));
const sandbox = createSandbox();
let platform: PlatformProcess;

beforeAll(async () => {
  platform = await startPlatformProcess(sandbox, { limits: { coordinatorTurnMs: 1_500 } });
});

afterAll(() => sandbox.dispose());

const application = (body: string): string =>
  sandbox.write(
    "shop/index.ts",
    `import { coordinator, fn } from "lockstep";
     export const price = fn("price", (item: string) => item.length);
     export const stock = fn("stock", (item: string) => item.length);
     export const order = coordinator("order", async (ctx, item: string) => { ${body} });`,
  );

const check = async (path: string, ...options: string[]): Promise<{ code: number | null; out: string }> => {
  const child = spawn(process.execPath, [bin, "check", path, "--url", platform.url, ...options], { stdio: ["ignore", "pipe", "inherit"] });
  let out = "";
  child.stdout.on("data", (chunk: Buffer) => {
    out += chunk;
  });
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { code, out };
};

test("code that runs under way would diverge from is found before it is deployed, and what was checked leaves nothing behind", async () => {
  const original = `const p = await ctx.call(price, item); await ctx.signal("go"); return p;`;
  const { version } = await platform.deploy(application(original), "shop");
  const runs = await Promise.all(["tea", "milk", "hang"].map((item) => platform.client.start("order", item)));
  await eventually("the runs wait", async () =>
    (await Promise.all(runs.map((run) => run.get()))).every(({ status }) => status === "waiting"),
  );

  const same = await check(application(`ctx.log.info("more is said"); ${original}`));
  expect([same.code, same.out]).toEqual([0, expect.stringMatching(/^shop [0-9a-f]{16}: 3 unfinished runs, all of them go on\n$/)]);

  const changed = await check(application(`if (item === "milk") await ctx.call(stock, item); ${original}`));
  expect(changed.code).toBe(1);
  expect(changed.out).toMatch(new RegExp(`^${runs[1]!.id} +order +${version} +REPLAY_DIVERGED: .* at step 1: .*price.*stock`, "m"));
  expect(changed.out).toContain("3 unfinished runs, 1 would diverge");

  const hanging = await check(application(`if (item === "hang") for (;;); ${original}`), "--json");
  const found = JSON.parse(hanging.out) as { checked: number; diverging: number; runs: { run: string; failure?: { code: string } }[] };
  expect([hanging.code, found.checked, found.diverging]).toEqual([1, 3, 1]);
  expect(found.runs.find(({ run }) => run === runs[2]!.id)?.failure?.code).toBe("COORDINATOR_STUCK");

  expect((await platform.client.applications()).map((deployed) => deployed.version)).toEqual([version]);
  expect(readdirSync(sandbox.path("data/applications"))).toEqual([`${version}.cjs`]);
  await eventually("the pods of the checks are gone", async () => (await platform.client.pods()).every(({ role }) => role !== "rehearsal"));
  for (const run of runs) await run.signal("go", 1);
  expect(await Promise.all(runs.map((run) => run.result({ timeoutMs: 30_000 })))).toEqual([3, 4, 4]);
});
