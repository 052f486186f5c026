import { readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { parseSource } from "../../scripts/structure/source.ts";
import { publicKeyPem } from "../replicas/node-crypto.ts";
import { testCertificate, testSet } from "../testing/certificates.ts";
import { certificateText, verifyCertificate } from "./index.ts";

const set = testSet();
const { adminKey } = set;
const calls = ["1", "2", "3"].map((seq) => ({
  operation: `run_0000000000a/${seq}`,
  key: "zoë",
  input: '{"pay":1}',
  outcome: '{"value":true}',
}));
const text = certificateText(testCertificate(set, calls, { position: 1 }));

/** Each bit changed, the next byte, and what means something in JSON. */
const othersThan = (byte: number): Set<number> => {
  const bits = Array.from({ length: 8 }, (_, bit) => byte ^ (1 << bit));
  const others = new Set([...bits, ...Buffer.from('0A"}'), 0xff, (byte + 1) & 0xff]);
  others.delete(byte);
  return others;
};

describe("lockstep/verify", () => {
  test("takes a certificate as text, as bytes and as an object, and the key raw or as PEM", () => {
    for (const certificate of [text, Buffer.from(text), JSON.parse(text)]) {
      expect(verifyCertificate(certificate, { adminKey, input: '{"pay":1}', outcome: '{"value":true}' }).ok).toBe(true);
    }
    expect(verifyCertificate(text, { adminKey: publicKeyPem(adminKey) }).ok).toBe(true);
    expect(() => verifyCertificate(text, { adminKey: "nobody's" })).toThrow(TypeError);
  });

  test("refuses a file of which any byte is changed, to whatever", () => {
    const file = Buffer.from(text);
    let changed = 0;
    for (let at = 0; at < file.length; at++) {
      const byte = file[at]!;
      for (const value of othersThan(byte)) {
        file[at] = value;
        const verification = verifyCertificate(file, { adminKey });
        if (verification.ok) throw new Error(`byte ${at}: ${byte} may be ${value}`);
        expect(verification.reason.startsWith(`${verification.field}: `)).toBe(true);
        changed += 1;
      }
      file[at] = byte;
    }
    expect(changed).toBeGreaterThan(file.length * 10);
    expect(verifyCertificate(file, { adminKey }).ok).toBe(true);
  });

  test("refuses a file of which any byte is missing or doubled, and all that follows it", () => {
    const file = Buffer.from(text);
    for (let at = 0; at < file.length; at++) {
      const others = [
        Buffer.concat([file.subarray(0, at), file.subarray(at + 1)]),
        Buffer.concat([file.subarray(0, at + 1), file.subarray(at)]),
        file.subarray(0, at),
      ];
      for (const other of others.filter((each) => !each.equals(file))) expect(verifyCertificate(other, { adminKey }).ok).toBe(false);
    }
  });

  test("depends on nothing of the platform", () => {
    const root = path.join(import.meta.dirname, "../..");
    const seen = new Set<string>();
    const waiting = ["src/verify/index.ts"];
    for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
      if (seen.has(file)) continue;
      seen.add(file);
      for (const { typeOnly, target, specifier } of parseSource(file, readFileSync(path.join(root, file), "utf8")).imports) {
        if (typeOnly) continue;
        if (target === undefined) seen.add(specifier);
        else waiting.push(target);
      }
    }
    expect([...seen].sort()).toEqual([
      "node:crypto",
      "src/consensus/canonical.ts",
      "src/consensus/certificate.ts",
      "src/consensus/membership.ts",
      "src/consensus/merkle.ts",
      "src/consensus/verify.ts",
      "src/replicas/node-crypto.ts",
      "src/verify/index.ts",
    ]);
  });
});
