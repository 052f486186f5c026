import type { Crypto } from "../consensus/crypto.ts";

/**
 * Where the ordering thread's time goes, in ms that pass: the thread's CPU time is told by the kernel in steps that are longer than most parts.
 * Nothing is measured before somebody asks.
 */
export interface Spent {
  stepMs: number;
  signMs: number;
  verifyMs: number;
  hashMs: number;
  sendMs: number;
  receiveMs: number;
  persistMs: number;
}

/** Measures parts of one thread's work. Parts may contain others: steps contain signatures. */
export class Meter {
  isOn = false;
  readonly spent: Spent = { stepMs: 0, signMs: 0, verifyMs: 0, hashMs: 0, sendMs: 0, receiveMs: 0, persistMs: 0 };
  readonly counts = { steps: 0, signatures: 0, verifications: 0, hashes: 0, frames: 0, messages: 0, persists: 0 };

  time<T>(part: keyof Spent, work: () => T): T {
    if (!this.isOn) return work();
    const startedAt = performance.now();
    try {
      return work();
    } finally {
      this.spent[part] += performance.now() - startedAt;
    }
  }

  /** The same cryptography, measured. */
  crypto(inner: Crypto): Crypto {
    return {
      hash: (text) => {
        this.counts.hashes++;
        return this.time("hashMs", () => inner.hash(text));
      },
      sign: (text) => {
        this.counts.signatures++;
        return this.time("signMs", () => inner.sign(text));
      },
      verify: (key, text, signature) => {
        this.counts.verifications++;
        return this.time("verifyMs", () => inner.verify(key, text, signature));
      },
    };
  }
}
