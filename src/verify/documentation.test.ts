/** The code that docs/replica-sets.md shows, executed. */
import { readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { fn } from "lockstep";
import { expect, test } from "vitest";
import { collect, manifestOf } from "../pod/bundle.ts";
import { testCertificate, testSet } from "../testing/certificates.ts";
import type { Certificate } from "./index.ts";
import { certificateText, verifyCertificate } from "./index.ts";

const text = readFileSync(new URL("../../docs/replica-sets.md", import.meta.url), "utf8");
const scripts = [...text.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, script]) =>
  stripTypeScriptTypes(script ?? "").replaceAll(/^import .*$|^export /gm, ""),
);
const evaluate = (script: string, names: Record<string, unknown>): unknown =>
  new Function(...Object.keys(names), script)(...Object.values(names)) as unknown;

const set = testSet();
const operation = "run_00jx3v9k2m7/3/1";
const real = testCertificate(set, [{ operation, key: "alice", input: '{"account":"alice","amount":5}', outcome: '{"value":12}' }]);

test("the functions of docs/replica-sets.md are replicated ones", () => {
  const functions = evaluate(`${scripts[0]}; return { payout, account };`, { fn });
  expect(manifestOf(collect(functions)).functions).toEqual([
    { name: "payout", trust: "quorum", faults: 1 },
    { name: "account", trust: "quorum", stateful: true, stateKey: "account", compensates: true },
  ]);
});

test("a certificate is checked as docs/replica-sets.md does it", () => {
  const said: string[] = [];
  const check = (certificate: Certificate) =>
    evaluate(scripts[1]!, {
      certificate,
      adminKey: set.adminKey,
      verifyCertificate,
      console: { log: (line: string) => said.push(line) },
    });
  check(real);
  expect(said).toEqual(["replicas 0, 1, 2 have signed it"]);
  expect(() => check({ ...real, votes: real.votes.slice(1) })).toThrow("votes: has 2 votes");
});

test("its fields, sizes and hashes are those that docs/replica-sets.md tells", () => {
  const fields = [...text.matchAll(/^\| `(\w+)` \|/gm)].map(([, field]) => field);
  expect(fields).toEqual(Object.keys(real));
  const size = certificateText(real).length;
  expect([size > 1_000, size < 1_400]).toEqual([true, true]);
  const { hash } = globalThis.process.getBuiltinModule("node:crypto");
  expect(real.statement.inputHash).toBe(hash("sha256", JSON.stringify(["lockstep/input/1", '{"account":"alice","amount":5}'])));
  expect(real.statement.resultHash).toBe(hash("sha256", JSON.stringify(["lockstep/outcome/1", '{"value":12}'])));
});
