/** What docs/coordinators.md shows, executed. */
import { readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import * as sdk from "lockstep";
import { createTestPlatform } from "lockstep/testing";
import { expect, test } from "vitest";

const text = readFileSync(new URL("../../docs/coordinators.md", import.meta.url), "utf8");
const script = [...text.matchAll(/^```ts\n(.*?)^```$/gms)]
  .map(([, block]) => stripTypeScriptTypes(block ?? "").replaceAll(/^import .*$/gm, ""))
  .join("\n");
const { network, fire, notify, transcribe } = new Function(...Object.keys(sdk), `${script}; return { network, fire, notify, transcribe };`)(
  ...Object.values(sdk),
);

test("the layers of functions, one of which fails", async () => {
  await using t = await createTestPlatform({ application: [network, fire] });
  t.fail(fire, ({ weight }: { weight: number }) => (weight === 3 ? new Error("no") : undefined));
  expect(
    await t.run(network, [
      [1, 2, 3],
      [1, 10],
    ]),
  ).toEqual([3, 30]);
});

test("the function that must not be too fast, taking turns", async () => {
  await using t = await createTestPlatform({ application: [notify] });
  const begun: [string, number][] = [];
  const startedAt = t.now();
  t.mock("notify", ({ customer }: { customer: { id: string } }) => {
    begun.push([customer.id, t.now() - startedAt]);
    return "";
  });
  const inputs = [...Array.from({ length: 20 }, () => "big"), "small"].map((id) => ({ customer: { id } }));
  const runs = await Promise.all(inputs.map((input) => t.start(notify, input)));
  expect(t.controlPlane.layers()).toMatchObject([{ throttled: true }]);
  await Promise.all(runs.map((run) => run.result()));
  expect(begun.length).toBe(21);
  begun.forEach(([, from], i) => {
    for (let j = i; j < begun.length; j++) expect(j - i + 1).toBeLessThanOrEqual(((begun[j]![1] - from) * 5) / 1_000 + 5.01);
  });
  expect(begun.at(-1)![1]).toBeLessThan(4_000);
  expect(begun.findIndex(([id]) => id === "small")).toBeLessThanOrEqual(7);
});

test("the long call goes on where it was", async () => {
  await using t = await createTestPlatform({ application: [transcribe] });
  const run = await t.start(transcribe, "Emma");
  expect(await run.result()).toBe("Emma: 40 pages, 40 of them by this attempt");
});
