import { readFile, realpath, stat } from "node:fs/promises";
import path from "node:path";
import { LockstepError } from "../lib/errors.ts";

/** Where an application's code begins, and what it is called. */
export interface Entry {
  /** The module that exports the definitions; absolute, without symbolic links. */
  file: string;
  /** The folder that paths in stack traces are relative to. */
  root: string;
  name: string;
  /** Files beside the code that decided the above. */
  alsoRead: string[];
}

interface PackageJson {
  name?: unknown;
  main?: unknown;
  exports?: unknown;
}

const INDEX = ["index.ts", "index.js", "index.mts", "index.mjs"];
const MODULE = /\.(?:[cm]?[jt]s|[jt]sx)$/;

const invalid = (message: string, cause?: unknown): LockstepError =>
  new LockstepError("APPLICATION_INVALID", message, cause === undefined ? {} : { cause });

/**
 * Finds the module that a path means: the file itself; or in a folder `index.ts|js|mts|mjs`, else package.json's "exports" or "main", else
 * `src/index.ts`.
 * @throws {LockstepError} APPLICATION_INVALID when there is none
 */
export const findEntry = async (given: string): Promise<Entry> => {
  const absolute = await realpath(path.resolve(given)).catch((cause: unknown) => {
    throw invalid(`there is no file or folder at "${given}": mend the path`, cause);
  });
  if ((await stat(absolute)).isFile()) return fileEntry(absolute, given);
  return await folderEntry(absolute, given);
};

const fileEntry = async (file: string, given: string): Promise<Entry> => {
  if (!MODULE.test(file)) throw invalid(`"${given}" is no module: give a .ts or .js file, or the folder of the application`);
  const root = path.dirname(file);
  const stem = path.basename(file).replace(/\.[^.]+$/, "");
  if (stem !== "index") return { file, root, name: cleanName(stem), alsoRead: [] };
  const manifest = await readPackage(root);
  return { file, root, name: nameOf(manifest?.content, root), alsoRead: manifest === undefined ? [] : [manifest.file] };
};

const folderEntry = async (root: string, given: string): Promise<Entry> => {
  const manifest = await readPackage(root);
  const named = manifest === undefined ? undefined : entryOf(manifest.content);
  const candidates = [...INDEX, ...(named === undefined ? [] : [named]), "src/index.ts"];
  for (const candidate of candidates) {
    const file = path.join(root, candidate);
    if (!(await isFile(file))) continue;
    const alsoRead = manifest === undefined ? [] : [manifest.file];
    return { file: await realpath(file), root, name: nameOf(manifest?.content, root), alsoRead };
  }
  throw invalid(`the folder "${given}" holds no application: none of ${candidates.join(", ")} is there`);
};

const isFile = async (file: string): Promise<boolean> => {
  const found = await stat(file).catch(() => undefined);
  return found?.isFile() === true;
};

const readPackage = async (folder: string): Promise<{ file: string; content: PackageJson } | undefined> => {
  const file = path.join(folder, "package.json");
  if (!(await isFile(file))) return undefined;
  try {
    return { file, content: JSON.parse(await readFile(file, "utf8")) as PackageJson };
  } catch (cause) {
    throw invalid(`${file} cannot be read as JSON: ${(cause as Error).message}`, cause);
  }
};

const entryOf = (manifest: PackageJson): string | undefined => {
  const exported = exportTarget(manifest.exports);
  if (exported !== undefined) return exported;
  return typeof manifest.main === "string" ? manifest.main : undefined;
};

const exportTarget = (exported: unknown): string | undefined => {
  if (typeof exported === "string") return exported;
  if (typeof exported !== "object" || exported === null) return undefined;
  const conditions = exported as Record<string, unknown>;
  if ("." in conditions) return exportTarget(conditions["."]);
  for (const condition of ["node", "import", "default", "require"]) {
    const target = exportTarget(conditions[condition]);
    if (target !== undefined) return target;
  }
  return undefined;
};

const nameOf = (manifest: PackageJson | undefined, folder: string): string => {
  const name = typeof manifest?.name === "string" ? manifest.name.split("/").at(-1) : undefined;
  return cleanName(name === undefined || name === "" ? path.basename(folder) : name);
};

const cleanName = (name: string): string => name.replace(/[^a-zA-Z0-9._-]+/g, "-").replace(/^[-.]+|[-.]+$/g, "") || "application";
