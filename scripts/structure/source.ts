import { dirname, join, normalize } from "node:path/posix";
import { parseSync } from "oxc-parser";

/** One place where a file names another module. */
export interface Import {
  specifier: string;
  line: number;
  /** Nothing of it is left at run time. */
  typeOnly: boolean;
  /** The path from the root, for a relative import; `undefined` for a package or a module of Node. */
  target: string | undefined;
}

/** A node of the syntax tree, as far as the checks need to know it. */
export interface Node {
  type: string;
  start: number;
  end: number;
  [key: string]: unknown;
}

export interface SourceFile {
  path: string;
  root: Node;
  imports: Import[];
  /** Where comments begin. */
  comments: number[];
  lineAt(offset: number): number;
}

/**
 * Parses one TypeScript file.
 * @throws {Error} when it has a syntax error
 */
export const parseSource = (path: string, text: string): SourceFile => {
  const { program, errors, comments } = parseSync(path, text);
  const starts = lineStarts(text);
  const lineAt = (offset: number): number => lineOf(starts, offset);
  const [error] = errors;
  if (error !== undefined) throw new Error(`${path}: ${error.message}`);
  const root = program as unknown as Node;
  return { path, root, imports: importsOf(path, root, lineAt), comments: comments.map(({ start }) => start), lineAt };
};

export const isNode = (value: unknown): value is Node =>
  typeof value === "object" && value !== null && typeof (value as Node).type === "string" && typeof (value as Node).start === "number";

/** Calls `visit` with every node and the one above it, parents first; `false` leaves out what is below. */
export const walk = (node: Node, visit: (node: Node, parent: Node | undefined) => boolean | undefined, parent?: Node): void => {
  if (visit(node, parent) === false) return;
  for (const value of Object.values(node)) {
    if (Array.isArray(value)) {
      for (const item of value) if (isNode(item)) walk(item, visit, node);
    } else if (isNode(value)) {
      walk(value, visit, node);
    }
  }
};

const importsOf = (path: string, root: Node, lineAt: (offset: number) => number): Import[] => {
  const found: Import[] = [];
  walk(root, (node) => {
    const source = node.source;
    if (!isNode(source) || typeof source.value !== "string") return undefined;
    const specifier = source.value;
    found.push({ specifier, line: lineAt(node.start), typeOnly: isTypeOnly(node), target: resolve(path, specifier) });
    return undefined;
  });
  return found;
};

// `import { type A }` keeps the import at run time under verbatimModuleSyntax, so only a whole-statement `import type` counts as type-only.
const isTypeOnly = (node: Node): boolean => node.importKind === "type" || node.exportKind === "type" || node.type === "TSImportType";

const resolve = (from: string, specifier: string): string | undefined =>
  specifier.startsWith(".") ? normalize(join(dirname(from), specifier)) : undefined;

const lineStarts = (text: string): number[] => {
  const starts = [0];
  for (let at = text.indexOf("\n"); at !== -1; at = text.indexOf("\n", at + 1)) starts.push(at + 1);
  return starts;
};

const lineOf = (starts: readonly number[], offset: number): number => {
  let low = 0;
  let high = starts.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (starts[middle]! <= offset) low = middle;
    else high = middle;
  }
  return low + 1;
};
