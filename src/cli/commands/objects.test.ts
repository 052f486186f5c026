import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { expect, test, vi } from "vitest";
import { folderOf, world } from "../../../test/support/fake-io.ts";
import { open } from "../../../test/support/gateway.ts";

const connected = async (stdin = "from standard input") => {
  const { gateway, plane } = await open();
  const cwd = folderOf({ "order.json": '{"seat":12}' });
  return { plane, cwd, ...world({ fetch, stdin, cwd, env: { LOCKSTEP_URL: gateway.url } }) };
};

test("objects put, get, head, ls, cp and rm do what they say", async () => {
  const { lockstep, out, error, cwd } = await connected();
  expect(await lockstep("objects", "put", "orders/in/1.json", "order.json", "--meta", "author=kaur", "note=a=b")).toBe(0);
  expect(out.text).toMatch(/^orders\/in\/1\.json 11 B "[0-9a-f]+"\n$/);
  out.text = "";
  expect(await lockstep("objects", "get", "orders/in/1.json")).toBe(0);
  expect(out.text).toBe('{"seat":12}');
  out.text = "";
  expect(await lockstep("objects", "get", "orders/in/1.json", "nowhere/1.json")).toBe(2);
  expect(error.text).toContain("nowhere/1.json cannot be written: ENOENT");
  expect(await lockstep("objects", "get", "orders/in/1.json", "--range", "-3")).toBe(0);
  expect(out.text).toBe("12}");
  expect(await lockstep("objects", "get", "orders/in/1.json", "copy.json")).toBe(0);
  expect([readFileSync(path.join(cwd, "copy.json"), "utf8"), readdirSync(cwd).sort()]).toEqual([
    '{"seat":12}',
    ["copy.json", "order.json"],
  ]);
  out.text = "";
  expect(await lockstep("objects", "head", "orders/in/1.json")).toBe(0);
  expect(out.text).toMatch(/size +11 bytes\ntype +application\/json\n[\s\S]*author +kaur\nnote +a=b\n$/);
  expect(await lockstep("objects", "cp", "orders/in/1.json", "orders/done/1.json")).toBe(0);
  out.text = "";
  expect(await lockstep("objects", "ls", "orders/done/")).toBe(0);
  expect(out.text).toMatch(/KEY +SIZE +MODIFIED +TYPE\s+done\/1\.json +11 B .*application\/json\s*$/);
  out.text = "";
  expect(await lockstep("objects", "rm", "orders/in/1.json")).toBe(0);
  expect(out.text).toBe("orders/in/1.json deleted\n");
  expect(await lockstep("objects", "rm", "orders/in/1.json")).toBe(0);
  expect(await lockstep("objects", "head", "orders/in/1.json")).toBe(1);
  expect(error.text).toContain("there was no object orders/in/1.json");
  expect(error.text).toContain("there is no object orders/in/1.json");
});

test("objects put takes standard input, and get gives JSON about a file", async () => {
  const { lockstep, out } = await connected();
  expect(await lockstep("objects", "put", "orders/a", "-", "--type", "text/plain", "--json")).toBe(0);
  expect(JSON.parse(out.text)).toMatchObject({ key: "a", size: 19, contentType: "text/plain" });
  out.text = "";
  expect(await lockstep("objects", "get", "orders/a", "a.txt", "--json")).toBe(0);
  expect(JSON.parse(out.text)).toMatchObject({ key: "a", size: 19 });
});

test("a large file is sent as a stream", async () => {
  const { lockstep, cwd, plane } = await connected();
  writeFileSync(path.join(cwd, "large.bin"), Buffer.alloc(9 * 1024 * 1024, 7));
  expect(await lockstep("objects", "put", "orders/large", "large.bin")).toBe(0);
  expect((await plane.objects.head("orders", "large")).size).toBe(9 * 1024 * 1024);
});

test("objects mb makes a bucket, and ls lists them page by page", async () => {
  const { lockstep, out, error } = await connected();
  expect(await lockstep("objects", "mb", "reports")).toBe(0);
  expect(await lockstep("objects", "ls")).toBe(0);
  expect(out.text).toMatch(/^reports is there\nBUCKET\s+orders\s+reports\s*$/);
  for (const key of ["a", "b"]) await lockstep("objects", "put", `orders/${key}`, "order.json");
  expect(await lockstep("objects", "ls", "orders", "--limit", "1")).toBe(0);
  expect(error.text).toContain("there are more: --cursor a");
});

test("conditions are kept, and what is refused is told", async () => {
  const { lockstep, error } = await connected();
  expect(await lockstep("objects", "put", "orders/a", "order.json", "--if-none-match")).toBe(0);
  expect(await lockstep("objects", "put", "orders/a", "order.json", "--if-none-match")).toBe(1);
  expect(await lockstep("objects", "rm", "orders/a", "--if-match", '"x"')).toBe(1);
  expect(await lockstep("objects", "get", "none/a")).toBe(1);
  expect(error.text).toContain("PRECONDITION_FAILED");
  expect(error.text).toContain("UNKNOWN_BUCKET");
});

test("a download that is cut off leaves no file", async () => {
  const { lockstep, plane, cwd } = await connected();
  await lockstep("objects", "put", "orders/a", "order.json");
  const { info } = await plane.objects.get("orders", "a");
  vi.spyOn(plane.objects, "get").mockResolvedValue({
    info,
    body: (async function* () {
      yield Buffer.from("{");
      throw new Error("torn");
    })(),
  });
  expect(await lockstep("objects", "get", "orders/a", "a.json")).not.toBe(0);
  expect(readdirSync(cwd)).toEqual(["order.json"]);
});

test.each([
  [["put", "orders", "order.json"], '"orders" is no object'],
  [["put", "orders/a", "none.json"], "none.json cannot be read"],
  [["put", "orders/a", "order.json", "--meta", "x"], '--meta "x" is not name=value'],
  [["get", "orders/a", "--range", "5"], '--range "5" is none of'],
])("objects %j is wrong usage", async (argv, message) => {
  const { lockstep, error } = await connected();
  expect(await lockstep("objects", ...argv)).toBe(2);
  expect(error.text).toContain(message);
});
