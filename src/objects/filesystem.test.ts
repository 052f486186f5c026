import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import * as nodeFiles from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { openJournaled } from "../../test/support/journaled-objects.ts";
import type { LockstepError } from "../lib/errors.ts";
import { at, bytesOf, chunked, noise, put, read, remove, stage } from "../testing/object-store-fixtures.ts";
import type { StoredBytes } from "./bytes.ts";
import { FileBytes } from "./filesystem.ts";
import type { Files } from "./filesystem-folders.ts";
import type { ObjectStore } from "./port.ts";

const root = mkdtempSync(join(tmpdir(), "lockstep-files-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

let folders = 0;
const folder = (): string => join(root, String(++folders), "objects");

const filesIn = (directory: string): string[] =>
  readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));

const codeOf = async (work: Promise<unknown>): Promise<string> => {
  try {
    await work;
    return "none";
  } catch (error) {
    return (error as LockstepError).code;
  }
};

const failure = (code: string): Error => Object.assign(new Error(`${code}: made up`), { code });

/** A disk on which the writes of files fail. */
const failing = (code: string, method: "writeFile" | "datasync" | "sync" | "close"): Files => ({
  ...nodeFiles,
  open: async (path, flags, mode) => {
    const handle = await nodeFiles.open(path, flags, mode);
    if (method === "sync" ? flags !== "r" : flags !== "wx") return handle;
    const real = handle.close.bind(handle);
    handle[method] = async () => {
      if (method === "close") await real();
      throw failure(code);
    };
    return handle;
  },
});

describe("a disk", () => {
  test.each([
    ["ENOSPC", "writeFile", "STORAGE_FULL"],
    ["EDQUOT", "datasync", "STORAGE_FULL"],
    ["EIO", "datasync", "STORAGE_UNAVAILABLE"],
    ["EIO", "sync", "STORAGE_UNAVAILABLE"],
    ["ENOSPC", "close", "STORAGE_FULL"],
  ] as const)("that says %s at %s leads to a code, and keeps nothing of the object", async (code, method, expected) => {
    const directory = folder();
    await nodeFiles.mkdir(directory, { recursive: true });
    const bytes = new FileBytes(directory, 1, failing(code, method));
    expect(await codeOf(bytes.store(chunked(noise(600_000))))).toBe(expected);
    expect(filesIn(directory)).toEqual([]);
  });

  test("that is full keeps what it has", async () => {
    const directory = folder();
    let isFull = false;
    const files: Files = {
      ...nodeFiles,
      open: async (path, flags, mode) => {
        if (isFull && flags === "wx") throw failure("ENOSPC");
        return nodeFiles.open(path, flags, mode);
      },
    };
    const open = await openJournaled((epoch) => new FileBytes(directory, epoch, files));
    await put(open.store, at("a"), "one");
    isFull = true;
    expect(await codeOf(stage(open.store, at("a"), "two"))).toBe("STORAGE_FULL");
    expect(await read(open.store, at("a"))).toBe("one");
    isFull = false;
    await put(open.store, at("a"), "two");
    expect(await read(open.store, at("a"))).toBe("two");
    expect(filesIn(directory)).toHaveLength(1);
  });

  test("on which no two names can share a file gets a copy", async () => {
    const directory = folder();
    const files: Files = { ...nodeFiles, link: async () => Promise.reject(failure("EPERM")) };
    const bytes = new FileBytes(directory, 1, files);
    const stored = await bytes.store(chunked("body"));
    const copy = (await bytes.copy(stored)) as StoredBytes;
    await bytes.remove(stored.file);
    const body = await bytes.read(copy);
    expect((await bytesOf(body as AsyncIterable<Uint8Array>)).toString()).toBe("body");
  });
});

describe("bytes that are not those that were stored", () => {
  const corrupted = async (length: number, change: (path: string) => void): Promise<ObjectStore> => {
    const directory = folder();
    const open = await openJournaled((epoch) => new FileBytes(directory, epoch));
    await put(open.store, at("a"), noise(length));
    change(filesIn(directory)[0] as string);
    return open.store;
  };
  const flip = (position: number) => (path: string) => {
    const bytes = noise(3_000_000).subarray(0, position < 1_000 ? 1_000 : 3_000_000);
    bytes[position] = (bytes[position] as number) ^ 1;
    writeFileSync(path, bytes);
  };

  test("are refused before the first byte of a small object, and of any part of it", async () => {
    const store = await corrupted(1_000, flip(999));
    expect(await codeOf(store.open(at("a")))).toBe("OBJECT_CORRUPT");
    expect(await codeOf(store.open(at("a"), { start: 0, end: 9 }))).toBe("OBJECT_CORRUPT");
  });

  test("are told at the end of a large object, which never looks whole", async () => {
    const store = await corrupted(3_000_000, flip(2_999_999));
    const { body } = await store.open(at("a"));
    let length = 0;
    const reading = async (): Promise<void> => {
      for await (const chunk of body) length += chunk.length;
    };
    expect(await codeOf(reading())).toBe("OBJECT_CORRUPT");
    expect(length).toBe(3_000_000);
  });

  test("are refused at once when their number differs, or when they are gone", async () => {
    expect(await codeOf((await corrupted(1_000, (path) => writeFileSync(path, "short"))).open(at("a")))).toBe("OBJECT_CORRUPT");
    const store = await corrupted(1_000, (path) => rmSync(path));
    expect(await codeOf(store.open(at("a")))).toBe("OBJECT_CORRUPT");
    expect((await store.head(at("a")))?.size).toBe(1_000);
  });

  test("are found missing by a copy as well", async () => {
    const store = await corrupted(1_000, (path) => rmSync(path));
    expect(await codeOf(store.stageCopy(at("a"), at("b")))).toBe("OBJECT_CORRUPT");
  });
});

describe("files", () => {
  test("have names in which nothing of a key occurs, and stay below their folder", async () => {
    const directory = folder();
    const open = await openJournaled((epoch) => new FileBytes(directory, epoch));
    for (const key of ["../../../etc/passwd", "/root", "a/b", "..", "nul\\con"]) await put(open.store, at(key), key);
    const found = filesIn(join(directory, ".."));
    expect(found).toHaveLength(5);
    for (const path of found) expect(path.slice(directory.length)).toMatch(/^\/[0-9a-z]+\/[0-9a-z]+\/[0-9a-z]+$/);
  });

  test("of replaced and deleted objects are removed", async () => {
    const directory = folder();
    const open = await openJournaled((epoch) => new FileBytes(directory, epoch));
    for (const body of ["1", "2", "3"]) await put(open.store, at("a"), body);
    await put(open.store, at("b"), "4");
    await remove(open.store, at("b"));
    await expect.poll(() => filesIn(directory).length).toBe(1);
    expect(await read(open.store, at("a"))).toBe("3");
    expect(open.reports).toEqual([]);
  });

  test("that a crash has left are swept by the next life; those of objects and of this life are not", async () => {
    const directory = folder();
    const first = await openJournaled((epoch) => new FileBytes(directory, epoch));
    await put(first.store, at("kept"), "kept");
    for (let i = 0; i < 5; i++) await stage(first.store, at("lost"), `lost ${i}`);
    expect(filesIn(directory)).toHaveLength(6);
    const second = await first.crash();
    await stage(second.store, at("coming"), "not yet");
    await expect.poll(() => filesIn(directory).length).toBe(2);
    await second.store.stop();
    expect(await read(second.store, at("kept"))).toBe("kept");
    const third = await second.crash();
    await expect.poll(() => filesIn(directory).length).toBe(1);
    expect(await read(third.store, at("kept"))).toBe("kept");
    expect(third.reports).toEqual([]);
  });

  test("of another journal, which has counted the same epochs, are not written over", async () => {
    const directory = folder();
    const first = await openJournaled((epoch) => new FileBytes(directory, epoch));
    await put(first.store, at("a"), "of the first");
    const second = await openJournaled((epoch) => new FileBytes(directory, epoch));
    await put(second.store, at("a"), "of the second");
    expect(await read(first.store, at("a"))).toBe("of the first");
    expect(await read(second.store, at("a"))).toBe("of the second");
  });
});

test("what can't be read any more is told as such, and so is a folder that can't be made", async () => {
  const directory = folder();
  await nodeFiles.mkdir(join(directory, ".."), { recursive: true });
  writeFileSync(directory, "a file, where the folder should be");
  expect(await codeOf(new FileBytes(directory, 1).store(chunked("x")))).toBe("STORAGE_UNAVAILABLE");
});
