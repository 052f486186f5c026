/** The definitions that docs/triggers.md shows, deployed. */
import { readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import * as sdk from "lockstep";
import { createTestPlatform } from "lockstep/testing";
import { expect, test } from "vitest";

const text = readFileSync(new URL("../../docs/triggers.md", import.meta.url), "utf8");
const script = stripTypeScriptTypes(/^```ts\n(.*?)^```$/ms.exec(text)?.[1] ?? "").replaceAll(/^import .*$/gm, "");
const names = [...script.matchAll(/export const (\w+)/g)].map(([, name]) => name);

test("the definitions of the page are taken, and each of its forms is a trigger", async () => {
  const make = new Function(...Object.keys(sdk), `${script.replaceAll("export ", "")}; return { ${names.join(", ")} };`);
  const application = make(...Object.values(sdk)) as Record<string, unknown>;
  const platform = await createTestPlatform({ application, startMs: Date.UTC(2026, 0, 1) });
  const triggers = platform.controlPlane.triggers();
  expect(triggers.map(({ trigger }) => Object.keys(trigger)[0]).sort()).toEqual(["cron", "event", "http", "object", "stale"]);
  await platform.advance(86_400_000);
  const { runs } = await platform.ask((plane) => plane.runs({ name: "nightly" }, 10));
  const result = await platform.ask((plane) => plane.result(runs[0]?.id as string, 0));
  expect([runs.length, result.value]).toEqual([1, '"2026-01-01T01:30:00.000Z"']);
  await platform.stop();
});
