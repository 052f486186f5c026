/**
 * Checks the house rules that neither the compiler nor the linter knows: pure cores, no import cycles, adapters behind their ports.
 * Usage: node scripts/check-structure.ts [root]. Ends with 1 when a rule is broken.
 */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { checkStructure } from "./structure/check.ts";
import { rules } from "./structure/rules.ts";

const root = process.argv[2] ?? join(import.meta.dirname, "..");
const patterns = ["src", "test", "bench", "examples", "scripts"].map((folder) => `${folder}/**/*.ts`);
const paths = globSync(patterns, { cwd: root, exclude: (path) => path.split("/").includes("node_modules") }).sort();
const findings = checkStructure(new Map(paths.map((path) => [path, readFileSync(join(root, path), "utf8")])), rules);

for (const { level, rule, path, line, message, mend } of findings) {
  console.error(`${path}:${line}: ${level} [${rule}] ${message}\n    mend: ${mend}`);
}
const errors = findings.filter(({ level }) => level === "error").length;
const warnings = findings.length - errors;
console.log(`structure: ${paths.length} files, ${errors} errors, ${warnings} warnings`);
if (paths.length === 0) console.error(`structure: no source files under ${root}`);
process.exitCode = errors > 0 || paths.length === 0 ? 1 : 0;
