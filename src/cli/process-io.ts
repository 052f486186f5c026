import { pipeline } from "node:stream/promises";
import { systemClock } from "../lib/clock.ts";
import type { Io, Sink } from "./io.ts";

const DEFAULT_COLUMNS = 100;

const sinkOf = (stream: NodeJS.WriteStream): Sink => ({
  isTTY: stream.isTTY === true,
  columns: stream.columns ?? DEFAULT_COLUMNS,
  write: (text) => void stream.write(text),
});

const readStdin = async (): Promise<string> => {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
};

/** What the system needs to end what this process leaves behind: its pods, whose connections have closed. */
const ASIDE_S = 0.2;

/**
 * Puts another program in the place of this one: memory, threads, locks and connections are gone without a word, as by `kill -9`. The process
 * id stays, and with it the terminal, Ctrl-C, and whoever waits for the exit code. The shell in between collects the children that end.
 */
const beginAnew = (more: readonly string[]): void => {
  const end = process.argv.indexOf("--", 2);
  const given = end < 0 ? [...process.argv.slice(1), ...more] : process.argv.slice(1).toSpliced(end - 1, 0, ...more);
  const again = `sleep ${ASIDE_S}; exec "$@"`;
  process.execve?.("/bin/sh", ["sh", "-c", again, "lockstep", process.execPath, ...process.execArgv, ...given], process.env);
};

/**
 * The world as this process sees it. The first Ctrl-C or SIGTERM lets the command end in order, the second ends it at once; so does a terminal
 * that is closed, which may tell so more than once.
 */
export const processIo = (): Io => {
  const interrupting = new AbortController();
  let hasPlatform = false;
  const interrupt = (): void => {
    if (interrupting.signal.aborted) process.exit(130);
    interrupting.abort(new Error("interrupted"));
  };
  const hangUp = (): void => interrupting.abort(new Error("interrupted"));
  process.on("SIGINT", interrupt).on("SIGTERM", interrupt).on("SIGHUP", hangUp);
  // Whoever reads our output (head, less, a terminal) may be gone: there is nobody left to write for. A platform is still stopped in order.
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE" && error.code !== "EIO") throw error;
      if (hasPlatform) hangUp();
      else if (stream === process.stdout) process.exit(0);
    });
  }
  return {
    stdout: sinkOf(process.stdout),
    stderr: sinkOf(process.stderr),
    stdin: readStdin,
    stdinBytes: () => process.stdin,
    writeBytes: (bytes) => pipeline(bytes, process.stdout, { end: false }),
    env: process.env,
    cwd: process.cwd(),
    interrupted: interrupting.signal,
    clock: systemClock,
    fetch: globalThis.fetch,
    restart: process.execve === undefined || process.platform === "win32" ? undefined : beginAnew,
    startPlatform: async (options) => {
      hasPlatform = true;
      const { startPlatform } = await import("../platform.ts");
      return await startPlatform(options);
    },
  };
};
