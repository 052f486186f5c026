import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { nodeCrypto, nodeVerifier, publicKeyOf } from "../replicas/node-crypto.ts";
import { testCertificate, testSet } from "../testing/certificates.ts";
import { membershipText, voteText } from "./canonical.ts";
import type { Certificate } from "./certificate.ts";
import { certificateText } from "./certificate.ts";
import type { Membership } from "./membership.ts";
import { fillerPath } from "./merkle.ts";
import type { Verification, VerifyOptions } from "./verify.ts";
import { verifyCertificate } from "./verify.ts";

const crypto = nodeVerifier();
const set = testSet();
const calls = ["1", "2", "3", "4", "5"].map((seq) => ({
  operation: `run_0000000000a/${seq}`,
  key: "alice",
  input: `{"pay":${seq}}`,
  outcome: `{"value":${seq}}`,
}));
const real = testCertificate(set, calls, { position: 2, views: [0, 1, 0] });

const verify = (certificate: string | Certificate, options: Partial<VerifyOptions> = {}): Verification =>
  verifyCertificate(certificate, { adminKey: set.adminKey, ...options }, crypto);
const refusal = (certificate: unknown, options: Partial<VerifyOptions> = {}): [string, string] => {
  const verification = verify(certificate as Certificate, options);
  if (verification.ok) throw new Error("it was taken");
  expect(verification.reason.startsWith(`${verification.field}: `)).toBe(true);
  return [verification.field, verification.reason];
};

/** With another membership, properly certified. */
const withMembership = (changes: Partial<Membership>): Certificate => {
  const membership = { ...real.membership.membership, ...changes };
  return { ...real, membership: { membership, signature: nodeCrypto(set.admin).sign(membershipText(membership)) } };
};

describe("a certificate of 2f + 1 votes", () => {
  test("proves its statement", () => {
    const verification = verify(certificateText(real), { input: calls[2]!.input, outcome: calls[2]!.outcome });
    expect(verification).toMatchObject({
      ok: true,
      replicas: [0, 1, 2],
      statement: { operation: "run_0000000000a/3", key: "alice", sequence: 7, position: 2 },
      membership: { set: "bank/account@0123456789abcdef", faults: 1 },
    });
    expect(verify(real).ok).toBe(true);
  });

  test("can be of any batch, position, number of faults, and voters", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 3 }),
        fc.array(
          fc.record({ operation: fc.string({ minLength: 1, unit: "binary" }), key: fc.string(), input: fc.json(), outcome: fc.json() }),
          {
            minLength: 1,
            maxLength: 9,
          },
        ),
        fc.nat(),
        fc.boolean(),
        (faults, batch, at, single) => {
          const some = testSet(faults);
          const voters = Array.from({ length: 2 * faults + 1 }, (_, index) => index + (at % (faults + 1)));
          const position = at % batch.length;
          const certificate = testCertificate(some, batch, { position, voters, views: voters.map((each) => each % 2), single });
          const { input, outcome } = batch[position]!;
          const options = { adminKey: some.adminKey, input, outcome };
          // Votes on one result alone: the way that replicas show is the tree's.
          if (single) expect(fillerPath(batch.length, position, crypto.hash)).toEqual(certificate.path);
          expect(verifyCertificate(certificateText(certificate), options, crypto)).toMatchObject({ ok: true, replicas: voters });
        },
      ),
      { numRuns: 30 },
    );
  });

  test("is worth nothing against another admin's key", () => {
    expect(refusal(real, { adminKey: testSet().adminKey })[0]).toBe("membership.signature");
    expect(refusal(real, { adminKey: "" })[0]).toBe("membership.signature");
  });

  test("is of one input and one outcome, and of what is expected", () => {
    expect(refusal(real, { input: '{"pay":4}' })).toEqual(["statement.inputHash", "statement.inputHash: the call had another input"]);
    expect(refusal(real, { outcome: '{"value":4}' })[0]).toBe("statement.resultHash");
    expect(verify(real, { expect: { application: "bank", operation: "run_0000000000a/3", epoch: 1 } }).ok).toBe(true);
    expect(refusal(real, { expect: { operation: "run_0000000000a/4" } })[0]).toBe("statement.operation");
    expect(refusal(real, { expect: { key: "bob" } })).toEqual(["statement.key", 'statement.key: is "alice", not "bob"']);
    for (const name of ["set", "application", "function"] as const) {
      expect(refusal(real, { expect: { [name]: "other" } })[0]).toBe(`membership.membership.${name}`);
    }
    expect(refusal(real, { expect: { version: "other" } })[0]).toBe("statement.version");
    expect(refusal(real, { expect: { epoch: 2 } })[0]).toBe("membership.membership.epoch");
  });

  test("loses the votes of keys that were revoked", () => {
    const all = testCertificate(set, calls, { voters: [0, 1, 2, 3] });
    const revoked = [set.membership.replicas[1]!];
    expect(verify(all, { revoked })).toMatchObject({ ok: true, replicas: [0, 2, 3] });
    expect(refusal(real, { revoked })[1]).toContain("of 3 votes that are needed, 2 are left");
    expect(verify(real, { revoked: [set.membership.replicas[3]!] }).ok).toBe(true);
  });
});

describe("what is no proof is refused, and the reason names the field", () => {
  test("votes: too few, twice, in disorder, of nobody, of others", () => {
    const [a, b, c] = real.votes as [Certificate["votes"][0], Certificate["votes"][0], Certificate["votes"][0]];
    expect(refusal({ ...real, votes: [a, b] })).toEqual(["votes", "votes: has 2 votes; 3 are needed to bear 1 faults"]);
    expect(refusal({ ...real, votes: [a, b, b] })[0]).toBe("votes[2].replica");
    expect(refusal({ ...real, votes: [a, a, b] })[0]).toBe("votes[1].replica");
    expect(refusal({ ...real, votes: [b, a, c] })[0]).toBe("votes[1].replica");
    expect(refusal({ ...real, votes: [a, b, { ...c, replica: 3 }] })[0]).toBe("votes[2].signature");
    expect(refusal({ ...real, votes: [a, b, { ...c, replica: 4 }] })[0]).toBe("votes[2].replica");
    expect(refusal({ ...real, votes: [a, b, { ...c, view: 1 }] })[0]).toBe("votes[2].signature");
    expect(refusal({ ...real, votes: [a, b, c, { ...c, replica: 3 }] })[0]).toBe("votes[3].signature");
  });

  test("votes of one replica under several indexes, though the admin has certified its key so", () => {
    const [one, two, , four] = set.membership.replicas as [string, string, string, string];
    expect(refusal(withMembership({ replicas: [one, two, one, four] }))[0]).toBe("membership.membership.replicas[2]");
  });

  test("a signature that was made for something else", () => {
    const [a, b] = real.votes as [Certificate["votes"][0], Certificate["votes"][0]];
    const others = [
      voteText(set.membership.set, 2, 0, 7, "0".repeat(64)),
      voteText(set.membership.set, 1, 0, 8, "0".repeat(64)),
      voteText("bank/other@1", 1, 0, 7, "0".repeat(64)),
    ];
    for (const text of others) {
      const vote = { replica: 2, view: 0, signature: nodeCrypto(set.replicas[2]!).sign(text) };
      expect(refusal({ ...real, votes: [a, b, vote] })[0]).toBe("votes[2].signature");
    }
    const earlier = testCertificate({ ...set, membership: { ...set.membership, epoch: 2 } }, calls, { position: 2 });
    expect(refusal({ ...earlier, membership: real.membership })[0]).toBe("votes[0].signature");
  });

  test("another statement, place or path than what was voted on", () => {
    const other = testCertificate(set, calls, { position: 3 });
    for (const change of [{ statement: other.statement }, { path: other.path }, { path: [] }, { path: [...real.path, ""] }]) {
      expect(["votes[0].signature", "path"]).toContain(refusal({ ...real, ...change })[0]);
    }
    expect(refusal({ ...real, statement: { ...real.statement, position: 8 } })[0]).toBe("path");
    expect(refusal({ ...real, statement: { ...real.statement, resultHash: "0".repeat(64) } })[0]).toBe("votes[0].signature");
  });

  test("a set that is not 3f + 1, or is not called what it is", () => {
    expect(refusal(withMembership({ replicas: set.membership.replicas.slice(1) }))[0]).toBe("membership.membership.replicas");
    expect(refusal(withMembership({ faults: 2 }))[0]).toBe("membership.membership.replicas");
    expect(refusal(withMembership({ faults: 0, replicas: set.membership.replicas.slice(0, 1) }))[0]).toBe("membership.membership.faults");
    expect(refusal(withMembership({ version: "other" }))[0]).toBe("membership.membership.set");
  });

  test("fields that are missing, of another type, out of range or too many", () => {
    const fields: [string, unknown][] = [
      ["certificate", "null"],
      ["certificate", "[]"],
      ["certificate", "x"],
      ["certificate", "[".repeat(100_000)],
      ["certificate", " ".repeat(1_048_577)],
      ["format", { ...real, format: "lockstep-certificate/2" }],
      ["votes", { ...real, votes: {} }],
      ["votes", { ...real, votes: undefined }],
      ["votes[0]", { ...real, votes: [1] }],
      ["votes", { ...real, votes: Array(302).fill(real.votes[0]) }],
      ["statement.extra", { ...real, statement: { ...real.statement, extra: 1 } }],
      ["statement.operation", { ...real, statement: { ...real.statement, operation: "" } }],
      ["statement.sequence", { ...real, statement: { ...real.statement, sequence: 0 } }],
      ["statement.position", { ...real, statement: { ...real.statement, position: -0 } }],
      ["statement.inputHash", { ...real, statement: { ...real.statement, inputHash: real.statement.inputHash.toUpperCase() } }],
      ["path[0]", { ...real, path: ["zz"] }],
    ];
    for (const [field, certificate] of fields) expect(refusal(certificate)[0]).toBe(field);
    for (const name of Object.keys(real)) {
      const { [name as keyof Certificate]: _, ...rest } = real;
      expect(refusal(rest)).toEqual([name, `${name}: is missing`]);
    }
    expect(refusal(JSON.stringify({ ...real, extra: 1 }))[0]).toBe("extra");
    expect(refusal(certificateText(real).replace("{", '{"__proto__":1,'))[0]).toBe("__proto__");
  });

  test("another form of the same content", () => {
    const text = certificateText(real);
    const forms = [
      ` ${text}`,
      `${text}\n`,
      `\ufeff${text}`,
      JSON.stringify(real, null, 2),
      text.replace('"bank"', '"\\u0062ank"'),
      text.replace('"epoch":1', '"epoch":1.0'),
      text.replace('"epoch":1', '"epoch":1,"epoch":1'),
      JSON.stringify(Object.fromEntries(Object.entries(real).reverse())),
    ];
    for (const form of forms) {
      expect(form).not.toBe(text);
      expect(refusal(form)[0]).toBe("certificate");
    }
  });

  test("whatever it is handed", () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string()), (text) => {
        expect(verify(text).ok).toBe(false);
      }),
    );
    fc.assert(
      fc.property(fc.anything(), (value) => {
        expect(verify(value as never).ok).toBe(false);
      }),
    );
    expect(publicKeyOf(set.admin)).toBe(set.adminKey);
  });
});
