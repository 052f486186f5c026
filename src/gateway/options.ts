import type { Clock } from "../lib/clock.ts";
import { LockstepError } from "../lib/errors.ts";

export interface GatewayOptions {
  /** Address to listen at. Default 127.0.0.1; one beyond loopback needs an `apiKey`. */
  host?: string;
  /** Default 4700; 0 takes any free port. */
  port?: number;
  /** When set, every request but those to /healthz and /readyz must carry it as `Authorization: Bearer`. */
  apiKey?: string;
  /** Names by which the platform may be called, beside localhost, the loopback addresses, `host` and the address that a request came in on. */
  allowedHosts?: readonly string[];
  /** Web origins, such as `https://console.example`, whose pages may call the platform. Default: none. */
  allowedOrigins?: readonly string[];
  /** Longest body of a request. Default 1 MiB. */
  bodyLimitBytes?: number;
  /** The longest time that the body of an object may take. Default two hours. */
  uploadTimeoutMs?: number;
  /** Longest body of a deployment. Default 32 MiB. */
  bundleLimitBytes?: number;
  /** Deepest nesting of a body's arrays and objects. Default 100. */
  maxJsonDepth?: number;
  /** A longer `?wait=` is cut to this. Default 60,000. */
  maxWaitMs?: number;
  /** Value of Retry-After on refusals that pass by themselves. Default 1. */
  retryAfterSeconds?: number;
  /** Event streams open at the same time. Default 256. */
  maxStreams?: number;
  /** Pause between the heartbeats of an event stream. Default 15,000. */
  heartbeatMs?: number;
  /** An event stream whose client has read nothing for this long while data waited is ended. Default 10,000. */
  stallMs?: number;
  /** How long `close` waits for requests under way before it ends their connections. Default 5,000. */
  closeTimeoutMs?: number;
  /** Shown in the OpenAPI document. Default `0.0.0`. */
  version?: string;
  clock?: Clock;
  /** Told of every unexpected error behind an INTERNAL answer. Default: writes it to standard error. */
  onDefect?: (error: unknown, where: string) => void;
}

export type Settings = Required<Omit<GatewayOptions, "apiKey">> & Pick<GatewayOptions, "apiKey">;

/**
 * Applies the defaults.
 * @throws {LockstepError} ACCESS_DENIED for an address beyond loopback without an API key; BAD_REQUEST for a useless option
 */
export const settingsOf = (options: GatewayOptions, systemClock: Clock): Settings => {
  const { host = "127.0.0.1", port = 4700, apiKey, uploadTimeoutMs = 7_200_000 } = options;
  if (apiKey !== undefined && !/^[\x21-\x7e]+$/.test(apiKey)) {
    throw new LockstepError("BAD_REQUEST", "apiKey must be visible ASCII characters without spaces, and not empty", {
      details: { field: "apiKey" },
    });
  }
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new LockstepError("BAD_REQUEST", `port must be an integer from 0 to 65535, not ${port}`, { details: { field: "port" } });
  }
  if (apiKey === undefined && !isLoopback(host)) {
    const message = `listening at ${host} would let anyone on the network run code here: set an API key, or listen at 127.0.0.1`;
    throw new LockstepError("ACCESS_DENIED", message, { details: { field: "apiKey", host } });
  }
  return {
    host,
    port,
    apiKey,
    allowedHosts: options.allowedHosts ?? [],
    allowedOrigins: options.allowedOrigins ?? [],
    bodyLimitBytes: options.bodyLimitBytes ?? 1 << 20,
    uploadTimeoutMs,
    bundleLimitBytes: options.bundleLimitBytes ?? 32 << 20,
    maxJsonDepth: options.maxJsonDepth ?? 100,
    maxWaitMs: options.maxWaitMs ?? 60_000,
    retryAfterSeconds: options.retryAfterSeconds ?? 1,
    maxStreams: options.maxStreams ?? 256,
    heartbeatMs: options.heartbeatMs ?? 15_000,
    stallMs: options.stallMs ?? 10_000,
    closeTimeoutMs: options.closeTimeoutMs ?? 5_000,
    version: options.version ?? "0.0.0",
    clock: options.clock ?? systemClock,
    onDefect: options.onDefect ?? reportOnStandardError,
  };
};

/** Whether only this machine is reached by the address. */
export const isLoopback = (host: string): boolean => host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);

const reportOnStandardError = (error: unknown, where: string): void => console.error(`lockstep gateway: ${where}:`, error);
