import { seedText } from "../consensus/canonical.ts";
import type { Crypto } from "../consensus/crypto.ts";
import type { PeerMessage } from "../consensus/messages.ts";
import type { Json } from "../lib/json.ts";
import { valueOutcome } from "../protocol/outcome.ts";
import type { Misbehaviour } from "../protocol/replica.ts";

const LIE: Json = valueOutcome('"a lie"');

/** What drills make a replica do, at the border of its machine: that itself knows of none of it. */
export class Misbehaving {
  readonly #set: string;
  readonly #crypto: Pick<Crypto, "hash">;
  how: Misbehaviour = "none";

  constructor(set: string, crypto: Pick<Crypto, "hash">) {
    this.#set = set;
    this.#crypto = crypto;
  }

  /** What the machine is told that the function has returned. */
  outcomes(outcomes: Json[]): Json[] {
    return this.how === "lie" ? outcomes.map(() => LIE) : outcomes;
  }

  /** What is sent in place of `message` to the one at `place` of those that it is for: every other one gets another, equally sound, proposal. */
  message(place: number, message: PeerMessage): PeerMessage {
    if (this.how !== "equivocate" || message.t !== "pre-prepare" || place % 2 === 1) return message;
    const { seq, batch } = message;
    const time = batch.time + 1;
    return { ...message, batch: { ...batch, time, seed: this.#crypto.hash(seedText(this.#set, seq, time, batch.requests)) } };
  }
}
