import { Option } from "commander";
import type { LogsFilter } from "../../client/index.ts";
import type { LogLine } from "../../protocol/run.ts";
import { timeOption } from "../arguments.ts";
import type { Context } from "../context.ts";
import { EXIT } from "../exit-codes.ts";
import { executionLines } from "../log-lines.ts";
import { withConnection } from "../options.ts";
import { pauseUnlessInterrupted } from "../own-platform.ts";
import type { Verb } from "../verb.ts";

interface Options {
  run?: string;
  function?: string;
  level?: LogLine["level"];
  text?: string;
  since?: string;
  follow?: boolean;
}

const PAGE = 1_000;
const FOLLOW_EVERY_MS = 300;

export const logsVerb: Verb = (program, does) => {
  withConnection(program.command("logs"))
    .description("print what calls and coordinators have logged, and how calls went, the oldest first")
    .option("--run <id>", "of this run")
    .option("--function <name>", "of this function")
    .addOption(
      new Option("--level <level>", "lines of this level or a graver one, and failures").choices(["debug", "info", "warn", "error"]),
    )
    .option("--text <text>", "lines with this text in them, in any case")
    .option("--since <time>", "from this time on: 10m ago, a date or an ISO time (with --follow, default: now)")
    .option("--follow", "go on with what comes, until interrupted")
    .action(
      does<[], Options>(async (context, _args, { follow = false, since: from, ...wanted }) => {
        const since = timeOption("since", from, context.io.clock.now());
        const { run, function: name, level, text } = wanted;
        const filter: LogsFilter = {
          ...(run === undefined ? {} : { run }),
          ...(name === undefined ? {} : { function: name }),
          ...(level === undefined ? {} : { level }),
          ...(text === undefined ? {} : { text }),
          ...(since === undefined ? {} : { since }),
        };
        await printAll(context, follow && since === undefined && run === undefined ? { ...filter, after: "latest" } : filter, follow);
        return EXIT.ok;
      }),
    );
};

const printAll = async (context: Context, filter: LogsFilter, follow: boolean): Promise<void> => {
  const client = await context.client();
  let after = filter.after;
  for (;;) {
    const { logs, next } = await client.logs({ ...filter, limit: PAGE, ...(after === undefined ? {} : { after }) });
    for (const log of logs) {
      if (context.json) context.printJson(log);
      else context.print(executionLines(log, context.style));
    }
    after = next;
    // Fewer than asked for are all that there are now.
    if (logs.length === PAGE) continue;
    if (!follow) return;
    await pauseUnlessInterrupted(context, FOLLOW_EVERY_MS);
  }
};
