import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import type { DurableRecord, EpochEntry } from "../consensus/effects.ts";
import { generateSecretKey } from "../replicas/node-crypto.ts";
import { testSet } from "../testing/certificates.ts";
import { openLog, type ReplicaLog } from "./replica-log.ts";
import { digestOf, type Page } from "./replica-state.ts";

const root = mkdtempSync(join(tmpdir(), "replica-log-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

let made = 0;
const fresh = (): string => join(root, String(++made), "replica");

const opened: ReplicaLog[] = [];
afterEach(() => Promise.all(opened.splice(0).map((log) => log.close())));

const open = async (directory: string): Promise<ReplicaLog> => {
  const log = await openLog(directory, generateSecretKey);
  opened.push(log);
  return log;
};

const digest = "d".repeat(64);
const prepared = (seq: number): DurableRecord => ({ t: "prepared", epoch: 1, view: 0, seq, digest });
const view = (number: number): DurableRecord => ({ t: "view", epoch: 1, view: number, active: true });
const stable = (seq: number, pages: string[] = []): DurableRecord => ({
  t: "stable",
  checkpoint: { epoch: 1, seq, digest, votes: [] },
  pages,
  core: [],
  results: [],
});

const page = (text: string): Page => ({ text, digest: digestOf(text) });

const logs = (directory: string): string[] => readdirSync(directory).filter((name) => name.startsWith("log-"));

const lastLog = (directory: string): string => join(directory, logs(directory).sort().at(-1) as string);

describe("the log of a durable replica", () => {
  test("the next life has its key and its records, in their order, and nobody else may read them", async () => {
    const directory = fresh();
    const log = await open(directory);
    await log.append([prepared(1), view(1)]);
    await log.append([prepared(2)]);
    await log.close();
    const next = await open(directory);
    expect(next.secret).toBe(log.secret);
    expect(next.records).toEqual([prepared(1), view(1), prepared(2)]);
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    expect(statSync(join(directory, "key")).mode & 0o777).toBe(0o600);
    await next.append([prepared(3)]);
    await next.close();
    expect((await open(directory)).records).toEqual([prepared(1), view(1), prepared(2), prepared(3)]);
  });

  test("the members that came with a state are known however often the log begins anew after it", async () => {
    const directory = fresh();
    const { membership } = testSet();
    const of = (epoch: number) => ({ membership: { ...membership, epoch }, signature: "" });
    const entering: EpochEntry = { next: of(2), previous: of(1), base: { seq: 4, digest }, firstView: 0 };
    const log = await open(directory);
    await log.append([{ t: "stable", checkpoint: { epoch: 1, seq: 4, digest, votes: [] }, pages: [], core: [], results: [], entering }]);
    await log.append([stable(8)]);
    await log.close();
    const later = await open(directory);
    expect(later.records).toEqual([{ t: "membership", ...entering }, stable(8)]);
    expect(later.memberships.map(({ epoch }) => epoch)).toEqual([1, 2]);
  });

  test.each([1, 9, 40])("an end that a crash has torn off is cut: %d bytes", async (kept) => {
    const directory = fresh();
    const log = await open(directory);
    await log.append([prepared(1)]);
    await log.close();
    const whole = readFileSync(lastLog(directory));
    const line = whole.toString().trimEnd().split("\n").at(-1) as string;
    appendFileSync(lastLog(directory), line.slice(0, kept));
    const next = await open(directory);
    expect(next.records).toEqual([prepared(1)]);
    await next.append([prepared(2)]);
    await next.close();
    expect((await open(directory)).records).toEqual([prepared(1), prepared(2)]);
  });

  test("a record that is damaged before others may be a promise: the replica does not come back", async () => {
    const directory = fresh();
    const log = await open(directory);
    await log.append([prepared(1), prepared(2), prepared(3)]);
    await log.close();
    writeFileSync(lastLog(directory), readFileSync(lastLog(directory), "utf8").replace('"seq":2', '"seq":9'));
    await expect(open(directory)).rejects.toMatchObject({ code: "POD_FAILED_TO_START" });
  });

  test("with each stable checkpoint goes what lies below it; the view stays, and what is above", async () => {
    const directory = fresh();
    const log = await open(directory);
    await log.append([view(3), prepared(1), prepared(2)]);
    for (let seq = 2; seq <= 20; seq += 2) await log.append([prepared(seq + 1), prepared(seq + 2), stable(seq)]);
    await log.close();
    expect(logs(directory).length).toBeLessThanOrEqual(3);
    const { records } = await open(directory);
    expect(records.slice(0, 2).map(({ t }) => t)).toEqual(["stable", "view"]);
    expect(records).toContainEqual(view(3));
    expect(records).toContainEqual(stable(20));
    expect(records).toEqual(expect.arrayContaining([prepared(21), prepared(22)]));
    expect(records).not.toContainEqual(prepared(5));
  });

  test("pages of a checkpoint are on the disk before it is recorded, those of old ones go", async () => {
    const directory = fresh();
    const log = await open(directory);
    const same = page('[["a","1"]]');
    let last: Page[] = [];
    for (let seq = 1; seq <= 30; seq++) {
      last = [same, page(`[["b","${seq}"]]`)];
      log.savePages(last);
      await log.append([
        stable(
          seq,
          last.map((each) => each.digest),
        ),
      ]);
    }
    await log.close();
    const next = await open(directory);
    expect(next.pages(last.map((each) => each.digest))).toEqual(last.map(({ text }) => text));
    expect(next.pages([digestOf("nothing")])).toBeUndefined();
    expect(readdirSync(directory).filter((name) => name.startsWith("pages-")).length).toBeLessThanOrEqual(9);
  });
});
