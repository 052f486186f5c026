import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openKeys } from "./keys.ts";
import { publicKeyFrom } from "./node-crypto.ts";

describe("the keys of a platform's replica sets", () => {
  let directory: string;

  beforeEach(() => {
    directory = join(mkdtempSync(join(tmpdir(), "lockstep-keys-")), "keys");
  });

  afterEach(() => rmSync(join(directory, ".."), { recursive: true, force: true }));

  it("are made once, and are the same in each later life", () => {
    const first = openKeys(directory);
    expect(openKeys(directory)).toEqual(first);
    expect(first.admin).not.toBe(first.client);
  });

  it("are readable by their owner only, apart from the one that checks certificates", () => {
    const { adminKey } = openKeys(directory);
    expect(statSync(join(directory, "admin.secret")).mode & 0o777).toBe(0o600);
    expect(statSync(join(directory, "client.secret")).mode & 0o777).toBe(0o600);
    expect(publicKeyFrom(readFileSync(join(directory, "admin.pub"), "utf8"))).toBe(adminKey);
  });

  it("are not replaced when a file is damaged: its certificates could never be checked again", () => {
    openKeys(directory);
    writeFileSync(join(directory, "admin.secret"), "half a k");
    expect(() => openKeys(directory)).toThrow(expect.objectContaining({ code: "KEYS_UNREADABLE" }));
    expect(readFileSync(join(directory, "admin.secret"), "utf8")).toBe("half a k");
  });
});
