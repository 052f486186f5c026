import { fillerText, inputText, leafText, membershipText, outcomeText, voteText } from "../consensus/canonical.ts";
import type { Certificate } from "../consensus/certificate.ts";
import type { PublicKey } from "../consensus/crypto.ts";
import type { Membership } from "../consensus/membership.ts";
import { quorumOf, replicasOf } from "../consensus/membership.ts";
import { merklePath, merkleTree, rootOf } from "../consensus/merkle.ts";
import type { SecretKey } from "../replicas/node-crypto.ts";
import { generateSecretKey, nodeCrypto, nodeVerifier, publicKeyOf } from "../replicas/node-crypto.ts";

/** A replica set of which the test has all the secrets, so that it can certify whatever it likes. */
export interface TestSet {
  admin: SecretKey;
  adminKey: PublicKey;
  replicas: SecretKey[];
  membership: Membership;
}

export interface TestCall {
  operation: string;
  key?: string;
  /** JSON texts. */
  input?: string;
  outcome?: string;
}

export interface TestBatch {
  sequence?: number;
  views?: number[];
  /** Who votes. Default: the first 2f + 1. */
  voters?: number[];
  /** Which of the calls the certificate is about. Default 0. */
  position?: number;
  /** Votes on that call alone, with fillers instead of the others. Default false. */
  single?: boolean;
}

export const testSet = (faults = 1, changes: Partial<Membership> = {}): TestSet => {
  const [admin, client] = [generateSecretKey(), generateSecretKey()];
  const replicas = Array.from({ length: replicasOf(faults) }, generateSecretKey);
  const [application, name, version] = [
    changes.application ?? "bank",
    changes.function ?? "account",
    changes.version ?? "0123456789abcdef",
  ];
  const membership: Membership = {
    set: `${application}/${name}@${version}`,
    application,
    function: name,
    version,
    epoch: 1,
    faults,
    replicas: replicas.map(publicKeyOf),
    clients: [publicKeyOf(client)],
    ...changes,
  };
  return { admin, adminKey: publicKeyOf(admin), replicas, membership };
};

/** The certificate of one call of a batch, as a set's replicas sign it. */
export const testCertificate = (set: TestSet, calls: readonly TestCall[], batch: TestBatch = {}): Certificate => {
  const { sequence = 7, position = 0, views = [] } = batch;
  const { membership } = set;
  const { hash } = nodeVerifier();
  const statements = calls.map(({ operation, key = "", input = "", outcome = "{}" }, at) => ({
    operation,
    version: membership.version,
    key,
    inputHash: hash(inputText(input)),
    resultHash: hash(outcomeText(outcome)),
    sequence,
    position: at,
  }));
  const isVotedOn = (at: number): boolean => batch.single !== true || at === position;
  const tree = merkleTree(
    statements.map((statement, at) => hash(isVotedOn(at) ? leafText(membership.set, statement) : fillerText())),
    hash,
  );
  const voters = batch.voters ?? Array.from({ length: quorumOf(membership.faults) }, (_, replica) => replica);
  return {
    format: "lockstep-certificate/1",
    membership: { membership, signature: nodeCrypto(set.admin).sign(membershipText(membership)) },
    statement: statements[position]!,
    path: merklePath(tree, position),
    votes: voters.map((replica, at) => {
      const view = views[at] ?? 0;
      const text = voteText(membership.set, membership.epoch, view, sequence, rootOf(tree));
      return { replica, view, signature: nodeCrypto(set.replicas[replica]!).sign(text) };
    }),
  };
};
