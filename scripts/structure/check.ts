import { matchesGlob } from "node:path/posix";
import { importCycles } from "./cycles.ts";
import type { Finding } from "./finding.ts";
import { impurities } from "./purity.ts";
import type { StructureRules } from "./rules.ts";
import type { Node, SourceFile } from "./source.ts";
import { parseSource, walk } from "./source.ts";

/** Checks a tree, given as the text of each file by its path from the root, against the house rules. */
export const checkStructure = (texts: ReadonlyMap<string, string>, rules: StructureRules): Finding[] => {
  const matches = (path: string, globs: readonly string[]): boolean => globs.some((glob) => matchesGlob(path, glob));
  const isTest = (path: string): boolean => matches(path, rules.tests);
  const isPure = (path: string): boolean => matches(path, rules.pure) && !matches(path, rules.impure) && !isTest(path);
  const findings: Finding[] = [];
  const files = new Map<string, SourceFile>();
  for (const [path, text] of texts) {
    try {
      files.set(path, parseSource(path, text));
    } catch (error) {
      findings.push({ level: "error", rule: "syntax", path, line: 1, message: (error as Error).message, mend: "mend the syntax" });
    }
  }
  findings.push(...importCycles(files));
  for (const file of files.values()) {
    findings.push(...exportsOfEverything(file), ...emptyCatches(file));
    if (isPure(file.path)) findings.push(...impurities(file, rules, isPure));
    if (!isTest(file.path) && !matches(file.path, rules.wiring)) {
      findings.push(...importsOfAdapters(file, (path) => matches(path, rules.adapters) && !isTest(path)));
    }
    if (file.path.endsWith("/port.ts")) findings.push(...portsTooLarge(file, rules));
  }
  return findings.sort((a, b) => a.path.localeCompare(b.path) || a.line - b.line);
};

const exportsOfEverything = (file: SourceFile): Finding[] => {
  const findings: Finding[] = [];
  walk(file.root, (node) => {
    if (node.type === "ExportAllDeclaration") {
      findings.push({
        level: "error",
        rule: "export-all",
        path: file.path,
        line: file.lineAt(node.start),
        message: "`export *` hides what a module offers",
        mend: "list the names one by one",
      });
    }
    return undefined;
  });
  return findings;
};

const emptyCatches = (file: SourceFile): Finding[] => {
  const findings: Finding[] = [];
  walk(file.root, (node) => {
    if (node.type !== "CatchClause") return undefined;
    const { body, start, end } = node.body as Node & { body: Node[] };
    if (body.length > 0 || file.comments.some((at) => at > start && at < end)) return undefined;
    findings.push({
      level: "error",
      rule: "empty-catch",
      path: file.path,
      line: file.lineAt(start),
      message: "an error is swallowed",
      mend: "handle it, or say in a comment why nothing needs to be done",
    });
    return undefined;
  });
  return findings;
};

const importsOfAdapters = (file: SourceFile, isAdapter: (path: string) => boolean): Finding[] => {
  const own = isAdapter(file.path);
  return file.imports
    .filter(({ target }) => target !== undefined && isAdapter(target) && !(own && folderOf(target) === folderOf(file.path)))
    .map(({ line, target }) => ({
      level: "error",
      rule: "adapter",
      path: file.path,
      line,
      message: `imports the adapter "${target}"`,
      mend: "depend on the port beside it, and let src/platform.ts choose the adapter",
    }));
};

// The component: `src/journal` for both src/journal/sqlite.ts and src/journal/sqlite/schema.ts.
const folderOf = (path: string): string => path.split("/").slice(0, 2).join("/");

const portsTooLarge = (file: SourceFile, rules: StructureRules): Finding[] => {
  const findings: Finding[] = [];
  walk(file.root, (node) => {
    if (node.type !== "TSInterfaceDeclaration" || !hasMethod(node)) return undefined;
    const lines = file.lineAt(node.end) - file.lineAt(node.start) + 1;
    if (lines > rules.portLines) {
      findings.push({
        level: "warning",
        rule: "port-size",
        path: file.path,
        line: file.lineAt(node.start),
        message: `the interface ${(node.id as { name: string }).name} has ${lines} lines; a port has at most ${rules.portLines}`,
        mend: "move what not every adapter must do by itself out of the port",
      });
    }
    return false;
  });
  return findings;
};

const hasMethod = (declaration: Node): boolean => {
  const { body } = declaration.body as { body: Node[] };
  return body.some(({ type }) => type === "TSMethodSignature");
};
