/**
 * What one peer may make a replica take in: members of the set may lie, and their frames are read before anything is known of their sense.
 */

/** Bytes that may come at any time, and those that come beside them in each second. */
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

  /** Counts what has come. @returns how long nothing more is to be read, in ms */
  take(bytes: number, now: number): number {
    this.#left = Math.min(this.#most, this.#left + ((now - this.#at) * this.#perSecond) / 1_000) - bytes;
    this.#at = now;
    return this.#left >= 0 ? 0 : Math.ceil((-this.#left * 1_000) / this.#perSecond);
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
