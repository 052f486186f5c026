import { generateKeyPairSync } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { generateSecretKey, isPublicKey, nodeCrypto, nodeVerifier, publicKeyFrom, publicKeyOf, publicKeyPem } from "./node-crypto.ts";

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const raw = (hex: string): string => Buffer.from(hex, "hex").toString("base64url");

const PRIME = 2n ** 255n - 19n;
const mod = (value: bigint): bigint => ((value % PRIME) + PRIME) % PRIME;
const power = (base: bigint, exponent: bigint): bigint =>
  exponent === 0n ? 1n : mod(power(mod(base * base), exponent / 2n) * (exponent % 2n === 1n ? base : 1n));
const over = (above: bigint, below: bigint): bigint => mod(above * power(mod(below), PRIME - 2n));

/** The y coordinate of a point that is doubled three times: 1, that of the neutral point, when its order divides 8. */
const yOfEightTimes = (bytes: Buffer): bigint => {
  const d = over(-121665n, 121666n);
  const littleEndian = Buffer.from(bytes).reverse();
  littleEndian[0]! &= 0x7f;
  let y = BigInt(`0x${littleEndian.toString("hex")}`);
  for (let doubled = 0; doubled < 3; doubled++) {
    const yy = mod(y * y);
    const xx = over(yy - 1n, d * yy + 1n);
    y = over(yy + xx, 2n - yy + xx);
  }
  return y;
};

describe("signatures", () => {
  const secret = generateSecretKey();
  const key = publicKeyOf(secret);
  const crypto = nodeCrypto(secret);
  const verifier = nodeVerifier();

  test("verify with the signer's key and text, and with no other", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), fc.string({ unit: "grapheme" }), (text, other) => {
        const signature = crypto.sign(text);
        expect(signature).toHaveLength(86);
        expect(verifier.verify(key, text, signature)).toBe(true);
        if (other !== text) expect(verifier.verify(key, other, signature)).toBe(false);
      }),
      { numRuns: 30 },
    );
    expect(verifier.verify(publicKeyOf(generateSecretKey()), "text", crypto.sign("text"))).toBe(false);
  });

  test("have one form: no character of signature or key can be another", () => {
    const signature = crypto.sign("text");
    for (let at = 0; at < signature.length; at++) {
      for (const character of `${ALPHABET}+/= `) {
        if (character === signature[at]) continue;
        const changed = signature.slice(0, at) + character + signature.slice(at + 1);
        expect(verifier.verify(key, "text", changed)).toBe(false);
      }
    }
    for (const last of ALPHABET) {
      if (last !== key.at(-1)) expect(verifier.verify(key.slice(0, -1) + last, "text", signature)).toBe(false);
    }
    for (const form of [`${signature}==`, `${signature}\n`, ` ${signature}`, signature.slice(1), ""]) {
      expect(verifier.verify(key, "text", form)).toBe(false);
    }
    expect(verifier.verify(`${key}=`, "text", signature)).toBe(false);
    expect(verifier.verify(undefined as never, "text", signature)).toBe(false);
    expect(verifier.verify(key, "text", undefined as never)).toBe(false);
  });

  test("of a scalar that is not reduced are refused", () => {
    const order = 2n ** 252n + 27742317777372353535851937790883648493n;
    const bytes = Buffer.from(crypto.sign("text"), "base64url");
    const scalar = BigInt(`0x${Buffer.from(bytes.subarray(32)).reverse().toString("hex")}`);
    const larger = Buffer.from((scalar + order).toString(16).padStart(64, "0"), "hex").reverse();
    const second = Buffer.concat([bytes.subarray(0, 32), larger]).toString("base64url");
    expect(verifier.verify(key, "text", second)).toBe(false);
  });

  test("a key under which anything verifies is no key", () => {
    const small = [
      "0100000000000000000000000000000000000000000000000000000000000000",
      "0000000000000000000000000000000000000000000000000000000000000000",
      "0000000000000000000000000000000000000000000000000000000000000080",
      "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
      "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
      "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
      "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    ];
    for (const hex of small) {
      expect(yOfEightTimes(Buffer.from(hex, "hex")), hex).toBe(1n);
      expect(isPublicKey(raw(hex)), hex).toBe(false);
    }
    expect(yOfEightTimes(Buffer.from(key, "base64url"))).not.toBe(1n);
    // The neutral point's second name, y = p + 1.
    expect(isPublicKey(raw(`ee${"ff".repeat(30)}7f`))).toBe(false);
  });

  test("stay right when more keys are met than are kept", () => {
    const first = crypto.sign("text");
    expect(verifier.verify(key, "text", first)).toBe(true);
    for (let index = 0; index < 1_100; index++) verifier.verify(publicKeyOf(generateSecretKey()), "text", first);
    expect(verifier.verify(key, "text", first)).toBe(true);
  });
});

describe("keys", () => {
  test("are read from base64url and from PEM, and come out as they went in", () => {
    const key = publicKeyOf(generateSecretKey());
    expect(publicKeyFrom(`${key}\n`)).toBe(key);
    expect(publicKeyFrom(publicKeyPem(key))).toBe(key);
  });

  test("of another kind, and what is none, are refused", () => {
    const x25519 = generateKeyPairSync("x25519").publicKey.export({ format: "pem", type: "spki" }) as string;
    for (const text of [x25519, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "", "key"]) {
      expect(() => publicKeyFrom(text)).toThrow("not an Ed25519 public key");
    }
    expect(() => nodeCrypto("short")).toThrow("not an Ed25519 secret key");
    expect(() => publicKeyPem("short")).toThrow("not a raw Ed25519 public key");
  });

  test("SHA-256 is lower-case hexadecimal", () => {
    expect(nodeVerifier().hash("abc")).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  });
});
