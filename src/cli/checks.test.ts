import { chmod, readdir } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { expect, test } from "vitest";
import { folderOf, world } from "../../test/support/fake-io.ts";
import { open } from "../../test/support/gateway.ts";
import { type Clock, systemClock } from "../lib/clock.ts";
import { checkAddress, checkBundler, checkClock, checkDataDirectory, checkNode, checkSocketPath, checkSqlite } from "./checks.ts";

test("Node.js must be 22.13 or later", () => {
  expect(["22.13.0", "24.1.0", "100.0.0"].map((version) => checkNode(version).status)).toEqual(["ok", "ok", "ok"]);
  expect(["22.12.9", "20.20.2", "8.0.0"].map((version) => checkNode(version).status)).toEqual(["failed", "failed", "failed"]);
});

test("the data directory is written to, timed, and left as it was", async () => {
  const folder = folderOf({ "kept.txt": "" });
  expect(await checkDataDirectory(folder)).toMatchObject({
    status: expect.stringMatching(/ok|warning/),
    found: expect.stringContaining("reaches the disk in"),
  });
  expect((await checkDataDirectory(path.join(folder, "new", "deep"))).status).not.toBe("failed");
  expect(await readdir(folder)).toEqual(["kept.txt"]);
  const { status, mend } = await checkDataDirectory(path.join(folder, "kept.txt", "below"));
  expect([status, mend]).toEqual(["failed", expect.stringContaining("--data")]);
  await chmod(folder, 0o700);
});

test("an address is well when a platform answers or the port is free", async () => {
  const { gateway } = await open();
  expect(await checkAddress(gateway.url, fetch)).toMatchObject({ status: "ok", found: `one answers at ${gateway.url}` });
  await gateway.close();
  expect(await checkAddress(gateway.url, fetch)).toMatchObject({ status: "ok", found: expect.stringContaining("the port is free") });
  const other = createServer((_request, response) => response.writeHead(500).end("no"));
  await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(other.address() as AddressInfo).port}`;
  expect(await checkAddress(url, fetch)).toMatchObject({ status: "failed", found: expect.stringContaining("HTTP 500") });
  const unreachable = async (): Promise<Response> => {
    throw new Error("no answer");
  };
  expect(await checkAddress(url, unreachable)).toMatchObject({ status: "failed", found: expect.stringContaining("EADDRINUSE") });
  await new Promise((resolve) => other.close(resolve));
});

test("the path of the temporary folder leaves room for a socket's name", () => {
  expect(checkSocketPath("/tmp").status).toBe("ok");
  expect(checkSocketPath(`/${"x".repeat(80)}`)).toMatchObject({ status: "failed", mend: expect.stringContaining("TMPDIR") });
});

test("a clock before 2025 or one that jumps is told", async () => {
  const clock = (now: () => number): Clock => ({ ...systemClock, now });
  expect((await checkClock(clock(() => Date.now()))).status).toBe("ok");
  expect((await checkClock(clock(() => 0))).status).toBe("failed");
  let calls = 0;
  expect((await checkClock(clock(() => Date.now() + 5_000 * calls++))).status).toBe("warning");
});

test("journal and bundler are there", async () => {
  expect([(await checkSqlite()).status, (await checkBundler()).status]).toEqual(["ok", "ok"]);
});

test("doctor prints every check and ends with 1 when one fails", async () => {
  const { gateway } = await open();
  const cwd = folderOf({ file: "" });
  const well = world({ cwd, fetch, env: { LOCKSTEP_URL: gateway.url } });
  expect(await well.lockstep("doctor")).toBe(0);
  expect(well.out.text.split("\n")).toHaveLength(8);
  const ill = world({ cwd, fetch, env: { LOCKSTEP_URL: gateway.url } });
  expect(await ill.lockstep("doctor", "--data", "file/below", "--json")).toBe(1);
  expect(
    JSON.parse(ill.out.text)
      .checks.map(({ status }: { status: string }) => status)
      .filter((status: string) => status === "failed"),
  ).toHaveLength(1);
});
