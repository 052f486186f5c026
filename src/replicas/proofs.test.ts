import { expect, test } from "vitest";
import { certificateText } from "../consensus/certificate.ts";
import type { ClientEffect } from "../consensus/client-machine.ts";
import type { JournalRecord } from "../protocol/run.ts";
import { cryptoOf, hashText } from "../testing/replica-keys.ts";
import { ReplicaSet } from "../testing/replica-set.ts";
import { Proofs, withCertificates } from "./proofs.ts";

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

let pauses = 0;
const shown = (...records: JournalRecord[]) =>
  withCertificates(records, hashText, async () => {
    pauses++;
  });

test("calls that were certified together share one proof, from which each has its own certificate", async () => {
  const proofs = new Proofs(cryptoOf("client"));
  const effects = certifiedOf("a", "b", "c");
  const kept = effects.map((effect) => proofs.of(effect));
  expect(kept).toEqual([0, 1, 2].map((position) => ({ proof: { id: expect.any(String), text: expect.any(String) }, position })));
  const [{ proof }] = kept as [Exclude<(typeof kept)[number], string>];
  for (const each of kept) expect((each as { proof: unknown }).proof).toBe(proof);
  expect(proof.id).toBe(hashText(proof.text));
  expect(await shown(...kept.map(recordOf))).toEqual(effects.map(({ certificate }) => recordOf(certificateText(certificate))));
});

test("a call alone has its certificate's own text, and a record without one is left as it is", async () => {
  const [effect] = certifiedOf("a");
  const text = new Proofs(cryptoOf("client")).of(effect!);
  expect(text).toBe(certificateText(effect!.certificate));
  const records = [recordOf(text), recordOf(undefined)];
  expect(await shown(...records)).toEqual(records);
});

test("votes of other replicas are another proof", () => {
  const proofs = new Proofs(cryptoOf("client"));
  const [first, second] = [certifiedOf("a", "b"), certifiedOf("a", "b")].map(([effect]) => proofs.of(effect!) as { proof: { id: string } });
  expect(second!.proof.id).toBe(first!.proof.id);
  const [effect] = certifiedOf("a", "b");
  const votes = effect!.batch!.votes.map((vote) => ({ ...vote, view: 9 }));
  expect((proofs.of({ ...effect!, batch: { ...effect!.batch!, votes } }) as { proof: { id: string } }).proof.id).not.toBe(first!.proof.id);
});

test("a run with many proofs is not shown at one go", async () => {
  const [effect] = certifiedOf("a", "b");
  const proofs = new Proofs(cryptoOf("client"));
  const records = Array.from({ length: 40 }, (_, view) => {
    const votes = effect!.batch!.votes.map((vote) => ({ ...vote, view }));
    return recordOf(proofs.of({ ...effect!, batch: { ...effect!.batch!, votes } }));
  });
  pauses = 0;
  expect(await shown(...records, ...records)).toHaveLength(80);
  expect(pauses).toBe(2);
});
