/**
 * `ctx.map`: one call for each item, so many at a time.
 *
 * What begins next depends on nothing but the order in which earlier ones end, and that is the journal's: so a replay begins the same items
 * at the same places. After the failure that decides the whole, nothing further begins; what is under way is left to end, so that its
 * effects are known and can be compensated.
 */
import type { MapOptions, MapOutcome } from "../application/context.ts";
import { CancelledError } from "../application/errors.ts";
import { LockstepError } from "../lib/errors.ts";

export interface MapRequest extends MapOptions {
  tolerateFailures?: number | undefined;
}

type Begin<Item, Output> = (item: Item, index: number) => Promise<Output>;

/**
 * Resolves with the results in the order of the items; with `tolerateFailures`, with an outcome for each.
 * @throws {TypeError} naming the option that is wrong
 * @throws {LockstepError} MAP_FAILED when more items have failed than are tolerated
 */
export const mapItems = <Item, Output>(
  items: readonly Item[],
  begin: Begin<Item, Output>,
  given: MapRequest | undefined,
): Promise<Output[] | MapOutcome<Output>[]> => {
  const { concurrency, tolerated } = optionsOf(given);
  if (!Array.isArray(items)) throw new TypeError(`ctx.map needs an array as its first argument, not ${shown(items)}`);
  // Changed while it is worked on, it would give a replay other items.
  return new Mapping([...items], begin, tolerated).run(concurrency);
};

class Mapping<Item, Output> {
  readonly #items: readonly Item[];
  readonly #begin: Begin<Item, Output>;
  /** `undefined`: the first failure rejects, as it is. */
  readonly #tolerated: number | undefined;
  readonly #results: (Output | MapOutcome<Output>)[];
  readonly #failures: { index: number; error: Error }[] = [];
  #next = 0;
  #ended = 0;
  #over = false;
  #resolve!: (results: never) => void;
  #reject!: (error: unknown) => void;

  constructor(items: readonly Item[], begin: Begin<Item, Output>, tolerated: number | undefined) {
    this.#items = items;
    this.#begin = begin;
    this.#tolerated = tolerated;
    this.#results = new Array(items.length);
  }

  run(concurrency: number): Promise<Output[] | MapOutcome<Output>[]> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
      while (!this.#over && this.#next < this.#items.length && this.#next < concurrency) this.#beginNext();
      this.#endIfAll();
    });
  }

  #beginNext(): void {
    const index = this.#next++;
    let outcome: Promise<Output>;
    try {
      outcome = Promise.resolve(this.#begin(this.#items[index] as Item, index));
    } catch (error) {
      outcome = Promise.reject(error);
    }
    outcome.then(
      (value) => this.#ends(index, this.#tolerated === undefined ? value : { ok: true, value }),
      (error: unknown) => this.#fails(index, error),
    );
  }

  #ends(index: number, result: Output | MapOutcome<Output>): void {
    if (this.#over) return;
    this.#results[index] = result;
    this.#ended++;
    if (this.#next < this.#items.length) this.#beginNext();
    this.#endIfAll();
  }

  #fails(index: number, thrown: unknown): void {
    if (this.#over) return;
    // A cancelled run tolerates nothing: it is to end.
    if (this.#tolerated === undefined || thrown instanceof CancelledError) return this.#end(thrown);
    const error = thrown instanceof Error ? thrown : new Error(String(thrown));
    this.#failures.push({ index, error });
    if (this.#failures.length > this.#tolerated) return this.#end(tooMany(this.#failures, this.#tolerated, this.#items.length));
    this.#ends(index, { ok: false, error });
  }

  #end(error: unknown): void {
    this.#over = true;
    this.#reject(error);
  }

  #endIfAll(): void {
    if (this.#over || this.#ended < this.#items.length) return;
    this.#over = true;
    this.#resolve(this.#results as never);
  }
}

const MAX_LISTED = 100;

const tooMany = (failures: readonly { index: number; error: Error }[], tolerated: number, items: number): LockstepError => {
  const [{ index, error }] = failures as [{ index: number; error: Error }];
  const message = `ctx.map: ${failures.length} of ${items} items failed, and ${tolerated} may; the first was item ${index}: ${error.message}`;
  const details = { failed: failures.length, tolerated, items, indexes: failures.slice(0, MAX_LISTED).map((failure) => failure.index) };
  return new LockstepError("MAP_FAILED", message, { cause: error, details });
};

const optionsOf = (given: MapRequest | undefined): { concurrency: number; tolerated: number | undefined } => {
  if (given !== undefined && (typeof given !== "object" || given === null)) {
    throw new TypeError(`ctx.map needs an object of options, not ${shown(given)}`);
  }
  const odd = Object.keys(given ?? {}).find((name) => name !== "concurrency" && name !== "tolerateFailures");
  if (odd !== undefined) throw new TypeError(`ctx.map: there is no option ${shown(odd)}: use concurrency and tolerateFailures`);
  const { concurrency = Number.POSITIVE_INFINITY, tolerateFailures } = given ?? {};
  if (!isCount(concurrency) || concurrency < 1) {
    throw new TypeError(`ctx.map: the option concurrency must be a whole number of at least 1, not ${shown(concurrency)}`);
  }
  if (tolerateFailures !== undefined && !isCount(tolerateFailures)) {
    throw new TypeError(`ctx.map: the option tolerateFailures must be a whole number of at least 0, not ${shown(tolerateFailures)}`);
  }
  return { concurrency, tolerated: tolerateFailures };
};

const isCount = (value: unknown): boolean => value === Number.POSITIVE_INFINITY || (Number.isInteger(value) && (value as number) >= 0);

const shown = (value: unknown): string =>
  typeof value === "string" ? JSON.stringify(value) : typeof value === "object" && value !== null ? "an object" : String(value);
