import { build } from "esbuild";

/**
 * Bundles the program of the command line, and with it the platform, over what the compiler has made of it: hundreds of small modules take
 * three times as long to load as a few files. What is imported dynamically stays a file of its own, so that a command loads what it uses.
 * Packages stay outside: who installs the platform decides their versions.
 *
 * All files but the entry lie in the root of `outdir`, where `src/platform.ts` would be: it finds the pod's program from there.
 */
export const bundleProgram = async (root: string, outdir: string): Promise<void> => {
  await build({
    absWorkingDir: root,
    entryPoints: ["src/cli/main.ts"],
    outbase: "src",
    outdir,
    chunkNames: "program-[name]-[hash]",
    allowOverwrite: true,
    bundle: true,
    splitting: true,
    packages: "external",
    platform: "node",
    format: "esm",
    target: "node22",
    sourcemap: true,
    logLevel: "warning",
  });
};
