import fc from "fast-check";
import { expect, test } from "vitest";
import { nodeVerifier } from "../replicas/node-crypto.ts";
import { testCertificate, testSet } from "../testing/certificates.ts";
import { batchCertificateText, certificatesIn } from "./batch-certificate.ts";
import { certificateText } from "./certificate.ts";
import { verifyCertificate } from "./verify.ts";

const set = testSet();
const verifier = nodeVerifier();
const { hash } = verifier;

const batchText = (count: number, keys: readonly string[] = []): { text: string; one(position: number): string } => {
  const calls = Array.from({ length: count }, (_, i) => ({ operation: `run/${i}/1`, key: keys[i] ?? "", outcome: `{"value":${i}}` }));
  const certificates = calls.map((_, position) => testCertificate(set, calls, { position, views: [0, 2, 1] }));
  const [{ membership, votes, statement }] = certificates as [(typeof certificates)[number]];
  const results = certificates.map(({ statement: { operation: id, key, inputHash, resultHash } }) => ({ id, key, inputHash, resultHash }));
  const { version, sequence } = statement;
  const text = batchCertificateText({ membership, version, sequence, results, votes });
  return { text, one: (position) => certificateText(certificates[position]!) };
};

test("a batch's certificate gives each of its calls the very text that it has alone", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 40 }),
      fc.array(fc.string({ unit: "grapheme", maxLength: 8 }), { maxLength: 40 }),
      (count, keys) => {
        const { text, one } = batchText(count, keys);
        const at = certificatesIn(text, hash);
        for (let position = 0; position < count; position++) {
          const certificate = at(position);
          expect(certificateText(certificate)).toBe(one(position));
          expect(verifyCertificate(certificateText(certificate), { adminKey: set.adminKey }, verifier)).toMatchObject({ ok: true });
        }
      },
    ),
    { numRuns: 15 },
  );
});

test("a batch's certificate is a tenth of those of its calls", () => {
  const { text, one } = batchText(100);
  let alone = 0;
  for (let i = 0; i < 100; i++) alone += one(i).length;
  expect(text.length).toBeLessThan(alone / 8);
});

test("there is no certificate where there is no result, nor in another text", () => {
  const { text, one } = batchText(3);
  for (const position of [3, -1, 0.5]) expect(() => certificatesIn(text, hash)(position)).toThrow("no result");
  expect(() => certificatesIn(one(0), hash)).toThrow();
  expect(() => certificatesIn("", hash)).toThrow();
});
