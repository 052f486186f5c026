import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { loadBundle, preloadBundle } from "./bundle.ts";
import { warmUp } from "./warm-up.ts";

const folder = mkdtempSync(join(tmpdir(), "lockstep-preload-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const bundle = (name: string, text: string): string => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};

describe("a bundle that is preloaded", () => {
  test("is not executed before it is loaded (F1)", () => {
    const path = bundle("one.cjs", 'globalThis.executed = true; exports.f = require("lockstep").fn("f", () => 1);');
    preloadBundle(path);
    expect(globalThis).not.toHaveProperty("executed");
    // It is there already: the file is not asked again.
    rmSync(path);
    expect([...loadBundle(path).functions.keys()]).toEqual(["f"]);
    expect(globalThis).toHaveProperty("executed", true);
  });

  test("that is none or no JavaScript is told of when it is loaded", () => {
    const path = bundle("bad.cjs", "this is nothing");
    expect(() => preloadBundle(path)).not.toThrow();
    expect(() => preloadBundle(join(folder, "missing.cjs"))).not.toThrow();
    expect(() => loadBundle(path)).toThrow(expect.objectContaining({ code: "APPLICATION_INVALID" }));
  });

  test("makes room: the last two are kept", () => {
    const paths = ["a", "b", "c"].map((name) => bundle(`${name}.cjs`, `exports.f = require("lockstep").fn("${name}", () => 1);`));
    for (const path of paths) preloadBundle(path);
    for (const path of paths) rmSync(path);
    expect(() => loadBundle(paths[0] as string)).toThrow();
    expect([...loadBundle(paths[2] as string).functions.keys()]).toEqual(["c"]);
  });
});

test("warming up throws nothing, says nothing and executes what a call needs", async () => {
  let asked = 0;
  const usage = () => {
    asked++;
    return { cpuMs: 0, memoryMb: 0 };
  };
  warmUp(fileURLToPath(import.meta.url), usage);
  // Asked at the beginning of the call, and at its end.
  await new Promise((resolve) => setImmediate(resolve));
  expect(asked).toBe(2);
});
