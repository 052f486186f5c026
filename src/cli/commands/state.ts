import type { Command } from "commander";
import type { ClientStateEntry } from "../../client/index.ts";
import { durationOption, integerOption, jsonArgument } from "../arguments.ts";
import type { Context } from "../context.ts";
import { EXIT } from "../exit-codes.ts";
import { withConnection } from "../options.ts";
import { dateAndTime } from "../text.ts";
import { UsageError } from "../usage-error.ts";
import type { Does, Verb } from "../verb.ts";

export const stateVerb: Verb = (program, does) => {
  const state = program.command("state").description("look at what applications keep, and change it");
  get(state, does);
  ls(state, does);
  stale(state, does);
  set(state, does);
  rm(state, does);
  refresh(state, does);
};

const APPLICATION = ["<application>", "name of the application"] as const;
const KEY = ["<key>", "such as orders/17"] as const;

const get = (state: Command, does: Does): void => {
  withConnection(state.command("get"))
    .description("print a value")
    .argument(...APPLICATION)
    .argument(...KEY)
    .action(
      does<[string, string], unknown>(async (context, [application, key]) => {
        const entry = await (await context.client()).state.get(application, key);
        if (context.json) context.printJson(entry);
        else if (entry.version > 0) context.print(`${JSON.stringify(entry.value)}\n`);
        else context.note(context.errorStyle.dim(`${key} has no value`));
        if (entry.stale !== undefined && !context.json) context.note(`${context.errorStyle.yellow("stale:")} ${causeOf(entry)}`);
        return entry.version > 0 ? EXIT.ok : EXIT.failed;
      }),
    );
};

interface ListOptions {
  limit: string;
  after?: string;
}

const ls = (state: Command, does: Does): void => {
  withConnection(state.command("ls"))
    .description("list keys and their values")
    .argument(...APPLICATION)
    .argument("[prefix]", "such as orders/")
    .option("--limit <number>", "at most so many", "100")
    .option("--after <key>", "go on behind this key")
    .action(
      does<[string, string | undefined], ListOptions>(async (context, [application, prefix], { limit, after }) => {
        const query = { ...pageOf(prefix, limit), ...(after === undefined ? {} : { after }) };
        const entries = await (await context.client()).state.list(application, query);
        print(context, entries, `${application} has no ${prefix === undefined ? "state" : `key that begins with ${prefix}`}`);
        return EXIT.ok;
      }),
    );
};

const stale = (state: Command, does: Does): void => {
  withConnection(state.command("stale"))
    .description("list the keys whose writers failed")
    .argument(...APPLICATION)
    .argument("[prefix]", "such as orders/")
    .option("--limit <number>", "at most so many", "100")
    .action(
      does<[string, string | undefined], ListOptions>(async (context, [application, prefix], { limit }) => {
        const entries = await (await context.client()).state.stale(application, pageOf(prefix, limit));
        print(context, entries, "nothing is stale");
        return EXIT.ok;
      }),
    );
};

interface SetOptions {
  ttl?: string;
  ifVersion?: string;
}

const set = (state: Command, does: Does): void => {
  withConnection(state.command("set"))
    .description("set a value")
    .argument(...APPLICATION)
    .argument(...KEY)
    .argument("<json>", "the value: JSON, @file, or - for standard input")
    .option("--ttl <duration>", "the key is gone after this time")
    .option("--if-version <number>", "only if the key has this version; 0: no value")
    .action(
      does<[string, string, string], SetOptions>(async (context, [application, key, json], options) => {
        const value = await jsonArgument(json, context.io);
        const ttlMs = durationOption("ttl", options.ttl);
        if (ttlMs !== undefined && ttlMs < 1) throw new UsageError(`--ttl "${options.ttl}" is no time to live`);
        const client = await context.client();
        const entry = await client.state.set(application, key, value, {
          ...conditionOf(options),
          ...(ttlMs === undefined ? {} : { ttlMs }),
        });
        tell(context, entry);
        return EXIT.ok;
      }),
    );
};

const rm = (state: Command, does: Does): void => {
  withConnection(state.command("rm"))
    .description("delete a key")
    .argument(...APPLICATION)
    .argument(...KEY)
    .option("--if-version <number>", "only if the key has this version")
    .action(
      does<[string, string], SetOptions>(async (context, [application, key], options) => {
        await (await context.client()).state.delete(application, key, conditionOf(options));
        if (context.json) context.printJson({ key, version: 0 });
        else context.print(`${key} deleted\n`);
        return EXIT.ok;
      }),
    );
};

const refresh = (state: Command, does: Does): void => {
  withConnection(state.command("refresh"))
    .description("declare that a stale value is right as it is")
    .argument(...APPLICATION)
    .argument(...KEY)
    .action(
      does<[string, string], unknown>(async (context, [application, key]) => {
        const entry = await (await context.client()).state.refresh(application, key);
        if (context.json) context.printJson(entry);
        else context.print(`${key} is fresh${entry.version === 0 ? ", and has no value" : ""}\n`);
        return EXIT.ok;
      }),
    );
};

const pageOf = (prefix: string | undefined, limit: string): { prefix?: string; limit?: number } => {
  const most = integerOption("limit", limit, 1, 1_000);
  return { ...(prefix === undefined ? {} : { prefix }), ...(most === undefined ? {} : { limit: most }) };
};

const conditionOf = ({ ifVersion }: SetOptions): { ifVersion?: number } => {
  const version = integerOption("if-version", ifVersion, 0, Number.MAX_SAFE_INTEGER);
  return version === undefined ? {} : { ifVersion: version };
};

const tell = (context: Context, entry: ClientStateEntry): void => {
  if (context.json) context.printJson(entry);
  else context.print(`${entry.key} has version ${entry.version}\n`);
};

const LONGEST_VALUE = 60;

const shortened = (value: unknown): string => {
  const text = value === undefined ? "" : JSON.stringify(value);
  return text.length <= LONGEST_VALUE ? text : `${text.slice(0, LONGEST_VALUE - 1)}…`;
};

const print = (context: Context, entries: readonly ClientStateEntry[], empty: string): void => {
  if (context.json) return context.printJson({ entries });
  const columns = [
    { title: "KEY", cell: (row: ClientStateEntry) => row.key },
    { title: "VERSION", cell: (row: ClientStateEntry) => row.version, right: true },
    { title: "VALUE", cell: (row: ClientStateEntry) => shortened(row.value) },
    { title: "STALE", cell: causeOf, paint: (text: string) => context.style.yellow(text) },
    { title: "UNTIL", cell: (row: ClientStateEntry) => (row.expiresAt === undefined ? "" : dateAndTime(row.expiresAt)) },
  ];
  const isShown = (title: string): boolean =>
    (title !== "STALE" || entries.some((row) => row.stale !== undefined)) &&
    (title !== "UNTIL" || entries.some((row) => row.expiresAt !== undefined));
  context.printTable(
    entries,
    columns.filter(({ title }) => isShown(title)),
    empty,
  );
};

const causeOf = ({ stale: mark }: ClientStateEntry): string =>
  mark === undefined ? "" : `${mark.function} (${mark.run}/${mark.call}) ${mark.fault}: ${mark.message}`;
