import type { Digest, Signature } from "./crypto.ts";
import type { CertifiedMembership, ReplicaIndex } from "./membership.ts";

/** What a quorum of replicas has signed about one call. */
export interface Statement {
  /** The call's key `run/seq`. */
  operation: string;
  /** Whose code has executed it. A set that keeps state may be asked for the result in a later epoch, of another version. */
  version: string;
  key: string;
  inputHash: Digest;
  /** SHA-256 of the outcome's canonical JSON. */
  resultHash: Digest;
  sequence: number;
  /** Where the statement is in its batch. */
  position: number;
}

/** A replica's signature of the batch's root. Correct replicas may have committed the same batch in different views. */
export interface Vote {
  replica: ReplicaIndex;
  view: number;
  signature: Signature;
}

/** Proof that 2f + 1 replicas of a set came to this result; checked by `verifyCertificate`, which needs nothing but the admin's key. */
export interface Certificate {
  format: "lockstep-certificate/1";
  membership: CertifiedMembership;
  statement: Statement;
  /** The siblings on the way from the statement's leaf to the root. */
  path: Digest[];
  /** At least 2f + 1, by replica, each replica once. */
  votes: Vote[];
}

/**
 * A certificate as it is kept and handed on. A certificate has this one text: `verifyCertificate` refuses every other, so that whatever is
 * changed in a file is found.
 */
export const certificateText = ({ format, membership: { membership: m, signature }, statement: s, path, votes }: Certificate): string =>
  JSON.stringify({
    format,
    membership: {
      membership: {
        set: m.set,
        application: m.application,
        function: m.function,
        version: m.version,
        epoch: m.epoch,
        faults: m.faults,
        replicas: m.replicas,
        clients: m.clients,
      },
      signature,
    },
    statement: {
      operation: s.operation,
      version: s.version,
      key: s.key,
      inputHash: s.inputHash,
      resultHash: s.resultHash,
      sequence: s.sequence,
      position: s.position,
    },
    path,
    votes: votes.map((vote) => ({ replica: vote.replica, view: vote.view, signature: vote.signature })),
  });
