import type { CallLog } from "../../protocol/control-plane.ts";
import { timeOption } from "../arguments.ts";
import type { Context } from "../context.ts";
import { EXIT } from "../exit-codes.ts";
import { logLines } from "../log-lines.ts";
import { withConnection } from "../options.ts";
import { pauseUnlessInterrupted } from "../own-platform.ts";
import type { Verb } from "../verb.ts";

interface Options {
  run?: string;
  function?: string;
  since?: string;
  follow?: boolean;
}

const PAGE = 1_000;
const FOLLOW_EVERY_MS = 300;

export const logsVerb: Verb = (program, does) => {
  withConnection(program.command("logs"))
    .description("print what calls and coordinators have logged, the oldest first")
    .option("--run <id>", "of this run")
    .option("--function <name>", "of this function")
    .option("--since <time>", "from this time on: 10m ago, a date or an ISO time (with --follow, default: now)")
    .option("--follow", "go on with what comes, until interrupted")
    .action(
      does<[], Options>(async (context, _args, options) => {
        const now = context.io.clock.now();
        const since = timeOption("since", options.since, now) ?? (options.follow && options.run === undefined ? now : 0);
        const filter = {
          ...(options.run === undefined ? {} : { run: options.run }),
          ...(options.function === undefined ? {} : { function: options.function }),
        };
        await printAll(context, filter, since, options.follow === true);
        return EXIT.ok;
      }),
    );
};

const printAll = async (context: Context, filter: { run?: string; function?: string }, since: number, follow: boolean): Promise<void> => {
  const client = await context.client();
  let after: number | undefined;
  for (;;) {
    const { logs, next } = await client.logs({ ...filter, limit: PAGE, ...(after === undefined ? {} : { after }) });
    for (const log of logs) printOne(context, log, since);
    after = next;
    if (logs.length > 0) continue;
    if (!follow) return;
    await pauseUnlessInterrupted(context, FOLLOW_EVERY_MS);
  }
};

const printOne = (context: Context, log: CallLog, since: number): void => {
  const lines = log.lines.filter(({ at }) => at >= since);
  if (lines.length === 0) return;
  if (context.json) context.printJson({ ...log, lines });
  else context.print(logLines([{ ...log, lines }], context.style));
};
