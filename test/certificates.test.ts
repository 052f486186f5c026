/** Certified calls on real processes: each result has its certificate in the journal, also after the control plane was killed. */
import { readFileSync } from "node:fs";
import path from "node:path";
import type { RunCertificate } from "lockstep/client";
import { afterEach, describe, expect, test } from "vitest";
import { certificateText, verifyCertificate } from "../src/verify/index.ts";
import { startPlatformProcess } from "./support/platform-process.ts";
import { createSandbox, type Sandbox } from "./support/sandbox.ts";

const WAIT = { timeoutMs: 40_000 };
const sandboxes: Sandbox[] = [];
const newSandbox = (): Sandbox => {
  const sandbox = createSandbox();
  sandboxes.push(sandbox);
  return sandbox;
};

afterEach(async () => {
  for (const sandbox of sandboxes.splice(0)) await sandbox.dispose();
});

const adminKeyOf = ({ data }: Sandbox): string => readFileSync(path.join(data, "keys/admin.pub"), "utf8");
const only = (certificates: RunCertificate[]): RunCertificate => {
  expect(certificates).toHaveLength(1);
  return certificates[0]!;
};

interface Paid {
  balance: number;
  at: number;
  receipt: string;
}

describe("a replicated function's call", () => {
  test("comes with a certificate that anyone can check: of its input, its result and its failure", async () => {
    const sandbox = newSandbox();
    const { client, deploy, stop } = await startPlatformProcess(sandbox);
    await deploy("test/apps/bank");
    const run = await client.startFunction<number>("interest", { balance: 100, rate: 0.5 });
    expect(await run.result(WAIT)).toBe(50);
    const { certificate } = only(await run.certificates());
    const adminKey = adminKeyOf(sandbox);
    const expected = { adminKey, input: '{"balance":100,"rate":0.5}', outcome: '{"value":50}' };
    const expect_ = { application: "bank", function: "interest", operation: `${run.id}/1/1`, epoch: 1 };
    expect(verifyCertificate(certificateText(certificate), { ...expected, expect: expect_ })).toMatchObject({ ok: true });
    expect(verifyCertificate(certificate, { ...expected, outcome: '{"value":51}' })).toMatchObject({ field: "statement.resultHash" });

    const failing = await client.startFunction("account", { account: "alice", amount: -1 });
    await expect(failing.result(WAIT)).rejects.toThrow("only 0 is left");
    const refused = only(await failing.certificates()).certificate;
    expect(verifyCertificate(refused, { adminKey, expect: { key: "alice" } })).toMatchObject({ ok: true });
    await stop();
  });

  test("on a state is applied once, in order, and undone by its compensation", async () => {
    const sandbox = newSandbox();
    const { client, deploy, stop } = await startPlatformProcess(sandbox);
    await deploy("test/apps/bank");
    const paid = await Promise.all(
      Array.from({ length: 30 }, (_, index) => client.startFunction<Paid>("account", { account: index % 2 ? "alice" : "bob", amount: 1 })),
    );
    const results = await Promise.all(paid.map((run) => run.result(WAIT)));
    const balances = (parity: number) => results.filter((_, index) => index % 2 === parity).map(({ balance }) => balance);
    for (const parity of [0, 1])
      expect(balances(parity).sort((a, b) => a - b)).toEqual(Array.from({ length: 15 }, (_, index) => index + 1));
    expect(new Set(results.map(({ receipt }) => receipt)).size).toBe(30);

    const regret = await client.start<number>("regret", { account: "alice", amount: 100 });
    expect(await regret.result(WAIT)).toBe(15);
    const certificates = await regret.certificates();
    expect(certificates.map(({ call, function: name }) => [call, name])).toEqual([
      [1, "account"],
      [-1, "account"],
      [3, "account"],
    ]);
    const adminKey = adminKeyOf(sandbox);
    for (const { call, certificate } of certificates) {
      expect(verifyCertificate(certificate, { adminKey, expect: { operation: `${regret.id}/${call}/1`, key: "alice" } }).ok).toBe(true);
    }
    await stop();
  });

  test("is certified and applied at most once although the control plane is killed in the middle of many", async () => {
    const sandbox = newSandbox();
    const first = await startPlatformProcess(sandbox);
    await first.deploy("test/apps/bank");
    const warm = await first.client.startFunction<Paid>("account", { account: "alice", amount: 0 });
    await warm.result(WAIT);
    const runs = await Promise.all(
      Array.from({ length: 40 }, () => first.client.startFunction<Paid>("account", { account: "alice", amount: 1 })),
    );
    await runs[0]!.result(WAIT);
    await first.kill();

    const second = await startPlatformProcess(sandbox, { port: first.port });
    const results = await Promise.all(runs.map(({ id }) => second.client.run<Paid>(id).result(WAIT)));
    expect(results.map(({ balance }) => balance).sort((a, b) => a - b)).toEqual(Array.from({ length: 40 }, (_, index) => index + 1));
    const adminKey = adminKeyOf(sandbox);
    for (const [index, { id }] of runs.entries()) {
      const { certificate } = (await second.client.run(id).certificates()).at(-1)!;
      const outcome = JSON.stringify({ value: results[index] });
      expect(verifyCertificate(certificate, { adminKey, outcome })).toMatchObject({ ok: true });
    }
    await second.stop();
    expect(sandbox.processes()).toEqual([]);
  });

  test("has the same certificate for ever, whether it was certified with others or alone", async () => {
    const sandbox = newSandbox();
    const first = await startPlatformProcess(sandbox);
    await first.deploy("test/apps/bank");
    const pay = (amount: number) => first.client.startFunction<number>("interest", { balance: amount, rate: 0.5 });
    const alone = await pay(1);
    await alone.result(WAIT);
    const ids = [alone.id];
    const textsOf = (client: typeof first.client) =>
      Promise.all(ids.map(async (id) => certificateText(only(await client.run(id).certificates()).certificate)));
    let before = await textsOf(first.client);
    // Where the machine is busy, calls that are made at once arrive one by one.
    for (let bursts = 0; bursts < 20 && !before.some((text) => JSON.parse(text).path.length > 1); bursts++) {
      const together = await Promise.all(Array.from({ length: 50 }, (_, index) => pay(index)));
      for (const run of together) await run.result(WAIT);
      ids.push(...together.map(({ id }) => id));
      before = await textsOf(first.client);
    }
    await first.kill();

    const second = await startPlatformProcess(sandbox, { port: first.port });
    expect(await textsOf(second.client)).toEqual(before);
    const adminKey = adminKeyOf(sandbox);
    for (const text of before) expect(verifyCertificate(text, { adminKey })).toMatchObject({ ok: true });
    // Each with its own way through its batch's tree.
    expect(new Set(before.map((text) => JSON.parse(text).statement.operation)).size).toBe(ids.length);
    expect(before.some((text) => JSON.parse(text).path.length > 1)).toBe(true);
    await second.stop();
  });
});
