/** The application and the tests that docs/recovery.md shows, executed. */
import { readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import * as sdk from "lockstep";
import * as testing from "lockstep/testing";
import { expect, test } from "vitest";

const [definitions = "", ...tests] = [
  ...readFileSync(new URL("../../docs/recovery.md", import.meta.url), "utf8").matchAll(/^```ts\n(.*?)^```$/gms),
].map(([, text]) => stripTypeScriptTypes(text ?? "").replaceAll(/^import .*$/gm, ""));

const evaluate = (script: string, names: Record<string, unknown>): unknown =>
  new Function(...Object.keys(names), script)(...Object.values(names)) as unknown;

const application = evaluate(`${definitions.replaceAll("export ", "")}; return { reserve, pay, booking };`, { ...sdk });

for (const script of tests) evaluate(script, { ...sdk, ...testing, application, test, expect });

test("docs/recovery.md shows tests", () => {
  expect(tests.length).toBeGreaterThanOrEqual(4);
});
