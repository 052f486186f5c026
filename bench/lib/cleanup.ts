/** What a bench started and must end: processes and temporary folders, also when it is interrupted. The latest goes first. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

type Ending = () => void | Promise<void>;

const endings = new Set<Ending>();
let ending = false;

/** Whoever starts something asks first. @throws {Error} when everything is being ended: what started now would stay behind. */
export const refuseWhenEnding = (): void => {
  if (ending) throw new Error("interrupted");
};

/** Registers `end` for the end of this process; the returned function takes it back. */
export const onEnd = (end: Ending): (() => void) => {
  installOnce();
  endings.add(end);
  return () => void endings.delete(end);
};

/** Ends everything that is still registered. */
export const endAll = async (): Promise<void> => {
  for (const end of [...endings].reverse()) {
    endings.delete(end);
    try {
      await end();
    } catch (error) {
      console.error(`while cleaning up: ${(error as Error).message}`);
    }
  }
};

/** A new folder under the system's temporary one, removed at the end or by `remove`. */
export const temporaryFolder = (name: string): { path: string; remove: () => void } => {
  refuseWhenEnding();
  const path = mkdtempSync(join(tmpdir(), `lockstep-bench-${name}-`));
  // A killed process may still be writing its last file while the folder is emptied: rmSync then tries again.
  const erase = (): void => rmSync(path, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
  const release = onEnd(erase);
  return {
    path,
    remove: () => {
      release();
      erase();
    },
  };
};

let installed = false;
const installOnce = (): void => {
  if (installed) return;
  installed = true;
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => void interrupted(signal));
};

const interrupted = async (signal: string): Promise<void> => {
  if (ending) return;
  ending = true;
  console.error(`\n${signal}: stopping everything that was started`);
  await endAll();
  process.exit(130);
};
