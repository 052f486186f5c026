/** Certificates on their way to the journal and back: those of one batch share almost all that they say, and are kept as one text. */
import { type BatchCertificate, batchCertificateText, certificateAt } from "../consensus/batch-certificate.ts";
import { certificateText } from "../consensus/certificate.ts";
import type { ClientEffect } from "../consensus/client-machine.ts";
import type { Crypto } from "../consensus/crypto.ts";
import type { CallCertificate, JournalRecord, SharedProof } from "../protocol/run.ts";

export class Proofs {
  readonly #crypto: Pick<Crypto, "hash">;
  readonly #known = new WeakMap<BatchCertificate, SharedProof>();

  constructor(cryptography: Pick<Crypto, "hash">) {
    this.#crypto = cryptography;
  }

  /** As the journal is to keep it. */
  of({ certificate, batch }: ClientEffect & { t: "certified" }): CallCertificate {
    // A row of its own for one certificate costs more than it saves.
    if (batch === undefined || batch.results.length === 1) return certificateText(certificate);
    return { proof: this.#proofOf(batch), position: certificate.statement.position };
  }

  #proofOf(batch: BatchCertificate): SharedProof {
    const known = this.#known.get(batch);
    if (known !== undefined) return known;
    const text = batchCertificateText(batch);
    const proof = { id: this.#crypto.hash(text), text };
    this.#known.set(batch, proof);
    return proof;
  }
}

/** The record as it is shown: its certificate's own text is the same whichever way it is kept. */
export const withCertificate = (record: JournalRecord, hash: Crypto["hash"]): JournalRecord => {
  if (record.t !== "done" || typeof record.certificate !== "object") return record;
  const { proof, position } = record.certificate;
  return { ...record, certificate: certificateText(certificateAt(proof.text, position, hash)) };
};
