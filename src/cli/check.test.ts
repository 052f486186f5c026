import { expect, test } from "vitest";
import { folderOf, world } from "../../test/support/fake-io.ts";
import { open } from "../../test/support/gateway.ts";
import { LockstepError } from "../lib/errors.ts";
import type { Rehearsal } from "../protocol/control-plane.ts";

const shop = { "shop.ts": `import { fn } from "lockstep";\nexport const add = fn("add", (n: number) => n);\n` };
const ID = "run_0000000000a";

const checked = async (rehearsals: Rehearsal[], ...options: string[]) => {
  const { plane, gateway } = await open();
  plane.rehearsals = rehearsals;
  const { lockstep, out, error } = world({ fetch, cwd: folderOf(shop), env: { LOCKSTEP_URL: gateway.url } });
  const code = await lockstep("check", "shop.ts", ...options);
  return { code, out: out.text, error: error.text, plane };
};

const fits: Rehearsal = { run: "run_0000000000b", name: "booking", version: "0123456789abcdef" };
const diverges: Rehearsal = { ...fits, run: ID, failure: { code: "REPLAY_DIVERGED", message: "at step 2: the code\n now ships" } };

test("check tells that all runs go on, and ends with 0", async () => {
  const { code, out, plane } = await checked([fits, fits]);
  expect([code, out]).toEqual([0, expect.stringMatching(/^\S+ [0-9a-f]{16}: 2 unfinished runs, all of them go on\n$/)]);
  expect(plane.asked.map(([method]) => method)).toEqual(["rehearse"]);
  expect((await checked([], "--all")).code).toBe(0);
});

test("check lists the runs that would diverge and why, and ends with 1", async () => {
  const { code, out } = await checked([fits, diverges]);
  expect(code).toBe(1);
  const [head, row, verdict, end] = out.split("\n");
  expect(head).toMatch(/^RUN +COORDINATOR +VERSION +WHY$/);
  expect(row).toMatch(new RegExp(`^${ID} +booking +0123456789abcdef +REPLAY_DIVERGED: at step 2: the code now ships$`));
  expect([verdict, end]).toEqual([expect.stringContaining("2 unfinished runs, 1 would diverge"), ""]);
  expect((await checked([fits, diverges], "--all")).out).toMatch(/run_0000000000b .* ok/);
});

test("check --json prints all of it on one line", async () => {
  const { code, out } = await checked([fits, diverges], "--json");
  expect([code, JSON.parse(out)]).toMatchObject([
    1,
    { checked: 2, diverging: 1, runs: [fits, { run: ID, failure: { code: "REPLAY_DIVERGED" } }] },
  ]);
});

test("check refuses an application that doesn't load, before any run", async () => {
  const { plane, gateway } = await open();
  plane.failing.rehearse = new LockstepError("APPLICATION_INVALID", "it exports nothing");
  const { lockstep, error } = world({ fetch, cwd: folderOf(shop), env: { LOCKSTEP_URL: gateway.url } });
  expect([await lockstep("check", "shop.ts"), error.text]).toEqual([1, expect.stringContaining("it exports nothing")]);
});
