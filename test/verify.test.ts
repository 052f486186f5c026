/** A certificate, checked offline by the built package: by the example, and by the command line. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { certificateText } from "../src/consensus/certificate.ts";
import { publicKeyPem } from "../src/replicas/node-crypto.ts";
import { testCertificate, testSet } from "../src/testing/certificates.ts";

const root = path.join(import.meta.dirname, "..");
const set = testSet();
const call = { operation: "run_0000000000a/1", input: '{"pay":100}', outcome: '{"value":{"balance":7}}' };
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), "lockstep-verify-"));
  const files = {
    "certificate.json": certificateText(testCertificate(set, [call])),
    "admin.pub": publicKeyPem(set.adminKey),
    "input.json": '{\n  "pay": 100\n}\n',
    "result.json": '{\n  "balance": 7\n}\n',
    "lie.json": '{ "balance": 107 }',
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(path.join(folder, name), text);
});
afterAll(() => rmSync(folder, { recursive: true }));

const run = (program: string, ...args: string[]) =>
  spawnSync(process.execPath, [path.join(root, program), ...args], { cwd: folder, encoding: "utf8" });

test("the example has about thirty lines, and tells a valid certificate from one that proves nothing", () => {
  const example = "examples/verify/verify.ts";
  expect(readFileSync(path.join(root, example), "utf8").split("\n").length).toBeLessThan(36);
  const valid = run(example, "certificate.json", "admin.pub", "input.json", "result.json");
  expect(valid).toMatchObject({ status: 0, stdout: expect.stringContaining("3 of 4 replicas of bank/account@0123456789abcdef") });
  const lie = run(example, "certificate.json", "admin.pub", "input.json", "lie.json");
  expect(lie).toMatchObject({ status: 1, stdout: "This proves nothing: statement.resultHash: the replicas came to another outcome\n" });
  expect(run(example, "certificate.json").status).toBe(2);
});

test("lockstep verify needs no platform", () => {
  const valid = run("bin/lockstep.js", "verify", "certificate.json", "--admin-key", "admin.pub", "--result", "result.json");
  expect(valid).toMatchObject({ status: 0, stdout: expect.stringContaining("valid: 3 replicas have signed this result") });
  const lie = run("bin/lockstep.js", "verify", "certificate.json", "--admin-key", "admin.pub", "--result", "lie.json");
  expect(lie).toMatchObject({ status: 1, stdout: expect.stringContaining("refused: statement.resultHash") });
});
