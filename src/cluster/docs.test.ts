/** The application that docs/cluster.md shows, executed. */
import { readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import * as sdk from "lockstep";
import { createTestPlatform } from "lockstep/testing";
import { expect, test } from "vitest";

const page = readFileSync(new URL("../../docs/cluster.md", import.meta.url), "utf8");
const script = stripTypeScriptTypes(/^```ts\n(.*?)^```$/ms.exec(page)?.[1] ?? "")
  .replaceAll(/^import .*$/gm, "")
  .replaceAll("export ", "");

test("what docs/cluster.md shows has a pod before anybody calls it", async () => {
  const application = new Function(...Object.keys(sdk), `${script}; return { payment };`)(...Object.values(sdk));
  await using t = await createTestPlatform({ application });
  await t.advance(1_000);
  const { spec, versions } = t.controlPlane.cluster.service("payment");
  expect(spec).toMatchObject({ scale: { min: 1, max: 4, policy: "predictive", targetMs: 200, coolDownMs: 60_000 }, memoryMb: 128 });
  expect(versions).toMatchObject([{ desired: 1, ready: 1, reason: "its minimum" }]);
  expect(await t.call("payment", { id: "7" })).toBe("paid 7");
});
