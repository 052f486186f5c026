/** The applications that docs/functions.md and docs/permissions.md show, executed. */
import { readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import * as sdk from "lockstep";
import { createTestPlatform } from "lockstep/testing";
import { expect, test } from "vitest";
import { collect, manifestOf } from "../pod/bundle.ts";

const applicationOf = (page: string, block = 0): Record<string, never> => {
  const text = readFileSync(new URL(`../../docs/${page}`, import.meta.url), "utf8");
  const script = stripTypeScriptTypes([...text.matchAll(/^```ts\n(.*?)^```$/gms)][block]?.[1] ?? "").replaceAll(/^import .*$/gm, "");
  const names = [...script.matchAll(/^export const (\w+)/gm)].map(([, name]) => name);
  const body = `${script.replaceAll("export const", "const")}; return { ${names.join(", ")} };`;
  return new Function(...Object.keys(sdk), body)(...Object.values(sdk)) as Record<string, never>;
};

test("the function of docs/functions.md goes on where it was, and is checked", async () => {
  await using t = await createTestPlatform({ application: applicationOf("functions.md") });
  expect(await t.call("transcode", { film: "f", parts: 3 })).toEqual({ film: "f", parts: 3 });
  expect((await t.controlPlane.state.get("application", "films/f")).value).toBe('{"parts":3}');
  t.mock("transcode", () => ({ film: "g", parts: 9 }));
  const run = await t.startExpression("transcode(film)", { film: { film: "g", parts: 9 } });
  await t.advance(60_000);
  expect((await t.controlPlane.result(run.id, 0)).failure).toMatchObject({ code: "CHECK_FAILED", details: { check: "transcode-check" } });
});

test("the stateful function of docs/functions.md keeps an account", () => {
  const { account } = applicationOf("functions.md", 1) as unknown as Record<string, sdk.FunctionDefinition>;
  const { initial, apply, key } = account!.stateful!;
  const ctx = { now: () => 5 } as sdk.ReplicaContext;
  const input = { account: "alice", amount: 7 };
  expect(apply(initial("alice"), input, ctx)).toEqual({ state: { balance: 7, last: 5 }, value: 7 });
  expect(() => apply(initial("alice"), { ...input, amount: -1 }, ctx)).toThrow("alice has only 0");
  expect(manifestOf(collect({ account })).functions).toEqual([
    { name: "account", trust: "quorum", faults: 1, stateful: true, stateKey: key },
  ]);
});

test("the application of docs/permissions.md may do what it does, and says what it may not as the page does", async () => {
  await using t = await createTestPlatform({ application: applicationOf("permissions.md") });
  expect(await t.run("bill", "17")).toBe(7);
  t.mock("invoice", async (order: string, ctx) => ctx.state.set(`orders/${order}`, 1));
  const denied = await t.call("invoice", "17").catch((error: Error) => error.message);
  const page = readFileSync(new URL("../../docs/permissions.md", import.meta.url), "utf8");
  const shown = /^```text\n(.*?)\n```$/ms.exec(page)?.[1] ?? "";
  expect(denied).toContain(shown.replace("shop", "application"));
});

test("the function of docs/replica-sets.md whose pods are compared is executed by two of them", async () => {
  const application = applicationOf("replica-sets.md", 2);
  await using t = await createTestPlatform({ application });
  let executions = 0;
  t.mock("invoice", ({ hours, rate }: { hours: number; rate: number }) => {
    executions++;
    return (application as unknown as Record<string, sdk.FunctionDefinition>).invoice!.handler({ hours, rate }, undefined as never);
  });
  expect(await t.call("invoice", { hours: 3, rate: 50 })).toEqual({ total: 150 });
  expect(executions).toBe(2);
});
