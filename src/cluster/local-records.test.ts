import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { LocalRecords } from "./local-records.ts";

const folders: string[] = [];
const children: ReturnType<typeof spawn>[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

const newFolder = (): string => {
  const folder = mkdtempSync(join(tmpdir(), "lockstep-records-"));
  folders.push(folder);
  return folder;
};

const sleeper = (): { pid: number; ended: Promise<NodeJS.Signals | null> } => {
  const child = spawn("sleep", ["600"], { stdio: "ignore" });
  children.push(child);
  return { pid: child.pid as number, ended: new Promise((resolve) => child.once("exit", (_, signal) => resolve(signal))) };
};

test("the next life ends what an earlier one has left, also a stopped process, and forgets it", async () => {
  const folder = join(newFolder(), "pods");
  const first = new LocalRecords(folder);
  expect(first.endStrays()).toEqual([]);
  const { pid, ended } = sleeper();
  first.add("pod-1", pid);
  process.kill(pid, "SIGSTOP");
  expect(new LocalRecords(folder).endStrays()).toEqual(["pod-1"]);
  expect(await ended).toBe("SIGKILL");
  expect(readdirSync(folder)).toEqual([]);
  expect(new LocalRecords(folder).endStrays()).toEqual([]);
});

test("a process that has only the id of one that was ours is left alone", () => {
  const folder = newFolder();
  const { pid } = sleeper();
  writeFileSync(join(folder, String(pid)), JSON.stringify({ pod: "pod-1", pid, started: "1" }));
  writeFileSync(join(folder, String(process.pid)), "{");
  expect(new LocalRecords(folder).endStrays()).toEqual([]);
  expect(() => process.kill(pid, 0)).not.toThrow();
  expect(readdirSync(folder)).toEqual([]);
});

test("a process that was started at the same time after another boot of the machine is left alone", () => {
  const folder = newFolder();
  const { pid } = sleeper();
  const records = new LocalRecords(folder);
  records.add("pod-1", pid);
  const path = join(folder, String(pid));
  const row = JSON.parse(readFileSync(path, "utf8")) as { started: string };
  const [boot, ticks] = row.started.split("/") as [string, string];
  expect([boot.length, Number(ticks) > 0]).toEqual([36, true]);
  for (const started of [`00000000-0000-4000-8000-000000000000/${ticks}`, ticks, `${boot}/`, boot]) {
    writeFileSync(path, JSON.stringify({ ...row, started }));
    expect(records.endStrays()).toEqual([]);
    expect(() => process.kill(pid, 0)).not.toThrow();
  }
});

test("a record that can't be written or removed stops nobody", () => {
  const { pid } = sleeper();
  const records = new LocalRecords(join(newFolder(), "never", "made"));
  expect(() => records.add("pod-1", pid)).not.toThrow();
  expect(() => records.remove(pid)).not.toThrow();
});

test("the folder of a socket is removed, and no other, whatever the record says", () => {
  const folder = newFolder();
  const sockets = mkdtempSync(join(tmpdir(), "lockstep-"));
  const precious = join(newFolder(), "precious");
  mkdirSync(precious);
  for (const [named, left] of [
    [sockets, false],
    [precious, true],
    [join(tmpdir(), "lockstep-x", ".."), true],
  ] as const) {
    new LocalRecords(folder).open(named);
    new LocalRecords(folder).endStrays();
    expect(existsSync(named.endsWith("..") ? tmpdir() : named)).toBe(left);
  }
});
