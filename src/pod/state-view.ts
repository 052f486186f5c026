/**
 * The state store as user code sees it, in functions and in coordinators alike: keys are checked, values are checked against the schema of
 * their table and written as JSON, entries become records.
 *
 * Owns: the view and its tables. Does not own: what a read or write does (the port: a function's transaction, or a coordinator's commands).
 */
import type { State, StateRecord, StateSetOptions, StateStore, TableDefinition } from "../application/context.ts";
import { CallError, refusalOf } from "../application/errors.ts";
import { LockstepError } from "../lib/errors.ts";
import { fromJson, toJson } from "../lib/json.ts";
import { MAX_LISTED } from "../protocol/requests.ts";
import type { StaleRead, StateEntry, StateRead, StateWrite } from "../protocol/state.ts";
import { stateKeyProblem, statePrefixProblem } from "../protocol/state-key.ts";
import { validate } from "./validate.ts";

/** What the view stands on. Both are called at once, in the order in which user code asks, unless a schema takes its time. */
export interface StatePort {
  /** What was read: a `StateEntry`, or a list of them. */
  read(read: StateRead): Promise<unknown>;
  write(write: StateWrite): Promise<unknown>;
}

export interface StateViewOptions {
  /** The application's tables, by name. */
  tables: ReadonlyMap<string, TableDefinition>;
  maxPayloadBytes: number;
  /** All that goes through the port is one transaction, so that `update` needs no versions. */
  isTransaction: boolean;
}

/** How often `update` begins anew when others write the key between its read and its write. */
const MOST_TRIES = 100;

export const createStateStore = (port: StatePort, options: StateViewOptions): StateStore => {
  const view = new StateView(port, options);
  return Object.assign(view.under(""), { table: (table: TableDefinition) => view.table(table) }) as StateStore;
};

class StateView {
  readonly #port: StatePort;
  readonly #options: StateViewOptions;
  /** The last update of each key: the next waits for it, since both would read the same value. */
  readonly #updates = new Map<string, Promise<unknown>>();

  constructor(port: StatePort, options: StateViewOptions) {
    this.#port = port;
    this.#options = options;
  }

  table(table: TableDefinition): State {
    if (typeof table !== "object" || table === null || typeof table.name !== "string") {
      throw invalidKey("state.table() needs what table() returned");
    }
    return this.under(`${table.name}/`, table);
  }

  /** The keys that begin with `root`, which is no part of what user code sees. */
  under(root: string, table?: TableDefinition): State {
    const state: State = {
      get: async (key, options) => recordOf(await this.#get(root + textOf(key), options?.stale), root),
      set: async (key, value, options) => void (await this.#set(root + textOf(key), value, options, table)),
      delete: async (key) => void (await this.#write({ key: this.#checked(root + textOf(key)) })),
      update: (key, change, options) => this.#update(root + textOf(key), change, options, table) as Promise<never>,
      list: (prefix, options) => this.#list(root, textOf(prefix), options) as Promise<never>,
      refresh: async (key) => void (await this.#write({ key: this.#checked(root + textOf(key)), refresh: true })),
    };
    return state;
  }

  #checked(key: string): string {
    const problem = stateKeyProblem(key);
    if (problem !== undefined) throw invalidKey(`state key ${shown(key)} ${problem}`);
    return key;
  }

  async #get(key: string, stale?: StaleRead): Promise<StateEntry> {
    this.#checked(key);
    return (await this.#read(stale === undefined ? { op: "get", key } : { op: "get", key, stale: staleOf(stale) })) as StateEntry;
  }

  async #set(key: string, value: unknown, options?: StateSetOptions, table?: TableDefinition, ifVersion?: number): Promise<unknown> {
    this.#checked(key);
    const home = table ?? this.#options.tables.get(key.slice(0, key.indexOf("/")));
    const checked = validate(home?.options.schema, value, "STATE_VALUE_INVALID", `the value of state key "${key}"`);
    // Not awaited unless it must be: in a coordinator the order of writes is the order in which they are asked for.
    const settled = checked instanceof Promise ? await checked : checked;
    if (settled === undefined) throw invalidValue(`the value of state key "${key}" is undefined: use delete to remove the key`);
    const write: StateWrite = { key, value: toJson(settled, `the value of state key "${key}"`, this.#options.maxPayloadBytes) };
    const ttlMs = ttlOf(key, options?.ttlMs ?? home?.options.ttlMs);
    if (ttlMs !== undefined) write.ttlMs = ttlMs;
    if (ifVersion !== undefined) write.ifVersion = ifVersion;
    await this.#write(write);
    return settled;
  }

  #update(key: string, change: (value: never) => unknown, options?: StateSetOptions, table?: TableDefinition): Promise<unknown> {
    const update = () => this.#change(key, change, options, table);
    const earlier = this.#updates.get(key);
    const mine = earlier === undefined ? update() : earlier.then(update, update);
    this.#updates.set(key, mine);
    const done = (): void => {
      if (this.#updates.get(key) === mine) this.#updates.delete(key);
    };
    mine.then(done, done);
    return mine;
  }

  async #change(key: string, change: (value: never) => unknown, options?: StateSetOptions, table?: TableDefinition): Promise<unknown> {
    for (let tries = 1; ; tries++) {
      const entry = await this.#get(key);
      const value = change(fromJson(entry.value) as never);
      if (isThenable(value)) throw invalidValue(`state.update("${key}"): the change must return the value itself, not a promise`);
      const ifVersion = this.#options.isTransaction ? undefined : entry.version;
      try {
        if (value !== undefined) return await this.#set(key, value, options, table, ifVersion);
        if (entry.value !== "") await this.#write(ifVersion === undefined ? { key } : { key, ifVersion });
        return undefined;
      } catch (error) {
        if ((error as { code?: unknown }).code !== "STATE_CONFLICT" || ifVersion === undefined || tries === MOST_TRIES) throw error;
      }
    }
  }

  async #list(root: string, given: string, options: { limit?: number; after?: string } = {}): Promise<StateRecord[]> {
    const prefix = root + given;
    const problem = statePrefixProblem(prefix);
    if (problem !== undefined) throw invalidKey(`state prefix ${shown(prefix)} ${problem}`);
    const limit = limitOf(options.limit);
    const read: StateRead = { op: "list", prefix, limit };
    if (options.after !== undefined) read.after = root + textOf(options.after);
    const entries = (await this.#read(read)) as StateEntry[];
    return entries.map((entry) => recordOf(entry, root));
  }

  #read(read: StateRead): Promise<unknown> {
    return this.#port.read(read).catch(rethrow);
  }

  #write(write: StateWrite): Promise<unknown> {
    return this.#port.write(write).catch(rethrow);
  }
}

/** What a coordinator's command was refused with comes as any call's failure does. */
const rethrow = (error: unknown): never => {
  throw error instanceof CallError && error.constructor === CallError ? refusalOf(error.failure) : error;
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

const ttlOf = (key: string, given: number | undefined): number | undefined => {
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
