import { expect, test } from "vitest";
import { folderOf, world } from "../../test/support/fake-io.ts";
import { certificateText } from "../consensus/certificate.ts";
import { publicKeyPem } from "../replicas/node-crypto.ts";
import { testCertificate, testSet } from "../testing/certificates.ts";

const set = testSet();
const call = { operation: "run_0000000000a/3/1", key: "alice", input: '{"pay":100,"to":"bob"}', outcome: '{"value":{"balance":7}}' };
const text = certificateText(testCertificate(set, [call]));
const files = {
  "certificate.json": text,
  "tampered.json": text.replace('"sequence":7', '"sequence":8'),
  "ended.json": `${text}\n`,
  "ended-twice.json": `${text}\n\n`,
  "indented.json": JSON.stringify(JSON.parse(text), null, 2),
  "admin.pub": publicKeyPem(set.adminKey),
  "other.pub": testSet().adminKey,
  "input.json": '{\n  "pay": 100,\n  "to": "bob"\n}\n',
  "other-input.json": '{"pay":1}',
  "result.json": '{ "balance": 7 }\n',
  "outcome.json": `${call.outcome}\n`,
  "broken.json": "{",
};

const verify = async (...argv: string[]) => {
  const { lockstep, out, error } = world({ cwd: folderOf(files) });
  const code = await lockstep("verify", ...argv);
  return { code, out: out.text, error: error.text };
};
const key = ["--admin-key", "admin.pub"];

test("verify tells what a valid certificate proves, and ends with 0", async () => {
  const { code, out, error } = await verify("certificate.json", ...key);
  expect([code, error]).toEqual([0, ""]);
  expect(out).toContain("valid: 3 replicas have signed this result");
  expect(out).toContain('call     run_0000000000a/3/1, key "alice"');
  expect(out).toContain("function account of bank, version 0123456789abcdef");
  expect(out).toContain("replicas 0, 1, 2 of 4 in epoch 1; 1 may be faulty");
});

test("verify compares call, input, result and outcome", async () => {
  const all = ["--call", "run_0000000000a/3", "--input", "input.json", "--result", "result.json", "--outcome", "outcome.json"];
  expect((await verify("certificate.json", ...key, ...all)).code).toBe(0);
  expect(await verify("certificate.json", ...key, "--input", "other-input.json")).toMatchObject({
    code: 1,
    out: "refused: statement.inputHash: the call had another input\n",
  });
  expect(await verify("certificate.json", ...key, "--result", "outcome.json")).toMatchObject({
    code: 1,
    out: "refused: statement.resultHash: the replicas came to another outcome\n",
  });
  expect((await verify("certificate.json", ...key, "--call", "run_0000000000a/4")).out).toContain("refused: statement.operation");
  expect((await verify("certificate.json", ...key, "--call", "run_0000000000a/3/2")).code).toBe(1);
  expect((await verify("certificate.json", ...key, "--call", call.operation)).code).toBe(0);
});

test("verify refuses what was tampered with, says where, and ends with 1", async () => {
  expect(await verify("tampered.json", ...key)).toMatchObject({ code: 1, out: expect.stringContaining("refused: votes[0].signature") });
  expect(await verify("indented.json", ...key)).toMatchObject({ code: 1, out: expect.stringContaining("canonical form") });
  expect(await verify("certificate.json", "--admin-key", "other.pub")).toMatchObject({
    code: 1,
    out: expect.stringContaining("refused: membership.signature: is not the admin's signature"),
  });
});

test("verify takes a certificate with a line end behind it, as shells and editors leave it", async () => {
  expect((await verify("ended.json", ...key)).code).toBe(0);
  expect((await verify("ended-twice.json", ...key)).code).toBe(1);
});

test("verify --json prints what was found on one line", async () => {
  const valid = JSON.parse((await verify("certificate.json", ...key, "--json")).out);
  expect(valid).toMatchObject({ valid: true, operation: call.operation, function: "account", replicas: [0, 1, 2], epoch: 1 });
  const refused = JSON.parse((await verify("tampered.json", ...key, "--json")).out);
  expect(refused).toMatchObject({ valid: false, field: "votes[0].signature" });
});

test("verify reads standard input, and the key that the environment names", async () => {
  const { lockstep } = world({ cwd: folderOf(files), stdin: text, env: { LOCKSTEP_ADMIN_KEY: "admin.pub" } });
  expect(await lockstep("verify", "-")).toBe(0);
});

test("verify says where the admin's key is when it has none, and what is wrong with a file", async () => {
  expect(await verify("certificate.json")).toMatchObject({ code: 2, error: expect.stringContaining("keys/admin.pub") });
  expect(await verify("certificate.json", "--admin-key", "input.json")).toMatchObject({
    code: 2,
    error: expect.stringContaining("--admin-key input.json is not an Ed25519 public key"),
  });
  expect(await verify("nowhere.json", ...key)).toMatchObject({ code: 2, error: expect.stringContaining("cannot be read") });
  expect(await verify("certificate.json", ...key, "--result", "broken.json")).toMatchObject({
    code: 2,
    error: expect.stringContaining("--result broken.json is not JSON"),
  });
});
