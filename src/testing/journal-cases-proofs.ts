/** Conformance of journals: proofs that records of several runs name. */
import { deepEqual, rejects } from "node:assert/strict";
import type { JournalRecord, SharedProof } from "../protocol/run.ts";
import type { JournalCases } from "./journal-fixtures.ts";
import { batchOf, finishAt, idAt, resultOf, runAt, START } from "./journal-fixtures.ts";

const proofOf = (name: string): SharedProof => ({ id: name.repeat(64).slice(0, 64), text: `{"proof":"${name}","of":"é ${name}"}` });

const provenBy = (proof: SharedProof, position: number, seq = 1): JournalRecord => ({
  t: "done",
  seq,
  at: START,
  value: '"ok"',
  certificate: { proof, position },
});

/** Runs that have ended, accepted so many ms after the start, whose only record names the proof. */
const provenRuns = (proof: SharedProof, ...at: number[]) => ({
  accepted: at.map((ms) => runAt(ms)),
  appended: at.map((ms) => ({ run: idAt(ms), from: 0, records: [provenBy(proof, ms)] })),
  changed: at.map((ms) => finishAt(ms, ms)),
});

export const proofCases: JournalCases = {
  "a proof is there in all records that name it, also for the next owner": async ({ open, reopen }) => {
    const journal = await open();
    const [a, b] = [proofOf("a"), proofOf("b")];
    await journal.commit(batchOf(provenRuns(a, 1, 2)));
    const mixed = [resultOf(1), provenBy(b, 7, 2), provenBy(a, 8, 3), { t: "cancel", at: START, reason: "no" } as const];
    await journal.commit(batchOf({ accepted: [runAt(3)], appended: [{ run: idAt(3), from: 0, records: mixed }] }));
    for (const owner of [journal, await reopen(journal)]) {
      deepEqual(await owner.records(idAt(1)), [provenBy(a, 1)]);
      deepEqual(await owner.records(idAt(2)), [provenBy(a, 2)]);
      deepEqual(await owner.records(idAt(3)), mixed);
    }
  },

  "a proof stays as long as one of the records that name it": async ({ open, reopen }) => {
    let journal = await open();
    const proof = proofOf("a");
    await journal.commit(batchOf(provenRuns(proof, 1, 2, 3)));
    await journal.commit(batchOf({ ...provenRuns(proof, 4), purged: [idAt(1)] }));
    await journal.commit(batchOf({ purged: [idAt(2), idAt(3)] }));
    deepEqual(await journal.records(idAt(4)), [provenBy(proof, 4)]);
    journal = await reopen(journal);
    deepEqual(await journal.records(idAt(4)), [provenBy(proof, 4)]);
    await journal.commit(batchOf({ purged: [idAt(4)] }));
    // It comes again: of those before nothing is in the way.
    await journal.commit(batchOf(provenRuns(proof, 5)));
    deepEqual(await journal.records(idAt(5)), [provenBy(proof, 5)]);
  },

  "records that were read keep their proof in another run, without the first": async ({ open }) => {
    const journal = await open();
    const proof = proofOf("a");
    await journal.commit(batchOf(provenRuns(proof, 1)));
    const records = await journal.records(idAt(1));
    await journal.commit(batchOf({ accepted: [runAt(2)], appended: [{ run: idAt(2), from: 0, records }], purged: [idAt(1)] }));
    deepEqual(await journal.records(idAt(2)), [provenBy(proof, 1)]);
  },

  "a commit that fails leaves its proofs as they were": async ({ open }) => {
    const journal = await open();
    const [a, b] = [proofOf("a"), proofOf("b")];
    await journal.commit(batchOf(provenRuns(a, 1)));
    // Run 1 is accepted twice.
    await rejects(journal.commit(batchOf({ ...provenRuns(b, 2), accepted: [runAt(2), runAt(1)] })));
    await rejects(journal.commit(batchOf({ accepted: [runAt(1)], purged: [idAt(1)] })));
    await journal.commit(batchOf(provenRuns(b, 3)));
    await journal.commit(batchOf({ purged: [idAt(3)] }));
    deepEqual(await journal.records(idAt(1)), [provenBy(a, 1)]);
    deepEqual(await journal.records(idAt(2)), []);
  },

  "a certificate of its own is kept as it is, and what users write like one is no name of a proof": async ({ open }) => {
    const journal = await open();
    const value = '{"certificate":{"proof":"x","position":1}}';
    const own: JournalRecord = { t: "done", seq: 1, at: START, value, certificate: value };
    const failed: JournalRecord = { t: "done", seq: 2, at: START, failure: { code: "X", message: "x", details: JSON.parse(value) } };
    const records = [own, failed, provenBy(proofOf("a"), 1, 3)];
    await journal.commit(batchOf({ accepted: [runAt(1)], appended: [{ run: idAt(1), from: 0, records }] }));
    deepEqual(await journal.records(idAt(1)), records);
    await journal.commit(batchOf({ purged: [idAt(1)] }));
  },
};
