/** A client of a Lockstep platform for any program that has `fetch`. */
export { type Client, type ClientOptions, createClient } from "./client.ts";
export type { ClientCluster, WatchOptions } from "./cluster.ts";
export { ClientError, RunError } from "./errors.ts";
export type { EventsOptions } from "./events.ts";
export type { ClientObject, ClientObjects, ClientPutOptions } from "./objects.ts";
export type { ClientRun } from "./run.ts";
export type { ClientState, ClientStateEntry } from "./state.ts";
export type {
  JournalEntry,
  LogsFilter,
  RetryFilter,
  RunCertificate,
  RunDetails,
  RunOutcome,
  RunResolution,
  RunsFilter,
  StartOptions,
  WaitOptions,
} from "./types.ts";
