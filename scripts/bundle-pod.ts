import { existsSync } from "node:fs";
import { build } from "esbuild";

/**
 * Bundles each of the programs inside a pod (its main thread's, its other threads', and that of a replica) into one file: loading one file is what makes a
 * pod start fast.
 * @throws {Error} when an entry is missing or does not bundle
 */
export const bundlePod = async (entries: string[], outdir: string): Promise<void> => {
  for (const entry of entries) if (!existsSync(entry)) throw new Error(`the pod's program is missing: there is no ${entry}`);
  await build({
    entryPoints: entries,
    outdir,
    allowOverwrite: true,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node22",
    // An optional native part of msgpackr, which it looks up by itself and does without when absent.
    external: ["msgpackr-extract"],
    sourcemap: true,
    legalComments: "eof",
    logLevel: "warning",
  });
};
