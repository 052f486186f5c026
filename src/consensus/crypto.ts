/** Lower-case hexadecimal SHA-256, 64 characters. */
export type Digest = string;

/** Ed25519 signature of 64 bytes in base64url without padding, 86 characters. */
export type Signature = string;

/** Raw Ed25519 public key of 32 bytes in base64url without padding, 43 characters. */
export type PublicKey = string;

/**
 * What the protocol needs of cryptography, so that its code stays pure. Texts are canonical (`canonical.ts`) and begin with their purpose, so
 * that a signature made for one purpose can never serve another.
 */
export interface Crypto {
  hash(text: string): Digest;
  /** Signs with the replica's own key. */
  sign(text: string): Signature;
  verify(key: PublicKey, text: string, signature: Signature): boolean;
}
