import { processIo } from "./process-io.ts";
import { runCli } from "./program.ts";

/** The whole life of the `lockstep` command; bin/lockstep.js calls it. */
export const main = async (): Promise<void> => {
  const code = await runCli(process.argv.slice(2), processIo());
  // Sockets that are kept alive and the bundler's service must not keep the command; what was written must get out.
  for (const stream of [process.stdout, process.stderr]) await new Promise<void>((resolve) => stream.write("", () => resolve()));
  process.exit(code);
};
