import type { Clock } from "../lib/clock.ts";
import type { Platform, PlatformOptions } from "../platform.ts";

/** Where text goes. */
export interface Sink {
  readonly isTTY: boolean;
  readonly columns: number;
  write(text: string): void;
}

/** Everything that a command sees of the world outside, so that tests can give it another one. */
export interface Io {
  readonly stdout: Sink;
  readonly stderr: Sink;
  /** All of standard input, as text. */
  stdin(): Promise<string>;
  /** Standard input as it comes. */
  stdinBytes(): AsyncIterable<Uint8Array>;
  /** Writes bytes to standard output as fast as they are taken there. */
  writeBytes(bytes: AsyncIterable<Uint8Array>): Promise<void>;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Aborted by the first Ctrl-C or SIGTERM, and by SIGHUP. */
  readonly interrupted: AbortSignal;
  readonly clock: Clock;
  readonly fetch: typeof fetch;
  startPlatform(options: PlatformOptions): Promise<Platform>;
  /** Ends this process as `kill -9` would, and begins it anew with these arguments added. Absent where the system can't. */
  restart?: ((more: readonly string[]) => void) | undefined;
}
