import type { LoadRequest, LoadResult } from "../lib/http-load.ts";
import type { Work } from "./work.ts";

/** A platform that can do the work. */
export interface Contender {
  /** As in the table and for `--only`. */
  name: string;
  /** What answers: programs and packages by name with their versions. */
  versions: () => Record<string, string>;
  /** Cases that it has no form of. Default none. */
  lacks?: readonly string[];
  /** Measured only when `--only` names it. */
  optional?: boolean;
  /** Starts everything with an empty store in a temporary folder; resolves when it can take the first request. */
  start: () => Promise<Running>;
}

export interface Window {
  connections: number;
  warmupMs: number;
  durationMs: number;
}

export interface Running {
  port: number;
  /** The i-th request of a case, with the answer that it must get. */
  request: (work: Work, i: number) => LoadRequest;
  /** For a contender that is not driven by HTTP: its own closed loop, in place of the load generator. */
  loop?: (work: Work, window: Window) => Promise<LoadResult>;
  /** The processes that the platform consists of, without the load generator; their children count with them. */
  pids: readonly number[];
  /** The processes that make things durable: whose fsync calls `--durability` counts. */
  journalPids: readonly number[];
  /** What the running platform says of its durability, read from itself. */
  durability: () => Promise<string>;
  /** Ends everything and removes the store. */
  stop: () => Promise<void>;
}
