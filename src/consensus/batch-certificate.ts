import type { Json } from "../lib/json.ts";
import { leafText } from "./canonical.ts";
import type { Certificate, Statement, Vote } from "./certificate.ts";
import type { Crypto } from "./crypto.ts";
import type { CertifiedMembership } from "./membership.ts";
import { merklePath, merkleTree } from "./merkle.ts";
import type { ReplyResult } from "./messages.ts";

// The certificates of a batch share all but their statements, and these are the leaves of the tree that each of them has a way through. Together
// they are a tenth of what they are one by one.

/** What certifies all results of one batch by the same votes. */
export interface BatchCertificate {
  readonly membership: CertifiedMembership;
  readonly version: string;
  readonly sequence: number;
  /** By position: all that stand in the tree. */
  readonly results: readonly Pick<ReplyResult, "id" | "key" | "inputHash" | "resultHash">[];
  readonly votes: Vote[];
}

const FORMAT = "lockstep-batch/1";

interface Written extends Omit<BatchCertificate, "results"> {
  format: typeof FORMAT;
  results: [operation: string, key: string, inputHash: string, resultHash: string][];
}

export const batchCertificateText = ({ membership, version, sequence, results, votes }: BatchCertificate): string => {
  const written: Written = {
    format: FORMAT,
    membership,
    version,
    sequence,
    results: results.map(({ id, key, inputHash, resultHash }) => [id, key, inputHash, resultHash]),
    votes,
  };
  return JSON.stringify(written);
};

/**
 * The certificates of a batch's results, by their positions.
 * @param text by `batchCertificateText`
 * @throws {Error} for what is none; and for a position without a result
 */
export const certificatesIn = (text: Json, hash: Crypto["hash"]): ((position: number) => Certificate) => {
  const { format, membership, version, sequence, results, votes } = JSON.parse(text) as Written;
  if (format !== FORMAT) throw new Error("not a batch's certificate");
  const statements = results.map(([operation, key, inputHash, resultHash], at): Statement => {
    return { operation, version, key, inputHash, resultHash, sequence, position: at };
  });
  const leaves = statements.map((statement) => hash(leafText(membership.membership.set, statement)));
  const tree = merkleTree(leaves, hash);
  return (position) => {
    const statement = statements[position];
    if (statement === undefined) throw new Error(`the batch's certificate has no result ${position}`);
    return { format: "lockstep-certificate/1", membership, statement, path: merklePath(tree, position), votes };
  };
};
