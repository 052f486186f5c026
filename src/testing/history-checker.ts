/**
 * Whether what concurrent callers saw can be explained by their operations having taken effect one after the other, each at a moment between
 * its beginning and its end: linearizability of single operations, and strict serializability of transactions, which are operations on
 * the whole store.
 *
 * The search is that of Wing and Gong: of the operations that may come next, since none that is left has ended before they began, each is
 * tried, and taken back when nothing that follows fits. What has been tried once, the same operations done with the same state as outcome,
 * is not tried again (Lowe), which makes histories of thousands of operations feasible as long as few of them overlap.
 */
export interface Operation<Input, Output> {
  /** Who did it, for reports. */
  caller: string;
  input: Input;
  output: Output;
  /** In any unit in which they can be compared; what begins at the moment at which another ends may have come before it. */
  begin: number;
  end: number;
  /** Its answer was never seen: it may have taken effect at any time since it began, and may still, or never. Its `end` and `output` say nothing. */
  maybe?: boolean;
}

/** What operations do. States are values: `apply` never changes the one that it is given. */
export interface Model<State, Input, Output> {
  initial: State;
  /** The state after an operation that has seen this output; `undefined` when it can't have seen it in this state. */
  apply(state: State, input: Input, output: Output): State | undefined;
  /** The same text for the same state. */
  describe(state: State): string;
}

export type Verdict<Input, Output> =
  | { ok: true; order: Operation<Input, Output>[] }
  /** `order` is as far as any explanation goes; then `stuck` may come next, and none of them fits. */
  | { ok: false; order: Operation<Input, Output>[]; stuck: Operation<Input, Output>[]; state: string };

/**
 * Looks for an order that explains the history: of all operations whose answers were seen, and of any others that it takes. `undefined` when
 * `mostStates` were tried and nothing is proven: too much overlaps, or too many answers were not seen.
 */
export function explain<State, Input, Output>(
  history: readonly Operation<Input, Output>[],
  model: Model<State, Input, Output>,
): Verdict<Input, Output>;
export function explain<State, Input, Output>(
  history: readonly Operation<Input, Output>[],
  model: Model<State, Input, Output>,
  mostStates: number,
): Verdict<Input, Output> | undefined;
export function explain<State, Input, Output>(
  history: readonly Operation<Input, Output>[],
  model: Model<State, Input, Output>,
  mostStates = Number.POSITIVE_INFINITY,
): Verdict<Input, Output> | undefined {
  // Each operation that may have happened doubles what there is to try. Nearly always it is enough to take it in where nothing else fits, and
  // only few of them one after the other; what is found so is an explanation like any other.
  if (history.some(({ maybe }) => maybe === true)) {
    for (const chain of CHAINS) {
      const verdict = new Search(history, model, mostStates, chain).run();
      if (verdict?.ok === true) return verdict;
    }
  }
  return new Search(history, model, mostStates).run();
}

const CHAINS = [1, 2, 3];

interface Frame<State> {
  state: State;
  /** Operations that may come next, by number, and how many of them have been tried. */
  candidates: number[];
  tried: number;
  /** Whether an operation that has to come fits next. */
  isOpen: boolean;
  /** How many that may have happened have just come one after the other. */
  chain: number;
  /** Which one led here; -1 for none. */
  by: number;
}

class Search<State, Input, Output> {
  /** In the order of their beginnings: those whose answers were seen, and then the others. */
  readonly #operations: Operation<Input, Output>[];
  /** How many answers were seen. */
  readonly #certain: number;
  readonly #model: Model<State, Input, Output>;
  readonly #mostStates: number;
  /** So many that may have happened come one after the other, and only where nothing else fits; `undefined`: anywhere. */
  readonly #chain: number | undefined;
  readonly #done: Uint8Array;
  readonly #seen = new Set<string>();
  /** Every operation before this one is done. */
  #first = 0;
  #left: number;

  constructor(history: readonly Operation<Input, Output>[], model: Model<State, Input, Output>, mostStates: number, chain?: number) {
    const ordered = [...history].sort((a, b) => a.begin - b.begin || a.end - b.end);
    const certain = ordered.filter(({ maybe }) => maybe !== true);
    this.#operations = [...certain, ...ordered.filter(({ maybe }) => maybe === true)];
    this.#certain = certain.length;
    this.#left = certain.length;
    this.#model = model;
    this.#mostStates = mostStates;
    this.#chain = chain;
    this.#done = new Uint8Array(history.length);
  }

  /** `undefined` when it would take too long. */
  run(): Verdict<Input, Output> | undefined {
    const frames: Frame<State>[] = [this.#frame(this.#model.initial, -1, 0)];
    let best: Frame<State>[] = [...frames];
    for (let frame = frames[0]; frame !== undefined; frame = frames.at(-1)) {
      if (this.#left === 0) return { ok: true, order: this.#orderOf(frames) };
      if (this.#seen.size > this.#mostStates) return undefined;
      const next = this.#advance(frame);
      if (next !== undefined) {
        frames.push(next);
        if (frames.length > best.length) best = [...frames];
        continue;
      }
      frames.pop();
      if (frame.by >= 0) this.#undo(frame.by);
    }
    const last = best.at(-1) as Frame<State>;
    const stuck = last.candidates.map((i) => this.#operations[i] as Operation<Input, Output>);
    return { ok: false, order: this.#orderOf(best), stuck, state: this.#model.describe(last.state) };
  }

  /** The next frame that has not been tried; `undefined` when there is none. */
  #advance(frame: Frame<State>): Frame<State> | undefined {
    while (frame.tried < frame.candidates.length) {
      const i = frame.candidates[frame.tried++] as number;
      const isMaybe = i >= this.#certain;
      if (isMaybe && this.#chain !== undefined && (frame.isOpen || frame.chain >= this.#chain)) continue;
      const { input, output } = this.#operations[i] as Operation<Input, Output>;
      const state = this.#model.apply(frame.state, input, output);
      if (state === undefined) continue;
      if (!isMaybe) frame.isOpen = true;
      this.#do(i);
      const chain = isMaybe ? frame.chain + 1 : 0;
      const id = this.#idOf(state, this.#chain === undefined ? 0 : chain);
      if (!this.#seen.has(id)) {
        this.#seen.add(id);
        return this.#frame(state, i, chain);
      }
      this.#undo(i);
    }
    return undefined;
  }

  #do(i: number): void {
    this.#done[i] = 1;
    if (i < this.#certain) this.#left--;
    while (this.#first < this.#certain && this.#done[this.#first] === 1) this.#first++;
  }

  #undo(i: number): void {
    this.#done[i] = 0;
    if (i >= this.#certain) return;
    this.#left++;
    if (i < this.#first) this.#first = i;
  }

  /** Operations that no other, not yet done, has preceded. */
  #frame(state: State, by: number, chain: number): Frame<State> {
    const candidates: number[] = [];
    let firstEnd = Number.POSITIVE_INFINITY;
    for (let i = this.#first; i < this.#certain; i++) {
      const operation = this.#operations[i] as Operation<Input, Output>;
      if (operation.begin > firstEnd) break;
      if (this.#done[i] === 1) continue;
      candidates.push(i);
      if (operation.end < firstEnd) firstEnd = operation.end;
    }
    // Those that end first are the likeliest to come first; one that begins after another's end can't.
    const possible = candidates.filter((i) => (this.#operations[i]?.begin ?? 0) <= firstEnd);
    possible.sort((a, b) => (this.#operations[a]?.end ?? 0) - (this.#operations[b]?.end ?? 0));
    // What nobody has seen the answer of comes in where nothing else fits.
    for (let i = this.#certain; i < this.#operations.length && (this.#operations[i]?.begin ?? 0) <= firstEnd; i++) {
      if (this.#done[i] === 0) possible.push(i);
    }
    return { state, candidates: possible, tried: 0, isOpen: false, chain, by };
  }

  // Operations before the first that is not done need not be told apart, nor those after the last that is.
  #idOf(state: State, chain: number): string {
    let done = chain === 0 ? "" : `${chain} `;
    for (let i = this.#first, last = this.#done.lastIndexOf(1, this.#certain - 1); i <= last; i++) done += this.#done[i];
    for (let i = this.#certain; i < this.#operations.length; i++) if (this.#done[i] === 1) done += ` ${i}`;
    return `${this.#first} ${done} ${this.#model.describe(state)}`;
  }

  #orderOf(frames: readonly Frame<State>[]): Operation<Input, Output>[] {
    return frames.filter(({ by }) => by >= 0).map(({ by }) => this.#operations[by] as Operation<Input, Output>);
  }
}

/** What a transaction on a store of texts has read and written, in this order: all reads, then all writes. */
export interface StoreTransaction {
  /** Keys with the value that was read; `undefined`: none. */
  reads: readonly (readonly [key: string, value: string | undefined])[];
  /** Prefixes with all that they were seen to hold, in order of the keys. */
  lists?: readonly (readonly [prefix: string, entries: readonly (readonly [key: string, value: string])[]])[];
  writes: readonly (readonly [key: string, value: string | undefined])[];
}

/** A store of texts by key. What was read and written is the output: what it asked for does not matter. */
export const storeModel: Model<ReadonlyMap<string, string>, unknown, StoreTransaction> = {
  initial: new Map(),
  apply: (state, _, { reads, lists = [], writes }) => {
    if (reads.some(([key, value]) => state.get(key) !== value)) return undefined;
    if (lists.some(([prefix, entries]) => contentOf(state, prefix) !== JSON.stringify(entries))) return undefined;
    if (writes.length === 0) return state;
    const after = new Map(state);
    for (const [key, value] of writes) {
      if (value === undefined) after.delete(key);
      else after.set(key, value);
    }
    return after;
  },
  describe: (state) => contentOf(state, ""),
};

const contentOf = (state: ReadonlyMap<string, string>, prefix: string): string =>
  JSON.stringify([...state].filter(([key]) => key.startsWith(prefix)).sort(([a], [b]) => (a < b ? -1 : 1)));
