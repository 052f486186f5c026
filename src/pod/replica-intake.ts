/**
 * What one peer may make a replica take in: members of the set may lie, and their frames are read before anything is known of their sense.
 */

/** So much at any time, and so much beside it in each second. */
export class Allowance {
  readonly #perSecond: number;
  readonly #most: number;
  #left: number;
  #at: number;

  constructor(perSecond: number, most: number, now: number) {
    this.#perSecond = perSecond;
    this.#most = most;
    this.#left = most;
    this.#at = now;
  }

  /** Counts what was used. @returns how long nothing more is to be, in ms */
  take(amount: number, now: number): number {
    this.#left = Math.min(this.#most, this.#left + ((now - this.#at) * this.#perSecond) / 1_000) - amount;
    this.#at = now;
    return this.#left >= 0 ? 0 : Math.ceil((-this.#left * 1_000) / this.#perSecond);
  }
}

export const MAX_PEER_FRAME_BYTES = 64 * 1024 * 1024;
/** Of one peer: after as much at once as two frames may have. */
const BYTES_PER_SECOND = 64 * 1024 * 1024;
/** In each second, of all faulty peers together: what is left is enough for the others. */
const FAULTY_MS = 750;
const SECONDS_AT_ONCE = 2;

/**
 * What a peer may cost, whatever connections it makes for that: the bytes that are read of it, and the time in which they are handled. A frame of
 * signatures that are none costs a hundred times as long as it took to send.
 */
export class Intake {
  readonly #bytes: Allowance;
  readonly #ms: Allowance;

  /** @param faults how many of the peers may do all they are allowed to, at the same time */
  constructor(faults: number, now: number) {
    const ms = FAULTY_MS / Math.max(1, faults);
    this.#bytes = new Allowance(BYTES_PER_SECOND, 2 * MAX_PEER_FRAME_BYTES, now);
    this.#ms = new Allowance(ms, SECONDS_AT_ONCE * ms, now);
  }

  /** Counts what was read and handled. @returns how long nothing more is to be read, in ms */
  take(bytes: number, ms: number, now: number): number {
    return Math.max(this.#bytes.take(bytes, now), this.#ms.take(ms, now));
  }
}

const [QUOTE, BACKSLASH, COMMA, BRACKET, BRACE] = [0x22, 0x5c, 0x2c, 0x5b, 0x7b];

/**
 * Whether a JSON text has no more than so many values: each takes many times its characters once it is parsed, if it has few. What is in texts
 * is theirs, and not looked at.
 */
export const hasAtMost = (most: number, json: Uint8Array): boolean => {
  let values = 1;
  for (let at = 0; at < json.length; at++) {
    const byte = json[at];
    if (byte === QUOTE) at = endOfText(json, at);
    else if ((byte === COMMA || byte === BRACKET || byte === BRACE) && ++values > most) return false;
  }
  return true;
};

const endOfText = (json: Uint8Array, start: number): number => {
  for (let end = json.indexOf(QUOTE, start + 1); end > 0; end = json.indexOf(QUOTE, end + 1)) {
    let slashes = 0;
    while (json[end - 1 - slashes] === BACKSLASH) slashes++;
    if (slashes % 2 === 0) return end;
  }
  return json.length;
};
