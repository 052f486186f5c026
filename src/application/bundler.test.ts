import { cp, mkdir, mkdtemp, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, expect, test } from "vitest";
import { LockstepError } from "../lib/errors.ts";
import type { BundledApplication } from "./bundler.ts";
import { bundleApplication } from "./bundler.ts";
import { stackMapper } from "./source-map.ts";

const folders: string[] = [];

afterEach(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true });
});

const folderOf = async (files: Record<string, string>, name = "shop"): Promise<string> => {
  const above = await realpath(await mkdtemp(path.join(tmpdir(), "lockstep-bundler-")));
  folders.push(above);
  const root = path.join(above, name);
  await mkdir(root);
  for (const [file, content] of Object.entries(files)) {
    await mkdir(path.dirname(path.join(root, file)), { recursive: true });
    await writeFile(path.join(root, file), content);
  }
  return root;
};

const pay = `import { fn } from "lockstep";\nexport const pay = fn("pay", () => 1);\n`;

const load = (bundle: BundledApplication, filename = "/bundle.js"): Record<string, unknown> => {
  const module = { exports: {} as Record<string, unknown> };
  const lockstep = { fn: (name: string, handler: unknown) => ({ name, handler }) };
  const asked = (name: string): unknown => (name === "lockstep" ? lockstep : process.getBuiltinModule(name));
  new Function("require", "module", "exports", `${bundle.code}\n//# sourceURL=${filename}`)(asked, module, module.exports);
  return module.exports;
};

const refusal = async (given: string): Promise<LockstepError> => {
  const error = await bundleApplication(given).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(LockstepError);
  expect((error as LockstepError).code).toBe("APPLICATION_INVALID");
  return error as LockstepError;
};

test("who waits is told when the bundler is at work, also when the application turns out to be wrong", async () => {
  const told: string[] = [];
  const root = await folderOf({ "index.ts": pay });
  await bundleApplication(root, { onBegun: () => told.push("begun") });
  const wrong = await folderOf({ "index.ts": "export const a = ;" }, "wrong");
  await expect(bundleApplication(wrong, { onBegun: () => told.push("begun") })).rejects.toThrow();
  expect(told).toEqual(["begun", "begun"]);
});

test("a folder is bundled from its index.ts with what it imports, and lockstep and Node's modules stay outside", async () => {
  const root = await folderOf({
    "index.ts": `import { fn } from "lockstep";\nimport { join } from "node:path";\nimport { rate } from "./rate.ts";\nexport const tax = fn("tax", (): string => join(String(rate)));`,
    "rate.ts": "export const rate: number = 7;",
  });
  const bundle = await bundleApplication(root);
  expect(bundle).toMatchObject({ application: "shop", version: expect.stringMatching(/^[0-9a-f]{16}$/), warnings: [] });
  const { tax } = load(bundle) as { tax: { name: string; handler: () => string } };
  expect([tax.name, tax.handler()]).toEqual(["tax", "7"]);
  expect(bundle.watchFiles.sort()).toEqual([path.join(root, "index.ts"), path.join(root, "rate.ts")]);
});

test("packages are bundled from node_modules", async () => {
  const root = await folderOf({
    "index.ts": `import { fn } from "lockstep";\nimport { one } from "some-package";\nexport const f = fn("f", () => one);`,
    "node_modules/some-package/package.json": `{"name":"some-package","version":"1.0.0","main":"main.js"}`,
    "node_modules/some-package/main.js": "exports.one = 1;",
  });
  const { f } = load(await bundleApplication(root)) as { f: { handler: () => number } };
  expect(f.handler()).toBe(1);
});

test("what is imported only when it is needed is there too", async () => {
  const root = await folderOf({
    "index.ts":
      'import { fn } from "lockstep";\nexport const late = fn("late", async () => [(await import("./rate.ts")).rate, (await import("node:path")).sep]);',
    "rate.ts": "export const rate = 7;",
  });
  const bundle = await bundleApplication(root);
  expect(bundle.code).not.toMatch(/\bimport\(/);
  const { late } = load(bundle) as { late: { handler(): Promise<unknown> } };
  expect(await late.handler()).toEqual([7, path.sep]);
});

test("the name is the last segment of package.json's name, else the folder's or the file's", async () => {
  const named = await folderOf({ "index.ts": pay, "package.json": `{"name":"@acme/webshop"}` });
  expect((await bundleApplication(named)).application).toBe("webshop");
  expect((await bundleApplication(path.join(named, "index.ts"))).application).toBe("webshop");
  const unnamed = await folderOf({ "index.ts": pay, "billing.ts": pay }, "my shop");
  expect((await bundleApplication(unnamed)).application).toBe("my-shop");
  expect((await bundleApplication(path.join(unnamed, "billing.ts"))).application).toBe("billing");
  expect((await bundleApplication(unnamed, { name: "other" })).application).toBe("other");
});

test.each([
  ["index.js", {}],
  ["index.mts", {}],
  ["index.mjs", {}],
  ["lib/app.ts", { main: "lib/app.ts" }],
  ["lib/app.ts", { exports: "./lib/app.ts" }],
  ["lib/app.ts", { exports: { ".": { types: "./lib/app.d.ts", import: "./lib/app.ts" } }, main: "gone.js" }],
  ["src/index.ts", { main: "dist/index.js" }],
])("a folder may begin at %s with package.json %j", async (file, manifest) => {
  const root = await folderOf({ [file]: pay, "package.json": JSON.stringify(manifest) });
  const bundle = await bundleApplication(root);
  expect(load(bundle)).toHaveProperty("pay");
  expect(bundle.watchFiles.sort()).toEqual([path.join(root, file), path.join(root, "package.json")].sort());
});

test("the version is the same in another place and at another time, and another one for other code", async () => {
  const files = { "index.ts": pay, "node_modules/p/package.json": `{"name":"p","main":"p.js"}`, "node_modules/p/p.js": "exports.p = 1;" };
  const one = await folderOf({ ...files, "index.ts": `import { p } from "p";\n${pay}\nexport const q = p;` });
  const other = path.join(await folderOf({}, "a-longer-path"), "deep", "shop");
  await cp(one, other, { recursive: true });
  const [first, second] = [await bundleApplication(one), await bundleApplication(other)];
  expect(second.code).toBe(first.code);
  expect(second.version).toBe(first.version);
  expect(first.code).not.toContain(path.basename(path.dirname(one)));
  const map = Buffer.from(first.code.split("base64,").at(-1) as string, "base64").toString();
  expect(JSON.parse(map)).toMatchObject({ sources: ["node_modules/p/p.js", "index.ts"] });
  expect(JSON.parse(map)).not.toHaveProperty("sourcesContent");
  await writeFile(path.join(other, "index.ts"), `${pay}\nexport const q = 2;`);
  expect((await bundleApplication(other)).version).not.toBe(first.version);
});

test("a path through a symbolic link gives the same version", async () => {
  const root = await folderOf({ "index.ts": pay });
  const link = path.join(path.dirname(root), "link");
  await symlink(root, link);
  expect((await bundleApplication(link)).version).toBe((await bundleApplication(root)).version);
});

test("stack traces can be read in the user's files and lines", async () => {
  const root = await folderOf({
    "index.ts": `import { fn } from "lockstep";\nimport { fail } from "./lib/fail.ts";\nexport const f = fn("f", () => fail({ a: 1 }));`,
    "lib/fail.ts": 'interface A {\n  a: number;\n}\n\nexport const fail = (x: A): void => {\n  throw new Error("failed " + x.a);\n};\n',
  });
  const bundle = await bundleApplication(root);
  const { f } = load(bundle, "/shop/bundle.js") as { f: { handler: () => void } };
  const error = (() => {
    try {
      f.handler();
    } catch (thrown) {
      return thrown as Error;
    }
    throw new Error("the handler must throw");
  })();
  const stack = stackMapper(() => bundle.code, "/shop/bundle.js", 2)(error.stack as string);
  expect(stack).toContain("(lib/fail.ts:6:9)");
  expect(stack).toContain("(index.ts:3:");
  expect(stack).not.toContain("bundle.js");
});

test("a large package is left out of the source map, and the user's own files stay in it", async () => {
  const large = Array.from(
    { length: 4_000 },
    (_, i) => `exports.f${i} = function (a, b) { if (a) return b + ${i}; throw new Error("package"); };`,
  ).join("\n");
  const root = await folderOf({
    "index.ts": `import { fn } from "lockstep";\nimport p from "large";\nexport const f = fn("f", () => p.f7(0, 1));\nexport const g = fn("g", () => {\n  throw new Error("own");\n});`,
    "node_modules/large/package.json": `{"name":"large","main":"large.js"}`,
    "node_modules/large/large.js": large,
  });
  const bundle = await bundleApplication(root);
  const { f, g } = load(bundle, "/bundle.js") as Record<"f" | "g", { handler: () => void }>;
  const map = stackMapper(() => bundle.code, "/bundle.js", 2);
  expect(Buffer.from(bundle.code.split("base64,").at(-1) as string, "base64").length).toBeLessThan(20_000);
  const stackOf = (run: () => void): string => {
    try {
      run();
    } catch (thrown) {
      return map((thrown as Error).stack as string);
    }
    return "nothing was thrown";
  };
  const [thrownInPackage, caller] = stackOf(f.handler).split("\n").slice(1) as [string, string];
  expect(thrownInPackage).toContain("/bundle.js:");
  expect(caller).toContain("index.ts:3:");
  expect(stackOf(g.handler)).toContain("index.ts:5:9");
});

test.each([
  ["a missing path", {}, "gone", /no file or folder at ".*gone": mend the path/],
  ["a folder without a module", { "readme.md": "" }, ".", /holds no application: none of index\.ts.* is there/],
  ["a file that is no module", { "data.json": "{}" }, "data.json", /is no module: give a \.ts or \.js file/],
  ["a package.json that is no JSON", { "package.json": "{" }, ".", /package\.json cannot be read as JSON/],
  ["a syntax error", { "index.ts": "export const a = 1;\nexport const = 2;" }, ".", /index\.ts:2:14: Expected identifier/],
  [
    "a missing module",
    { "index.ts": `import "./gone.ts";` },
    ".",
    /index\.ts:1:8: Could not resolve "\.\/gone\.ts".*no such file: mend the path/,
  ],
  ["a missing package", { "index.ts": `import { a } from "@acme/a/b";\nexport const b = a;` }, ".", /:1:19: .*npm install @acme\/a\)/],
  ["top-level await", { "index.ts": "export const a = await fetch('x');" }, ".", /:1:18: Top-level await.*move the awaited work into/],
  ["a native addon", { "index.ts": `import "./a.node";`, "a.node": "" }, ".", /:1:8: .*native addons cannot travel/],
  [
    "lockstep/client",
    { "index.ts": `import * as c from "lockstep/client";\nexport const a = c;` },
    ".",
    /index\.ts imports "lockstep\/client".*only "lockstep"/,
  ],
])("%s is refused with the place and what to do", async (_what, files, given, expected) => {
  const root = await folderOf(files as Record<string, string>);
  expect((await refusal(path.join(root, given))).message).toMatch(expected);
});

test("a column is counted in characters, and the line is shown with a caret under it", async () => {
  const root = await folderOf({ "index.ts": `export const é = "é"; const = 2;` });
  expect((await refusal(root)).message).toContain(
    `:1:29: Expected identifier but found "="\n    export const é = "é"; const = 2;\n    ${" ".repeat(28)}^`,
  );
});

test("a failed bundle says which files to watch and where the errors are", async () => {
  const root = await folderOf({ "index.ts": `import "./b.ts";`, "b.ts": "const = 1;", "package.json": "{}" });
  const { details } = await refusal(root);
  expect((details as { watchFiles: string[] }).watchFiles.sort()).toEqual(
    ["b.ts", "index.ts", "package.json"].map((file) => path.join(root, file)),
  );
  expect(details?.places).toEqual([{ file: "b.ts", line: 1, column: 7, text: 'Expected identifier but found "="' }]);
});

test("an optional package that is not installed is a warning", async () => {
  const root = await folderOf({ "index.ts": `${pay}\ntry { require("not-installed"); } catch { console.log("without"); }` });
  const bundle = await bundleApplication(root);
  expect(bundle.warnings).toEqual([expect.stringContaining('index.ts: "not-installed" was not found')]);
});
