import { readFile } from "node:fs/promises";
import path from "node:path";
import type { Client, ClientOptions } from "../client/index.ts";
import type { Io } from "./io.ts";
import type { Style } from "./style.ts";
import { styleOf } from "./style.ts";
import type { Column } from "./table.ts";
import { table } from "./table.ts";
import { UsageError } from "./usage-error.ts";

/** Options that several commands have. */
export interface CommonOptions {
  json?: boolean;
  url?: string;
  apiKeyFile?: string;
}

/** What a command works with: the world, and how this invocation wants its output. */
export interface Context {
  readonly io: Io;
  readonly json: boolean;
  /** Colours for standard output, and for standard error. */
  readonly style: Style;
  readonly errorStyle: Style;
  /** @param options `retryForMs`: how long a platform that does not answer is asked again; default: the client's */
  client(options?: Pick<ClientOptions, "retryForMs">): Promise<Client>;
  /** The API key of the environment or of --api-key-file. */
  apiKey(): Promise<string | undefined>;
  /** Data for people, to standard output. */
  print(text: string): void;
  /** Data for programs: one line of JSON. */
  printJson(value: unknown): void;
  /** Rows as a table, or `empty` to standard error when there are none. */
  printTable<Row>(rows: readonly Row[], columns: readonly Column<Row>[], empty: string): void;
  /** Everything that is not data, to standard error. */
  note(text: string): void;
}

export const contextOf = (io: Io, options: CommonOptions): Context => {
  const style = styleOf(io.stdout, io.env);
  const errorStyle = styleOf(io.stderr, io.env);
  const note = (text: string): void => io.stderr.write(`${text}\n`);
  const apiKey = () => readApiKey(io, options);
  return {
    io,
    json: options.json === true,
    style,
    errorStyle,
    apiKey,
    client: async (given = {}) => {
      const { createClient } = await import("../client/index.ts");
      const url = urlOf(options.url ?? io.env.LOCKSTEP_URL);
      const key = await apiKey();
      return createClient({ url, clock: io.clock, fetch: io.fetch, ...given, ...(key === undefined ? {} : { apiKey: key }) });
    },
    print: (text) => io.stdout.write(text),
    printJson: (value) => io.stdout.write(`${JSON.stringify(value)}\n`),
    printTable: (rows, columns, empty) => (rows.length === 0 ? note(errorStyle.dim(empty)) : io.stdout.write(table(rows, columns, style))),
    note,
  };
};

export const DEFAULT_URL = "http://127.0.0.1:4700";

/** @throws {UsageError} */
const urlOf = (text: string | undefined): string => {
  if (text === undefined || text === "") return DEFAULT_URL;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw new UsageError(`"${text}" is no address of a platform`, `Write it like ${DEFAULT_URL}, in --url or LOCKSTEP_URL.`);
  }
  return text;
};

const readApiKey = async (io: Io, { apiKeyFile }: CommonOptions): Promise<string | undefined> => {
  if (apiKeyFile === undefined) return io.env.LOCKSTEP_API_KEY || undefined;
  const key = await readFile(path.resolve(io.cwd, apiKeyFile), "utf8").catch((error: Error) => {
    throw new UsageError(`--api-key-file cannot be read: ${error.message}`);
  });
  if (key.trim() === "") throw new UsageError(`--api-key-file ${apiKeyFile} is empty`);
  return key.trim();
};
