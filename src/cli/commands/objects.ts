import type { Command } from "commander";
import type { ObjectInfo } from "../../protocol/objects.ts";
import { integerOption } from "../arguments.ts";
import type { Context } from "../context.ts";
import { EXIT } from "../exit-codes.ts";
import { withConnection } from "../options.ts";
import { bytesText, dateAndTime } from "../text.ts";
import { UsageError } from "../usage-error.ts";
import type { Does, Verb } from "../verb.ts";

export const objectsVerb: Verb = (program, does) => {
  const objects = program.command("objects").description("put objects into buckets, and get them back");
  put(objects, does);
  get(objects, does);
  head(objects, does);
  ls(objects, does);
  cp(objects, does);
  rm(objects, does);
  mb(objects, does);
};

const OBJECT = ["<object>", "bucket/key, such as orders/incoming/1.json"] as const;

interface PutOptions {
  type?: string;
  meta: string[];
  ifNoneMatch?: boolean;
  ifMatch?: string;
}

const put = (objects: Command, does: Does): void => {
  withConnection(objects.command("put"))
    .description("put a file, or standard input")
    .argument(...OBJECT)
    .argument("<file>", "path of a file, or - for standard input")
    .option("--type <type>", "its content type (default: by the key's ending)")
    .option("--meta <name=value...>", "kept with it", [])
    .option("--if-none-match", "only if there is no such object")
    .option("--if-match <etag>", "only if the object that is there has this etag")
    .action(
      does<[string, string], PutOptions>(async (context, [object, file], { type, meta, ifNoneMatch, ifMatch }) => {
        const { bucket, key } = placeOf(object);
        const { bodyOf } = await import("../object-files.ts");
        const client = await context.client();
        const info = await client.objects.put(bucket, key, await bodyOf(context.io, file), {
          contentType: type ?? typeOf(key),
          metadata: metadataOf(meta),
          ...(ifNoneMatch === true ? { ifNoneMatch: "*" } : {}),
          ...(ifMatch === undefined ? {} : { ifMatch }),
          signal: context.io.interrupted,
        });
        tell(context, info);
        return EXIT.ok;
      }),
    );
};

const get = (objects: Command, does: Does): void => {
  withConnection(objects.command("get"))
    .description("write an object to a file, or to standard output")
    .argument(...OBJECT)
    .argument("[file]", "path of a file, or - for standard output", "-")
    .option("--range <range>", "only these bytes: 0-99, 100- or -10 for the last ten")
    .action(
      does<[string, string], { range?: string }>(async (context, [object, file], { range }) => {
        const { bucket, key } = placeOf(object);
        const { save } = await import("../object-files.ts");
        const options = { signal: context.io.interrupted, ...(range === undefined ? {} : { range: rangeOf(range) }) };
        const found = await (await context.client()).objects.get(bucket, key, options);
        await save(context.io, file, found.body);
        if (file !== "-") tell(context, found.info);
        return EXIT.ok;
      }),
    );
};

const head = (objects: Command, does: Does): void => {
  withConnection(objects.command("head"))
    .description("tell what is known of an object")
    .argument(...OBJECT)
    .action(
      does<[string], unknown>(async (context, [object]) => {
        const { bucket, key } = placeOf(object);
        const info = await (await context.client()).objects.head(bucket, key);
        if (info === undefined) {
          context.note(context.errorStyle.dim(`there is no object ${object}`));
          return EXIT.failed;
        }
        if (context.json) context.printJson(info);
        else context.print(factsOf(info));
        return EXIT.ok;
      }),
    );
};

const ls = (objects: Command, does: Does): void => {
  withConnection(objects.command("ls"))
    .description("list objects in the order of their keys, or the buckets")
    .argument("[prefix]", "bucket, or bucket/prefix; without it, the buckets are listed")
    .option("--limit <number>", "at most so many", "1000")
    .option("--cursor <cursor>", "go on behind an earlier page")
    .action(
      does<[string | undefined], { limit: string; cursor?: string }>(async (context, [prefix], { limit, cursor }) => {
        const client = await context.client();
        const most = integerOption("limit", limit, 1, 1_000) as number;
        if (prefix === undefined) listBuckets(context, await client.objects.buckets());
        else {
          const [bucket, start] = splitAt(prefix);
          const query = { limit: most, ...(start === "" ? {} : { prefix: start }), ...(cursor === undefined ? {} : { cursor }) };
          listObjects(context, await client.objects.list(bucket, query));
        }
        return EXIT.ok;
      }),
    );
};

const cp = (objects: Command, does: Does): void => {
  withConnection(objects.command("cp"))
    .description("copy an object within the platform")
    .argument("<from>", "bucket/key")
    .argument("<to>", "bucket/key")
    .action(
      does<[string, string], unknown>(async (context, [from, to]) => {
        tell(context, await (await context.client()).objects.copy(placeOf(from), placeOf(to)));
        return EXIT.ok;
      }),
    );
};

const rm = (objects: Command, does: Does): void => {
  withConnection(objects.command("rm"))
    .description("delete an object")
    .argument(...OBJECT)
    .option("--if-match <etag>", "only if it has this etag")
    .action(
      does<[string], { ifMatch?: string }>(async (context, [object], { ifMatch }) => {
        const { bucket, key } = placeOf(object);
        const deleted = await (await context.client()).objects.delete(bucket, key, ifMatch === undefined ? {} : { ifMatch });
        if (context.json) context.printJson({ bucket, key, deleted });
        else if (deleted) context.print(`${object} deleted\n`);
        else context.note(context.errorStyle.dim(`there was no object ${object}`));
        return EXIT.ok;
      }),
    );
};

const mb = (objects: Command, does: Does): void => {
  withConnection(objects.command("mb"))
    .description("make a bucket, unless there is one")
    .argument("<bucket>", "3 to 63 lower-case letters, digits, dots and hyphens")
    .action(
      does<[string], unknown>(async (context, [bucket]) => {
        await (await context.client()).objects.createBucket(bucket);
        if (context.json) context.printJson({ bucket });
        else context.print(`${bucket} is there\n`);
        return EXIT.ok;
      }),
    );
};

// ---------------------------------------------------------------- arguments

const splitAt = (text: string): [bucket: string, key: string] => {
  const slash = text.indexOf("/");
  return slash < 0 ? [text, ""] : [text.slice(0, slash), text.slice(slash + 1)];
};

/** @throws {UsageError} */
const placeOf = (text: string): { bucket: string; key: string } => {
  const [bucket, key] = splitAt(text);
  if (bucket !== "" && key !== "") return { bucket, key };
  throw new UsageError(`"${text}" is no object`, "Write it as bucket/key, such as orders/incoming/1.json.");
};

/** @throws {UsageError} */
const metadataOf = (given: readonly string[]): Record<string, string> =>
  Object.fromEntries(
    given.map((pair) => {
      const sign = pair.indexOf("=");
      if (sign < 1) throw new UsageError(`--meta "${pair}" is not name=value`);
      return [pair.slice(0, sign), pair.slice(sign + 1)];
    }),
  );

/** @throws {UsageError} */
const rangeOf = (text: string): { start: number; end?: number } => {
  const [, start, end = "", last] = /^(?:(\d{1,15})-(\d{0,15})|-(\d{1,15}))$/.exec(text) ?? [];
  if (last !== undefined) return { start: -Number(last) };
  if (start === undefined) throw new UsageError(`--range "${text}" is none of 0-99, 100- and -10`);
  return end === "" ? { start: Number(start) } : { start: Number(start), end: Number(end) };
};

const TYPES: Record<string, string> = {
  json: "application/json",
  txt: "text/plain; charset=utf-8",
  csv: "text/csv; charset=utf-8",
  html: "text/html; charset=utf-8",
  xml: "application/xml",
  pdf: "application/pdf",
  png: "image/png",
  jpg: "image/jpeg",
  jpeg: "image/jpeg",
  gz: "application/gzip",
  zip: "application/zip",
};

const typeOf = (key: string): string => TYPES[/\.([a-z]+)$/i.exec(key)?.[1]?.toLowerCase() ?? ""] ?? "application/octet-stream";

// ---------------------------------------------------------------- output

const tell = (context: Context, info: ObjectInfo): void => {
  if (context.json) context.printJson(info);
  else context.print(`${info.bucket}/${info.key} ${bytesText(info.size)} ${info.etag}\n`);
};

const factsOf = (info: ObjectInfo): string => {
  const facts: [string, string][] = [
    ["object", `${info.bucket}/${info.key}`],
    ["size", `${info.size} bytes`],
    ["type", info.contentType],
    ["etag", info.etag],
    ["version", info.version],
    ["modified", dateAndTime(info.modifiedAt)],
    ...Object.entries(info.metadata),
  ];
  return facts.map(([name, value]) => `${name.padEnd(10)} ${value}\n`).join("");
};

const listBuckets = (context: Context, buckets: string[]): void => {
  if (context.json) return context.printJson({ buckets });
  context.printTable(buckets, [{ title: "BUCKET", cell: (bucket) => bucket }], "there are no buckets");
};

const listObjects = (context: Context, page: { objects: ObjectInfo[]; cursor?: string }): void => {
  if (context.json) return context.printJson(page);
  context.printTable(
    page.objects,
    [
      { title: "KEY", cell: ({ key }) => key },
      { title: "SIZE", cell: ({ size }) => bytesText(size), right: true },
      { title: "MODIFIED", cell: ({ modifiedAt }) => dateAndTime(modifiedAt) },
      { title: "TYPE", cell: ({ contentType }) => contentType },
    ],
    "there are no such objects",
  );
  if (page.cursor !== undefined) context.note(context.errorStyle.dim(`there are more: --cursor ${page.cursor}`));
};
