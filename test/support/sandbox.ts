/** A folder of its own for a test's platforms: data, temporary files and sockets, and the mark by which their processes are found again. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { eventually } from "./eventually.ts";
import { processesAtHome, signal } from "./processes.ts";

export interface Sandbox {
  readonly root: string;
  readonly data: string;
  /** TMPDIR of the platforms, where they make their sockets. */
  readonly temporary: string;
  /** A path below `root`. */
  path(name: string): string;
  /** Writes a file below `root` and gives back its path. */
  write(name: string, text: string): string;
  /** Living processes that the sandbox's platforms have started, and those platforms themselves. */
  processes(): number[];
  /** Ends all of its processes and removes it. */
  dispose(): Promise<void>;
}

export const createSandbox = (): Sandbox => {
  // Short, as the address of a unix socket has little room.
  const root = mkdtempSync(join(tmpdir(), "ls-"));
  const temporary = join(root, "tmp");
  mkdirSync(temporary);
  const killAll = (): number => {
    const left = processesAtHome(root);
    for (const pid of left) signal(pid, "SIGKILL");
    return left.length;
  };
  const remove = (): void => rmSync(root, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
  // For a process that ends before it disposes, such as one that is interrupted.
  const onExit = (): void => {
    killAll();
    remove();
  };
  process.once("exit", onExit);
  return {
    root,
    data: join(root, "data"),
    temporary,
    path: (name) => join(root, name),
    write: (name, text) => {
      const file = join(root, name);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, text);
      return file;
    },
    processes: () => processesAtHome(root),
    dispose: async () => {
      await eventually("the sandbox's processes end", () => killAll() === 0);
      remove();
      process.off("exit", onExit);
    },
  };
};
