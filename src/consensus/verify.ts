/**
 * Whether a certificate proves what it states.
 *
 * Owns: the rules of what a certificate is, each said once. Does not own: files, the sources of the admin's key, what follows.
 *
 * Invariants: nothing is believed that is not covered by a signature which was checked; there is one text for each certificate; whatever is
 * handed in (it may be anybody's file) is answered with a reason and never with an exception, in time that its size bounds.
 */
import { inputText, leafText, membershipText, outcomeText, voteText } from "./canonical.ts";
import type { Certificate, Statement, Vote } from "./certificate.ts";
import { certificateText } from "./certificate.ts";
import type { Crypto, PublicKey } from "./crypto.ts";
import type { CertifiedMembership, Membership, ReplicaIndex } from "./membership.ts";
import { quorumOf, replicasOf, setNameOf } from "./membership.ts";
import { rootFromPath } from "./merkle.ts";

export { certificateText };

export interface VerifyOptions {
  /** The key of the platform's admin, by which membership of replica sets is certified: nothing else is trusted. */
  adminKey: PublicKey;
  /** The call's input as JSON text, empty for none: refused when the replicas had another one. */
  input?: string;
  /** The call's outcome as JSON text, `{"value":…}` or `{"failure":…}`: refused when the replicas came to another one. */
  outcome?: string;
  /** What the certificate is to be about; whatever is named must be the same. */
  expect?: Partial<Pick<Membership, "set" | "application" | "function" | "epoch"> & Pick<Statement, "operation" | "version" | "key">>;
  /** Keys whose votes count no more, such as those of replicas that were found out. */
  revoked?: Iterable<PublicKey>;
}

export type Verification =
  | {
      ok: true;
      certificate: Certificate;
      membership: Membership;
      statement: Statement;
      /** Whose votes count; at least 2f + 1. */
      replicas: ReplicaIndex[];
    }
  /** `field` is where in the certificate, such as `votes[1].signature`, or the option that it doesn't fit; `reason` says it in a sentence. */
  | { ok: false; field: string; reason: string };

type Checks = Pick<Crypto, "hash" | "verify">;

/** Far above any certificate (one of 31 replicas has about 6,000 characters), and little work to refuse. */
const LONGEST_TEXT = 1_048_576;

/** Sets are much smaller; each replica more is a signature to check. */
const MOST_FAULTS = 100;

/** Of what comes from the certificate, in a reason. */
const LONGEST_SHOWN = 200;

const DIGEST = /^[0-9a-f]{64}$/;
const KEY = /^[A-Za-z0-9_-]{43}$/;
const SIGNATURE = /^[A-Za-z0-9_-]{86}$/;

/** Thrown and caught in this file: a rule that is broken ends the examination. */
class Refusal {
  readonly field: string;
  readonly problem: string;

  constructor(field: string, problem: string) {
    this.field = field;
    this.problem = problem;
  }
}

const refuse = (field: string, problem: string): never => {
  throw new Refusal(field, problem);
};

/**
 * Checks a certificate's text, as it is in its file, or the object that was parsed from it. It is right only if all of it is: form,
 * membership, statement, its place in the batch, and each single vote.
 */
export const verifyCertificate = (certificate: string | Certificate, options: VerifyOptions, checks: Checks): Verification => {
  try {
    const read = typeof certificate === "string" ? parse(certificate) : certificate;
    return examine(checkShape(read), typeof certificate === "string" ? certificate : undefined, options, checks);
  } catch (refusal) {
    if (refusal instanceof Refusal) return { ok: false, field: refusal.field, reason: `${refusal.field}: ${refusal.problem}` };
    throw refusal;
  }
};

const parse = (text: string): unknown => {
  if (text.length > LONGEST_TEXT) refuse("certificate", `has ${text.length} characters; no certificate has more than ${LONGEST_TEXT}`);
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    // Too deep a nesting is a RangeError, and no certificate either.
    return refuse("certificate", `is not JSON: ${error instanceof Error ? error.message : "it can't be read"}`);
  }
};

const examine = (certificate: Certificate, text: string | undefined, options: VerifyOptions, checks: Checks): Verification => {
  if (text !== undefined && text !== certificateText(certificate)) {
    refuse("certificate", "is not written in its canonical form: white space, order of fields or escapes were changed");
  }
  const { membership, statement, votes } = certificate;
  checkMembership(membership, options.adminKey, checks);
  checkVotes(certificate, checks);
  checkExpected(certificate, options, checks);
  const replicas = countedVotes(votes, membership.membership, new Set(options.revoked));
  return { ok: true, certificate, membership: membership.membership, statement, replicas };
};

// ---------------------------------------------------------------- form

type Fields = Record<string, unknown>;

const fieldsOf = (field: string, value: unknown, names: readonly string[]): Fields => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return refuse(field, "must be an object");
  const given = Object.keys(value);
  const missing = names.find((name) => !given.includes(name));
  if (missing !== undefined) refuse(within(field, missing), "is missing");
  const odd = given.find((name) => !names.includes(name));
  if (odd !== undefined) refuse(within(field, odd.slice(0, LONGEST_SHOWN)), "is no field of a certificate");
  return value as Fields;
};

const within = (field: string, name: string): string => (field === "certificate" ? name : `${field}.${name}`);

const checkShape = (value: unknown): Certificate => {
  const { format, membership, statement, path, votes } = fieldsOf("certificate", value, [
    "format",
    "membership",
    "statement",
    "path",
    "votes",
  ]);
  if (format !== "lockstep-certificate/1") refuse("format", 'must be "lockstep-certificate/1"');
  checkMembershipShape(membership);
  checkStatementShape(statement);
  for (const [at, sibling] of listOf("path", path).entries()) {
    if (sibling !== "") matches(`path[${at}]`, sibling, DIGEST, "a hash of 64 lower-case hexadecimal digits");
  }
  for (const [at, vote] of listOf("votes", votes).entries()) {
    const field = `votes[${at}]`;
    const fields = fieldsOf(field, vote, ["replica", "view", "signature"]);
    wholeNumber(`${field}.replica`, fields.replica, 0);
    wholeNumber(`${field}.view`, fields.view, 0);
    matches(`${field}.signature`, fields.signature, SIGNATURE, "a signature of 86 characters of base64url");
  }
  return value as Certificate;
};

const checkMembershipShape = (value: unknown): void => {
  const { membership, signature } = fieldsOf("membership", value, ["membership", "signature"]);
  matches("membership.signature", signature, SIGNATURE, "a signature of 86 characters of base64url");
  const field = "membership.membership";
  const names = ["set", "application", "function", "version", "epoch", "faults", "replicas", "clients"];
  const m = fieldsOf(field, membership, names);
  for (const name of ["set", "application", "function", "version"]) nonEmpty(`${field}.${name}`, m[name]);
  wholeNumber(`${field}.epoch`, m.epoch, 1);
  wholeNumber(`${field}.faults`, m.faults, 1);
  for (const name of ["replicas", "clients"]) {
    for (const [at, key] of listOf(`${field}.${name}`, m[name]).entries()) {
      matches(`${field}.${name}[${at}]`, key, KEY, "a key of 43 characters of base64url");
    }
  }
};

const checkStatementShape = (value: unknown): void => {
  const names = ["operation", "version", "key", "inputHash", "resultHash", "sequence", "position"];
  const statement = fieldsOf("statement", value, names);
  for (const name of ["operation", "version"]) nonEmpty(`statement.${name}`, statement[name]);
  if (typeof statement.key !== "string") refuse("statement.key", "must be a text");
  for (const name of ["inputHash", "resultHash"]) {
    matches(`statement.${name}`, statement[name], DIGEST, "a hash of 64 lower-case hexadecimal digits");
  }
  wholeNumber("statement.sequence", statement.sequence, 1);
  wholeNumber("statement.position", statement.position, 0);
};

const listOf = (field: string, value: unknown): readonly unknown[] => {
  if (!Array.isArray(value)) return refuse(field, "must be a list");
  const most = replicasOf(MOST_FAULTS);
  if (value.length > most) refuse(field, `has ${value.length} entries; ${most} is the most`);
  return value;
};

const matches = (field: string, value: unknown, form: RegExp, what: string): void => {
  if (typeof value !== "string" || !form.test(value)) refuse(field, `must be ${what}`);
};

const nonEmpty = (field: string, value: unknown): void => {
  if (typeof value !== "string" || value === "") refuse(field, "must be a text that is not empty");
};

const wholeNumber = (field: string, value: unknown, least: number): void => {
  // −0 is written as 0: it would be a second value with the same text.
  if (!Number.isSafeInteger(value) || (value as number) < least || Object.is(value, -0)) {
    refuse(field, `must be a whole number of at least ${least}`);
  }
};

// ---------------------------------------------------------------- meaning

const checkMembership = ({ membership: m, signature }: CertifiedMembership, adminKey: PublicKey, checks: Checks): void => {
  if (m.set !== setNameOf(m, false) && m.set !== setNameOf(m, true)) {
    refuse("membership.membership.set", "is not made of application, function and version");
  }
  const expected = replicasOf(m.faults);
  if (m.replicas.length !== expected) {
    refuse("membership.membership.replicas", `has ${m.replicas.length} keys; to bear ${m.faults} faults a set has ${expected}`);
  }
  for (const name of ["replicas", "clients"] as const) {
    const again = m[name].findIndex((key, at) => m[name].indexOf(key) !== at);
    if (again !== -1) refuse(`membership.membership.${name}[${again}]`, "is a key that stands there twice");
  }
  if (!checks.verify(adminKey, membershipText(m), signature)) {
    refuse("membership.signature", "is not the admin's signature of this membership");
  }
};

const checkVotes = ({ membership: { membership }, statement, path, votes }: Certificate, checks: Checks): void => {
  const { set, epoch, faults, replicas } = membership;
  const quorum = quorumOf(faults);
  if (votes.length < quorum) refuse("votes", `has ${votes.length} votes; ${quorum} are needed to bear ${faults} faults`);
  const root = rootFromPath(checks.hash(leafText(set, statement)), statement.position, path, checks.hash);
  if (root === undefined) return refuse("path", "leads from the statement's position to no root");
  for (const [at, vote] of votes.entries()) {
    const field = `votes[${at}]`;
    const key = replicas[vote.replica];
    if (key === undefined) return refuse(`${field}.replica`, `there is no replica ${vote.replica} among ${replicas.length}`);
    if (at > 0 && vote.replica <= votes[at - 1]!.replica) {
      refuse(`${field}.replica`, "votes must be in the order of their replicas, each replica once");
    }
    if (!checks.verify(key, voteText(set, epoch, vote.view, statement.sequence, root), vote.signature)) {
      refuse(`${field}.signature`, `is not replica ${vote.replica}'s signature of this statement in view ${vote.view}`);
    }
  }
};

const checkExpected = (certificate: Certificate, { input, outcome, expect = {} }: VerifyOptions, { hash }: Checks): void => {
  const { membership, statement } = certificate;
  for (const [name, value] of Object.entries(expect)) {
    if (value === undefined) continue;
    const isOfCall = name === "operation" || name === "version" || name === "key";
    const found = (isOfCall ? statement : membership.membership)[name as never] as unknown;
    if (found !== value) {
      const field = isOfCall ? `statement.${name}` : `membership.membership.${name}`;
      refuse(field, `is ${shown(found)}, not ${shown(value)}`);
    }
  }
  if (input !== undefined && hash(inputText(input)) !== statement.inputHash) {
    refuse("statement.inputHash", "the call had another input");
  }
  if (outcome !== undefined && hash(outcomeText(outcome)) !== statement.resultHash) {
    refuse("statement.resultHash", "the replicas came to another outcome");
  }
};

const shown = (value: unknown): string => String(JSON.stringify(value)).slice(0, LONGEST_SHOWN);

const countedVotes = (votes: readonly Vote[], { faults, replicas }: Membership, revoked: ReadonlySet<PublicKey>): ReplicaIndex[] => {
  const counted = votes.map(({ replica }) => replica).filter((replica) => !revoked.has(replicas[replica]!));
  const quorum = quorumOf(faults);
  if (counted.length < quorum) {
    const gone = votes.length - counted.length;
    refuse(
      "votes",
      `${gone} of the ${votes.length} votes are by keys that were revoked; of ${quorum} votes that are needed, ${counted.length} are left`,
    );
  }
  return counted;
};
