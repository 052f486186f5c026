import { isBuiltin } from "node:module";
import type { Finding } from "./finding.ts";
import type { StructureRules } from "./rules.ts";
import type { Import, Node, SourceFile } from "./source.ts";
import { isNode, walk } from "./source.ts";

const FORBIDDEN: ReadonlyMap<string, string> = new Map([
  ["Date", "take `now` as an argument"],
  ["performance", "take `now` as an argument"],
  ["setTimeout", "return an effect that asks for a timer"],
  ["setInterval", "return an effect that asks for a timer"],
  ["setImmediate", "return an effect; the service decides when to act on it"],
  ["queueMicrotask", "return an effect; the service decides when to act on it"],
  ["process", "take what you need as an argument"],
  ["crypto", "take ids and randomness as arguments"],
  ["console", "return what should be logged"],
  ["fetch", "return an effect; the service does the I/O"],
  ["globalThis", "take what you need as an argument"],
]);

const ASYNC = "move it into the service: a pure file computes and returns effects";

/** What a file that claims to be pure does that depends on more than its arguments. */
export const impurities = (file: SourceFile, rules: StructureRules, isPure: (path: string) => boolean): Finding[] => {
  const findings: Finding[] = [];
  const report = (line: number, message: string, mend: string): void => {
    findings.push({ level: "error", rule: "pure", path: file.path, line, message, mend });
  };
  for (const each of file.imports) {
    const wrong = wrongImport(each, rules, isPure);
    if (wrong !== undefined) report(each.line, `a pure file imports ${wrong}`, "move the impure part into a service, or import only types");
  }
  walk(file.root, (node, parent) => {
    const line = file.lineAt(node.start);
    if (node.type.startsWith("TS") && isTypeOnlyNode(node)) return false;
    if (node.async === true) report(line, "a pure file has an async function", ASYNC);
    if (node.type === "AwaitExpression" || node.await === true) report(line, "a pure file awaits", ASYNC);
    if (node.type === "ImportExpression") report(line, "a pure file imports dynamically", ASYNC);
    if (node.type === "Identifier" && isReference(node, parent)) {
      const name = node.name as string;
      const mend = FORBIDDEN.get(name);
      if (mend !== undefined) report(line, `a pure file uses \`${name}\``, mend);
      if (name === "Math" && usesRandom(parent)) report(line, "a pure file uses `Math.random`", "take a `Random` as an argument");
    }
    return undefined;
  });
  return findings;
};

const wrongImport = (each: Import, rules: StructureRules, isPure: (path: string) => boolean): string | undefined => {
  if (each.typeOnly) return undefined;
  if (each.target !== undefined) return isPure(each.target) ? undefined : `"${each.target}", which is not pure`;
  if (isBuiltin(each.specifier)) return `"${each.specifier}"`;
  const name = each.specifier.split("/", each.specifier.startsWith("@") ? 2 : 1).join("/");
  return rules.purePackages.includes(name) ? undefined : `the package "${each.specifier}"`;
};

// These wrap an expression that exists at run time; every other TypeScript node is about types alone.
const WITH_VALUES = new Set([
  "TSAsExpression",
  "TSSatisfiesExpression",
  "TSNonNullExpression",
  "TSTypeAssertion",
  "TSInstantiationExpression",
]);

const isTypeOnlyNode = (node: Node): boolean => !WITH_VALUES.has(node.type);

/** Whether an identifier is a name in its own right, and not that of a property or of what another module exports. */
const isReference = (node: Node, parent: Node | undefined): boolean => {
  if (parent === undefined) return true;
  if (parent.type === "MemberExpression") return parent.object === node || parent.computed === true;
  if (parent.type === "Property") return parent.value === node || parent.computed === true;
  if (parent.type === "MethodDefinition" || parent.type === "PropertyDefinition") return parent.value === node || parent.computed === true;
  return parent.type !== "ImportSpecifier" && parent.type !== "ExportSpecifier";
};

// Anything but a plain `Math.name` could reach `random` unseen, by destructuring for instance.
const usesRandom = (parent: Node | undefined): boolean => {
  if (parent?.type !== "MemberExpression" || parent.computed === true) return true;
  return isNode(parent.property) && parent.property.name === "random";
};
