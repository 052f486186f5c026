import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach } from "vitest";
import type { Io, Sink } from "../../src/cli/io.ts";
import { runCli } from "../../src/cli/program.ts";
import { systemClock } from "../../src/lib/clock.ts";

const folders: string[] = [];

afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

/** A folder with these files, removed after the test. */
export const folderOf = (files: Record<string, string>): string => {
  const folder = mkdtempSync(path.join(tmpdir(), "lockstep-cli-"));
  folders.push(folder);
  for (const [name, content] of Object.entries(files)) writeFileSync(path.join(folder, name), content);
  return folder;
};

export interface Captured extends Sink {
  text: string;
  /** Resolves once what was written contains `part`. */
  shows(part: string): Promise<void>;
}

export const capture = (isTTY = false): Captured => {
  let waiting: { part: string; resolve: () => void }[] = [];
  return {
    isTTY,
    columns: 100,
    text: "",
    write(text) {
      this.text += text;
      waiting = waiting.filter(({ part, resolve }) => {
        if (!this.text.includes(part)) return true;
        resolve();
        return false;
      });
    },
    shows(part) {
      if (this.text.includes(part)) return Promise.resolve();
      return new Promise((resolve) => waiting.push({ part, resolve }));
    },
  };
};

export interface World {
  io: Io;
  out: Captured;
  error: Captured;
  interrupt(): void;
  /** Runs a command line to its end; gives its exit code. */
  lockstep(...argv: string[]): Promise<number>;
}

/** A world for commands in which nothing is real but the temporary folders. */
export const world = (given: Partial<Omit<Io, "stdout" | "stderr" | "stdin">> & { stdin?: string; tty?: boolean } = {}): World => {
  const interrupting = new AbortController();
  const { stdin, tty, ...more } = given;
  const [out, error] = [capture(tty), capture(tty)];
  const refuse = (what: string) => async (): Promise<never> => {
    throw new Error(`${what} is not there in this test`);
  };
  const io: Io = {
    stdout: out,
    stderr: error,
    stdin: stdin === undefined ? refuse("standard input") : async () => stdin,
    stdinBytes: async function* () {
      yield Buffer.from(stdin ?? "");
    },
    writeBytes: async (bytes) => {
      for await (const chunk of bytes) out.write(Buffer.from(chunk).toString());
    },
    env: {},
    cwd: tmpdir(),
    interrupted: interrupting.signal,
    clock: systemClock,
    fetch: refuse("fetch") as typeof fetch,
    startPlatform: refuse("a platform"),
    ...more,
  };
  return { io, out, error, interrupt: () => interrupting.abort(new Error("interrupted")), lockstep: (...argv) => runCli(argv, io) };
};
