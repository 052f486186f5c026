import type { Staleness } from "../protocol/state.ts";
import { ClientError } from "./errors.ts";
import type { Http } from "./http.ts";

/** What a key of an application's state holds. */
export interface ClientStateEntry<Value = unknown> {
  key: string;
  /** Absent when there is none. */
  value?: Value;
  /** 0 when there is no value. */
  version: number;
  /** Present when the value can't be trusted, because the call that should have written it failed. */
  stale?: Staleness;
  /** Unix milliseconds. */
  expiresAt?: number;
}

/** The state of applications, by keys such as `orders/17`. */
export interface ClientState {
  /** Gives stale values as well; version 0 for a key that there is not. */
  get<Value = unknown>(application: string, key: string): Promise<ClientStateEntry<Value>>;
  /** Keys that begin with `prefix` (default: all), in order. `limit` is 100 by default and at most 1,000; `after` goes on behind a key. */
  list<Value = unknown>(
    application: string,
    options?: { prefix?: string; limit?: number; after?: string },
  ): Promise<ClientStateEntry<Value>[]>;
  /** Keys that are stale now. */
  stale(application: string, options?: { prefix?: string; limit?: number }): Promise<ClientStateEntry[]>;
  /**
   * Resolves when the write is durable.
   * @throws {ClientError} STATE_CONFLICT when the key has another version than `ifVersion` (0: no value)
   */
  set<Value = unknown>(
    application: string,
    key: string,
    value: Value,
    options?: { ttlMs?: number; ifVersion?: number },
  ): Promise<ClientStateEntry<Value>>;
  delete(application: string, key: string, options?: { ifVersion?: number }): Promise<void>;
  /** Declares that the value is right as it is. */
  refresh<Value = unknown>(application: string, key: string): Promise<ClientStateEntry<Value>>;
}

export const createState = (http: Http): ClientState => {
  const put = <Value>(application: string, key: string, body: { ifVersion?: number }): Promise<ClientStateEntry<Value>> =>
    // A write with a condition that has arrived would be refused the second time.
    http.json("PUT", pathOf(application, key), { body, repeatable: body.ifVersion === undefined });
  const page = async (
    application: string,
    query: Record<string, string | number | boolean | undefined>,
  ): Promise<ClientStateEntry<never>[]> =>
    (await http.json<{ entries: ClientStateEntry<never>[] }>("GET", pathOf(application), { query })).entries;
  return {
    get: async (application, key) => {
      try {
        return await http.json("GET", pathOf(application, key));
      } catch (error) {
        if (error instanceof ClientError && error.code === "UNKNOWN_KEY") return { key, version: 0 };
        throw error;
      }
    },
    list: (application, options = {}) => page(application, { ...options }),
    stale: (application, options = {}) => page(application, { ...options, stale: true }),
    set: (application, key, value, options = {}) => put(application, key, { value, ...options } as { ifVersion?: number }),
    delete: async (application, key, { ifVersion } = {}) => {
      await http.json("DELETE", pathOf(application, key), { query: { ifVersion }, repeatable: ifVersion === undefined });
    },
    refresh: (application, key) => put(application, key, { refresh: true } as { ifVersion?: number }),
  };
};

const pathOf = (application: string, key?: string): string => {
  const base = `/v1/state/${encodeURIComponent(application)}`;
  // With its slashes encoded: a part of the key that is ".." would otherwise take the address apart.
  return key === undefined ? base : `${base}/${encodeURIComponent(key)}`;
};
