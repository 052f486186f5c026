import path from "node:path";
import type { BuildFailure, Message } from "esbuild";
import { LockstepError } from "../lib/errors.ts";
import type { Entry } from "./entry.ts";

const SHOWN = 5;

/** Turns esbuild's failure into one error that names each place and says what to do there. */
export const compileError = (failure: BuildFailure, entry: Entry, application: string): LockstepError => {
  const shown = failure.errors.slice(0, SHOWN).map((message) => describeMessage(message, entry.root));
  const more = failure.errors.length - shown.length;
  const text = [`application "${application}" cannot be bundled:`, ...shown, ...(more > 0 ? [`… and ${more} more`] : [])].join("\n");
  const places = failure.errors.flatMap(({ text: what, location }) =>
    location === null ? [] : [{ file: location.file, line: location.line, column: columnOf(location), text: what }],
  );
  const watchFiles = [...new Set([entry.file, ...entry.alsoRead, ...places.map(({ file }) => path.resolve(entry.root, file))])];
  return new LockstepError("APPLICATION_INVALID", text, { cause: failure, details: { places, watchFiles } });
};

/** One message as `file:line:column: what (what to do)`, then the line with a caret. The file is named as seen from the working directory. */
export const describeMessage = (message: Message, root: string): string => {
  const { location } = message;
  const hint = hintFor(message.text);
  const what = hint === undefined ? message.text : `${message.text} (${hint})`;
  if (location === null) return `  ${what}`;
  const column = columnOf(location);
  const place = `  ${shortPath(path.resolve(root, location.file))}:${location.line}:${column}: ${what}`;
  if (location.lineText.length === 0 || location.lineText.length > 200) return place;
  return `${place}\n    ${location.lineText}\n    ${" ".repeat(column - 1)}^`;
};

// esbuild counts bytes from 0; editors count characters from 1.
const columnOf = (location: NonNullable<Message["location"]>): number =>
  Buffer.from(location.lineText).subarray(0, location.column).toString().length + 1;

const shortPath = (file: string): string => {
  const relative = path.relative(process.cwd(), file);
  return relative.startsWith("..") ? file : relative;
};

const hintFor = (text: string): string | undefined => {
  const missing = /^Could not resolve "([^"]+)"/.exec(text)?.[1];
  if (missing !== undefined) return hintForMissing(missing);
  if (text.startsWith("Top-level await")) return "an application is loaded synchronously: move the awaited work into a function's handler";
  if (text.includes('".node" files')) return "native addons cannot travel in a bundle: use a package in plain JavaScript or WebAssembly";
  if (text.startsWith("No loader is configured for")) return "only JavaScript, TypeScript, JSON and text can be imported";
  return undefined;
};

const hintForMissing = (name: string): string => {
  if (name.startsWith(".") || path.isAbsolute(name)) return "there is no such file: mend the path";
  if (name.startsWith("#")) return 'add it to "imports" in package.json';
  const packageName = name
    .split("/")
    .slice(0, name.startsWith("@") ? 2 : 1)
    .join("/");
  return `install it beside the application: npm install ${packageName}`;
};
