/** The package as others get it: packed, unpacked into a project of theirs, imported, and compiled against. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";

const root = join(import.meta.dirname, "..");

interface Manifest {
  version: string;
  bin: Record<string, string>;
  exports: Record<string, string | { types: string; default: string }>;
  dependencies: Record<string, string>;
}

const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as Manifest;
let project: string;
let packed: string[];

beforeAll(() => {
  project = mkdtempSync(join(tmpdir(), "lockstep-package-"));
  const [archive] = JSON.parse(
    execFileSync("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", project], { cwd: root, encoding: "utf8" }),
  ) as { filename: string; files: { path: string }[] }[];
  packed = archive?.files.map(({ path }) => path) ?? [];
  const home = join(project, "node_modules/lockstep");
  mkdirSync(home, { recursive: true });
  execFileSync("tar", ["-xzf", join(project, archive?.filename ?? ""), "-C", home, "--strip-components=1"]);
  // Only what the package says that it depends on, and for the compiler the types of Node.js.
  for (const name of [...Object.keys(manifest.dependencies), "@types/node"]) {
    mkdirSync(dirname(join(project, "node_modules", name)), { recursive: true });
    symlinkSync(join(root, "node_modules", name), join(project, "node_modules", name));
  }
  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "project", type: "module" }));
}, 60_000);
afterAll(() => rmSync(project, { recursive: true, force: true }));

const run = (program: string, ...args: string[]) => spawnSync(process.execPath, [program, ...args], { cwd: project, encoding: "utf8" });

test("it holds what its manifest names, and neither tests nor sources", () => {
  const files = Object.values(manifest.exports).flatMap((entry) => (typeof entry === "string" ? [entry] : Object.values(entry)));
  for (const path of [...Object.values(manifest.bin), ...files]) expect(packed).toContain(path.replace("./", ""));
  expect(packed.filter((path) => path.includes(".test.") || path.startsWith("src/"))).toEqual([]);
  for (const path of ["LICENSE", "README.md", "CHANGELOG.md", "dist/pod/main.js"]) expect(packed).toContain(path);
});

test.each(Object.keys(manifest.exports).filter((path) => !path.endsWith(".json")))(
  "`%s` can be imported with nothing but its dependencies",
  (path) => {
    const name = path.replace(".", "lockstep");
    writeFileSync(join(project, "import.js"), `import * as all from ${JSON.stringify(name)}; console.log(Object.keys(all).length > 0);`);
    expect(run("import.js")).toMatchObject({ status: 0, stdout: "true\n" });
  },
);

test("its types serve a strict project, without skipping the check of declarations", () => {
  writeFileSync(
    join(project, "app.ts"),
    `import { coordinator, fn } from "lockstep";
     import { createClient } from "lockstep/client";
     export const double = fn("double", (n: number) => n * 2);
     export const twice = coordinator("twice", async (ctx, n: number) => ctx.call(double, await ctx.call(double, n)));
     export const result: Promise<number> = createClient().call(double, 2);
     // @ts-expect-error: a number is asked for
     createClient().call(double, "2");
    `,
  );
  const compilerOptions = { strict: true, module: "nodenext", target: "es2023", noEmit: true, skipLibCheck: false, types: ["node"] };
  writeFileSync(join(project, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["app.ts"] }));
  const { stdout, status } = run(join(root, "node_modules/typescript/bin/tsc"), "-p", project);
  expect(stdout).toBe("");
  expect(status).toBe(0);
});

test("its declarations name files that exist as JavaScript", () => {
  const declarations = packed.filter((path) => path.endsWith(".d.ts"));
  const home = join(project, "node_modules/lockstep");
  const missing = declarations.flatMap((path) =>
    [...readFileSync(join(home, path), "utf8").matchAll(/(?:from |import\()"(\.[^"]+)"/g)]
      .map(([, target = ""]) => join(dirname(path), target))
      .filter((target) => !target.endsWith(".js") || !existsSync(join(home, target))),
  );
  expect(declarations.length).toBeGreaterThan(0);
  expect(missing).toEqual([]);
});

test("its program runs, keeps what was compiled of it beside its code, and needs no more packages than it has", () => {
  const version = { status: 0, stdout: `${manifest.version}\n`, stderr: "" };
  expect(run("node_modules/lockstep/bin/lockstep.js", "--version")).toMatchObject(version);
  expect(existsSync(join(project, "node_modules/lockstep/.compile-cache"))).toBe(true);
  expect(run("node_modules/lockstep/bin/lockstep.js", "--version")).toMatchObject(version);
  expect(packed.filter((path) => path.includes(".compile-cache"))).toEqual([]);
});

test("it brings the licenses of the packages that are in its program", () => {
  const text = readFileSync(join(project, "node_modules/lockstep/dist/program-licenses.txt"), "utf8");
  for (const name of ["fastify", "commander", "msgpackr"]) expect(text).toMatch(new RegExp(`^${name} \\d.* \\(MIT\\)$`, "m"));
  expect(text).toContain("Permission is hereby granted");
});
