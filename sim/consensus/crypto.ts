import { hash as nodeHash } from "node:crypto";
import type { Crypto, Digest, PublicKey, Signature } from "../../src/consensus/crypto.ts";

/** A key and the only object that can sign with it. */
export interface Identity {
  key: PublicKey;
  crypto: Crypto;
}

/**
 * Cryptography of one simulated world: SHA-256, and signatures that are hashes with a secret, which never leaves its identity's closure and
 * the verifier. So nobody signs for another, as with Ed25519, at a hundredth of its price. Texts that were hashed before are remembered:
 * in one world each is hashed by several replicas.
 */
export class CryptoWorld {
  readonly #secrets = new Map<PublicKey, string>();
  readonly #hashes = new Map<string, Digest>();

  hash(text: string): Digest {
    let digest = this.#hashes.get(text);
    if (digest === undefined) {
      digest = nodeHash("sha256", text);
      this.#hashes.set(text, digest);
    }
    return digest;
  }

  /** Who asks for the same name twice gets two keys: no identity is given out again. */
  identity(name: string): Identity {
    const key = named(`${name}_${this.#secrets.size}`, KEY_LENGTH);
    const secret = nodeHash("sha256", `secret of ${key}`);
    this.#secrets.set(key, secret);
    const crypto: Crypto = {
      hash: (text) => this.hash(text),
      sign: (text) => this.#signature(secret, text),
      verify: (signer, text, signature) => this.verify(signer, text, signature),
    };
    return { key, crypto };
  }

  verify(key: PublicKey, text: string, signature: Signature): boolean {
    const secret = this.#secrets.get(key);
    return secret !== undefined && this.#signature(secret, text) === signature;
  }

  #signature(secret: string, text: string): Signature {
    return this.hash(secret + text) + PADDING;
  }
}

const KEY_LENGTH = 43;
/** A signature has the length and the alphabet of a real one. */
const PADDING = "A".repeat(86 - 64);

const named = (name: string, length: number): string => name.padEnd(length, "A").slice(0, length);
