/**
 * Whether those who differ lie, or the function remembers (pure).
 *
 * What a function keeps in its module is not of a replica that has begun anew: its first result is another one than the others', and it looks
 * like a liar; so does whoever takes its seat next. One that is new and lies at once is rare, and several in a row are a sign of that function.
 *
 * Owns: how many have been so in a row. Does not own: what follows (machine.ts).
 */
export class Newcomers {
  readonly #most: number;
  #inARow = 0;

  constructor(most: number) {
    this.#most = most;
  }

  /** Who differs is no liar, as far as anybody can tell. */
  get areDoubted(): boolean {
    return this.#inARow >= this.#most;
  }

  /** One that had begun anew has said another result than the others, before it has agreed with any. */
  differed(): void {
    this.#inARow++;
  }

  /** One that had begun anew comes to the others' results: so did nothing that it can't know go into them. */
  agreed(): void {
    this.#inARow = 0;
  }
}
