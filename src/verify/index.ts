/**
 * `lockstep/verify`: checks certificates of replica sets, with nothing of the platform: no network, no files, no dependencies but Node's own
 * cryptography. What it imports may be read in an hour, by whoever wants to know what a certificate is worth.
 */
import type { Certificate, Statement, Vote } from "../consensus/certificate.ts";
import { certificateText } from "../consensus/certificate.ts";
import type { CertifiedMembership, Membership } from "../consensus/membership.ts";
import type { Verification, VerifyOptions } from "../consensus/verify.ts";
import { verifyCertificate as examine } from "../consensus/verify.ts";
import { nodeVerifier, publicKeyFrom } from "../replicas/node-crypto.ts";

export type { Certificate, CertifiedMembership, Membership, Statement, Verification, VerifyOptions, Vote };
export { certificateText };

const verifier = nodeVerifier();

/**
 * Checks a certificate: the text or the bytes of its file, or the object that the client gave. In a text each character counts: a certificate
 * has one form, and any other is refused.
 *
 * `adminKey` is raw base64url or PEM. `input` and `outcome` are JSON texts as the call had them; `expect` names what the certificate is to be
 * about. Without them a valid certificate only shows that a quorum has stated something about some call.
 * @throws {TypeError} when `adminKey` is no Ed25519 public key
 */
export const verifyCertificate = (certificate: string | Uint8Array | Certificate, options: VerifyOptions): Verification => {
  const checked = { ...options, adminKey: publicKeyFrom(options.adminKey) };
  const text = certificate instanceof Uint8Array ? textOf(certificate) : certificate;
  if (text === undefined) return { ok: false, field: "certificate", reason: "certificate: is not UTF-8" };
  return examine(text, checked, verifier);
};

const textOf = (bytes: Uint8Array): string | undefined => {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    // The caller says so.
    return undefined;
  }
};
