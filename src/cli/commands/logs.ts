import type { CallLog } from "../../protocol/control-plane.ts";
import { timeOption } from "../arguments.ts";
import type { Context } from "../context.ts";
import { EXIT } from "../exit-codes.ts";
import { lastLogPosition } from "../last-log.ts";
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
        const since = timeOption("since", options.since, now);
        const filter = {
          ...(options.run === undefined ? {} : { run: options.run }),
          ...(options.function === undefined ? {} : { function: options.function }),
        };
        const onlyNew = options.follow === true && options.since === undefined && options.run === undefined;
        await printAll(context, filter, { since: since ?? 0, follow: options.follow === true, onlyNew });
        return EXIT.ok;
      }),
    );
};

const printAll = async (
  context: Context,
  filter: { run?: string; function?: string },
  { since, follow, onlyNew }: { since: number; follow: boolean; onlyNew: boolean },
): Promise<void> => {
  const client = await context.client();
  const anyAfter = async (position: number): Promise<boolean> => (await client.logs({ after: position, limit: 1 })).logs.length > 0;
  let after = onlyNew ? await lastLogPosition(anyAfter) : undefined;
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
