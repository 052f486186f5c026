/** Certificates on their way to the journal and back: those of one batch share almost all that they say, and are kept as one text. */
import { type BatchCertificate, batchCertificateText, certificatesIn } from "../consensus/batch-certificate.ts";
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

/** A tree is made for each: with so many the platform has something else to do in between. */
const MOST_AT_A_TIME = 16;

/**
 * The records as they are shown: a certificate's own text is the same whichever way it is kept.
 * @param pause lets others have their turn
 */
export const withCertificates = async (
  records: JournalRecord[],
  hash: Crypto["hash"],
  pause: () => Promise<void>,
): Promise<JournalRecord[]> => {
  const known = new Map<string, ReturnType<typeof certificatesIn>>();
  const shown: JournalRecord[] = [];
  for (const record of records) {
    if (record.t !== "done" || typeof record.certificate !== "object") {
      shown.push(record);
      continue;
    }
    const { proof, position } = record.certificate;
    const certificates = known.get(proof.id) ?? certificatesIn(proof.text, hash);
    if (!known.has(proof.id) && known.size % MOST_AT_A_TIME === MOST_AT_A_TIME - 1) await pause();
    known.set(proof.id, certificates);
    shown.push({ ...record, certificate: certificateText(certificates(position)) });
  }
  return shown;
};
