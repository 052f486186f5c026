import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { checkStructure } from "./check.ts";
import type { Finding } from "./finding.ts";
import { rules } from "./rules.ts";

const check = (files: Record<string, string>): Finding[] => checkStructure(new Map(Object.entries(files)), rules);

/** `path:line rule` of each finding, for short comparisons. */
const places = (files: Record<string, string>): string[] => check(files).map(({ path, line, rule }) => `${path}:${line} ${rule}`);

describe("a pure file", () => {
  const machine = "src/queue/machine.ts";

  test.each([
    ["Date", "export const now = () => Date.now();"],
    ["Date", "export const at = new Date(0);"],
    ["setTimeout", "export const wait = (f: () => void) => setTimeout(f, 1);"],
    ["setInterval", "export const wait = (f: () => void) => setInterval(f, 1);"],
    ["setImmediate", "export const wait = (f: () => void) => setImmediate(f);"],
    ["queueMicrotask", "export const wait = (f: () => void) => queueMicrotask(f);"],
    ["performance", "export const now = () => performance.now();"],
    ["process", "export const pid = () => process.pid;"],
    ["crypto", "export const id = () => crypto.randomUUID();"],
    ["console", "export const log = (x: string) => console.log(x);"],
    ["fetch", "export const get = (x: string) => fetch(x);"],
    ["globalThis", "export const now = () => globalThis.Date.now();"],
    ["Math.random", "export const roll = () => Math.random();"],
    ["Math.random", "const { random } = Math; export const roll = random;"],
    ["Math.random", 'export const roll = () => Math["random"]();'],
    ["async function", "export const f = async () => 1;"],
    ["async function", "export const o = { async f() { return 1; } };"],
    ["async function", "export class C { async f() { return 1; } }"],
    ["awaits", "await 1;"],
    ["awaits", "export async function f(x: AsyncIterable<number>) { for await (const y of x) return y; }"],
    ["imports dynamically", 'export const f = () => import("../lib/heap.ts");'],
    ['"node:fs"', 'import { readFileSync } from "node:fs"; export const f = readFileSync;'],
    ['"fs"', 'import { readFileSync } from "fs"; export const f = readFileSync;'],
    ['the package "fastify"', 'import { fastify } from "fastify"; export const f = fastify;'],
    ['"src/queue/service.ts", which is not pure', 'import { f } from "./service.ts"; export const g = f;'],
    ['"src/queue/service.ts", which is not pure', 'export { f } from "./service.ts";'],
    ['"src/lib/clock.ts", which is not pure', 'import { systemClock } from "../lib/clock.ts"; export const g = systemClock;'],
  ])("may not use %s", (what, text) => {
    const messages = check({ [machine]: text, "src/queue/service.ts": "export const f = 1;" }).map(({ message }) => message);
    expect(messages.some((message) => message.includes(what))).toBe(true);
  });

  test("may use types of anything, pure files, names of properties and plain mathematics", () => {
    const text = `
      import type { Clock } from "../lib/clock.ts";
      import type { Journal } from "../journal/port.ts";
      import { Heap } from "../lib/heap.ts";
      import { pack } from "msgpackr";
      // A comment may say Date, setTimeout and await.
      const text = "Date.now() " + \`process \${Math.floor(1.5)}\`;
      export interface Effect { crypto: string; at: Date; performance: typeof process.hrtime }
      export const f = (e: Effect, o: { process: number; Date: number }): unknown => [e.crypto, o.process, { process: o.Date }, text, pack, Heap];
      export type T = Clock | Journal;
    `;
    expect(check({ [machine]: text, "src/lib/heap.ts": "export class Heap {}" })).toEqual([]);
  });

  test("is any machine, and everything under lib, protocol, expression and consensus but the clock and tests", () => {
    const impure = "export const now = () => Date.now();";
    expect(
      places({
        "src/a/machine.ts": impure,
        "src/a/view-change-machine.ts": impure,
        "src/lib/x.ts": impure,
        "src/lib/clock.ts": impure,
        "src/lib/x.test.ts": impure,
        "src/expression/parse.ts": impure,
        "src/consensus/replica.ts": impure,
        "src/protocol/run.ts": impure,
        "src/a/service.ts": impure,
      }),
    ).toEqual([
      "src/a/machine.ts:1 pure",
      "src/a/view-change-machine.ts:1 pure",
      "src/consensus/replica.ts:1 pure",
      "src/expression/parse.ts:1 pure",
      "src/lib/x.ts:1 pure",
      "src/protocol/run.ts:1 pure",
    ]);
  });

  test("is told the line and how to mend it", () => {
    const [finding] = check({ [machine]: "// one\n\nexport const now = () => Date.now();\n" });
    expect(finding).toEqual({
      level: "error",
      rule: "pure",
      path: machine,
      line: 3,
      message: "a pure file uses `Date`",
      mend: "take `now` as an argument",
    });
  });
});

describe("imports", () => {
  test("may not form a cycle, and the message shows the way round", () => {
    const findings = check({
      "src/a.ts": '\nimport { b } from "./b.ts";\nexport const a = b;',
      "src/b.ts": 'import { c } from "./x/c.ts";\nexport const b = c;',
      "src/x/c.ts": 'export { a as c } from "../a.ts";',
      "src/d.ts": 'import { a } from "./a.ts";\nexport const d = a;',
    });
    expect(findings).toHaveLength(1);
    expect(findings[0]).toMatchObject({ rule: "cycle", path: "src/a.ts", line: 2 });
    expect(findings[0]?.message).toContain("src/a.ts -> src/b.ts -> src/x/c.ts -> src/a.ts");
  });

  test("may not form a cycle of types alone", () => {
    const files = {
      "src/a.ts": 'import type { B } from "./b.ts";\nexport interface A { b: B }',
      "src/b.ts": 'export interface B { a: import("./a.ts").A }',
    };
    expect(places(files)).toEqual(["src/a.ts:1 cycle"]);
  });

  test("may not lead from a file to itself", () => {
    expect(places({ "src/a.ts": 'export const x = 1;\nexport { x as y } from "./a.ts";' })).toEqual(["src/a.ts:2 cycle"]);
  });

  test("shows each of two separate cycles", () => {
    const pair = (from: string, to: string) => ({ [`src/${from}.ts`]: `export { v } from "./${to}.ts";` });
    expect(places({ ...pair("a", "b"), ...pair("b", "a"), ...pair("c", "d"), ...pair("d", "c") })).toEqual([
      "src/a.ts:1 cycle",
      "src/c.ts:1 cycle",
    ]);
  });
});

describe("adapters", () => {
  const importing = (target: string) => `import { x } from "${target}";\nexport const y = x;`;

  test("may be imported only where the platform is put together and by tests", () => {
    expect(
      places({
        "src/journal/sqlite.ts": "export const x = 1;",
        "src/cluster/local.ts": "export const x = 1;",
        "src/platform.ts": importing("./journal/sqlite.ts"),
        "src/testing/index.ts": importing("../journal/sqlite.ts"),
        "src/cli/commands/dev.ts": importing("../../cluster/local.ts"),
        "src/journal/sqlite.test.ts": importing("./sqlite.ts"),
        "test/kill.test.ts": importing("../src/journal/sqlite.ts"),
        "src/coordinator/service.ts": importing("../journal/sqlite.ts"),
        "src/scheduler/service.ts": importing("../cluster/local.ts"),
      }),
    ).toEqual(["src/coordinator/service.ts:1 adapter", "src/scheduler/service.ts:1 adapter"]);
  });

  test("may be made of several files and share them within their component, but not across", () => {
    expect(
      places({
        "src/journal/sqlite.ts": importing("./sqlite-schema.ts"),
        "src/journal/sqlite-schema.ts": "export const x = 1;",
        "src/cluster/local.ts": importing("../journal/sqlite-schema.ts"),
      }),
    ).toEqual(["src/cluster/local.ts:1 adapter"]);
  });
});

test("`export *` is refused anywhere, with or without a name", () => {
  expect(
    places({ "src/a.ts": 'export * from "./b.ts";\nexport * as b from "./b.ts";', "examples/x/index.ts": 'export * from "./y.ts";' }),
  ).toEqual(["examples/x/index.ts:1 export-all", "src/a.ts:1 export-all", "src/a.ts:2 export-all"]);
});

test("an empty catch is refused unless a comment in it says why", () => {
  const text = [
    "export const a = () => { try { b(); } catch {} };",
    "export const b = () => { try { a(); } catch (error) { } }; // not in it",
    "export const c = () => { try { a(); } catch { /* it is gone already */ } };",
    "export const d = () => { try { a(); } catch { return 1; } };",
  ];
  expect(places({ "src/a.ts": text.join("\n") })).toEqual(["src/a.ts:1 empty-catch", "src/a.ts:2 empty-catch"]);
});

test("a port whose interface is too large is warned of, plain data beside it is not", () => {
  const members = (kind: string) => Array.from({ length: 60 }, (_, i) => `  m${i}${kind};`).join("\n");
  const text = `export interface Row {\n${members(": number")}\n}\nexport interface Store {\n${members("(): void")}\n}\n`;
  const findings = check({ "src/state/port.ts": text, "src/state/service.ts": text });
  expect(findings.map(({ level, rule, line }) => ({ level, rule, line }))).toEqual([{ level: "warning", rule: "port-size", line: 63 }]);
});

test("a file that does not parse is an error", () => {
  expect(places({ "src/a.ts": "export const = 1;" })).toEqual(["src/a.ts:1 syntax"]);
});

describe("the command", () => {
  const folders: string[] = [];
  const run = (files: Record<string, string>) => {
    const root = mkdtempSync(join(tmpdir(), "structure-"));
    folders.push(root);
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), text);
    }
    return spawnSync(process.execPath, [join(import.meta.dirname, "../check-structure.ts"), root], { encoding: "utf8" });
  };
  afterEach(() => {
    for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
  });

  test("ends with 1 and prints file, line, rule and remedy when a rule is broken", () => {
    const { status, stderr } = run({
      "src/lib/a.ts": "\nexport const f = () => Date.now();",
      "src/node_modules/x.ts": 'export * from "./y.ts";',
    });
    expect(status).toBe(1);
    expect(stderr).toBe("src/lib/a.ts:2: error [pure] a pure file uses `Date`\n    mend: take `now` as an argument\n");
  });

  test("ends with 0 on a sound tree", () => {
    expect(run({ "src/lib/a.ts": "export const f = (now: number) => now;" }).status).toBe(0);
  });

  test("ends with 1 when it finds nothing to check", () => {
    expect(run({ "README.md": "" }).status).toBe(1);
  });
});
