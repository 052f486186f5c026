import type { Command } from "commander";
import { Option } from "commander";
import type { Client, ClientStateEntry, RunDetails } from "../../client/index.ts";
import type { RunKind, RunStatus } from "../../protocol/run.ts";
import { integerOption, jsonArgument, timeOption } from "../arguments.ts";
import type { Context } from "../context.ts";
import { EXIT } from "../exit-codes.ts";
import { withConnection } from "../options.ts";
import { runsTable, runText } from "../run-text.ts";
import { UsageError } from "../usage-error.ts";
import type { Does, Verb } from "../verb.ts";
import { certificates } from "./runs-certificates.ts";
import { resolve, restart, retry } from "./runs-recovery.ts";

export const runsVerb: Verb = (program, does) => {
  const runs = program.command("runs").description("look at runs and act on them");
  list(runs, does);
  show(runs, does);
  certificates(runs, does);
  cancel(runs, does);
  resume(runs, does);
  resolve(runs, does);
  retry(runs, does);
  restart(runs, does);
  signal(runs, does);
};

interface ListOptions {
  status?: string;
  kind?: RunKind;
  name?: string;
  key?: string;
  since?: string;
  until?: string;
  limit: string;
  cursor?: string;
}

/** Of all stale keys of the application, those of the run are picked out. */
const MOST_STALE = 1_000;
const STATUSES: readonly RunStatus[] = ["running", "waiting", "suspended", "completed", "failed", "cancelled"];

const list = (runs: Command, does: Does): void => {
  withConnection(runs.command("list", { isDefault: true }))
    .description("list runs, the latest first")
    .option("--status <list>", `of these, separated by commas: ${STATUSES.join(", ")}`)
    .addOption(new Option("--kind <kind>", "of this kind").choices(["coordinator", "expression", "function", "recovery"]))
    .option("--name <name>", "of this coordinator or function")
    .option("--key <key>", "with this idempotency key")
    .option("--since <time>", "accepted since: 10m ago, a date or an ISO time")
    .option("--until <time>", "accepted before")
    .option("--limit <number>", "at most so many", "20")
    .option("--cursor <cursor>", "go on behind an earlier page")
    .action(
      does<[], ListOptions>(async (context, _args, options) => {
        const client = await context.client();
        const page = await client.runPage(filterOf(context, options), options.cursor);
        if (context.json) context.printJson(page);
        else context.printTable(page.runs, runsTable(context.style, page.runs), "no run fits");
        if (!context.json && page.cursor !== undefined) context.note(context.errorStyle.dim(`there are more: --cursor ${page.cursor}`));
        return EXIT.ok;
      }),
    );
};

const filterOf = (context: Context, options: ListOptions) => {
  const now = context.io.clock.now();
  const since = timeOption("since", options.since, now);
  const until = timeOption("until", options.until, now);
  const limit = integerOption("limit", options.limit, 1, 1_000);
  return {
    ...(options.status === undefined ? {} : { status: statusesOf(options.status) }),
    ...(options.kind === undefined ? {} : { kind: options.kind }),
    ...(options.name === undefined ? {} : { name: options.name }),
    ...(options.key === undefined ? {} : { key: options.key }),
    ...(since === undefined ? {} : { since }),
    ...(until === undefined ? {} : { until }),
    ...(limit === undefined ? {} : { limit }),
  };
};

const statusesOf = (text: string): RunStatus[] =>
  text.split(",").map((status) => {
    if ((STATUSES as readonly string[]).includes(status)) return status as RunStatus;
    throw new UsageError(`--status "${status}" is none of ${STATUSES.join(", ")}`);
  });

const show = (runs: Command, does: Does): void => {
  withConnection(runs.command("show"))
    .description("show a run, what it waits for, what was decided of it, and the end of its journal")
    .argument("<id>", "id of the run")
    .option("--journal", "all of its journal")
    .action(
      does<[string], { journal?: boolean }>(async (context, [id], { journal: whole = false }) => {
        const client = await context.client();
        const run = client.run(id);
        const [details, journal] = await Promise.all([run.get(), run.journal()]);
        const stale = await leftStale(client, details);
        if (context.json) context.printJson({ ...details, journal, stale });
        else context.print(runText({ run: details, journal, stale }, context.io.clock.now(), context.style, whole));
        return EXIT.ok;
      }),
    );
};

/** State keys that the run has left stale. An expression of numbers alone is of no application, and has no state. */
const leftStale = async (client: Client, { id, application }: RunDetails): Promise<ClientStateEntry[]> => {
  if (application === "") return [];
  const entries = await client.state.stale(application, { limit: MOST_STALE });
  return entries.filter(({ stale }) => stale?.run === id);
};

const cancel = (runs: Command, does: Does): void => {
  withConnection(runs.command("cancel"))
    .description("cancel a run; its coordinator may still clean up")
    .argument("<id>", "id of the run")
    .option("--reason <text>", "kept with the run")
    .option("--force", "end it at once, even if its coordinator catches the cancellation")
    .action(
      does<[string], { reason?: string; force?: boolean }>(async (context, [id], { reason, force }) => {
        const run = (await context.client()).run(id);
        await run.cancel(reason, force ? { force } : {});
        return await stands(context, run);
      }),
    );
};

const resume = (runs: Command, does: Does): void => {
  withConnection(runs.command("resume"))
    .description("give a suspended run a fresh set of attempts")
    .argument("<id>", "id of the run")
    .action(
      does<[string], unknown>(async (context, [id]) => {
        const run = (await context.client()).run(id);
        await run.resume();
        return await stands(context, run);
      }),
    );
};

const signal = (runs: Command, does: Does): void => {
  withConnection(runs.command("signal"))
    .description("send a signal to a run")
    .argument("<id>", "id of the run")
    .argument("<name>", "name of the signal")
    .argument("[json]", "its value: JSON, @file, or - for standard input")
    .action(
      does<[string, string, string | undefined], unknown>(async (context, [id, name, json]) => {
        const value = await jsonArgument(json, context.io);
        const run = (await context.client()).run(id);
        await run.signal(name, value);
        return await stands(context, run);
      }),
    );
};

/** Tells how the run stands after what was done to it. */
const stands = async (context: Context, run: { id: string; get(): Promise<{ status: RunStatus }> }): Promise<typeof EXIT.ok> => {
  const { status } = await run.get();
  if (context.json) context.printJson({ id: run.id, status });
  else context.print(`${run.id} ${status}\n`);
  return EXIT.ok;
};
