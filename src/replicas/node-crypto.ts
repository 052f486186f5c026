/**
 * `Crypto` by node:crypto: SHA-256 and Ed25519, keys as raw bytes in base64url.
 *
 * Owns: the encodings of keys and signatures, and that each has one form only: what decodes to the same bytes and is written otherwise is
 * refused, so that no byte of a certificate can be changed without a trace. Does not own: where secret keys are kept, what is signed.
 *
 * `lockstep/verify` consists of this file and the pure ones of src/consensus: it imports nothing of the platform.
 */
import type { KeyObject } from "node:crypto";
import { createPrivateKey, createPublicKey, generateKeyPairSync, hash, sign, verify } from "node:crypto";
import type { Crypto, Digest, PublicKey, Signature } from "../consensus/crypto.ts";

/** The seed of an Ed25519 key, 32 bytes in base64url without padding, 43 characters. Whoever has it is its owner. */
export type SecretKey = string;

/** What checking needs: no secret. */
export type Verifier = Pick<Crypto, "hash" | "verify">;

const KEY_BYTES = 32;
const SIGNATURE_BYTES = 64;
const SPKI = Buffer.from("302a300506032b6570032100", "hex");
const PKCS8 = Buffer.from("302e020100300506032b657004220420", "hex");

/** Keys of replica sets that are in use at the same time; one more only costs parsing it again. */
const MOST_CACHED_KEYS = 1_024;

/** The field's prime, 2^255 − 19: a key's y coordinate of this size or above has another, smaller name. */
const PRIME = 2n ** 255n - 19n;

/** The y coordinates of the points of order 1, 2, 4 and 8: under such a key almost anything verifies. */
const SMALL_ORDER: ReadonlySet<bigint> = new Set([
  0n,
  1n,
  PRIME - 1n,
  0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826n,
  0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7n,
]);

/** The bytes of canonical base64url; `undefined` when it is not that, or not so long. */
const decode = (text: unknown, length: number): Buffer | undefined => {
  if (typeof text !== "string" || text.length !== Math.ceil((length * 4) / 3)) return undefined;
  const bytes = Buffer.from(text, "base64url");
  // Decoding is lenient: it takes the other alphabet, skips what it doesn't know, and drops the last character's surplus bits.
  return bytes.length === length && bytes.toString("base64url") === text ? bytes : undefined;
};

const isSoundPoint = (bytes: Buffer): boolean => {
  const littleEndian = Buffer.from(bytes).reverse();
  littleEndian[0]! &= 0x7f;
  const y = BigInt(`0x${littleEndian.toString("hex")}`);
  return y < PRIME && !SMALL_ORDER.has(y);
};

const parsePublicKey = (key: unknown): KeyObject | undefined => {
  const bytes = decode(key, KEY_BYTES);
  if (bytes === undefined || !isSoundPoint(bytes)) return undefined;
  return createPublicKey({ key: Buffer.concat([SPKI, bytes]), format: "der", type: "spki" });
};

/** Parsing a key takes longer than a hash; a replica meets the same few again and again. */
class KeyCache {
  readonly #keys = new Map<PublicKey, KeyObject>();

  get(key: PublicKey): KeyObject | undefined {
    const known = this.#keys.get(key);
    if (known !== undefined) return known;
    const parsed = parsePublicKey(key);
    if (parsed === undefined) return undefined;
    if (this.#keys.size >= MOST_CACHED_KEYS) this.#keys.delete(this.#keys.keys().next().value!);
    this.#keys.set(key, parsed);
    return parsed;
  }
}

/** Of well-formed text: canonical texts are JSON, which has no lone surrogates. */
const sha256 = (text: string): Digest => hash("sha256", text, "hex");

/** Hashes and checks signatures; a key or signature that is not canonically encoded verifies nothing. */
export const nodeVerifier = (): Verifier => {
  const cache = new KeyCache();
  return {
    hash: sha256,
    verify: (key, text, signature) => {
      const bytes = decode(signature, SIGNATURE_BYTES);
      const parsed = bytes === undefined ? undefined : cache.get(key);
      return parsed !== undefined && verify(null, Buffer.from(text), parsed, bytes!);
    },
  };
};

/** @throws {TypeError} when `secret` is no secret key */
export const nodeCrypto = (secret: SecretKey): Crypto => {
  const own = privateKey(secret);
  return { ...nodeVerifier(), sign: (text): Signature => sign(null, Buffer.from(text), own).toString("base64url") };
};

export const generateSecretKey = (): SecretKey => secretOf(generateKeyPairSync("ed25519").privateKey);

/** @throws {TypeError} when `secret` is no secret key */
export const publicKeyOf = (secret: SecretKey): PublicKey => rawKey(createPublicKey(privateKey(secret)), "spki");

export const isPublicKey = (key: unknown): key is PublicKey => parsePublicKey(key) !== undefined;

/** @throws {TypeError} when `key` is no public key */
export const publicKeyPem = (key: PublicKey): string => {
  const parsed = parsePublicKey(key);
  if (parsed === undefined) throw new TypeError("not a raw Ed25519 public key in base64url");
  return parsed.export({ format: "pem", type: "spki" }) as string;
};

/**
 * A public key as people have it in a file: raw in base64url, or PEM.
 * @throws {TypeError} when it is neither, or of another kind than Ed25519
 */
export const publicKeyFrom = (text: string): PublicKey => {
  const key = text.trim().startsWith("-----BEGIN PUBLIC KEY-----") ? keyOfPem(text) : text.trim();
  if (!isPublicKey(key)) throw new TypeError("not an Ed25519 public key: expected 43 characters of base64url, or PEM");
  return key;
};

const keyOfPem = (text: string): PublicKey | undefined => {
  try {
    const key = createPublicKey(text);
    return key.asymmetricKeyType === "ed25519" ? rawKey(key, "spki") : undefined;
  } catch {
    // The caller says what was expected instead.
    return undefined;
  }
};

const privateKey = (secret: SecretKey): KeyObject => {
  const seed = decode(secret, KEY_BYTES);
  if (seed === undefined) throw new TypeError("not an Ed25519 secret key of 32 bytes in base64url");
  return createPrivateKey({ key: Buffer.concat([PKCS8, seed]), format: "der", type: "pkcs8" });
};

const secretOf = (key: KeyObject): SecretKey => rawKey(key, "pkcs8");

/** The raw bytes stand last in both forms. */
const rawKey = (key: KeyObject, type: "spki" | "pkcs8"): string => {
  const der = type === "spki" ? key.export({ format: "der", type }) : key.export({ format: "der", type });
  return der.subarray(-KEY_BYTES).toString("base64url");
};
