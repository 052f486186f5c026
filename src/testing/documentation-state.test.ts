/** The application that docs/state.md shows, executed. */
import { readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import * as sdk from "lockstep";
import { createTestPlatform } from "lockstep/testing";
import { expect, test } from "vitest";
import { z } from "zod";

const page = readFileSync(new URL("../../docs/state.md", import.meta.url), "utf8");
const script = stripTypeScriptTypes(/^```ts\n(.*?)^```$/ms.exec(page)?.[1] ?? "")
  .replaceAll(/^import .*$/gm, "")
  .replaceAll("export ", "");
const names = { ...sdk, z };
const application = new Function(...Object.keys(names), `${script}; return { stock, reserve, sell };`)(...Object.values(names));

test("what docs/state.md shows sells each item once", async () => {
  await using t = await createTestPlatform({ application });
  const { state } = t.controlPlane;
  await state.write("application", { key: "stock/lamp", value: '{"left":2}' });
  const runs = await Promise.all(["a", "b", "c"].map((order) => t.start("sell", { item: "lamp", order })));
  const outcomes = await Promise.all(runs.map((run) => run.result()));
  expect(outcomes.sort()).toEqual(["reserved", "reserved", "sold out"]);
  expect(await state.get("application", "stock/lamp")).toMatchObject({ value: '{"left":0}' });
  expect(await state.get("application", "sales/total")).toMatchObject({ value: "2" });
  expect(await state.list("application", "orders/", 10)).toHaveLength(2);
});
