/** What a person decides about runs: for one, for many, or to begin one again. */
import type { Command } from "commander";
import type { RunResolution } from "../../client/index.ts";
import type { Repair } from "../../protocol/control-plane.ts";
import { integerOption, jsonArgument, timeOption } from "../arguments.ts";
import type { Context } from "../context.ts";
import { EXIT } from "../exit-codes.ts";
import { withConnection } from "../options.ts";
import { oneLine } from "../text.ts";
import { UsageError } from "../usage-error.ts";
import type { Does } from "../verb.ts";

const MOST_CALLS = 1_000_000_000;

interface ResolveOptions {
  retry?: boolean;
  input?: string;
  with?: string;
  /** `true` without a reason. */
  fail?: string | true;
  call?: string;
}

export const resolve = (runs: Command, does: Does): void => {
  withConnection(runs.command("resolve"))
    .description("decide for a suspended run")
    .argument("<id>", "id of the run")
    .option("--retry", "a fresh set of attempts")
    .option("--input <json>", "with --retry: another input for the call (JSON, @file, or - for standard input)")
    .option("--with <json>", "go on with this as the result (JSON, @file, or - for standard input)")
    .option("--fail [reason]", "it fails")
    .option("--call <number>", "which call, where several wait: 0 is the coordinator itself, a negative one a compensation")
    .action(
      does<[string], ResolveOptions>(async (context, [id], options) => {
        const resolution = await resolutionOf(context, options);
        const run = (await context.client()).run(id);
        await run.resolve(resolution);
        const { status } = await run.get();
        if (context.json) context.printJson({ id, status });
        else context.print(`${id} ${status}\n`);
        return EXIT.ok;
      }),
    );
};

/** @throws {UsageError} unless the options say exactly one thing */
const resolutionOf = async ({ io }: Context, options: ResolveOptions): Promise<RunResolution> => {
  const said = [options.retry, options.with, options.fail].filter((one) => one !== undefined);
  if (said.length !== 1) {
    throw new UsageError(`say exactly one of --retry, --with <json> and --fail [reason], not ${said.length === 0 ? "none" : said.length}`);
  }
  if (options.input !== undefined && options.retry === undefined) throw new UsageError("--input goes only with --retry");
  const call = integerOption("call", options.call, -MOST_CALLS, MOST_CALLS);
  const common = { by: oneLine(io.env.USER || io.env.LOGNAME || "cli", 200), ...(call === undefined ? {} : { call }) };
  if (options.fail !== undefined) return { fail: options.fail === true ? "" : options.fail, ...common };
  if (options.with !== undefined) return { value: await jsonArgument(options.with, io), ...common };
  const input = await jsonArgument(options.input, io);
  return { retry: true, ...(input === undefined ? {} : { input }), ...common };
};

interface RetryOptions {
  status?: string;
  function?: string;
  name?: string;
  since?: string;
  limit?: string;
  dryRun?: boolean;
}

export const retry = (runs: Command, does: Does): void => {
  withConnection(runs.command("retry"))
    .description("give all suspended runs that fit a fresh set of attempts")
    .option("--status <status>", "suspended, which is the only one that can be tried again")
    .option("--function <name>", "those with a dead letter of this function; other dead letters stay")
    .option("--name <name>", "of this coordinator or function")
    .option("--since <time>", "accepted since: 10m ago, a date or an ISO time")
    .option("--limit <number>", "at most so many (default: 1000)")
    .option("--dry-run", "only tell which they are")
    .action(
      does<[], RetryOptions>(async (context, _args, options) => {
        const dryRun = options.dryRun === true;
        const filter = filterOf(context, options);
        const found = await (await context.client()).retryRuns({ ...filter, ...(dryRun ? { dryRun } : {}) });
        if (context.json) context.printJson({ runs: found, dryRun });
        else context.printTable(found, COLUMNS, "no suspended run fits");
        if (!context.json && found.length > 0) context.note(context.errorStyle.dim(toldOf(found.length, dryRun)));
        return EXIT.ok;
      }),
    );
};

const toldOf = (count: number, dryRun: boolean): string => {
  const runs = count === 1 ? "1 run" : `${count} runs`;
  return dryRun ? `${runs} would be tried again; without --dry-run, they are` : `${runs} tried again`;
};

const COLUMNS = [
  { title: "RUN", cell: (row: Repair) => row.run },
  { title: "NAME", cell: (row: Repair) => oneLine(row.name, 40) },
  { title: "FUNCTIONS", cell: (row: Repair) => oneLine(row.functions.join(", "), 40) },
  { title: "FAILURE", cell: (row: Repair) => oneLine(row.failure, 80) },
];

/** @throws {UsageError} */
const filterOf = ({ io }: Context, { status, since: from, function: fn, name, limit: most }: RetryOptions) => {
  if (status !== undefined && status !== "suspended") {
    throw new UsageError(
      `only suspended runs can be tried again, not ${status} ones`,
      "A finished run is begun again by `lockstep runs restart <id>`; all others go on by themselves.",
    );
  }
  if (status === undefined && fn === undefined && name === undefined && from === undefined) {
    throw new UsageError("say which runs: --function, --name or --since, or --status suspended for all of them");
  }
  const since = timeOption("since", from, io.clock.now());
  const limit = integerOption("limit", most, 1, 10_000);
  return {
    ...(fn === undefined ? {} : { function: fn }),
    ...(name === undefined ? {} : { name }),
    ...(since === undefined ? {} : { since }),
    ...(limit === undefined ? {} : { limit }),
  };
};

export const restart = (runs: Command, does: Does): void => {
  withConnection(runs.command("restart"))
    .description("begin a run again as a new one, on the current version")
    .argument("<id>", "id of the run")
    .option("--from <call>", "reuse what the run did before this call (default: nothing)")
    .action(
      does<[string], { from?: string }>(async (context, [id], options) => {
        const from = integerOption("from", options.from, 1, MOST_CALLS);
        const { run, reused } = await (await context.client()).run(id).restart(from === undefined ? {} : { from });
        if (context.json) context.printJson({ id: run.id, reused });
        else {
          context.print(`${run.id}\n`);
          context.note(context.errorStyle.dim(`${reused === 1 ? "1 outcome" : `${reused} outcomes`} of ${id} reused`));
        }
        return EXIT.ok;
      }),
    );
};
