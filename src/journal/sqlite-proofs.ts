/**
 * Proofs that several records name: each is written once, and goes with the last record that names it.
 *
 * Owns: the table `proofs`, and how a record names one. Does not own: the transaction, records' rows, what a proof says.
 *
 * F1  `uses` of a proof is the number of stored records that name it.
 */
import type { DatabaseSync } from "node:sqlite";
import { LockstepError } from "../lib/errors.ts";
import type { CallCertificate, JournalRecord, SharedProof } from "../protocol/run.ts";
import { PROOF_SQL, prepareAll, type Statements } from "./sqlite-queries.ts";

type Shared = Exclude<CallCertificate, string>;
type Sharing = JournalRecord & { t: "done"; certificate: Shared };

export const isSharing = (record: JournalRecord): record is Sharing => record.t === "done" && typeof record.certificate === "object";

/** What stands in the record's row in the certificate's place. */
interface Named {
  proof: string;
  position: number;
}

/** Of a record as it was read. */
const idIn = ({ certificate }: Sharing): string => (certificate as unknown as Named).proof;

export class ProofWriter {
  readonly #statements: Statements<typeof PROOF_SQL>;
  /** Whether there may be any: where there are none, nothing is looked for. */
  #hasSome: boolean;
  #uses = new Map<string, { text: string | undefined; count: number }>();

  constructor(db: DatabaseSync) {
    this.#statements = prepareAll(db, PROOF_SQL);
    this.#hasSome = this.#statements.any.get() !== undefined;
  }

  /** @returns what is written in place of the certificate */
  take({ certificate: { proof, position } }: Sharing): Named {
    this.#count(proof.id, 1, proof.text);
    return { proof: proof.id, position };
  }

  /** Before the run's records are removed. */
  release(run: number): void {
    if (!this.#hasSome && this.#uses.size === 0) return;
    for (const { data } of this.#statements.naming.all(run) as { data: string }[]) {
      // The text is only where to look: it may stand in users' values too.
      for (const record of JSON.parse(data) as JournalRecord[]) if (isSharing(record)) this.#count(idIn(record), -1);
    }
  }

  /** Writes what the commit has taken and released, each proof once. */
  write(): void {
    if (this.#uses.size === 0) return;
    const uses = this.#uses;
    this.#uses = new Map();
    this.#hasSome = true;
    const { add, change, drop } = this.#statements;
    for (const [id, { text, count }] of uses) {
      if (text !== undefined) add.run(id, text);
      change.run(count, id);
      if (count <= 0) drop.run(id);
    }
  }

  /** After a commit that has failed. */
  forget(): void {
    this.#uses = new Map();
  }

  #count(id: string, by: number, text?: string): void {
    const known = this.#uses.get(id);
    if (known === undefined) this.#uses.set(id, { text, count: by });
    else {
      known.count += by;
      known.text ??= text;
    }
  }
}

export class ProofReader {
  readonly #statements: Statements<typeof PROOF_SQL>;

  constructor(db: DatabaseSync) {
    this.#statements = prepareAll(db, PROOF_SQL);
  }

  /** The records with the proofs that they name. @throws {LockstepError} JOURNAL_UNAVAILABLE when one is missing */
  put(records: JournalRecord[]): JournalRecord[] {
    const proofs = new Map<string, SharedProof>();
    for (const record of records) {
      if (!isSharing(record)) continue;
      const id = idIn(record);
      const proof = proofs.get(id) ?? this.#proof(id);
      proofs.set(id, proof);
      record.certificate.proof = proof;
    }
    return records;
  }

  #proof(id: string): SharedProof {
    const row = this.#statements.proof.get(id) as { text: string } | undefined;
    if (row === undefined)
      throw new LockstepError("JOURNAL_UNAVAILABLE", `the journal is damaged: a record names the proof ${id}, which is missing`);
    return { id, text: row.text };
  }
}
