import { expect, test } from "vitest";
import { certificateText } from "../consensus/certificate.ts";
import type { ClientEffect } from "../consensus/client-machine.ts";
import type { JournalRecord } from "../protocol/run.ts";
import { cryptoOf, hashText } from "../testing/replica-keys.ts";
import { ReplicaSet } from "../testing/replica-set.ts";
import { Proofs, withCertificate } from "./proofs.ts";

type Certified = ClientEffect & { t: "certified" };

/** What the client of a set says when these calls have come as one request. */
const certifiedOf = (...ids: string[]): Certified[] => {
  const set = new ReplicaSet();
  set.certifyAll("first");
  set.certifyAll(...ids);
  return ids.map((id) => set.certificates.get(id)!);
};

const recordOf = (certificate: (JournalRecord & { t: "done" })["certificate"]): JournalRecord => ({
  t: "done",
  seq: 1,
  at: 1,
  value: "1",
  ...(certificate === undefined ? {} : { certificate }),
});

test("calls that were certified together share one proof, from which each has its own certificate", () => {
  const proofs = new Proofs(cryptoOf("client"));
  const effects = certifiedOf("a", "b", "c");
  const kept = effects.map((effect) => proofs.of(effect));
  expect(kept).toEqual([0, 1, 2].map((position) => ({ proof: { id: expect.any(String), text: expect.any(String) }, position })));
  const [{ proof }] = kept as [Exclude<(typeof kept)[number], string>];
  for (const each of kept) expect((each as { proof: unknown }).proof).toBe(proof);
  expect(proof.id).toBe(hashText(proof.text));
  for (const [i, effect] of effects.entries()) {
    expect(withCertificate(recordOf(kept[i]!), hashText)).toEqual(recordOf(certificateText(effect.certificate)));
  }
});

test("a call alone has its certificate's own text, and a record without one is left as it is", () => {
  const [effect] = certifiedOf("a");
  const text = new Proofs(cryptoOf("client")).of(effect!);
  expect(text).toBe(certificateText(effect!.certificate));
  for (const record of [recordOf(text), recordOf(undefined)]) expect(withCertificate(record, hashText)).toBe(record);
});

test("votes of other replicas are another proof", () => {
  const proofs = new Proofs(cryptoOf("client"));
  const [first, second] = [certifiedOf("a", "b"), certifiedOf("a", "b")].map(([effect]) => proofs.of(effect!) as { proof: { id: string } });
  expect(second!.proof.id).toBe(first!.proof.id);
  const [effect] = certifiedOf("a", "b");
  const votes = effect!.batch!.votes.map((vote) => ({ ...vote, view: 9 }));
  expect((proofs.of({ ...effect!, batch: { ...effect!.batch!, votes } }) as { proof: { id: string } }).proof.id).not.toBe(first!.proof.id);
});
