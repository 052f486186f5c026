import { readFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { folderOf, world } from "../../test/support/fake-io.ts";
import { open } from "../../test/support/gateway.ts";
import { certificateText } from "../consensus/certificate.ts";
import { publicKeyPem } from "../replicas/node-crypto.ts";
import { testCertificate, testSet } from "../testing/certificates.ts";

const set = testSet();

/** A run with a certificate for each of these calls. */
const withCalls = async (...calls: number[]) => {
  const { plane, gateway } = await open();
  const id = await plane.put("coordinator", "booking");
  plane.records = calls.flatMap((seq, position) => {
    const certificate = testCertificate(
      set,
      calls.map((each) => ({ operation: `${id}/${each}/1` })),
      { position },
    );
    return [
      { t: "call" as const, seq, at: 0, fn: `pay${seq}`, version: "v", input: "" },
      { t: "done" as const, seq, at: 0, attempt: 1, value: "", certificate: certificateText(certificate) },
    ];
  });
  const cwd = folderOf({ "admin.pub": publicKeyPem(set.adminKey) });
  const lockstep = async (...argv: string[]) => {
    const one = world({ fetch, cwd, env: { LOCKSTEP_URL: gateway.url } });
    return { code: await one.lockstep(...argv), out: one.out.text, error: one.error.text };
  };
  return { id, plane, cwd, lockstep };
};

test("runs certificates lists them, and those of one call", async () => {
  const { id, lockstep } = await withCalls(1, 2);
  const { code, out } = await lockstep("runs", "certificates", id);
  const [head, first, second] = out.split("\n");
  expect([code, head]).toEqual([0, expect.stringMatching(/^CALL +FUNCTION +ENDED +VOTES +EPOCH +SEQUENCE$/)]);
  expect(first).toMatch(/^1 +pay1 +\S+ \S+ +3 of 4 +1 +7$/);
  expect(second).toMatch(/^2 +pay2 /);
  expect(JSON.parse((await lockstep("runs", "certificates", id, "--call", "2", "--json")).out)).toMatchObject([
    { call: 2, function: "pay2" },
  ]);
});

test("runs certificates --output writes one that lockstep verify takes", async () => {
  const { id, cwd, lockstep } = await withCalls(1, 2);
  const { code, error } = await lockstep("runs", "certificates", id, "--call", "2", "--output", "certificate.json");
  expect([code, error]).toEqual([0, "certificate of call 2 of pay2 in certificate.json\n"]);
  expect(readFileSync(path.join(cwd, "certificate.json"), "utf8").startsWith('{"format":"lockstep-certificate/1",')).toBe(true);
  const verified = await lockstep("verify", "certificate.json", "--admin-key", "admin.pub", "--call", `${id}/2`);
  expect([verified.code, verified.out]).toEqual([0, expect.stringContaining("valid: 3 replicas")]);
});

test("runs certificates --output asks which one is meant, and says when there is none", async () => {
  const { id, lockstep } = await withCalls(1, 2);
  expect(await lockstep("runs", "certificates", id, "--output", "c.json")).toMatchObject({
    code: 2,
    error: expect.stringContaining(`${id} has certificates of calls 1, 2`),
  });
  const none = await withCalls();
  expect((await none.lockstep("runs", "certificates", none.id, "--output", "c.json")).error).toContain("has no such certificate");
  expect((await none.lockstep("runs", "certificates", none.id)).error).toContain("no call of it has a certificate");
});

test("call --certificate writes the certificate of what it has called, and says when the function has none", async () => {
  const call = async (...calls: number[]) => {
    const { plane, cwd, lockstep } = await withCalls(...calls);
    const { id } = await plane.start({ kind: "function", name: "pay1", input: "", key: "k" });
    plane.settle(id, { status: "completed", value: "12" });
    return { cwd, ...(await lockstep("call", "pay1", "--key", "k", "--certificate", "called.json")) };
  };
  const { cwd, code, out, error } = await call(1);
  expect([code, out, error]).toEqual([0, "12\n", expect.stringContaining("certificate of call 1 of pay1 in called.json")]);
  expect(readFileSync(path.join(cwd, "called.json"), "utf8").startsWith('{"format":"lockstep-certificate/1",')).toBe(true);
  expect(await call()).toMatchObject({ code: 2, out: "12\n", error: expect.stringContaining("has no such certificate") });
  const { lockstep } = await withCalls();
  expect(await lockstep("call", "pay1", "--certificate", "called.json", "--app", ".")).toMatchObject({
    code: 2,
    error: expect.stringContaining("--certificate and --app exclude each other"),
  });
});
