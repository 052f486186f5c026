import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { runInThisContext } from "node:vm";
import { afterEach, expect, test } from "vitest";
import { bundleApplication } from "../application/bundler.ts";
import { loadBundle } from "./bundle.ts";
import { nameUserFiles } from "./stack-trace.ts";

const before = Error.prepareStackTrace;
const folders: string[] = [];

afterEach(async () => {
  if (before === undefined) Reflect.deleteProperty(Error, "prepareStackTrace");
  else Error.prepareStackTrace = before;
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true });
});

const failing = async (throwing: string): Promise<{ stack: string; path: string }> => {
  const folder = await mkdtemp(path.join(tmpdir(), "lockstep-stack-"));
  folders.push(folder);
  await writeFile(
    path.join(folder, "index.ts"),
    `interface A {\n  a: number;\n}\nexport const fail = (a: A): never => {\n  ${throwing}\n};\n`,
  );
  const { code } = await bundleApplication(folder);
  const file = path.join(folder, "bundle.cjs");
  await writeFile(file, code);
  nameUserFiles(file);
  const module = { exports: {} as { fail: (a: unknown) => Error } };
  runInThisContext(`(function (exports, require, module) {${code}\n})`, { filename: file })(module.exports, undefined, module);
  const error = (() => {
    try {
      return module.exports.fail({ a: 1 });
    } catch (thrown) {
      return thrown as Error;
    }
  })();
  return { stack: error.stack as string, path: file };
};

test("a stack names the user's file and line, and keeps the frames of others", async () => {
  const { stack, path: file } = await failing('throw new RangeError("too large");');
  expect(stack).toMatch(/^RangeError: too large\n {4}at \S*fail \(index\.ts:5:9\)\n/);
  expect(stack).toContain("stack-trace.test.ts");
  expect(stack).not.toContain(file);
});

test("an error that hides its message still says where it comes from", async () => {
  const hiding = "Object.defineProperty(error, 'message', { get: () => { throw 1; } });";
  const { stack } = await failing(`const error = new Error(); ${hiding} throw error;`);
  expect(stack).toMatch(/^Error\n {4}at \S*fail \(index\.ts:5:/);
});

test("an application that throws while it loads is told where", async () => {
  const folder = await mkdtemp(path.join(tmpdir(), "lockstep-stack-"));
  folders.push(folder);
  await writeFile(path.join(folder, "index.ts"), "const settings: { url?: URL } = {};\n\nexport const host = settings.url!.host;\n");
  const { code } = await bundleApplication(folder);
  const file = path.join(folder, "bundle.cjs");
  await writeFile(file, code);
  nameUserFiles(file);
  expect(() => loadBundle(file)).toThrow(/^the application threw while it loaded: .*'host'\) \(at index\.ts:3:/);
});

test("when the bundle is gone the trace stays as it is", () => {
  nameUserFiles("/nowhere/bundle.cjs");
  const { stack } = runInThisContext("new RangeError('late')", { filename: "/nowhere/bundle.cjs" }) as Error;
  expect(stack).toMatch(/^RangeError: late\n {4}at \/nowhere\/bundle\.cjs:1:1\n/);
});
