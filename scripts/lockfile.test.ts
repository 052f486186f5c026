import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";

const root = join(import.meta.dirname, "..");

interface Lock {
  packages: Record<string, { resolved?: string; dependencies?: Record<string, string>; optionalDependencies?: Record<string, string> }>;
}

const read = (path: string): Lock => JSON.parse(readFileSync(join(root, path), "utf8")) as Lock;

/** The package itself and those whose node_modules it sees, up to the root. */
const homesOf = (at: string): string[] => (at === "" ? [""] : [at, ...homesOf(at.slice(0, Math.max(0, at.lastIndexOf("/node_modules/"))))]);

const isLocked = (lock: Lock, from: string, name: string): boolean =>
  homesOf(from).some((home) => `${home === "" ? "" : `${home}/`}node_modules/${name}` in lock.packages);

const locks = globSync("**/package-lock.json", { cwd: root, exclude: (path) => /(^|\/)(node_modules|dist)(\/|$)/.test(path) });

describe.each(locks)("%s", (path) => {
  test("names no address, so that it works with any mirror", () => {
    const withAddress = Object.entries(read(path).packages).filter(([, entry]) => entry.resolved !== undefined);
    expect(withAddress.map(([name]) => name)).toEqual([]);
  });
});

// npm leaves a binary package of another platform out of the lock when its registry has no such version, and then `npm ci` refuses the lock.
test("package-lock.json holds every dependency of every package, those of other platforms included", () => {
  const lock = read("package-lock.json");
  const missing = Object.entries(lock.packages).flatMap(([at, entry]) =>
    Object.keys({ ...entry.dependencies, ...entry.optionalDependencies })
      .filter((name) => !isLocked(lock, at, name))
      .map((name) => `${name}, which ${at || "this package"} depends on`),
  );
  expect(missing).toEqual([]);
});
