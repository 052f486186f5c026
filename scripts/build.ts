/**
 * Builds the package into dist/: the compiled sources with their types, and the programs of pods and of the command line as few files.
 *
 * Usage: node scripts/build.ts [--if-stale]. With --if-stale nothing is done when dist/ is newer than all that it is made from.
 *
 * The build happens in a folder beside dist/ which then takes its place, so that a failed build leaves the last good one and a platform
 * that runs from dist/ never sees half of it.
 */
import { spawnSync } from "node:child_process";
import { existsSync, globSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { bundlePod } from "./bundle-pod.ts";
import { bundleProgram } from "./bundle-program.ts";

const root = join(import.meta.dirname, "..");
const dist = join(root, "dist");
const stamp = join(dist, "index.js");

const isStale = (): boolean => {
  if (!existsSync(stamp)) return true;
  const built = statSync(stamp).mtimeMs;
  const settings = [
    "package.json",
    "package-lock.json",
    "tsconfig.json",
    "tsconfig.build.json",
    "scripts/build.ts",
    "scripts/bundle-pod.ts",
    "scripts/bundle-program.ts",
  ];
  const inputs = [...globSync("src/**/*.ts", { cwd: root }), ...settings];
  return inputs.some((path) => statSync(join(root, path)).mtimeMs > built);
};

const compile = (outDir: string): void => {
  // The compiler is started as a program of this Node.js, so that the one first on the PATH does not matter.
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  const { status, error } = spawnSync(process.execPath, [tsc, "-p", "tsconfig.build.json", "--outDir", outDir], {
    cwd: root,
    stdio: "inherit",
  });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error("the sources do not compile; `npm run types` shows the same errors");
};

/** The compiler rewrites `.ts` in imports to `.js` in the code that it emits, but not in the declarations. */
const rewriteDeclarations = (outDir: string): void => {
  for (const path of globSync("**/*.d.ts", { cwd: outDir })) {
    const file = join(outDir, path);
    const text = readFileSync(file, "utf8");
    writeFileSync(file, text.replaceAll(/(\b(?:from |import\()")(\.{1,2}\/[^"]+)\.ts"/g, '$1$2.js"'));
  }
};

const replaceDist = (built: string): void => {
  const previous = `${built}-previous`;
  if (existsSync(dist)) renameSync(dist, previous);
  renameSync(built, dist);
  rmSync(previous, { recursive: true, force: true });
};

const build = async (): Promise<void> => {
  const fresh = join(root, `.dist-${process.pid}`);
  const startedAt = new Date();
  try {
    compile(fresh);
    rewriteDeclarations(fresh);
    const pod = ["main.ts", "liveness-thread.ts", "replica-host.ts", "replica-worker.ts"].map((entry) => join(root, "src/pod", entry));
    await bundlePod(pod, join(fresh, "pod"));
    await bundleProgram(root, fresh);
    // What is saved while the build runs may not be in it, so the build is as old as its start.
    utimesSync(join(fresh, "index.js"), startedAt, startedAt);
    replaceDist(fresh);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
};

if (!process.argv.includes("--if-stale") || isStale()) {
  await build().catch((error: Error) => {
    console.error(`build: ${error.message}`);
    process.exitCode = 1;
  });
}
