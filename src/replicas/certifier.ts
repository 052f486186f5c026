import { membershipText } from "../consensus/canonical.ts";
import type { CertifiedMembership, Membership } from "../consensus/membership.ts";

/** As many sets as are at work at a time have two each: the one in force, and the one that is ordered. */
const MOST_KNOWN = 256;

/**
 * Memberships with the admin's signature. Each is asked for again and again while it is in force, and each replaced replica makes another one:
 * those that were asked for last are remembered.
 */
export class Certifier {
  readonly #sign: (text: string) => string;
  readonly #known = new Map<string, CertifiedMembership>();

  constructor(sign: (text: string) => string) {
    this.#sign = sign;
  }

  certify(membership: Membership): CertifiedMembership {
    const text = membershipText(membership);
    const certified = this.#known.get(text) ?? { membership, signature: this.#sign(text) };
    this.#known.delete(text);
    this.#known.set(text, certified);
    if (this.#known.size > MOST_KNOWN) this.#known.delete(this.#known.keys().next().value!);
    return certified;
  }

  /** How many are remembered. */
  get size(): number {
    return this.#known.size;
  }
}
