import { enableCompileCache, flushCompileCache } from "node:module";
import { join } from "node:path";

/** Beside the code that it is made from, and as trustworthy: in a shared temporary folder others could put their own code there first. */
const COMPILE_CACHE = join(import.meta.dirname, "../../.compile-cache");
/** A command that lives longer has compiled what it needs at its start. */
const FLUSH_AFTER_MS = 5_000;

/** The whole life of the `lockstep` command; bin/lockstep.js calls it. */
export const main = async (): Promise<void> => {
  // Where the folder can't be written, all is compiled anew. It is imported after this: only that is kept.
  enableCompileCache(COMPILE_CACHE);
  // Node writes it at the end; a platform that is killed has none.
  setTimeout(flushCompileCache, FLUSH_AFTER_MS).unref();
  const [{ processIo }, { runCli }] = await Promise.all([import("./process-io.ts"), import("./program.ts")]);
  const code = await runCli(process.argv.slice(2), processIo());
  // Sockets that are kept alive and the bundler's service must not keep the command; what was written must get out.
  for (const stream of [process.stdout, process.stderr]) await new Promise<void>((resolve) => stream.write("", () => resolve()));
  process.exit(code);
};
