import type { Finding } from "./finding.ts";
import type { SourceFile } from "./source.ts";

/**
 * Import cycles, one finding per knot of files. Imports of types count: two files that need each other's types are one component in two
 * places, and every later value import between them would be a cycle at run time.
 */
export const importCycles = (files: ReadonlyMap<string, SourceFile>): Finding[] => {
  const findings: Finding[] = [];
  const known = new Set<string>();
  for (const file of files.values()) {
    if (known.has(file.path)) continue;
    const cycle = shortestCycle(file, files);
    if (cycle === undefined) continue;
    for (const path of cycle) known.add(path);
    const first = file.imports.find((each) => each.target === (cycle[1] ?? file.path));
    findings.push({
      level: "error",
      rule: "cycle",
      path: file.path,
      line: first?.line ?? 1,
      message: `an import cycle: ${[...cycle, file.path].join(" -> ")}`,
      mend: "move what both need into a file that imports neither",
    });
  }
  return findings;
};

/** The shortest way from a file back to itself, breadth first. */
const shortestCycle = (start: SourceFile, files: ReadonlyMap<string, SourceFile>): string[] | undefined => {
  const cameFrom = new Map<string, string>();
  const waiting = [start.path];
  for (let at = 0; at < waiting.length; at++) {
    const path = waiting[at]!;
    for (const { target } of files.get(path)?.imports ?? []) {
      if (target === start.path) return trail(start.path, path, cameFrom);
      if (target === undefined || cameFrom.has(target) || !files.has(target)) continue;
      cameFrom.set(target, path);
      waiting.push(target);
    }
  }
  return undefined;
};

const trail = (start: string, end: string, cameFrom: ReadonlyMap<string, string>): string[] => {
  const path: string[] = [];
  for (let at = end; at !== start; at = cameFrom.get(at)!) path.unshift(at);
  return [start, ...path];
};
