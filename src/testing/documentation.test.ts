/** The tests that docs/testing.md shows, executed on the application of docs/getting-started.md. */
import { readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import * as sdk from "lockstep";
import * as testing from "lockstep/testing";
import { expect, test } from "vitest";

const scriptsOf = (path: string): string[] =>
  [...readFileSync(new URL(`../../docs/${path}`, import.meta.url), "utf8").matchAll(/^```ts\n(.*?)^```$/gms)].map(([, text]) =>
    stripTypeScriptTypes(text ?? "").replaceAll(/^import .*$/gm, ""),
  );

const evaluate = (script: string, names: Record<string, unknown>): unknown =>
  new Function(...Object.keys(names), script)(...Object.values(names)) as unknown;

const definitions = scriptsOf("getting-started.md").find((script) => script.includes("export const order")) ?? "";
const application = evaluate(`${definitions.replaceAll("export ", "")}; return { charge, ship, order };`, { ...sdk });

for (const script of scriptsOf("testing.md")) evaluate(script, { ...sdk, ...testing, application, test, expect });
