import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";

const OUTSIDE = [
  // A program of its own, what need not be installed, and what only /metrics loads.
  "esbuild",
  "@aws-sdk/*",
  "prom-client",
  // Without this optional native part, msgpackr does it in JavaScript.
  "msgpackr-extract",
  // Parts of Fastify that the gateway never loads: its validator, its serializer, its logger, and what tests it without a socket.
  "@fastify/ajv-compiler",
  "@fastify/fast-json-stringify-compiler",
  "pino",
  "light-my-request",
];

/**
 * Bundles the program of the command line, and with it the platform and what both use of their packages, over what the compiler has made of
 * it: a thousand small modules take several times as long to load as a few files. What is imported dynamically stays a file of its own, so
 * that a command loads what it uses.
 *
 * All files but the entry lie in the root of `outdir`, where `src/platform.ts` would be: it finds the pod's program from there.
 */
export const bundleProgram = async (root: string, outdir: string): Promise<void> => {
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: ["src/cli/main.ts"],
    outbase: "src",
    outdir,
    chunkNames: "program-[name]-[hash]",
    allowOverwrite: true,
    bundle: true,
    splitting: true,
    external: OUTSIDE,
    platform: "node",
    format: "esm",
    target: "node22",
    sourcemap: true,
    metafile: true,
    // Packages in CommonJS look up Node's modules with `require`.
    banner: { js: 'const require = process.getBuiltinModule("node:module").createRequire(import.meta.url);' },
    logLevel: "warning",
  });
  writeFileSync(join(outdir, "program-licenses.txt"), licensesOf(root, Object.keys(metafile.inputs)));
};

/** The licenses of the packages that are in the bundle: each wants its notice to be where its code is. */
const licensesOf = (root: string, inputs: readonly string[]): string => {
  const folders = inputs.map((path) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0]).filter((folder) => folder !== undefined);
  return [...new Set(folders)]
    .sort()
    .map((folder) => {
      const { name, version, license } = JSON.parse(readFileSync(join(root, folder, "package.json"), "utf8")) as Record<string, string>;
      const file = readdirSync(join(root, folder)).find((each) => /^licen[cs]e/i.test(each));
      const text = file === undefined ? "" : readFileSync(join(root, folder, file), "utf8").trim();
      return `${name} ${version} (${license})\n\n${text}\n`;
    })
    .join("\n----\n\n");
};
