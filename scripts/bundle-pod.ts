import { existsSync } from "node:fs";
import { build } from "esbuild";

/**
 * Bundles the program inside a pod into one file: loading one file is what makes a pod start fast.
 * @throws {Error} when the entry is missing or does not bundle
 */
export const bundlePod = async (entry: string, outfile: string): Promise<void> => {
  if (!existsSync(entry)) throw new Error(`the pod's program is missing: there is no ${entry}`);
  await build({
    entryPoints: [entry],
    outfile,
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
