/**
 * The state store as user code sees it, in functions and in coordinators alike: keys are checked, values are checked against the schema of
 * their table and written as JSON, entries become records.
 *
 * Owns: the view and its tables. Does not own: what a read or write does (the port: a function's transaction, or a coordinator's commands).
 */
import type { State, StateRecord, StateSetOptions, StateStore, TableDefinition } from "../application/context.ts";
import { LockstepError } from "../lib/errors.ts";
import { fromJson, toJson } from "../lib/json.ts";
import { MAX_LISTED } from "../protocol/requests.ts";
import type { StaleRead, StateEntry, StateRead, StateWrite } from "../protocol/state.ts";
import { stateKeyProblem, statePrefixProblem } from "../protocol/state-key.ts";
import { validate } from "./validate.ts";

/** What the view stands on. Both are called at once, in the order in which user code asks, unless a schema takes its time. */
export interface StatePort {
  /** All that goes through the port is one transaction, so that `update` needs no versions. */
  readonly isTransaction: boolean;
  /** What was read: a `StateEntry`, or a list of them. */
  read(read: StateRead): Promise<unknown>;
  /** `undefined` when there is nothing to wait for. */
  write(write: StateWrite): Promise<unknown> | undefined;
}

export interface StateViewOptions {
  /** The application's tables, by name. */
  tables?: ReadonlyMap<string, TableDefinition>;
  maxPayloadBytes: number;
}

/** How often `update` begins anew when others write the key between its read and its write. */
const MOST_TRIES = 100;

/** The keys that begin with a root, which is no part of what user code sees: `""` for the whole store, or a table's name and a slash. */
export class StateView implements StateStore {
  readonly #port: StatePort;
  readonly #options: StateViewOptions;
  readonly #root: string;
  readonly #table: TableDefinition | undefined;
  readonly #store: StateView;
  /** Of the whole store, the last update of each key: the next waits for it, since both would read the same value. */
  #updates: Map<string, Promise<unknown>> | undefined;

  constructor(port: StatePort, options: StateViewOptions, store?: StateView, table?: TableDefinition) {
    this.#port = port;
    this.#options = options;
    this.#root = table === undefined ? "" : `${table.name}/`;
    this.#table = table;
    this.#store = store ?? this;
  }

  table<Value>(table: TableDefinition<Value>): State<Value> {
    if (typeof table !== "object" || table === null || typeof table.name !== "string") {
      throw invalidKey("state.table() needs what table() returned");
    }
    return new StateView(this.#port, this.#options, this.#store, table as TableDefinition) as State<Value>;
  }

  async get<Value>(key: string, options?: { stale?: StaleRead }): Promise<StateRecord<Value>> {
    const entry = await this.#read(this.#keyOf(key), options?.stale);
    return recordOf(entry, this.#root) as StateRecord<Value>;
  }

  async set(key: string, value: unknown, options?: StateSetOptions): Promise<void> {
    const full = this.#keyOf(key);
    const table = this.#tableOf(full);
    // Not awaited unless it must be: in a coordinator the order of writes is the order in which they are asked for.
    const checked = valueFor(table, full, value);
    const written = this.#put(full, checked instanceof Promise ? await checked : checked, ttlOf(full, table, options));
    if (written !== undefined) await written;
  }

  async delete(key: string): Promise<void> {
    await this.#port.write({ key: this.#keyOf(key) });
  }

  async update<Value>(key: string, change: (value: never) => unknown, options?: StateSetOptions): Promise<Value | undefined> {
    const full = this.#keyOf(key);
    this.#store.#updates ??= new Map();
    const updates = this.#store.#updates;
    const update = () => this.#change(full, change, options);
    const earlier = updates.get(full);
    const mine = earlier === undefined ? update() : earlier.then(update, update);
    updates.set(full, mine);
    try {
      return (await mine) as Value | undefined;
    } finally {
      if (updates.get(full) === mine) updates.delete(full);
    }
  }

  async list<Value>(prefix: string, options: { limit?: number; after?: string } = {}): Promise<StateRecord<Value>[]> {
    const full = this.#root + textOf(prefix);
    const problem = statePrefixProblem(full);
    if (problem !== undefined) throw invalidKey(`state prefix ${shown(full)} ${problem}`);
    const read: StateRead = { op: "list", prefix: full, limit: limitOf(options.limit) };
    if (options.after !== undefined) read.after = this.#root + textOf(options.after);
    const entries = (await this.#port.read(read)) as StateEntry[];
    return entries.map((entry) => recordOf(entry, this.#root) as StateRecord<Value>);
  }

  async refresh(key: string): Promise<void> {
    await this.#port.write({ key: this.#keyOf(key), refresh: true });
  }

  #keyOf(given: string): string {
    const key = this.#root + textOf(given);
    const problem = stateKeyProblem(key);
    if (problem !== undefined) throw invalidKey(`state key ${shown(key)} ${problem}`);
    return key;
  }

  #tableOf(key: string): TableDefinition | undefined {
    return this.#table ?? this.#options.tables?.get(key.slice(0, key.indexOf("/")));
  }

  #read(key: string, stale?: StaleRead): Promise<StateEntry> {
    return this.#port.read(stale === undefined ? { op: "get", key } : { op: "get", key, stale: staleOf(stale) }) as Promise<StateEntry>;
  }

  #put(key: string, value: unknown, ttlMs: number | undefined, ifVersion?: number): Promise<unknown> | undefined {
    if (value === undefined) throw invalidValue(`the value of state key "${key}" is undefined: use delete to remove the key`);
    const write: StateWrite = { key, value: toJson(value, `the value of state key "${key}"`, this.#options.maxPayloadBytes) };
    if (ttlMs !== undefined) write.ttlMs = ttlMs;
    if (ifVersion !== undefined) write.ifVersion = ifVersion;
    return this.#port.write(write);
  }

  async #change(key: string, change: (value: never) => unknown, options?: StateSetOptions): Promise<unknown> {
    const table = this.#tableOf(key);
    for (let tries = 1; ; tries++) {
      const entry = await this.#read(key);
      const value = change(fromJson(entry.value) as never);
      if (isThenable(value)) throw invalidValue(`state.update("${key}"): the change must return the value itself, not a promise`);
      const ifVersion = this.#port.isTransaction ? undefined : entry.version;
      try {
        if (value === undefined) {
          if (entry.value !== "") await this.#port.write(ifVersion === undefined ? { key } : { key, ifVersion });
          return undefined;
        }
        const settled = await valueFor(table, key, value);
        await this.#put(key, settled, ttlOf(key, table, options), ifVersion);
        return settled;
      } catch (error) {
        if ((error as { code?: unknown }).code !== "STATE_CONFLICT" || ifVersion === undefined || tries === MOST_TRIES) throw error;
      }
    }
  }
}

/** The value as the schema of its table makes it, at once when that is synchronous. */
const valueFor = (table: TableDefinition | undefined, key: string, value: unknown): unknown => {
  const schema = table?.options.schema;
  return schema === undefined ? value : validate(schema, value, "STATE_VALUE_INVALID", `the value of state key "${key}"`);
};

const recordOf = ({ key, value, version, stale }: StateEntry, root: string): StateRecord<never> => ({
  key: key.slice(root.length),
  value: fromJson(value) as never,
  version,
  freshness: stale === undefined ? FRESH : { stale: true, ...stale },
});

const FRESH = Object.freeze({ stale: false as const });

const LONGEST_TEXT = 2_000;

const textOf = (given: unknown): string => {
  if (typeof given === "string" && given.length <= LONGEST_TEXT) return given;
  if (typeof given === "string") throw invalidKey(`a state key has at most 1,000 bytes after its table, not ${given.length} characters`);
  throw invalidKey(`a state key must be a text, not ${given === null ? "null" : typeof given}`);
};

const STALE_READS: ReadonlySet<unknown> = new Set(["refuse", "allow", "wait"]);

const staleOf = (given: StaleRead): StaleRead => {
  if (STALE_READS.has(given)) return given;
  throw badOption(`stale must be "refuse", "allow" or "wait", not ${shown(given)}`);
};

const limitOf = (given: number | undefined): number => {
  if (given === undefined) return MAX_LISTED;
  if (!Number.isSafeInteger(given) || given < 1) throw badOption(`limit must be a whole number of at least 1, not ${shown(given)}`);
  return Math.min(given, MAX_LISTED);
};

const ttlOf = (key: string, table: TableDefinition | undefined, options: StateSetOptions | undefined): number | undefined => {
  const given = options?.ttlMs ?? table?.options.ttlMs;
  if (given === undefined || given === Number.POSITIVE_INFINITY) return undefined;
  if (typeof given === "number" && given > 0) return given;
  throw invalidValue(`ttlMs of state key "${key}" must be a number above 0, not ${shown(given)}`);
};

const LONGEST_SHOWN = 120;

const shown = (value: unknown): string => {
  const text = typeof value === "string" ? JSON.stringify(value) : String(value);
  return text.length > LONGEST_SHOWN ? `${text.slice(0, LONGEST_SHOWN)}…` : text;
};

// Asking again with the same key or value cannot help.
const badOption = (message: string): Error => Object.assign(new LockstepError("BAD_REQUEST", message), { terminal: true });

const invalidKey = (message: string): Error => Object.assign(new LockstepError("STATE_KEY_INVALID", message), { terminal: true });

const invalidValue = (message: string): Error => Object.assign(new LockstepError("STATE_VALUE_INVALID", message), { terminal: true });

const isThenable = (value: unknown): boolean =>
  typeof value === "object" && value !== null && typeof (value as PromiseLike<unknown>).then === "function";
