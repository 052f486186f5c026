/**
 * Makes one script of an application's modules and the packages that they use. It owns the rules of what may be in a bundle; it does not load
 * user code: what the application defines is read inside a pod.
 *
 * Invariant: the code, and with it the version, depends on the content and the relative places of the files alone; never on the machine's
 * absolute paths or on time.
 */
import { createHash } from "node:crypto";
import { isBuiltin } from "node:module";
import path from "node:path";
import type { BuildFailure, Metafile } from "esbuild";
import { LockstepError } from "../lib/errors.ts";
import type { Bundle } from "../protocol/application.ts";
import { compileError, describeMessage } from "./compile-error.ts";
import type { Entry } from "./entry.ts";
import { findEntry } from "./entry.ts";
import { withOwnSourceMap } from "./source-map.ts";

export interface BundleOptions {
  /** Overrides the name found in package.json or taken from the path. */
  name?: string;
  /** Told when nothing is left to do here until the bundler's own process answers. */
  onBegun?(): void;
}

export interface BundledApplication extends Bundle {
  /** Absolute paths of every file that the bundle was made from: when one changes, so may the bundle. */
  watchFiles: string[];
  /** What esbuild finds questionable, as text for people. */
  warnings: string[];
}

/**
 * Bundles the application at `given`: a module file, or a folder with `index.ts|js|mts|mjs`, package.json's "exports" or "main", or
 * `src/index.ts`. Its name is the last segment of package.json's "name", else the folder's or file's.
 * @throws {LockstepError} APPLICATION_INVALID saying where and what to mend; `details.watchFiles` names the files to look at again
 */
export const bundleApplication = async (given: string, options: BundleOptions = {}): Promise<BundledApplication> => {
  const entry = await findEntry(given);
  const application = options.name ?? entry.name;
  const { text, metafile, warnings } = await compile(entry, application, options.onBegun);
  const onlyAtRunTime = checkImports(metafile, application);
  const code = withOwnSourceMap(text);
  return {
    application,
    version: createHash("sha256").update(code).digest("hex").slice(0, 16),
    code,
    watchFiles: [...new Set([...Object.keys(metafile.inputs).map((file) => path.resolve(entry.root, file)), ...entry.alsoRead])],
    warnings: [...warnings, ...onlyAtRunTime],
  };
};

/** Ends esbuild's helper process, which otherwise stays for the next bundle and takes memory in a platform that runs for weeks. */
export const stopBundler = async (): Promise<void> => {
  const { stop } = await import("esbuild");
  await stop();
};

const compile = async (
  entry: Entry,
  application: string,
  onBegun?: () => void,
): Promise<{ text: string; metafile: Metafile; warnings: string[] }> => {
  // Loaded here, so that commands which bundle nothing don't pay for it.
  const { build } = await import("esbuild");
  try {
    const building = build({
      entryPoints: [entry.file],
      absWorkingDir: entry.root,
      outfile: path.join(entry.root, "application.js"),
      write: false,
      bundle: true,
      platform: "node",
      format: "cjs",
      target: "node22",
      external: ["lockstep"],
      // A pod runs the bundle as a script, which can't import: what it loads later is in it as well, or is one of Node's own modules.
      supported: { "dynamic-import": false },
      sourcemap: "inline",
      sourcesContent: false,
      legalComments: "none",
      metafile: true,
      logLevel: "silent",
      logLimit: 20,
    });
    onBegun?.();
    const result = await building;
    const warnings = result.warnings.map((warning) => describeMessage(warning, entry.root));
    return { text: result.outputFiles[0]?.text ?? "", metafile: result.metafile, warnings };
  } catch (cause) {
    if (!isBuildFailure(cause))
      throw new LockstepError("APPLICATION_INVALID", `esbuild could not bundle "${application}": ${String(cause)}`, { cause });
    throw compileError(cause, entry, application);
  }
};

const isBuildFailure = (thrown: unknown): thrown is BuildFailure =>
  thrown instanceof Error && Array.isArray((thrown as Partial<BuildFailure>).errors);

/** A pod provides `lockstep` and Node's own modules and nothing else: tells which other imports were left, or refuses them. */
const checkImports = (metafile: Metafile, application: string): string[] => {
  const left: string[] = [];
  for (const [file, input] of Object.entries(metafile.inputs)) {
    for (const { path: name, external } of input.imports) {
      if (external !== true || name === "lockstep" || isBuiltin(name)) continue;
      if (name.startsWith("lockstep/")) throw noSubpath(name, file, application);
      left.push(`${file}: "${name}" was not found, so it is not in the bundle and cannot be loaded at run time`);
    }
  }
  return left;
};

const noSubpath = (name: string, file: string, application: string): LockstepError =>
  new LockstepError(
    "APPLICATION_INVALID",
    `application "${application}": ${file} imports "${name}", but inside an application there is only "lockstep": ` +
      "use ctx.call, ctx.run and ctx.start there, and keep clients and tests in files of their own",
    { details: { file, import: name } },
  );
