import { createHash } from "node:crypto";
import { membershipText } from "../consensus/canonical.ts";
import type { Crypto, Digest } from "../consensus/crypto.ts";
import type { CertifiedMembership, Membership } from "../consensus/membership.ts";

/** Keys are names, and a signature names its signer: nobody in a test signs for another unless the test says so. */
export const keyOf = (name: string): string => name;

export const hashText = (text: string): Digest => createHash("sha256").update(text).digest("hex");

export const signAs = (name: string, text: string): string => `${name}:${hashText(text).slice(0, 32)}`;

export const cryptoOf = (name: string): Crypto => ({
  hash: hashText,
  sign: (text) => signAs(name, text),
  verify: (key, text, signature) => signature === signAs(key, text),
});

/** Of the set. */
export const SET_NAME = "bank/apply@1";

export const certify = (membership: Membership): CertifiedMembership => ({
  membership,
  signature: signAs("admin", membershipText(membership)),
});

export const membersOf = (faults: number, change: Partial<Membership> = {}): CertifiedMembership =>
  certify({
    set: SET_NAME,
    application: "bank",
    function: "apply",
    version: "1",
    epoch: 1,
    faults,
    replicas: Array.from({ length: 3 * faults + 1 }, (_, i) => `r${i}`),
    clients: ["client"],
    ...change,
  });
